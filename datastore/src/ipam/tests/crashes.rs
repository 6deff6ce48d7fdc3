//! Nodes that crash before or after any write. Whatever they leave, `tend` on the living puts it right:
//! nothing is given twice, and nothing leaks once the handles are released.

use proptest::prelude::*;

use super::*;
use crate::memory::MemoryDatastore;

const NODES: [&str; 3] = ["one", "two", "three"];

#[derive(Debug, Clone)]
enum Step {
    Assign {
        node: usize,
        handle: u8,
    },
    Release {
        node: usize,
        handle: u8,
    },
    Tend {
        node: usize,
    },
    /// The node dies at its nth write from now, before or after it, and starts anew.
    Crash {
        node: usize,
        write: u8,
        after: bool,
        then: u8,
    },
    Pass {
        seconds: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES.len();
    prop_oneof![
        5 => (node.clone(), 0..6_u8).prop_map(|(node, handle)| Step::Assign { node, handle }),
        4 => (node.clone(), 0..6_u8).prop_map(|(node, handle)| Step::Release { node, handle }),
        1 => node.clone().prop_map(|node| Step::Tend { node }),
        5 => (node, 0..5_u8, any::<bool>(), 0..12_u8)
            .prop_map(|(node, write, after, then)| Step::Crash { node, write, after, then }),
        1 => (0..70_u8).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// A client that dies at its nth write.
fn doomed(store: &MemoryDatastore, write: u8, after: bool) -> MemoryDatastore {
    let client = store.client();
    client.crash_at(u64::from(write), after);
    client
}

async fn run(steps: Vec<Step>, strict_affinity: bool, cooldown: Option<u32>) {
    // Few addresses, so that borrowing and reclaiming happen.
    let cluster = Cluster::new(&[("p", "10.0.0.0/28", 30)]).await;
    let config = IPAMConfig {
        strict_affinity,
        ip_cooldown_seconds: cooldown,
        ..IPAMConfig::default()
    };
    cluster.configure(config).await;
    let mut nodes: Vec<Ipam> = NODES.iter().map(|node| cluster.ipam(node)).collect();
    let mut given: BTreeMap<IpAddr, String> = BTreeMap::new();
    // A container belongs to one node.
    let name = |node: usize, handle: u8| format!("{}.h{handle}", NODES[node]);
    for step in steps {
        match step {
            Step::Assign { node, handle } => {
                let handle = name(node, handle);
                if let Ok(assigned) = nodes[node].assign(request(&handle, NODES[node])).await {
                    let owner = given.insert(assigned[0].address, handle.clone());
                    assert!(
                        owner.as_ref().is_none_or(|owner| *owner == handle),
                        "{} was {owner:?}'s and is given to {handle}",
                        assigned[0].address
                    );
                }
            }
            Step::Release { node, handle } => {
                let handle = name(node, handle);
                nodes[node].release_handle(&handle).await.unwrap();
                given.retain(|_, owner| *owner != handle);
            }
            Step::Tend { node } => nodes[node].tend().await.unwrap(),
            Step::Pass { seconds } => cluster.pass(seconds.into()),
            Step::Crash {
                node,
                write,
                after,
                then,
            } => {
                let dying = cluster.ipam_on(NODES[node], doomed(&cluster.store, write, after));
                let handle = name(node, then % 6);
                // What it answered before it died counts.
                if then < 6 {
                    if let Ok(assigned) = dying.assign(request(&handle, NODES[node])).await {
                        given.insert(assigned[0].address, handle);
                    }
                } else if then < 10 {
                    let _ = dying.release_handle(&handle).await;
                    given.retain(|_, owner| *owner != handle);
                } else {
                    let _ = dying.tend().await;
                }
                nodes[node] = cluster.ipam(NODES[node]);
            }
        }
        let findings = cluster.findings().await;
        assert!(
            !findings.iter().any(|finding| matches!(
                finding,
                Finding::TwoOwners { .. }
                    | Finding::DuplicateAffinity { .. }
                    | Finding::Block { .. }
            )),
            "{findings:?}"
        );
    }
    // Every node tends; what may have been a write under way is put right when its grace is over.
    for _ in 0..3 {
        for node in &nodes {
            node.tend().await.unwrap();
        }
        cluster.pass(700);
    }
    for node in &nodes {
        node.tend().await.unwrap();
        cluster.pass(61);
        node.tend().await.unwrap();
    }
    assert_eq!(cluster.findings().await, []);
    for (address, handle) in &given {
        let blocks = cluster.blocks().await;
        let held = blocks
            .iter()
            .any(|stored| block::addresses_of(&stored.spec, handle).contains(address));
        assert!(
            held,
            "{address} was given to {handle}, who does not have it"
        );
    }
    // The runtime deletes every container it ever tried to add.
    for (index, node) in nodes.iter().enumerate() {
        for handle in 0..6 {
            node.release_handle(&name(index, handle)).await.unwrap();
        }
    }
    assert_eq!(cluster.findings().await, []);
    let (handles, _) = cluster.typed().list::<IPAMHandle>().await.unwrap();
    assert!(handles.is_empty(), "{handles:?}");
    for stored in cluster.blocks().await {
        let used = block::allocated(&stored.spec).any(|(_, had)| had.handle_id.is_some());
        assert!(!used, "{:?}", stored.spec);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_whoever_crashes_at_which_write(
        steps in proptest::collection::vec(step(), 1..40),
        strict_affinity in any::<bool>(),
        cooldown in prop_oneof![Just(None), Just(Some(30))],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build().unwrap();
        runtime.block_on(run(steps, strict_affinity, cooldown));
    }
}

/// Each write of a first assignment and of a release, one after the other.
/// Invariant 5 of docs/architecture.md.
#[tokio::test]
async fn a_crash_at_each_write_of_a_life_is_survived() {
    for write in 0..8 {
        for after in [false, true] {
            for then in [0, 6, 10] {
                let crash = Step::Crash {
                    node: 0,
                    write,
                    after,
                    then,
                };
                let before = Step::Assign { node: 0, handle: 0 };
                run(vec![crash.clone()], false, None).await;
                run(vec![before, crash], true, None).await;
            }
        }
    }
}

#[tokio::test]
async fn a_claim_that_is_taken_back_is_given_up_when_the_block_is_somebody_elses_by_now() {
    for owner in [Some("m"), None] {
        let cluster = Cluster::new(&[("p", "10.0.0.0/26", 26)]).await;
        let (store, cidr) = (cluster.typed(), net("10.0.0.0/26"));
        let block = block::new(cidr, owner, UNIX_EPOCH);
        let block = store.create(Stored::new(names::block(&cidr), block));
        let block = block.await.unwrap();
        let claim = BlockAffinity::new("n", cidr, AffinityState::PendingDeletion);
        let name = names::affinity("n", &cidr);
        let claim = store
            .create(Stored::new(name.clone(), claim))
            .await
            .unwrap();
        cluster.ipam("n").give_back(claim).await.unwrap();
        // Confirmed it would promise addresses that are another's.
        let left = store.get::<BlockAffinity>(&name).await.unwrap();
        assert_eq!(left, None, "{owner:?}");
        let now = store.get::<IPAMBlock>(&names::block(&cidr)).await.unwrap();
        assert_eq!(now.unwrap().revision, block.revision, "{owner:?}");
    }
}
