use super::*;
use crate::plan::tests::{mesh_of_three, with_router};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Invariant 3 of docs/architecture.md.
#[test]
fn nothing_goes_before_the_datastore_is_in_sync() {
    assert_eq!(now(false, &[], &mesh_of_three()), Gate::Closed);
    assert_eq!(now(true, &[], &mesh_of_three()), Gate::Open);
}

#[test]
fn an_absent_mesh_peer_protects_only_the_routes_through_itself() {
    let plan = mesh_of_three();
    let gate = now(true, &[address("172.31.2.1")], &plan);
    let tunnel = plan.vteps[&address("172.31.2.1")].address;
    let mut protected = vec![address("172.31.2.1"), tunnel];
    protected.sort();
    assert_eq!(gate, Gate::OpenExcept(protected));
}

#[test]
fn an_absent_router_protects_every_remote_route() {
    let plan = with_router("172.31.1.254");
    let awaited = [address("172.31.1.254"), address("172.31.2.1")];
    assert_eq!(now(true, &awaited, &plan), Gate::LocalOnly);
}
