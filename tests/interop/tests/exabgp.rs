//! ```text
//!        rack 1                         rack 2
//!   node1    node2    ExaBGP 4          node3
//!     │ .1     │ .2     │ .100            │ .1
//!   ──┴────────┴────────┴───── router ────┴──
//! ```
//! ExaBGP is one more speaker in the cluster's AS (or another one), a global BGPPeer of all nodes. It only calls and does not
//! listen, so all sessions are on its initiative. Expectations, over IPv4 and IPv6:
//!  1. Its session with each node is Established.
//!  2. Inside the AS it hears of each node's blocks from that node alone, with that node's address as next hop and with
//!     ORIGIN, LOCAL_PREF, MED and communities as the node itself shows them, and with an empty AS path; in another AS from each
//!     node, with the announcing node as next hop and 64512 as AS path.
//!  3. What it announces arrives at each node with LOCAL_PREF (inside the AS), MED, AS path, community and large community
//!     as it was set, and leads to it in each kernel; when withdrawn it is gone; when announced again it is back.
//!
//! Not its help over a restart: it keeps no routes, so there are none to keep.

use caracal_interop_tests::{ExaBgp, Scene};
use caracal_lab::lab_tests;

lab_tests! {
    fn exabgp_in_the_same_as_learns_all_blocks_and_its_prefixes_come_and_go() {
        let mut scene = Scene::<ExaBgp>::inside_the_as(true)?;
        scene.router_has_all_blocks()?;
        scene.prefixes_of_the_router_come_and_go()
    }

    fn exabgp_in_another_as_learns_all_blocks_and_its_prefixes_come_and_go() {
        let mut scene = Scene::<ExaBgp>::in_another_as(true)?;
        scene.router_has_all_blocks()?;
        scene.prefixes_of_the_router_come_and_go()
    }
}
