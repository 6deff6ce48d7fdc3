//! Which way out: encapsulation, next hop and own subnets in, direct or tunnel out. Pure.
