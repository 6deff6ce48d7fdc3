//! Which columns a kind has in a table: those of `calicoctl`, and some more behind them. Values are taken as they stand, so
//! that an object which is not quite right can still be looked at.

use std::borrow::Borrow;

use caracal_datastore::{Kind, Object};
use serde_json::Value;

use crate::table::Table;

/// Heading, and where the value is: a JSON pointer into `spec`, behind `|` what stands there if nothing is; or a word for what
/// is computed.
type Column = (&'static str, &'static str);

/// Objects of one kind for people.
pub(crate) fn table<O: Borrow<Object>>(kind: Kind, objects: &[O], wide: bool) -> String {
    if objects.is_empty() {
        return format!("No {kind} found.\n");
    }
    let columns = columns(kind, wide);
    let mut table = Table::new(columns.iter().map(|(heading, _)| *heading));
    for object in objects {
        let object = object.borrow();
        table.row(columns.iter().map(|(_, place)| cell(object, place)));
    }
    table.columns()
}

fn columns(kind: Kind, wide: bool) -> Vec<Column> {
    match kind {
        // Where the wide table is not the other with more behind it.
        Kind::IPPool if wide => POOL_WIDE.to_vec(),
        Kind::WorkloadEndpoint if wide => WORKLOAD_WIDE.to_vec(),
        kind => columns_and_more(kind, wide),
    }
}

fn columns_and_more(kind: Kind, wide: bool) -> Vec<Column> {
    let (mut columns, more): (Vec<Column>, &[Column]) = match kind {
        Kind::Node => (
            vec![
                ("NAME", NAME),
                ("ASN", "/bgp/asNumber"),
                ("IPV4", "/bgp/ipv4Address"),
                ("IPV6", "/bgp/ipv6Address"),
            ],
            &[
                ("IPIP TUNNEL", "/bgp/ipv4IPIPTunnelAddr"),
                ("VXLAN TUNNEL", "/ipv4VXLANTunnelAddr"),
                ("CLUSTER ID", "/bgp/routeReflectorClusterID"),
            ],
        ),
        Kind::IPPool => (
            vec![
                ("NAME", NAME),
                ("CIDR", "/cidr"),
                ("SELECTOR", "/nodeSelector|all()"),
            ],
            &[],
        ),
        Kind::BGPConfiguration => (
            vec![
                ("NAME", NAME),
                ("LOGSEVERITY", "/logSeverityScreen"),
                ("MESHENABLED", "/nodeToNodeMeshEnabled|-"),
                ("ASNUMBER", "/asNumber|-"),
            ],
            &[("LISTENPORT", "/listenPort")],
        ),
        Kind::BGPPeer => (
            vec![
                ("NAME", NAME),
                ("PEERIP", "/peerIP"),
                ("NODE", PEERS_NODE),
                ("ASN", "/asNumber"),
            ],
            &[("PEERSELECTOR", "/peerSelector")],
        ),
        Kind::BGPFilter => (
            vec![
                ("NAME", NAME),
                ("NUMEXPORT", RULES_OUT),
                ("NUMIMPORT", RULES_IN),
            ],
            &[],
        ),
        Kind::IPAMBlock => (
            vec![
                ("NAME", NAME),
                ("CIDR", "/cidr"),
                ("AFFINITY", "/affinity"),
                ("IN USE", ALLOCATED),
            ],
            &[("SEQUENCE", "/sequenceNumber")],
        ),
        Kind::BlockAffinity => (
            vec![
                ("NAME", NAME),
                ("NODE", "/node"),
                ("CIDR", "/cidr"),
                ("STATE", "/state"),
            ],
            &[("DELETED", "/deleted")],
        ),
        Kind::IPAMHandle => (
            vec![("NAME", NAME), ("BLOCKS", "/block")],
            &[("HANDLE", "/handleID")],
        ),
        Kind::IPAMConfig => (
            vec![
                ("NAME", NAME),
                ("STRICTAFFINITY", "/strictAffinity"),
                ("AUTOALLOCATEBLOCKS", "/autoAllocateBlocks"),
                ("MAXBLOCKSPERHOST", "/maxBlocksPerHost"),
            ],
            &[],
        ),
        Kind::WorkloadEndpoint => (
            vec![
                ("NAMESPACE", NAMESPACE),
                ("WORKLOAD", WORKLOAD),
                ("NODE", "/node"),
                ("NETWORKS", "/ipNetworks"),
                ("INTERFACE", "/interfaceName"),
            ],
            &[],
        ),
        Kind::FelixConfiguration => (
            vec![
                ("NAME", NAME),
                ("V4PRIORITY", "/ipv4NormalRoutePriority"),
                ("V6PRIORITY", "/ipv6NormalRoutePriority"),
                ("MTUPATTERN", "/mtuIfacePattern"),
            ],
            &[
                ("IPIPMTU", "/ipipMTU"),
                ("VXLANMTU", "/vxlanMTU"),
                ("SPOOFING", "/workloadSourceSpoofing"),
            ],
        ),
        Kind::LiveMigration => (
            vec![
                ("NAMESPACE", NAMESPACE),
                ("NAME", NAME),
                ("SOURCE", "/source"),
                ("TARGET", "/target"),
            ],
            &[],
        ),
        Kind::IPReservation => (vec![("NAME", NAME), ("CIDRS", "/reservedCIDRs")], &[]),
        Kind::ClusterInformation => (
            vec![
                ("NAME", NAME),
                ("CLUSTERGUID", "/clusterGUID"),
                ("CLUSTERTYPE", "/clusterType"),
                ("CALICOVERSION", "/calicoVersion"),
                ("DATASTOREREADY", "/datastoreReady"),
            ],
            &[],
        ),
        Kind::CalicoNodeStatus => (
            vec![
                ("NAME", NAME),
                ("NODE", "/spec/node"),
                ("CLASSES", "/spec/classes"),
                ("INTERVAL", "/spec/updatePeriodSeconds"),
                ("LASTUPDATED", "/status/lastUpdated"),
            ],
            &[],
        ),
        Kind::HostEndpoint => (
            vec![("NAME", NAME), ("NODE", "/node")],
            &[
                ("INTERFACE", "/interfaceName"),
                ("IPS", "/expectedIPs"),
                ("PROFILES", "/profiles"),
            ],
        ),
        Kind::NetworkPolicy => (
            vec![("NAMESPACE", NAMESPACE), ("NAME", NAME), ("TIER", "/tier")],
            &[("ORDER", "/order"), ("SELECTOR", "/selector")],
        ),
        Kind::GlobalNetworkPolicy => (
            vec![("NAME", NAME), ("TIER", "/tier")],
            &[("ORDER", "/order"), ("SELECTOR", "/selector")],
        ),
        Kind::NetworkSet => (
            vec![("NAMESPACE", NAMESPACE), ("NAME", NAME)],
            &[("NETS", "/nets")],
        ),
        Kind::GlobalNetworkSet => (vec![("NAME", NAME)], &[("NETS", "/nets")]),
        Kind::Namespace => (vec![("NAME", NAME), ("PHASE", "/status/phase")], &[]),
        Kind::Service => (
            vec![
                ("NAMESPACE", NAMESPACE),
                ("NAME", NAME),
                ("TYPE", "/spec/type"),
                ("CLUSTER IPS", "/spec/clusterIPs"),
            ],
            &[
                ("EXTERNAL IPS", "/spec/externalIPs"),
                ("TRAFFIC POLICY", "/spec/externalTrafficPolicy"),
            ],
        ),
        Kind::EndpointSlice => (
            vec![
                ("NAMESPACE", NAMESPACE),
                ("NAME", NAME),
                ("ADDRESS TYPE", "/addressType"),
            ],
            &[],
        ),
        // Never the values.
        Kind::Secret => (
            vec![
                ("NAMESPACE", NAMESPACE),
                ("NAME", NAME),
                ("TYPE", "/type"),
                ("DATA", DATA),
            ],
            &[],
        ),
    };
    if wide {
        columns.extend(more);
    }
    columns
}

fn cell(object: &Object, place: &str) -> String {
    match place {
        NAME => object.key.name.clone(),
        NAMESPACE => object.key.namespace.clone().unwrap_or_default(),
        ALLOCATED => allocated(&object.spec),
        DATA => object.spec["data"]
            .as_object()
            .map_or(0, serde_json::Map::len)
            .to_string(),
        WORKLOAD => first_of(&object.spec, &["/workload", "/pod"], ""),
        PEERS_NODE => first_of(&object.spec, &["/node", "/nodeSelector"], "(global)"),
        RULES_OUT => count(&object.spec, ["exportV4", "exportV6"]),
        RULES_IN => count(&object.spec, ["importV4", "importV6"]),
        place => {
            let (pointer, absent) = place.split_once('|').unwrap_or((place, ""));
            first_of(&object.spec, &[pointer], absent)
        }
    }
}

/// The first that says something.
fn first_of(spec: &Value, pointers: &[&str], absent: &str) -> String {
    let mut said = pointers
        .iter()
        .filter_map(|pointer| spec.pointer(pointer))
        .map(text)
        .filter(|text| !text.is_empty());
    said.next().unwrap_or_else(|| absent.to_owned())
}

/// Of both lists together.
fn count(spec: &Value, lists: [&str; 2]) -> String {
    let lists = lists.iter().filter_map(|list| spec[*list].as_array());
    lists.map(Vec::len).sum::<usize>().to_string()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| format!("{key}={}", text(value)))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}

fn allocated(spec: &Value) -> String {
    let Some(allocations) = spec["allocations"].as_array() else {
        return String::new();
    };
    let used = allocations.iter().filter(|entry| !entry.is_null()).count();
    format!("{used} of {}", allocations.len())
}

const NAME: &str = "name";
const NAMESPACE: &str = "namespace";
const ALLOCATED: &str = "allocated";
const DATA: &str = "data";
const WORKLOAD: &str = "workload";
const PEERS_NODE: &str = "node of a peer";
const RULES_OUT: &str = "rules out";
const RULES_IN: &str = "rules in";

const POOL_WIDE: [Column; 8] = [
    ("NAME", NAME),
    ("CIDR", "/cidr"),
    ("NAT", "/natOutgoing|false"),
    ("IPIPMODE", "/ipipMode|Never"),
    ("VXLANMODE", "/vxlanMode|Never"),
    ("DISABLED", "/disabled|false"),
    ("DISABLEBGPEXPORT", "/disableBGPExport|false"),
    ("SELECTOR", "/nodeSelector|all()"),
];
const WORKLOAD_WIDE: [Column; 10] = [
    ("NAMESPACE", NAMESPACE),
    ("NAME", NAME),
    ("WORKLOAD", WORKLOAD),
    ("NODE", "/node"),
    ("NETWORKS", "/ipNetworks"),
    ("INTERFACE", "/interfaceName"),
    ("PROFILES", "/profiles"),
    ("NATS", "/ipNATs"),
    ("MAC", "/mac"),
    ("CONTAINER", "/containerID"),
];

#[cfg(test)]
mod tests;
