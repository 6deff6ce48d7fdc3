//! `bgp topology`: a proposal, and the manifests that bring it.

use caracal_datastore::selector::Selector;
use caracal_datastore::{Key, Kind, Metadata, Object};
use caracal_peering::{Place, Proposal, SESSION_ANNOTATION, Wish, propose};
use serde_json::{Value, json};

use super::Objects;
use crate::cli::{Format, TopologyArgs};
use crate::failure::{Failure, Sort};
use crate::outcome::Outcome;
use crate::output;
use crate::table::Table;

/// The label of nodes that reflect. Its value is the cluster id.
const REFLECTOR: &str = "route-reflector";
/// The label that zones of nodes without a datastore have.
const ZONE: &str = "topology.kubernetes.io/zone";
const STEPS: [&str; 3] = [
    "1. BGPPeers. They select nobody yet: nothing happens",
    "2. These nodes become reflectors. Wait until `caracalctl peers` shows every session of theirs as Established",
    "3. The mesh ends. Its sessions go on until what was learned over them has come from the reflectors",
];

/// For so many nodes.
pub(super) fn of_number(count: usize, args: &TopologyArgs) -> Result<Outcome, Failure> {
    let zones = match &args.zones {
        None => 0,
        Some(zones) => zones.parse::<usize>().map_err(|_| {
            let words = format!("--zones {zones}: with --nodes it is a number of zones");
            Failure::new(Sort::Usage, words)
        })?,
    };
    let digits = count.to_string().len();
    let place = |index: usize| Place {
        name: format!("node{:0digits$}", index + 1),
        zone: (zones > 0).then(|| format!("zone{}", index % zones + 1)),
        eligible: true,
        reflects: false,
    };
    let places: Vec<Place> = (0..count).map(place).collect();
    let objects = Objects::new();
    let zone_label = (zones > 0).then_some(ZONE);
    report(&places, &objects, zone_label, args, Vec::new())
}

/// For those that there are.
pub(super) fn of_nodes(
    objects: &Objects,
    args: &TopologyArgs,
    notes: Vec<String>,
) -> Result<Outcome, Failure> {
    let among = args.among.as_deref().map(|selector| {
        Selector::parse(selector).map_err(|why| {
            let words = format!("--among `{selector}`: {why}");
            Failure::new(Sort::Usage, words)
        })
    });
    let among = among.transpose()?;
    let label = args.zones.as_deref();
    let in_bgp = objects.values().filter(|object| {
        let bgp = object.spec.get("bgp");
        let has = |field| bgp.is_some_and(|bgp| bgp.get(field).is_some());
        object.key.kind == Kind::Node && (has("ipv4Address") || has("ipv6Address"))
    });
    let place = |node: &Object| {
        let labels = &node.metadata.labels;
        let id = node.spec.pointer("/bgp/routeReflectorClusterID");
        Place {
            name: node.key.name.clone(),
            zone: label.and_then(|label| labels.get(label)).cloned(),
            eligible: among.as_ref().is_none_or(|among| among.matches(labels)),
            reflects: id.and_then(Value::as_str).is_some_and(|id| !id.is_empty()),
        }
    };
    let places: Vec<Place> = in_bgp.map(place).collect();
    report(&places, objects, label, args, notes)
}

fn report(
    places: &[Place],
    objects: &Objects,
    zone_label: Option<&str>,
    args: &TopologyArgs,
    notes: Vec<String>,
) -> Result<Outcome, Failure> {
    let wish = Wish {
        reflectors: args.reflectors.map(usize::from),
        per_zone: args.per_zone,
    };
    if args.per_zone == Some(true) && zone_label.is_none() {
        let words = "--per-zone needs --zones: which label says where a node stands";
        return Err(Failure::new(Sort::Usage, words));
    }
    let proposal = propose(places, wish);
    let text = match args.view.output {
        Format::Yaml => manifests(&proposal, objects, zone_label, args.step)?,
        other => output::report(&proposal, other, table)?,
    };
    let worries = proposal.warnings.clone();
    let failure = (!worries.is_empty()).then_some(Failure {
        sort: Sort::Worrying,
        words: worries,
    });
    Ok(Outcome {
        text,
        notes,
        failure,
    })
}

fn table(proposal: &Proposal, _wide: bool) -> String {
    let mut out = String::new();
    for why in &proposal.why {
        out.push_str(&format!("{why}.\n"));
    }
    if proposal.mesh {
        out.push_str(&format!(
            "Mesh: {} sessions, {} a node.\n",
            proposal.sessions, proposal.sessions_of_node
        ));
        return out;
    }
    let mut table = Table::new(["CLUSTER ID", "ZONE", "CLIENTS", "REFLECTORS"]);
    for cluster in &proposal.clusters {
        table.row([
            cluster.cluster_id.to_string(),
            cluster.zone.clone().unwrap_or_else(|| "all".to_owned()),
            cluster.clients.to_string(),
            cluster.reflectors.join(", "),
        ]);
    }
    out.push_str(&table.columns());
    out.push_str(&format!(
        "Sessions: {} instead of {}; {} a node, {} a reflector at most.\n",
        proposal.sessions,
        proposal.mesh_sessions,
        proposal.sessions_of_node,
        proposal.sessions_of_reflector
    ));
    if !proposal.without_zone.is_empty() {
        out.push_str(&format!(
            "Without a zone, and with sessions to all reflectors: {}.\n",
            proposal.without_zone.join(", ")
        ));
    }
    out.push_str("`-o yaml` prints the manifests, step by step.\n");
    out
}

/// The steps of a safe migration.
fn manifests(
    proposal: &Proposal,
    objects: &Objects,
    zone_label: Option<&str>,
    step: Option<u8>,
) -> Result<String, Failure> {
    if proposal.mesh {
        return Ok(
            "# A mesh: nothing is to be changed, or nodeToNodeMeshEnabled: true.\n".to_owned(),
        );
    }
    let steps = [
        peers(proposal, zone_label),
        reflectors(proposal, objects, zone_label),
        vec![without_mesh(objects)],
    ];
    let mut out = String::new();
    for ((number, title), objects) in (1..).zip(STEPS).zip(&steps) {
        if step.is_some_and(|step| step != number) {
            continue;
        }
        if !out.is_empty() {
            out.push_str("---\n");
        }
        out.push_str(&format!("# {title}.\n{}", output::documents(objects)?));
    }
    Ok(out)
}

fn peers(proposal: &Proposal, zone_label: Option<&str>) -> Vec<Object> {
    let mut peers = Vec::new();
    for cluster in &proposal.clusters {
        let (name, place) = match (&cluster.zone, zone_label) {
            (Some(zone), Some(label)) => (
                format!("reflectors-of-{}", as_name(zone)),
                format!("{label} == '{zone}' && "),
            ),
            _ => ("reflectors".to_owned(), String::new()),
        };
        let spec = json!({
            "nodeSelector": format!("{place}!has({REFLECTOR})"),
            "peerSelector": format!("{place}has({REFLECTOR})"),
        });
        peers.push(object(Kind::BGPPeer, &name, spec));
    }
    if let (Some(label), false) = (zone_label, proposal.without_zone.is_empty()) {
        let spec = json!({
            "nodeSelector": format!("!has({label}) && !has({REFLECTOR})"),
            "peerSelector": format!("has({REFLECTOR})"),
        });
        peers.push(object(Kind::BGPPeer, "reflectors-of-no-zone", spec));
    }
    let each_other = format!("has({REFLECTOR})");
    let spec = json!({"nodeSelector": each_other, "peerSelector": each_other});
    let mut among = object(Kind::BGPPeer, "between-reflectors", spec);
    // Cluster ids that differ would make them clients of one another.
    let equals = (SESSION_ANNOTATION.to_owned(), "{client: false}".to_owned());
    among.metadata.annotations.extend([equals]);
    peers.push(among);
    peers
}

/// The nodes as they are, with what makes them reflectors.
fn reflectors(proposal: &Proposal, objects: &Objects, zone_label: Option<&str>) -> Vec<Object> {
    let mut nodes = Vec::new();
    for cluster in &proposal.clusters {
        for name in &cluster.reflectors {
            let known = objects.get(&Key::new(Kind::Node, name.as_str())).cloned();
            let mut node = known.unwrap_or_else(|| object(Kind::Node, name, json!({})));
            let id = cluster.cluster_id.to_string();
            if let (Some(zone), Some(label)) = (&cluster.zone, zone_label) {
                let labels = &mut node.metadata.labels;
                labels.entry(label.to_owned()).or_insert(zone.clone());
            }
            let label = (REFLECTOR.to_owned(), id.clone());
            node.metadata.labels.extend([label]);
            set(&mut node.spec, "bgp", "routeReflectorClusterID", id.into());
            nodes.push(node);
        }
    }
    nodes
}

fn without_mesh(objects: &Objects) -> Object {
    let known = objects.get(&Key::new(Kind::BGPConfiguration, "default"));
    let mut configuration = match known {
        Some(known) => known.clone(),
        None => object(Kind::BGPConfiguration, "default", json!({})),
    };
    if let Some(spec) = configuration.spec.as_object_mut() {
        spec.insert("nodeToNodeMeshEnabled".to_owned(), false.into());
    }
    configuration
}

fn object(kind: Kind, name: &str, spec: Value) -> Object {
    Object {
        key: Key::new(kind, name),
        metadata: Metadata {
            name: name.to_owned(),
            ..Metadata::default()
        },
        spec,
        revision: None,
    }
}

fn set(spec: &mut Value, part: &str, field: &str, value: Value) {
    if let Some(spec) = spec.as_object_mut() {
        let part = spec.entry(part).or_insert_with(|| json!({}));
        if let Some(part) = part.as_object_mut() {
            part.insert(field.to_owned(), value);
        }
    }
}

/// What may stand in the name of an object.
fn as_name(zone: &str) -> String {
    let letter = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter.to_ascii_lowercase(),
        false => '-',
    };
    zone.chars().map(letter).collect()
}
