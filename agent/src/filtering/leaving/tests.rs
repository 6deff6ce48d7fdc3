use caracal_filter::TunnelProtection;

use super::*;

fn rules(ends: &[&str]) -> Rules {
    Rules {
        tunnels: Some(TunnelProtection {
            ipip: true,
            ends: nets(ends),
            ..TunnelProtection::default()
        }),
        ..Rules::default()
    }
}

fn nets(texts: &[&str]) -> BTreeSet<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn joined(leaving: &mut Leaving, ends: &[&str], now: Instant) -> BTreeSet<IpNet> {
    let mut rules = rules(ends);
    leaving.join(&mut rules, now);
    rules.tunnels.unwrap().ends
}

#[test]
fn a_node_that_leaves_or_changes_its_address_is_heard_for_a_while() {
    let (mut leaving, start) = (Leaving::default(), Instant::now());
    let all = ["192.0.2.1/32", "192.0.2.2/32"];
    assert_eq!(joined(&mut leaving, &all, start), nets(&all));
    assert_eq!(leaving.next(), None);
    let moved = ["192.0.2.1/32", "192.0.2.3/32"];
    let both = nets(&["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"]);
    assert_eq!(joined(&mut leaving, &moved, start), both);
    // Other plans do not prolong it.
    let later = start + PATIENCE / 2;
    assert_eq!(joined(&mut leaving, &moved, later), both);
    let end = start + PATIENCE;
    assert_eq!(leaving.next(), Some(end));
    assert_eq!(joined(&mut leaving, &moved, end), nets(&moved));
    assert_eq!(leaving.next(), None);
}

#[test]
fn one_that_comes_back_is_present_and_without_tunnels_nobody_is() {
    let (mut leaving, now) = (Leaving::default(), Instant::now());
    joined(&mut leaving, &["192.0.2.1/32", "192.0.2.2/32"], now);
    joined(&mut leaving, &["192.0.2.1/32"], now);
    joined(&mut leaving, &["192.0.2.1/32", "192.0.2.2/32"], now);
    assert_eq!(leaving.next(), None);
    joined(&mut leaving, &["192.0.2.1/32"], now);
    leaving.join(&mut Rules::default(), now);
    assert_eq!(leaving.next(), None);
    assert_eq!(joined(&mut leaving, &[], now), nets(&[]));
}
