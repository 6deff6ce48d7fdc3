//! What changes between a look and the repair speaks for whoever changed it: each guard of a repair by itself.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::ipam::collect::{Verdict, judge};
use crate::resources::{AffinityType, Attribute};

fn cidr(text: &str) -> IpNet {
    text.parse().unwrap()
}

impl Cluster {
    async fn claim(&self, node: &str, block: &str, state: AffinityState) {
        let claim = BlockAffinity::new(node, cidr(block), state);
        let name = names::affinity(node, &cidr(block));
        self.create(Stored::new(name, claim)).await;
    }

    async fn block(&self, block: &str, node: Option<&str>) {
        let spec = block_of(cidr(block), node, SystemTime::UNIX_EPOCH);
        self.create(Stored::new(names::block(&cidr(block)), spec))
            .await;
    }

    async fn affinity(&self, node: &str, block: &str) -> Option<Stored<BlockAffinity>> {
        let name = names::affinity(node, &cidr(block));
        self.typed().get(&name).await.unwrap()
    }

    async fn handle(&self, id: &str, block: &str, count: usize) {
        let handle = IPAMHandle {
            handle_id: id.to_owned(),
            block: [(block.to_owned(), count)].into(),
            deleted: false,
            extra: Extra::new(),
        };
        self.create(Stored::new(id, handle)).await;
    }

    fn put_nonsense(&self, key: Key) {
        self.store.put_unchecked(Object {
            metadata: crate::Metadata {
                name: key.name.clone(),
                namespace: key.namespace.clone(),
                ..Default::default()
            },
            key,
            spec: serde_json::json!({"deleted": 7, "orchestrator": 7, "cidr": 7}),
            revision: None,
        });
    }

    async fn remove_node(&self, node: &str) {
        let key = Key::new(Kind::Node, node);
        self.store.delete(&key, None).await.unwrap();
    }

    async fn plan(&self) -> Plan {
        let snapshot = self.snapshot().await;
        self.ipam("leader").look(&snapshot).await.unwrap()
    }

    /// What that look has found is put right now, whatever has happened since.
    async fn carry_out(&self, plan: &Plan) -> Round {
        let mut round = Round::default();
        let ipam = self.ipam("leader");
        ipam.carry_out(&plan.suspects, &|| true, &mut round).await;
        round
    }
}

fn suspected(plan: &Plan) -> Vec<&'static str> {
    let all = plan.suspects.iter();
    all.map(|suspect| suspect.repair.kind()).collect()
}

#[tokio::test]
async fn an_address_that_was_taken_up_again_is_spared() {
    let cluster = Cluster::new(&["n"]).await;
    let address = cluster.assign("n", "a", "c1").await;
    cluster.pass(1000);
    let plan = cluster.plan().await;
    assert_eq!(suspected(&plan), ["address"]);
    // The same container asks again; its record comes later.
    assert_eq!(cluster.assign("n", "a", "c1").await, address);
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 1));
    assert_eq!(cluster.allocated().await, [address]);
}

#[tokio::test]
async fn an_address_that_another_handle_has_by_now_is_spared_also_where_nothing_counts_allocations()
{
    let cluster = Cluster::new(&["n"]).await;
    let address = cluster.assign("n", "a", "c1").await;
    let plan = cluster.plan().await;
    assert_eq!(suspected(&plan), ["address"]);
    // Older versions of Calico write no numbers, and within a second the time is the same.
    let (blocks, _) = cluster.typed().list::<IPAMBlock>().await.unwrap();
    let mut block = blocks.into_iter().next().unwrap();
    for attribute in &mut block.spec.attributes {
        if attribute.handle_id.as_deref() == Some("net.c1") {
            attribute.handle_id = Some("net.c2".to_owned());
        }
    }
    cluster.typed().update(block).await.unwrap();
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 1), "{round:?}");
    assert_eq!(cluster.allocated().await, [address]);
}

#[tokio::test]
async fn a_block_that_somebody_writes_at_the_same_moment_is_left_to_the_next_round_and_holds_no_other_up()
 {
    let cluster = Cluster::new(&["n", "m"]).await;
    cluster.assign("n", "a", "c1").await;
    cluster.assign("m", "b", "c2").await;
    let plan = cluster.plan().await;
    assert_eq!(suspected(&plan), ["address", "address"]);
    let client = cluster.store.client();
    let races = AtomicUsize::new(1);
    client.set_plan(move |operation| {
        let writes =
            operation.kind == Kind::IPAMBlock && operation.verb == crate::memory::Verb::Update;
        match writes && races.swap(0, Ordering::Relaxed) == 1 {
            true => Fault::Before(StoreError::Conflict(Key::new(
                Kind::IPAMBlock,
                &operation.name,
            ))),
            false => Fault::None,
        }
    });
    let mut round = Round::default();
    let ipam = cluster.ipam_on("leader", client);
    ipam.carry_out(&plan.suspects, &|| true, &mut round).await;
    assert!(round.error.is_none(), "{round:?}");
    assert_eq!((round.done.len(), round.spared), (1, 1), "{round:?}");
    assert_eq!(cluster.allocated().await.len(), 1);
}

#[tokio::test]
async fn a_record_that_is_anybodys_and_cannot_be_read_by_now_spares_everything() {
    let cluster = Cluster::new(&["n"]).await;
    cluster.assign("n", "a", "c1").await;
    let plan = cluster.plan().await;
    cluster.put_nonsense(Key::in_namespace(Kind::WorkloadEndpoint, "default", "x"));
    let round = cluster.carry_out(&plan).await;
    assert!(round.done.is_empty() && round.held.is_some(), "{round:?}");
    assert_eq!(cluster.allocated().await.len(), 1);
    // Nor is anything suspected.
    let plan = cluster.plan().await;
    assert!(plan.held.is_some() && plan.suspects.is_empty(), "{plan:?}");
}

#[tokio::test]
async fn a_record_speaks_for_its_container_whatever_address_it_names() {
    let cluster = Cluster::new(&["n"]).await;
    cluster.assign("n", "a", "c1").await;
    let other = "10.77.0.1".parse().unwrap();
    cluster.record("n", "a", "c1", &[other]).await;
    assert_eq!(cluster.collect().await.done, []);
}

#[tokio::test]
async fn a_node_with_workloads_keeps_its_claims_without_a_node_resource() {
    let cluster = Cluster::new(&["n", "m"]).await;
    let used = cluster.assign("m", "a", "c1").await;
    cluster.remove_node("m").await;
    let plan = cluster.plan().await;
    assert_eq!(suspected(&plan), ["address", "node"]);
    cluster.record("m", "a", "c1", &[used]).await;
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 2));
    assert_eq!(suspected(&cluster.plan().await), Vec::<&str>::new());
}

#[tokio::test]
async fn a_node_that_is_back_keeps_its_blocks() {
    let cluster = Cluster::new(&["n"]).await;
    let used = cluster.assign("m", "a", "c1").await;
    let plan = cluster.plan().await;
    cluster.create(Stored::new("m", Node::default())).await;
    cluster.record("m", "a", "c1", &[used]).await;
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 2));
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn a_claim_that_its_node_has_written_since_is_spared() {
    let cluster = Cluster::new(&["n"]).await;
    cluster
        .claim("n", "10.0.0.8/29", AffinityState::Confirmed)
        .await;
    let plan = cluster.plan().await;
    assert_eq!(suspected(&plan), ["claim"]);
    // The node claims the block: its affinity is pending, the block not there yet.
    let mut claim = cluster.affinity("n", "10.0.0.8/29").await.unwrap();
    claim.spec.state = AffinityState::Pending;
    cluster.typed().update(claim).await.unwrap();
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 1));
    assert!(cluster.affinity("n", "10.0.0.8/29").await.is_some());
}

#[tokio::test]
async fn a_claim_whose_block_came_since_is_spared_and_so_is_one_whose_block_went() {
    let cluster = Cluster::new(&["n"]).await;
    cluster
        .claim("n", "10.0.0.8/29", AffinityState::Confirmed)
        .await;
    cluster.block("10.0.0.16/29", Some("n")).await;
    cluster
        .claim("n", "10.0.0.16/29", AffinityState::Pending)
        .await;
    let plan = cluster.plan().await;
    assert_eq!(suspected(&plan), ["confirm", "claim"]);
    cluster.block("10.0.0.8/29", Some("n")).await;
    let typed = cluster.typed();
    let name = names::block(&cidr("10.0.0.16/29"));
    let mut block = typed.get::<IPAMBlock>(&name).await.unwrap().unwrap();
    block.spec.affinity = Some("host:m".to_owned());
    typed.update(block).await.unwrap();
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 2));
    assert!(cluster.affinity("n", "10.0.0.8/29").await.is_some());
    assert!(cluster.affinity("n", "10.0.0.16/29").await.is_some());
}

#[tokio::test]
async fn a_removal_that_stopped_half_way_ends_when_the_block_is_empty_and_is_undone_when_not() {
    let cluster = Cluster::new(&["n"]).await;
    let used = cluster.assign("n", "a", "c1").await;
    cluster.record("n", "a", "c1", &[used]).await;
    let (blocks, _) = cluster.typed().list::<IPAMBlock>().await.unwrap();
    let own = blocks[0].spec.cidr.to_string();
    let mut claim = cluster.affinity("n", &own).await.unwrap();
    claim.spec.state = AffinityState::PendingDeletion;
    cluster.typed().update(claim).await.unwrap();
    let empty = "10.0.0.248/29";
    cluster.block(empty, Some("n")).await;
    cluster
        .claim("n", empty, AffinityState::PendingDeletion)
        .await;
    let round = cluster.collect().await;
    assert_eq!(kinds(&round), ["confirm", "confirm"]);
    assert_eq!(cluster.allocated().await, [used]);
    let kept = cluster.affinity("n", &own).await.unwrap();
    assert_eq!(kept.spec.state, AffinityState::Confirmed);
    assert!(cluster.affinity("n", empty).await.is_none());
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn a_handle_that_was_written_since_is_spared_and_so_it_is_while_a_block_cannot_be_read() {
    let cluster = Cluster::new(&["n"]).await;
    cluster.handle("net.c1", "10.0.0.8/29", 1).await;
    cluster.handle("net.c2", "10.0.0.8/29", 1).await;
    let plan = cluster.plan().await;
    assert_eq!(suspected(&plan), ["handle", "handle"]);
    // An address is being given: the handle first, the block in a moment.
    let typed = cluster.typed();
    let mut handle = typed.get::<IPAMHandle>("net.c1").await.unwrap().unwrap();
    handle.spec.block.insert("10.0.0.16/29".to_owned(), 1);
    typed.update(handle).await.unwrap();
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (1, 1));
    assert!(typed.get::<IPAMHandle>("net.c1").await.unwrap().is_some());
    let plan = cluster.plan().await;
    cluster.put_nonsense(Key::new(Kind::IPAMBlock, "10-0-0-8-29"));
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 1));
    // What counts an unreadable block is not suspected, nor is a claim on it.
    cluster
        .claim("n", "10.0.0.8/29", AffinityState::Confirmed)
        .await;
    assert_eq!(suspected(&cluster.plan().await), Vec::<&str>::new());
}

#[tokio::test]
async fn a_handle_that_is_marked_for_deletion_is_written_anew_for_what_blocks_hold() {
    let cluster = Cluster::new(&["n"]).await;
    let used = cluster.assign("n", "a", "c1").await;
    cluster.record("n", "a", "c1", &[used]).await;
    let typed = cluster.typed();
    let mut handle = typed.get::<IPAMHandle>("net.c1").await.unwrap().unwrap();
    handle.spec.deleted = true;
    typed.update(handle).await.unwrap();
    assert_eq!(kinds(&cluster.collect().await), ["handle"]);
    assert_eq!(kinds(&cluster.collect().await), ["handle"]);
    let handle = typed.get::<IPAMHandle>("net.c1").await.unwrap().unwrap();
    assert!(!handle.spec.deleted);
    assert_eq!(cluster.findings().await, []);
    assert_eq!(cluster.allocated().await, [used]);
}

#[tokio::test]
async fn an_empty_block_that_was_written_since_or_whose_node_went_is_spared() {
    let cluster = Cluster::new(&["n", "m"]).await;
    for block in ["10.0.0.8/29", "10.0.0.16/29"] {
        cluster.block(block, Some("m")).await;
        cluster.claim("m", block, AffinityState::Confirmed).await;
    }
    let plan = cluster.plan().await;
    assert_eq!(suspected(&plan), ["block"]);
    cluster.remove_node("m").await;
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 1));
    cluster.create(Stored::new("m", Node::default())).await;
    let typed = cluster.typed();
    for mut block in typed.list::<IPAMBlock>().await.unwrap().0 {
        block.spec.sequence_number += 1;
        typed.update(block).await.unwrap();
    }
    let round = cluster.carry_out(&plan).await;
    assert_eq!((round.done.len(), round.spared), (0, 1));
}

#[tokio::test]
async fn what_is_a_virtual_owners_or_in_use_is_not_suspected() {
    let cluster = Cluster::new(&["n"]).await;
    let mut claim = BlockAffinity::new("lb", cidr("10.0.0.8/29"), AffinityState::Confirmed);
    claim.affinity_type = AffinityType::Virtual;
    cluster.create(Stored::new("lb-10-0-0-8-29", claim)).await;
    let mut block = block_of(cidr("10.0.0.8/29"), None, SystemTime::UNIX_EPOCH);
    block.affinity = Some("virtual:lb".to_owned());
    cluster.create(Stored::new("10-0-0-8-29", block)).await;
    for pod in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        let used = cluster.assign("n", pod, pod).await;
        cluster.record("n", pod, pod, &[used]).await;
    }
    assert_eq!(suspected(&cluster.plan().await), Vec::<&str>::new());
    // While a pool cannot be read, no block is one that no pool covers.
    cluster.block("10.0.0.240/29", Some("m")).await;
    cluster
        .claim("m", "10.0.0.240/29", AffinityState::Confirmed)
        .await;
    cluster.create(Stored::new("m", Node::default())).await;
    cluster.put_nonsense(Key::new(Kind::IPPool, "p"));
    assert_eq!(suspected(&cluster.plan().await), Vec::<&str>::new());
}

#[tokio::test]
async fn who_no_longer_leads_writes_nothing_more() {
    for (asked, expected) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
        let cluster = Cluster::new(&["n"]).await;
        cluster.assign("n", "a", "c1").await;
        cluster.handle("net.lost", "10.0.0.248/29", 1).await;
        let plan = cluster.plan().await;
        assert_eq!(suspected(&plan), ["address", "handle"]);
        let left = AtomicUsize::new(asked);
        let leads = || {
            let one_less = |left: usize| left.checked_sub(1);
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
        };
        let mut round = Round::default();
        let ipam = cluster.ipam("leader");
        // Each address and each repair asks.
        ipam.carry_out(&plan.suspects, &leads, &mut round).await;
        assert!(round.done.len() <= expected, "{asked}: {round:?}");
        assert!(round.error.is_none());
    }
}

#[tokio::test]
async fn one_that_cannot_be_read_holds_no_other_repair_up() {
    let cluster = Cluster::new(&["n"]).await;
    cluster.handle("net.a", "10.0.0.8/29", 1).await;
    cluster.handle("net.b", "10.0.0.8/29", 1).await;
    let plan = cluster.plan().await;
    cluster.put_nonsense(Key::new(Kind::IPAMHandle, "net.a"));
    let round = cluster.carry_out(&plan).await;
    assert!(round.error.is_none(), "{round:?}");
    assert_eq!((round.done.len(), round.spared), (1, 1));
}

#[test]
fn only_what_a_cni_plugin_has_written_is_judged() {
    let users = Users::default();
    let said = [("node", "n"), ("namespace", "default"), ("pod", "a")];
    let plain = Attribute {
        handle_id: Some("net.c1".to_owned()),
        secondary: said
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..Attribute::default()
    };
    let of = |attribute: &Attribute| judge("10.0.0.1".parse().unwrap(), attribute, &[], &users);
    assert!(matches!(of(&plain), Verdict::Leaked(_)));
    let mut moving = plain.clone();
    moving.alternate_owner_attrs = [("pod".to_owned(), "b".to_owned())].into();
    let mut later = plain.clone();
    later.extra.insert("field".to_owned(), 1.into());
    let mut resting = plain.clone();
    resting.released_at = Some(crate::Timestamp::of(SystemTime::UNIX_EPOCH));
    for strange in [moving, later, resting] {
        assert_eq!(of(&strange), Verdict::Unknown, "{strange:?}");
    }
}

#[tokio::test]
async fn by_hand_nothing_is_freed_that_is_in_use_or_another_by_now() {
    let cluster = Cluster::new(&["n"]).await;
    let used = cluster.assign("n", "a", "c1").await;
    cluster.record("n", "a", "c1", &[used]).await;
    let leaked = cluster.assign("n", "b", "c2").await;
    let ipam = cluster.ipam("person");
    let wish = |address: IpAddr| Wish {
        address,
        handle: None,
        sequence_number: None,
    };
    let other_handle = Wish {
        handle: Some("net.c9".to_owned()),
        ..wish(leaked)
    };
    let other_number = Wish {
        sequence_number: Some(7),
        ..wish(leaked)
    };
    let wishes = [wish(used), other_handle, other_number];
    let outcomes = ipam.free_by_hand(&wishes, false).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::InUse(_)), "{outcomes:?}");
    assert_eq!(outcomes[1..], [Outcome::Changed, Outcome::Changed]);
    assert_eq!(cluster.allocated().await.len(), 2);
    // A record cannot be read: of nobody knows whom, and then of this pod.
    let anybodys = Key::in_namespace(Kind::WorkloadEndpoint, "default", "x");
    cluster.put_nonsense(anybodys.clone());
    assert!(ipam.free_by_hand(&[wish(leaked)], false).await.is_err());
    cluster.store.delete(&anybodys, None).await.unwrap();
    let own = endpoint_key("n", "b");
    cluster.put_nonsense(own.clone());
    let kept = ipam.free_by_hand(&[wish(leaked)], false).await.unwrap();
    assert!(
        matches!(&kept[0], Outcome::InUse(who) if who.contains("default/b")),
        "{kept:?}"
    );
    cluster.store.delete(&own, None).await.unwrap();
    // Another's holds it no longer.
    cluster.put_nonsense(endpoint_key("n", "z"));
    let freed = ipam.free_by_hand(&[wish(leaked)], false).await.unwrap();
    assert!(matches!(freed[0], Outcome::Freed { .. }), "{freed:?}");
    assert_eq!(cluster.allocated().await, [used]);
}
