//! Manifests as people write them, and the lines that faults name.
