//! The command line. What stands here is what `--help` teaches.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::ipam;

mod bgp;
mod datastore;
mod resources;

pub(crate) use bgp::{BgpCommand, PlanArgs, TopologyArgs};
pub(crate) use datastore::{DatastoreCommand, ExportArgs, ImportArgs, SplitArgs, Transfer};
pub(crate) use resources::{
    DeleteArgs, GetArgs, GetFormat, LabelArgs, PatchArgs, PatchType, ResourceCommand, Sources,
};

/// Looks at a Caracal node and edits the cluster's resources.
#[derive(Debug, Parser)]
#[command(
    name = "caracalctl",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  caracalctl node status                      is this node well, and are its BGP sessions up?
  caracalctl routes 10.233.1.0/26             every path to a prefix, and why the others lost
  caracalctl fib                              what is in the kernel, and what is not, and why
  caracalctl get ippools -o wide              resources in the datastore
  caracalctl apply -f pools.yaml              create or change resources
  caracalctl ipam show --ip=10.233.1.2        who has this address?
  caracalctl bgp plan -f peers.yaml           what would these manifests do to each BGP session?

Commands about the node ask its agent over a unix socket (root). Commands about resources open the
datastore themselves and need no agent.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 agent or datastore unavailable, 5 warnings (of `bgp`)."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) places: Places,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where agent and datastore are.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// The agent's socket
    #[arg(long, global = true, env = "CARACAL_SOCKET", value_name = "PATH",
          default_value = caracal_agent_api::SOCKET_DEFAULT)]
    pub(crate) socket: PathBuf,
    /// What sort of datastore it is. Also read from CARACAL_DATASTORE_TYPE and DATASTORE_TYPE [default: file]
    #[arg(long, global = true, value_name = "TYPE")]
    pub(crate) datastore_type: Option<DatastoreType>,
    /// Where the datastore is: the folder of manifests for `file`. Also read from CARACAL_DATASTORE_PATH, as the
    /// agent does [default: /var/lib/caracal/store]
    #[arg(
        long,
        alias = "path",
        global = true,
        env = "CARACAL_DATASTORE",
        value_name = "PATH"
    )]
    pub(crate) datastore: Option<PathBuf>,
    /// Where etcd is: http://host:port or https://host:port, commas between. Also read from ETCD_ENDPOINTS; certificates
    /// and password from ETCD_CA_CERT_FILE, ETCD_CERT_FILE, ETCD_KEY_FILE, ETCD_USERNAME, ETCD_PASSWORD
    #[arg(long, global = true, value_name = "URLS", value_delimiter = ',')]
    pub(crate) etcd_endpoints: Vec<String>,
    /// How the Kubernetes API is reached. Also read from KUBECONFIG [default: the service account of a pod, then
    /// ~/.kube/config]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig [default: its current-context]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// The backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatastoreType {
    /// A folder of YAML manifests
    File,
    /// etcd v3, in Calico's layout
    #[value(alias = "etcdv3")]
    Etcd,
    /// Kubernetes: Calico's custom resources, annotations of Nodes and Pods
    #[value(alias = "kdd")]
    Kubernetes,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// About this node
    #[command(subcommand)]
    Node(NodeCommand),
    /// BGP peers of this node, with counters; and orders about one
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Orders hold until they are taken back or the agent (route reflector) starts anew. --words are told to the peer's operator.

Examples:
  caracalctl peers                                          all, with counters
  caracalctl peers reset 192.0.2.7 --words \"new card\"       end the session; it comes back
  caracalctl peers reset 192.0.2.7 --soft                   keep it, and judge all paths once more, both ways
  caracalctl peers shut-down 192.0.2.7 --words maintenance  end it; no session until `bring-up`"
    )]
    Peers(PeersArgs),
    /// Routes that BGP knows (the Loc-RIB), best path first, with the reason why each other path lost
    #[command(after_help = "\
Marks: *> best, *= used beside the best, * candidate, S in place of * for a path kept from before its peer's restart.

Examples:
  caracalctl routes                    all
  caracalctl routes 10.233.1.0/26      one prefix
  caracalctl routes 10.233.1.7         the prefixes that contain an address, longest first
  caracalctl routes -o wide            with communities, originator and clusters
  caracalctl routes --to 192.0.2.7     what this peer gets (+) or does not get (-), and why
  caracalctl routes --from 192.0.2.7   what is taken from it, and why
  caracalctl routes --to 192.0.2.7 --policy new.yaml
                                       what it would get with another export policy; nothing is changed")]
    Routes(RoutesArgs),
    /// Routes that Caracal writes into the kernel, as `ip route` shows them, with state and reason; `-o wide`: also metric
    /// and nexthop object
    Fib(View),
    /// Pods and other workloads on this node
    Endpoints(View),
    /// Addresses: pools, blocks, who has what
    #[command(subcommand)]
    Ipam(IpamCommand),
    /// BGP in the whole cluster: what a change will do to each session, and which route reflectors suit it
    #[command(subcommand)]
    Bgp(BgpCommand),
    #[command(flatten)]
    Resources(ResourceCommand),
    /// The whole datastore: export, import, lock, unlock
    #[command(subcommand)]
    Datastore(DatastoreCommand),
    /// All that support needs of this node, in one archive: status, routes, kernel, configuration, resources
    Diags(DiagsArgs),
    /// Words that a shell completes: a script for it on standard output
    #[command(after_help = "\
Examples:
  caracalctl completion bash > /etc/bash_completion.d/caracalctl
  caracalctl completion zsh > \"${fpath[1]}/_caracalctl\"
  caracalctl completion fish > ~/.config/fish/completions/caracalctl.fish")]
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Versions of this program and of the agent
    Version(VersionArgs),
}

/// About this node.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Whether the node is well, why not, its BGP sessions, and who watches them
    Status(View),
    /// The same as `caracalctl diags`
    Diags(DiagsArgs),
    /// Before maintenance: make all paths over this node everybody's last choice while packets still flow (RFC 8326)
    #[command(after_help = "\
When traffic has gone, stop the node or shut its sessions down. `off`, or a restart, takes it back.")]
    GracefulShutdown {
        /// On or off
        switch: Switch,
    },
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What cannot be had (the agent is down, there is no program nft) is named and left out; contents.txt in the archive says the
same. Passwords, tokens and the values of Secrets are blanked. The file is readable for its owner only.

Examples:
  caracalctl diags                                        caracal-diags-NODE-TIME.tar.gz, here
  caracalctl diags --log /var/log/caracal/agent.log       with the end of the agent's log
  kubectl -n caracal-system exec POD -- caracalctl diags --file - > diags.tar.gz")]
pub(crate) struct DiagsArgs {
    /// Where to; `-`: standard output [default: caracal-diags-NODE-TIME.tar.gz in this folder]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Without the datastore's resources
    #[arg(long)]
    pub(crate) no_datastore: bool,
    /// With the end of this log, 4 MiB at most
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// The agent's configuration
    #[arg(
        long,
        value_name = "FILE",
        env = "CARACAL_CONFIG",
        default_value = "/etc/caracal/agent.yaml"
    )]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    #[command(subcommand)]
    pub(crate) order: Option<PeersCommand>,
    #[command(flatten)]
    pub(crate) view: View,
}

/// Orders about a peer.
#[derive(Debug, Subcommand)]
pub(crate) enum PeersCommand {
    /// End the session and let it come back, with nothing of the old one kept; a peer that is held is tried at once
    Reset {
        /// Its address
        peer: IpAddr,
        /// Both sides keep the paths meanwhile, where RFC 8538 was agreed on
        #[arg(long, conflicts_with = "soft")]
        graceful: bool,
        /// Keep the session: judge what the peer has sent anew, and send all once more
        #[arg(long, conflicts_with = "words")]
        soft: bool,
        /// For the peer's operator (RFC 9003)
        #[arg(long, default_value = "")]
        words: String,
    },
    /// Ask the peer to send everything once more (RFC 2918)
    Refresh {
        /// Its address
        peer: IpAddr,
    },
    /// End the session, and have none until `bring-up`
    ShutDown {
        /// Its address
        peer: IpAddr,
        /// For the peer's operator (RFC 9003)
        #[arg(long, default_value = "")]
        words: String,
    },
    /// Take `shut-down` back
    BringUp {
        /// Its address
        peer: IpAddr,
    },
}

/// About addresses.
#[derive(Debug, Subcommand)]
pub(crate) enum IpamCommand {
    /// How full pools and blocks are, or who has an address
    #[command(after_help = "\
Examples:
  caracalctl ipam show
  caracalctl ipam show --show-blocks
  caracalctl ipam show --ip=10.233.1.2
  caracalctl ipam show --show-configuration")]
    Show(IpamShow),
    /// Whether what IPAM says and what is used are the same
    Check(ipam::args::Check),
    /// Give addresses back that nobody uses
    Release(ipam::args::Release),
    /// Put right what crashes and deleted nodes left: leaked addresses, handles, claims, blocks
    Gc(ipam::args::Gc),
    /// Rules for the whole cluster's addresses
    Configure(ipam::args::Configure),
    /// Make several smaller pools out of one; addresses and blocks stay where they are
    #[command(after_help = "\
NUMBER is a power of two. The datastore must be locked meanwhile. The new pools are named split-POOL-0, split-POOL-1, ...; they
have all that the old one had but its CIDR. A split that was cut short is finished by saying it once more.

Examples:
  caracalctl datastore lock
  caracalctl ipam split 4 --cidr=10.233.0.0/16
  caracalctl ipam split 2 --name=default-ipv4-ippool
  caracalctl datastore unlock")]
    Split(SplitArgs),
}

/// How to print.
#[derive(Debug, Args)]
pub(crate) struct View {
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// Formats of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For people with wide screens
    Wide,
    /// For programs
    Json,
    /// For both
    Yaml,
}

#[derive(Debug, Args)]
pub(crate) struct RoutesArgs {
    /// A prefix, or an address
    pub(crate) prefix: Option<String>,
    /// What this peer gets, and why
    #[arg(long, value_name = "PEER")]
    pub(crate) to: Option<IpAddr>,
    /// What is taken from this peer, and why
    #[arg(long, value_name = "PEER", conflicts_with = "to")]
    pub(crate) from: Option<IpAddr>,
    /// With the policy of this file (YAML or JSON) instead of the peer's: a dry run
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) view: View,
}

#[derive(Debug, Args)]
pub(crate) struct IpamShow {
    /// Each block of each pool
    #[arg(long)]
    pub(crate) show_blocks: bool,
    /// Who has this address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "show_blocks")]
    pub(crate) ip: Option<IpAddr>,
    /// Addresses that a node uses out of another node's block
    #[arg(long, conflicts_with_all = ["show_blocks", "ip"])]
    pub(crate) show_borrowed: bool,
    /// What `ipam configure` sets
    #[arg(long, conflicts_with_all = ["show_blocks", "ip", "show_borrowed"])]
    pub(crate) show_configuration: bool,
    #[command(flatten)]
    pub(crate) view: View,
}

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Only of this program: no agent is asked
    #[arg(long)]
    pub(crate) client: bool,
    #[command(flatten)]
    pub(crate) view: View,
}
