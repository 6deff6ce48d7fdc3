//! Memory of speakers, counted by the allocator: one test alone in its process.

use caracal_sim::scale::{Shape, story};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn the_memory_of_nodes_and_reflectors_grows_with_paths() {
    let nodes = [50, 100, 200];
    let heaps = nodes.map(|nodes| {
        let shape = Shape {
            whole: 5,
            ..Shape::reflected(nodes, 4)
        };
        let mut accounts = Vec::new();
        let tell = |account: &_| accounts.push(Clone::clone(account));
        story::live(shape, &[], || HEAP.current_usage(), tell).unwrap();
        let account: caracal_sim::scale::Account = accounts.remove(0);
        (account.node_heap.0, account.reflector_heap)
    });
    for ((node, reflector), nodes) in heaps.into_iter().zip(nodes) {
        // Tables grow by doubling: up to twice of what they hold is theirs.
        let octets_a_path = node / (nodes * 4 * 4);
        assert!(octets_a_path < NODE_OCTETS_A_PATH, "{heaps:?}");
        let octets_a_client = reflector / nodes;
        assert!(octets_a_client < REFLECTOR_OCTETS_A_CLIENT, "{heaps:?}");
    }
}

/// Of a node, whose blocks come by four reflectors.
const NODE_OCTETS_A_PATH: usize = 160;
/// Of a reflector, with the client's four blocks.
const REFLECTOR_OCTETS_A_CLIENT: usize = 12_000;
