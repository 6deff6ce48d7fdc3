//! Each row of the table, both families, and overlapping subnets.

use super::*;

const INSIDE: &str = "172.18.0.7";
const OUTSIDE: &str = "172.19.0.7";

#[test]
fn without_encapsulation_a_neighbour_is_direct_and_the_rest_goes_through_a_gateway() {
    assert_eq!(
        choose(Encapsulation::None, INSIDE),
        Way::Direct { device: 2 }
    );
    assert_eq!(choose(Encapsulation::None, OUTSIDE), Way::Gateway);
    assert_eq!(
        choose(Encapsulation::None, "2001:db8::7"),
        Way::Direct { device: 2 }
    );
    assert_eq!(choose(Encapsulation::None, "2001:db9::7"), Way::Gateway);
}

#[test]
fn always_means_the_tunnel_even_to_a_neighbour() {
    assert_eq!(choose(Encapsulation::Ipip(Mode::Always), INSIDE), Way::Ipip);
    assert_eq!(
        choose(Encapsulation::Vxlan(Mode::Always), INSIDE),
        Way::Vxlan
    );
    assert_eq!(
        choose(Encapsulation::Vxlan(Mode::Always), "2001:db8::7"),
        Way::Vxlan
    );
}

#[test]
fn cross_subnet_takes_the_tunnel_only_to_other_subnets() {
    let ipip = Encapsulation::Ipip(Mode::CrossSubnet);
    let vxlan = Encapsulation::Vxlan(Mode::CrossSubnet);
    assert_eq!(choose(ipip, INSIDE), Way::Direct { device: 2 });
    assert_eq!(choose(ipip, OUTSIDE), Way::Ipip);
    assert_eq!(choose(vxlan, INSIDE), Way::Direct { device: 2 });
    assert_eq!(choose(vxlan, OUTSIDE), Way::Vxlan);
    assert_eq!(choose(vxlan, "2001:db9::7"), Way::Vxlan);
}

#[test]
fn of_overlapping_subnets_the_longest_counts() {
    assert_eq!(
        choose(Encapsulation::None, "172.18.5.9"),
        Way::Direct { device: 3 }
    );
}

#[test]
fn ipip_to_an_ipv6_next_hop_is_impossible() {
    let way = choose(Encapsulation::Ipip(Mode::CrossSubnet), "2001:db8::7");
    assert_eq!(way, Way::Impossible);
}

fn choose(encapsulation: Encapsulation, next_hop: &str) -> Way {
    let subnets = [
        ("172.18.0.0/16", 2),
        ("172.18.5.0/24", 3),
        ("2001:db8::/64", 2),
    ]
    .map(|(prefix, device)| Subnet {
        prefix: prefix.parse().unwrap(),
        address: prefix.parse::<ipnet::IpNet>().unwrap().addr(),
        device,
    });
    way(encapsulation, next_hop.parse().unwrap(), &subnets)
}
