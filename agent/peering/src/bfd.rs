//! BFD for a BGPPeer. Calico's BGPPeer has no field for it, so an annotation says it.

use caracal_bgp::BfdConfig;
use caracal_bgp::config::bfd;
use caracal_datastore::Metadata;
use serde::Deserialize;

/// `true`, or `{minIntervalMilliseconds: 300, multiplier: 3, multihop: false}`, on a BGPPeer.
pub const ANNOTATION: &str = "bgp.caracal.network/bfd";

/// What the annotation says; the error names its value.
pub(crate) fn of(metadata: &Metadata) -> Result<Option<BfdConfig>, String> {
    let Some(value) = metadata.annotations.get(ANNOTATION) else {
        return Ok(None);
    };
    let read: Result<Annotation, _> = serde_saphyr::from_str(value);
    read.map(|annotation| annotation.0).map_err(|fault| {
        let fault = fault.without_snippet().to_string();
        format!("annotation {ANNOTATION}: `{value}`: {fault}")
    })
}

#[derive(Deserialize)]
struct Annotation(#[serde(deserialize_with = "bfd::switch")] Option<BfdConfig>);
