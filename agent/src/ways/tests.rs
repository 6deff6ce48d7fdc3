use super::*;

fn pool(cidr: &str, encapsulation: Encapsulation) -> Pool {
    Pool {
        name: cidr.into(),
        cidr: cidr.parse().unwrap(),
        encapsulation,
        disable_bgp_export: false,
        disabled: false,
        unusable: None,
    }
}

fn learned(texts: &[&str]) -> Vec<(IpAddr, Option<&'static str>)> {
    hops(texts).into_iter().map(|hop| (hop, None)).collect()
}

fn hops(texts: &[&str]) -> NextHops {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_block_is_reached_as_its_pool_says() {
    let pools = [pool(
        "10.233.0.0/16",
        Encapsulation::Ipip(Mode::CrossSubnet),
    )];
    let block: IpNet = "10.233.4.0/26".parse().unwrap();
    assert_eq!(
        change(block, learned(&["172.31.2.1"]), &pools, &[]),
        Change::SetRoute(
            block,
            Route::Remote {
                next_hops: hops(&["172.31.2.1"]),
                encapsulation: Encapsulation::Ipip(Mode::CrossSubnet)
            }
        )
    );
}

#[test]
fn a_prefix_outside_every_pool_is_not_encapsulated() {
    let pools = [pool("10.233.0.0/16", Encapsulation::Vxlan(Mode::Always))];
    let change = change(
        "198.51.100.0/24".parse().unwrap(),
        learned(&["172.31.1.254"]),
        &pools,
        &[],
    );
    assert!(matches!(
        change,
        Change::SetRoute(
            _,
            Route::Remote {
                encapsulation: Encapsulation::None,
                ..
            }
        )
    ));
}

#[test]
fn no_next_hop_or_only_our_own_means_no_route() {
    let own = hops(&["172.31.1.1"]);
    let block: IpNet = "10.233.4.0/26".parse().unwrap();
    assert_eq!(change(block, vec![], &[], &own), Change::RemoveRoute(block));
    assert_eq!(
        change(block, learned(&["172.31.1.1"]), &[], &own),
        Change::RemoveRoute(block)
    );
}

#[test]
fn a_pool_that_overlaps_the_node_is_left_alone() {
    let mut overlapping = pool("172.31.0.0/16", Encapsulation::None);
    overlapping.unusable = Some("overlaps 172.31.1.0/24".into());
    let block: IpNet = "172.31.1.0/26".parse().unwrap();
    assert_eq!(
        change(block, learned(&["172.31.1.2"]), &[overlapping], &[]),
        Change::RemoveRoute(block)
    );
}

#[test]
fn the_longest_of_nested_pools_decides() {
    let pools = [
        pool("10.0.0.0/8", Encapsulation::None),
        pool("10.233.0.0/16", Encapsulation::Ipip(Mode::Always)),
    ];
    let found = pool_of(&pools, &"10.233.4.0/26".parse().unwrap()).unwrap();
    assert_eq!(found.name, "10.233.0.0/16");
}

#[test]
fn ipip_is_for_ipv4_only() {
    let v6: IpNet = "fd00:233::/48".parse().unwrap();
    assert_eq!(
        encapsulation(Some(Mode::Always), None, &v6),
        Encapsulation::None
    );
    assert_eq!(
        encapsulation(Some(Mode::Always), Some(Mode::Always), &v6),
        Encapsulation::Vxlan(Mode::Always)
    );
}

#[test]
fn routers_on_links_are_reached_without_a_tunnel_and_only_where_no_node_has_the_prefix() {
    let pools = [pool("10.233.0.0/16", Encapsulation::Vxlan(Mode::Always))];
    let prefix: IpNet = "10.233.4.0/26".parse().unwrap();
    let router: IpAddr = "fe80::7".parse().unwrap();
    let over = |device: &'static str| (router, Some(device));
    let next_hops = vec![(router, "eth1".to_owned()), (router, "eth2".to_owned())];
    assert_eq!(
        change(prefix, vec![over("eth1"), over("eth2")], &pools, &[]),
        Change::SetRoute(prefix, Route::Links { next_hops })
    );
    let mut mixed = learned(&["172.31.2.1"]);
    mixed.push(over("eth1"));
    assert_eq!(
        change(prefix, mixed, &pools, &[]),
        change(prefix, learned(&["172.31.2.1"]), &pools, &[])
    );
}
