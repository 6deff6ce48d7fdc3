use std::process::Command;

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

fn frame(operation: u8, address: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &MAC, &address, &[0; 6], &address].concat()
}

#[test]
fn arp_names_the_sender_with_its_address_and_rarp_and_probes_without() {
    for (operation, address, expected) in [
        (1, [10, 65, 0, 7], Some(Ipv4Addr::new(10, 65, 0, 7))),
        (2, [10, 65, 0, 7], Some(Ipv4Addr::new(10, 65, 0, 7))),
        (1, [0; 4], None),
        (3, [0; 4], None),
    ] {
        let mut octets = frame(operation, address);
        // Ethernet fills up short frames.
        octets.resize(46, 0);
        let heard = parse(&octets).unwrap();
        assert_eq!((heard.mac, heard.address), (MAC, expected), "{operation}");
    }
}

#[test]
fn what_is_cut_short_or_of_another_kind_of_link_is_nobody() {
    let whole = frame(1, [10, 65, 0, 7]);
    for length in 0..18 {
        assert_eq!(parse(&whole[..length]), None, "{length} octets");
    }
    for index in 0..6 {
        let mut other = whole.clone();
        other[index] ^= 1;
        assert_eq!(parse(&other), None, "octet {index}");
    }
}

#[test]
fn a_frame_is_of_a_workload_only_on_its_own_device() {
    let announcement = |device: &str, address| Announcement {
        device: device.to_owned(),
        sender: Sender { mac: MAC, address },
    };
    let addresses = [IpAddr::from([10, 65, 0, 7])];
    let own = Some(Ipv4Addr::new(10, 65, 0, 7));
    let is_of = |announcement: Announcement| {
        let whose = announcement.is_of("cali1", MAC, &addresses);
        whose.map(|outcome| outcome.map_err(str::to_owned))
    };
    assert_eq!(is_of(announcement("cali1", own)), Some(Ok(())));
    assert_eq!(is_of(announcement("cali1", None)), Some(Ok(())));
    let elsewhere = || Some(Err("cali2".to_owned()));
    assert_eq!(is_of(announcement("cali2", own)), elsewhere());
    assert_eq!(is_of(announcement("cali2", None)), elsewhere());
    let another = Some(Ipv4Addr::new(10, 65, 0, 8));
    assert_eq!(is_of(announcement("cali1", another)), None);
    assert_eq!(
        announcement("cali1", own).is_of("cali1", [2; 6], &addresses),
        None
    );
}

/// `ip …` in the current namespace.
fn ip(line: &str) -> bool {
    let status = Command::new("ip").args(line.split(' ')).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn the_listener_tells_by_which_device_a_frame_came_in() {
    let thread = std::thread::spawn(|| {
        #[expect(
            deprecated,
            reason = "the replacement is unsafe for the sake of other flags"
        )]
        let unshared = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET);
        if unshared.is_err() {
            println!("skipped: no network namespace: {unshared:?}");
            return;
        }
        for pair in ["1", "2"] {
            assert!(ip(&format!(
                "link add cali{pair} type veth peer name pod{pair}"
            )));
            assert!(ip(&format!("link set cali{pair} up")));
            assert!(ip(&format!("link set pod{pair} up")));
            assert!(ip(&format!("addr add 10.65.{pair}.7/24 dev pod{pair}")));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = Listener::open().unwrap();
            for pair in [2, 1] {
                // Whoever sends there asks for the neighbour first.
                let socket = std::net::UdpSocket::bind(format!("10.65.{pair}.7:0")).unwrap();
                socket.send_to(b"?", format!("10.65.{pair}.9:9")).unwrap();
                let asker = Some(Ipv4Addr::new(10, 65, pair, 7));
                let patience = std::time::Duration::from_secs(30);
                let heard = tokio::time::timeout(patience, async {
                    loop {
                        // The kernel asks again and again for those before.
                        let heard = listener.next().await.unwrap();
                        if heard.sender.address == asker {
                            return heard;
                        }
                    }
                });
                assert_eq!(heard.await.unwrap().device, format!("cali{pair}"));
            }
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
