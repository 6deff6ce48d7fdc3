//! Two speakers over loopback TCP.
