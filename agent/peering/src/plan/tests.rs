//! States of a cluster and the peers that follow.
