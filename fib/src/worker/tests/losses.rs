//! What was lost: answers, events, sockets, and reads of the kernel that fail.

use super::*;

#[test]
fn lost_answers_are_settled_by_reading() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.lose_answers = 1);
        bench.apply((0..600).map(|i| remote(i, 2)).collect());
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 600);
        let status = bench.status();
        assert_eq!((status.overruns, status.resyncs, status.pending), (1, 2, 0));
        assert_eq!(status.writes, 600, "what had arrived was not written again");
    });
}

#[test]
fn a_lost_writer_is_a_condition_until_it_writes_again() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| kernel.fail_writes = 2);
        bench.apply((0..600).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        let (name, sentence) = &bench.status().conditions[0];
        assert_eq!(name, "WriterLost");
        assert!(sentence.contains("send: Bad file descriptor"), "{sentence}");
        bench.wait_out(Duration::from_secs(1)).await;
        assert_eq!(bench.kernel.routes().len(), 600);
        let status = bench.status();
        assert_eq!(status.counters.lost_batches, 2);
        assert_eq!((status.pending, status.overruns), (0, 0));
        assert_eq!(status.conditions, []);
    });
}

#[test]
fn a_lost_writer_is_no_condition_when_there_is_nothing_left_to_write() {
    Bench::run(async |bench| {
        bench.worker.config.nexthop_objects = false;
        bench.worker.resync(bench.now).await.unwrap();
        bench.kernel.with(|kernel| kernel.fail_writes = 1);
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        assert_eq!(bench.status().conditions[0].0, "WriterLost");
        bench.apply(vec![Change::RemoveRoute(net("10.64.1.0/26"))]);
        bench.settle().await;
        let status = bench.status();
        assert_eq!((status.writes, status.conditions), (1, vec![]));
    });
}

#[test]
fn a_lost_writer_is_no_condition_after_it_has_removed_what_others_left() {
    Bench::run(async |bench| {
        bench
            .kernel
            .foreign_set(key("10.233.4.0/26"), Spec::blackhole(80));
        bench.settle().await;
        bench.kernel.with(|kernel| kernel.fail_writes = 1);
        bench.apply(vec![Change::SetGate(Gate::Open)]);
        bench.settle().await;
        assert_eq!(bench.status().conditions[0].0, "WriterLost");
        bench.wait_out(Duration::from_secs(5)).await;
        assert_eq!(bench.kernel.routes().len(), 0);
        assert_eq!(bench.status().conditions, []);
    });
}

#[test]
fn a_kernel_that_cannot_be_read_is_still_written_and_not_asked_without_pause() {
    Bench::run(async |bench| {
        bench.kernel.with(|kernel| {
            kernel.fail_reads = 3;
            kernel.events = vec![Event::Overrun];
        });
        bench.deliver();
        // Reads that events ask for have a distance.
        bench.now += Duration::from_secs(1);
        bench.apply((0..600).map(|i| remote(i, 2)).collect());
        let first = bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 600);
        let status = bench.status();
        assert_eq!(status.counters.failed_reads, 1);
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "KernelUnread");
        assert!(sentence.contains("dump interrupted"), "{sentence}");
        assert_eq!(first, bench.now + Duration::from_millis(200));
        bench.now = first;
        assert_eq!(bench.settle().await, first + Duration::from_millis(400));
        bench.wait_out(Duration::from_secs(2)).await;
        let status = bench.status();
        assert_eq!((status.resyncs, status.counters.failed_reads), (2, 3));
        assert_eq!(status.conditions, []);
    });
}

#[test]
fn a_lost_socket_is_a_condition_until_it_is_back_and_everything_is_read() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        bench.kernel.foreign_delete(key("10.64.1.0/26"));
        let lost = Event::SocketLost(Lane::Events, "Bad file descriptor".into());
        bench.kernel.with(|kernel| kernel.events = vec![lost]);
        bench.wait_out(Duration::from_secs(2)).await;
        let status = bench.status();
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "SocketLost");
        assert!(
            sentence.contains("for events has failed: Bad file"),
            "{sentence}"
        );
        assert_eq!((bench.kernel.routes().len(), status.resyncs), (0, 1));
        bench
            .kernel
            .with(|kernel| kernel.events = vec![Event::SocketBack(Lane::Events)]);
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 1);
        let status = bench.status();
        assert_eq!(
            (status.counters.lost_sockets, status.conditions),
            (1, vec![])
        );
    });
}

#[test]
fn nothing_is_deleted_after_a_batch_without_answers_until_the_kernel_is_read() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.with(|kernel| {
            kernel.lose_answers = 1;
            kernel.fail_reads = 2;
            kernel.batches.clear();
        });
        bench.apply(vec![remote(10, 2)]);
        bench.settle().await;
        bench.apply(vec![
            remote(11, 2),
            Change::RemoveRoute(net("10.64.3.0/26")),
        ]);
        bench.wait_out(HOLD).await;
        let there = |bench: &Bench, prefix| bench.kernel.routes().contains_key(&key(prefix));
        assert!(there(bench, "10.64.11.0/26"), "others go on");
        assert!(there(bench, "10.64.3.0/26"));
        bench.wait_out(Duration::from_secs(1)).await;
        assert!(!there(bench, "10.64.3.0/26"));
        assert_eq!(bench.status().counters.failed_reads, 2);
    });
}

#[test]
fn events_that_were_lost_are_made_good_by_reading() {
    Bench::run(async |bench| {
        bench.apply((0..10).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        bench.kernel.foreign_delete(key("10.64.3.0/26"));
        bench.kernel.with(|kernel| {
            kernel.events = vec![Event::Overrun];
            kernel.fail_reads = 2;
        });
        bench.settle().await;
        bench.wait_out(Duration::from_secs(2)).await;
        assert_eq!(bench.kernel.routes().len(), 10);
        let status = bench.status();
        assert_eq!((status.overruns, status.repairs), (1, 1));
        assert_eq!(bench.kernel.with(|kernel| kernel.reads), 4);
    });
}

#[test]
fn a_deletion_that_no_event_told_is_found_by_the_slow_read() {
    Bench::run(async |bench| {
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        bench.kernel.foreign_delete(key("10.64.1.0/26"));
        bench.kernel.with(|kernel| kernel.events.clear());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 0);
        bench.wait_out(Duration::from_secs(301)).await;
        assert_eq!(bench.kernel.routes().len(), 1);
    });
}

#[test]
fn forwarding_that_someone_switched_off_is_on_again_after_the_next_whole_read() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("net/ipv4/ip_forward");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "0\n").unwrap();
    let now = || std::fs::read_to_string(&file).unwrap();
    Bench::run(async |bench| {
        let folder = root.path().to_owned();
        bench.worker.sysctls =
            Sysctls::new(folder, None, bench.worker.config.device_prefixes.clone());
        bench.wait_out(Duration::from_secs(400)).await;
        assert_eq!(now(), "0\n", "nobody needs it");
        bench.apply(vec![remote(1, 2)]);
        bench.settle().await;
        assert_eq!(now(), "1");
        std::fs::write(&file, "0").unwrap();
        bench.settle().await;
        assert_eq!(now(), "0", "there is no event");
        bench.wait_out(Duration::from_secs(400)).await;
        assert_eq!(now(), "1");
        // Where it is somebody else's, it stays as he has it.
        let settings = crate::settings::Settings {
            forwarding: false,
            ..bench.worker.settings.clone()
        };
        bench.apply(vec![Change::SetSettings(Box::new(settings))]);
        std::fs::write(&file, "0").unwrap();
        bench.wait_out(Duration::from_secs(400)).await;
        assert_eq!(now(), "0");
    });
}

#[test]
fn a_sysctl_of_a_workload_that_someone_changed_is_set_again_with_the_next_event_of_its_device() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("net/ipv4/conf/calia");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("proxy_arp");
    std::fs::write(&file, "0\n").unwrap();
    let now = || std::fs::read_to_string(&file).unwrap().trim().to_owned();
    Bench::run(async |bench| {
        let prefixes = bench.worker.config.device_prefixes.clone();
        bench.worker.sysctls = Sysctls::new(root.path().to_owned(), None, prefixes);
        let device = bench.kernel.add_link("calia", LinkKind::Ordinary);
        bench.apply(vec![workload("calia", "10.233.1.5")]);
        bench.settle().await;
        assert_eq!(now(), "1");
        std::fs::write(&file, "0").unwrap();
        bench.kernel.set_up(device, false);
        bench.kernel.set_up(device, true);
        bench.settle().await;
        assert_eq!(now(), "1");
    });
}
