//! Ways that are less common: gateways outside every subnet, and blocks of a single address.

use caracal_fib::{Change, Config, Fib};

use super::harness::{
    PATIENCE, add_cali, blackhole, in_namespace, ip, net, open, ours, remote, settle, start,
    workload,
};

/// As at providers that give each host an address without a subnet.
#[test]
fn a_next_hop_behind_a_gateway_that_is_onlink_is_reached_onlink_too() {
    for nexthop_objects in [true, false] {
        in_namespace(move || async move {
            ip("addr flush dev eth0");
            ip("addr add 192.0.2.5/32 dev eth0");
            ip("addr add 2001:db8:5::5/128 dev eth0 nodad");
            ip("route add default via 169.254.0.1 dev eth0 onlink");
            ip("-6 route add default via 2001:db8:ff::1 dev eth0 onlink");
            let config = || Config {
                nexthop_objects,
                ..Config::default()
            };
            let wishes = vec![
                remote("10.233.2.0/26", &["192.0.2.6"]),
                remote("10.233.3.0/26", &["192.0.2.7", "192.0.2.8"]),
                remote("fd00:10:233:2::/122", &["2001:db8:5::6"]),
                open(),
            ];
            let fib = Fib::start(config()).await.unwrap();
            fib.apply(wishes.clone());
            settle(&fib).await;
            let v4 = ours("-4");
            let way = "via 169.254.0.1 dev eth0 onlink";
            let expected = ["10.233.2.0/26", "10.233.3.0/26"];
            assert_eq!(v4, expected.map(|prefix| format!("{prefix} {way}")));
            let v6 = ours("-6");
            assert_eq!(v6.len(), 1, "{v6:?}");
            let way = "fd00:10:233:2::/122 via 2001:db8:ff::1 dev eth0 ";
            assert!(v6[0].starts_with(way) && v6[0].contains("onlink"), "{v6:?}");
            drop(fib);
            let fib = Fib::start(config()).await.unwrap();
            fib.apply(wishes);
            let status = settle(&fib).await;
            assert_eq!((status.writes, status.object_writes), (0, 0));
            assert_eq!((ours("-4"), ours("-6")), (v4, v6));
        });
    }
}

#[test]
fn a_block_of_one_address_is_a_route_like_any_other_and_its_workload_has_it_first() {
    in_namespace(|| async {
        add_cali("cali1");
        let blocks = [
            ("-4", "10.233.5.7/32", "172.18.0.2"),
            ("-6", "fd00:233::7/128", "2001:db8:18::2"),
        ];
        let fib = start().await;
        let wishes = blocks.map(|(_, block, next_hop)| remote(block, &[next_hop]));
        fib.apply(wishes.to_vec());
        fib.apply(vec![
            blackhole("10.233.5.0/26"),
            blackhole("fd00:233::/122"),
        ]);
        settle(&fib).await;
        let way = |family: &str, block: &str| {
            let address = block.split('/').next().unwrap_or_default();
            let routes = ours(family).into_iter();
            let mut of_block = routes.filter(|line| line.split(' ').next() == Some(address));
            let only = of_block.next().unwrap_or_default();
            assert_eq!(of_block.next(), None);
            only
        };
        for (family, block, next_hop) in blocks {
            let there = way(family, block);
            assert!(
                there.contains(&format!("via {next_hop} dev eth0")),
                "{there}"
            );
        }
        fib.apply(vec![workload("cali1", &["10.233.5.7", "fd00:233::7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        for (family, block, _) in blocks {
            let there = way(family, block);
            assert!(
                there.contains("dev cali1") && !there.contains("via"),
                "{there}"
            );
        }
        fib.apply(vec![Change::RemoveEndpoint("cali1".into())]);
        settle(&fib).await;
        for (family, block, next_hop) in blocks {
            let there = way(family, block);
            assert!(
                there.contains(&format!("via {next_hop} dev eth0")),
                "{there}"
            );
        }
        fib.apply(
            blocks
                .map(|(_, block, _)| Change::RemoveRoute(net(block)))
                .to_vec(),
        );
        settle(&fib).await;
        for (family, block, _) in blocks {
            assert_eq!(way(family, block), "");
            assert!(ours(family).join(" ").contains("blackhole"));
        }
    });
}
