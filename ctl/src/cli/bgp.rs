//! Commands about BGP in the whole cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::View;

/// About BGP in the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum BgpCommand {
    /// What a change of Nodes, BGPPeers or BGPConfigurations would do to each session; nothing is changed
    #[command(after_help = "\
The sessions are computed as the agents compute them, from the datastore as it is and from what it would be after `apply` of the manifests.
Without manifests: what is wrong with the sessions as they are.

  kept       as it was (counted, not listed)
  changed    something about it changes under the session
  made       a new session
  replaced   it ends when what was learned over it has come over those in its place (make before break)
  ended      it ends at once
  restarted  it ends and comes back: what is said in OPEN changes

Of each reason 100 sessions are shown, and how many more there are; -o wide, json and yaml have all.

Warnings tell what will be wrong afterwards: nodes without a session, reflectors without clients, ends that do not agree, nodes whose routes
do not get to each other. Exit code 5 when there are any, 0 otherwise.

Examples:
  caracalctl bgp plan                                       what is wrong now?
  caracalctl bgp plan -f reflectors.yaml
  caracalctl bgp plan -f new.yaml --delete bgppeer/old-router
  caracalctl bgp plan -f new.yaml -o json | jq '.sessions[] | select(.fate == \"ended\")'")]
    Plan(PlanArgs),
    /// How many route reflectors a number of nodes needs, where, and the manifests that bring them
    #[command(after_help = "\
Up to 100 nodes a mesh is simplest. Beyond, every node has a session with 2 reflectors (3 from 2,000 clients on), spread over the zones; from
1,000 nodes in several zones on each zone has reflectors and a cluster id of its own. --reflectors and --per-zone choose otherwise.

`-o yaml` prints manifests in the order of a safe migration: first the BGPPeers, which select nobody yet, then the Nodes that become
reflectors, and last, in a file of its own with --step, the end of the mesh. Each step waits for the sessions of the one before:
`caracalctl node status` on a reflector, or `caracalctl bgp plan`, which shows nothing more to come.

Examples:
  caracalctl bgp topology                                   for the nodes of the datastore
  caracalctl bgp topology --nodes 3000                      for so many, wherever they are; no datastore is asked
  caracalctl bgp topology --zones topology.kubernetes.io/zone --among 'has(infra)'
  caracalctl bgp topology --reflectors 2 -o yaml --step 1 | caracalctl bgp plan -f -
  caracalctl bgp topology --reflectors 2 -o yaml --step 1 | caracalctl apply -f -")]
    Topology(TopologyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// A file, a folder, or `-` for standard input; may be given several times
    #[arg(short, long = "filename", value_name = "FILE")]
    pub(crate) filename: Vec<PathBuf>,
    /// Folders with those below
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// An object that would be deleted; may be given several times
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) delete: Vec<String>,
    #[command(flatten)]
    pub(crate) view: View,
}

#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    /// For so many nodes, instead of those of the datastore
    #[arg(long, value_name = "NUMBER")]
    pub(crate) nodes: Option<usize>,
    /// The label of Nodes that says where they stand; with --nodes, how many zones there are
    #[arg(long, value_name = "LABEL|NUMBER")]
    pub(crate) zones: Option<String>,
    /// Which nodes may be reflectors (a selector, as of a BGPPeer)
    #[arg(long, value_name = "SELECTOR", conflicts_with = "nodes")]
    pub(crate) among: Option<String>,
    /// So many reflectors in each cluster of them
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) reflectors: Option<u8>,
    /// A cluster of reflectors for each zone, or one for all
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) per_zone: Option<bool>,
    /// Only the manifests of this step, 1 to 3 (with -o yaml)
    #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) step: Option<u8>,
    #[command(flatten)]
    pub(crate) view: View,
}
