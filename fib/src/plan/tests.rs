//! The order of a batch.

use std::time::Instant;

use smallvec::smallvec;

use super::*;
use crate::delta::Delta;
use crate::kernel::Hop;

#[test]
fn a_pods_route_comes_before_the_blackhole_that_covers_it_and_deletions_are_last() {
    let mut routes = Delta::<_, _>::new(route);
    let stale = key("10.233.5.0/26");
    routes.report(stale, Some(via()));
    routes.report(key("10.233.1.9/32"), Some(device()));
    routes.report(key("10.233.6.0/26"), Some(Spec::blackhole(67)));
    routes.permit_all(|_, _| true);
    routes.set(key("10.233.1.0/26"), Spec::blackhole(67));
    routes.set(key("10.233.2.0/26"), via());
    routes.set(key("10.233.1.7/32"), device());

    let order: Vec<String> = routes
        .take(100, Instant::now())
        .into_iter()
        .map(|(key, action)| match action {
            Action::Set { .. } => format!("+{}", key.prefix),
            Action::Delete(_) => format!("-{}", key.prefix),
        })
        .collect();
    assert_eq!(
        order,
        [
            "+10.233.1.7/32",
            "+10.233.2.0/26",
            "+10.233.1.0/26",
            "-10.233.1.9/32",
            "-10.233.5.0/26",
            "-10.233.6.0/26",
        ]
    );
}

#[test]
fn a_route_that_changes_is_one_replacement() {
    let mut routes = Delta::<_, _>::new(route);
    let key = key("10.233.2.0/26");
    routes.report(key, Some(device()));
    routes.set(key, via());
    let mut actions = routes.take(100, Instant::now());
    assert_eq!(actions.len(), 1);
    let expected = Write::Set {
        key,
        spec: via(),
        replace: true,
    };
    let (_, action) = actions.remove(0);
    assert_eq!(write(key, action, false), expected);
}

#[test]
fn a_key_that_was_never_ours_is_not_overwritten_unless_it_is_calicos() {
    let action = || Action::Set {
        value: via(),
        owned: false,
    };
    let key = key("10.233.2.0/26");
    let replaces = |write| matches!(write, Write::Set { replace: true, .. });
    assert!(!replaces(write(key, action(), false)));
    assert!(replaces(write(key, action(), true)));
}

fn key(prefix: &str) -> Key {
    Key::new(prefix.parse().unwrap(), 0)
}

fn via() -> Spec {
    let hop = Hop {
        via: Some("172.18.0.2".parse().unwrap()),
        device: 2,
        onlink: false,
        weight: 0,
    };
    Spec::unicast(67, &"10.0.0.0/8".parse().unwrap(), smallvec![hop])
}

fn device() -> Spec {
    let hop = Hop {
        via: None,
        device: 3,
        onlink: false,
        weight: 0,
    };
    Spec::unicast(67, &"10.0.0.0/8".parse().unwrap(), smallvec![hop])
}
