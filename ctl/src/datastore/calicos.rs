//! What `calicoctl datastore migrate export` writes: three texts with `===` between them.
//!
//! ```text
//!   kind: IPPoolList …   YAML, a list for each kind
//!   ===
//!   {"kind": "ClusterInformation", …}
//!   ===
//!   {"block_affinities": [{"Key": "/calico/ipam/v2/host/…", "Value": {…}}], "blocks": […], "handles": […], "config": {…}}
//! ```
//!
//! IPAM's kinds stand there as they stand in etcd.

use caracal_datastore::etcd;
use serde::Deserialize;
use serde_json::Value;

use crate::manifests::{Found, Manifests, take};

/// The three texts, when it is such a file.
pub(crate) fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        if line == "===" {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    (parts.len() > 1).then_some(parts)
}

/// Takes them in.
pub(crate) fn take_parts(origin: &str, parts: &[String], read: &mut Manifests) {
    let [resources, cluster, ipam] = parts else {
        let words = format!(
            "{origin}: {} parts with === between them, where calicoctl writes 3: it is cut off, or something else",
            parts.len()
        );
        read.faults.push(words);
        return;
    };
    take(origin, resources, read);
    if !cluster.trim().is_empty() {
        take(&format!("{origin} (cluster information)"), cluster, read);
    }
    match serde_json::from_str::<Ipam>(ipam) {
        Ok(ipam) => ipam.take(origin, read),
        Err(error) => read.faults.push(format!("{origin} (IPAM): {error}")),
    }
}

#[derive(Deserialize)]
struct Ipam {
    #[serde(default)]
    block_affinities: Vec<Entry>,
    #[serde(default)]
    blocks: Vec<Entry>,
    #[serde(default)]
    handles: Vec<Entry>,
    #[serde(default)]
    config: Option<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    value: Value,
}

impl Ipam {
    fn take(self, origin: &str, read: &mut Manifests) {
        let lists = [self.handles, self.blocks, self.block_affinities];
        let entries = self.config.into_iter().chain(lists.into_iter().flatten());
        for entry in entries {
            let place = format!("{origin} (IPAM)");
            match etcd::ipam_object(&entry.key, &entry.value) {
                Ok(object) => read.objects.push(Found { object, place }),
                Err(fault) => read.faults.push(format!("{place}: {fault}")),
            }
        }
    }
}
