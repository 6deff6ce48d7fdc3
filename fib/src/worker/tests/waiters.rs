//! Those who wait for the kernel.

use super::*;

#[test]
fn an_endpoint_is_settled_when_route_and_neighbour_are_acknowledged() {
    Bench::run(async |bench| {
        let (reply, mut answer) = oneshot::channel();
        bench.apply(vec![workload("cali1", "10.233.1.7")]);
        let ask = Command::Settled {
            device: "cali1".into(),
            patience: Duration::from_secs(60),
            reply,
        };
        bench.worker.handle_command(ask, bench.now);
        bench.settle().await;
        assert!(answer.try_recv().is_err(), "the device is not there");
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.settle().await;
        assert!(answer.try_recv().unwrap().is_ok());
        assert_eq!(bench.kernel.with(|kernel| kernel.neighbours.len()), 1);

        let (reply, mut answer) = oneshot::channel();
        let ask = Command::Settled {
            device: "cali2".into(),
            patience: Duration::from_secs(1),
            reply,
        };
        bench.worker.handle_command(ask, bench.now);
        bench.wait_out(Duration::from_secs(2)).await;
        let error = answer.try_recv().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "cali2: not in the kernel after 1s: nobody asked for this endpoint"
        );
    });
}

#[test]
fn an_address_is_gone_when_its_route_is_deleted_or_belongs_to_another() {
    Bench::run(async |bench| {
        let gone = |patience| {
            let (reply, answer) = oneshot::channel();
            let addresses = vec!["10.233.1.7".parse().unwrap()];
            let ask = Command::Gone {
                addresses,
                patience: Duration::from_secs(patience),
                reply,
            };
            (ask, answer)
        };
        bench.kernel.add_link("cali1", LinkKind::Ordinary);
        bench.kernel.add_link("cali2", LinkKind::Ordinary);
        bench.apply(vec![workload("cali1", "10.233.1.7")]);
        bench.settle().await;
        let (ask, mut answer) = gone(1);
        bench.worker.handle_command(ask, bench.now);
        bench.apply(vec![Change::RemoveEndpoint("cali1".into())]);
        bench.settle().await;
        assert!(answer.try_recv().unwrap().is_ok());
        let (ask, mut answer) = gone(1);
        bench.apply(vec![workload("cali2", "10.233.1.7")]);
        bench.worker.handle_command(ask, bench.now);
        bench.settle().await;
        assert!(answer.try_recv().unwrap().is_ok());
    });
}
