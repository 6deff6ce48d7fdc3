//! tmp
use crate::IPAMBlock;
/// tmp
pub fn faults(_b: &IPAMBlock) -> Vec<String> {
    Vec::new()
}
