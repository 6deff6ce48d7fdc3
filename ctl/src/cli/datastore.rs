//! Commands about the whole datastore.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;

/// About the datastore.
#[derive(Debug, Subcommand)]
pub(crate) enum DatastoreCommand {
    #[command(flatten)]
    Transfer(Transfer),
    /// As calicoctl's commands are called
    #[command(subcommand, hide = true)]
    Migrate(Transfer),
}

/// From one datastore to another.
#[derive(Debug, Subcommand)]
pub(crate) enum Transfer {
    /// Write all objects of the datastore as one text, or as a folder of manifests
    #[command(after_help = "\
The datastore is to be locked first, so that what belongs together fits together. The text is manifests with `---` between them, in the order
in which `import` writes them; Secrets are in it, in base64. It is complete, or the exit code is 1.

Examples:
  caracalctl datastore lock
  caracalctl datastore export > cluster.yaml
  caracalctl datastore export --filename cluster.yaml          readable for its owner only
  caracalctl datastore export --directory cluster/             a file for each kind
  caracalctl datastore export --kinds ippools,bgppeers --unlocked")]
    Export(ExportArgs),
    /// Create what an export holds in an empty datastore
    #[command(after_help = "\
Reads what `caracalctl datastore export` writes, any manifests, and what `calicoctl datastore migrate export` writes. All of it is checked
before the first write. The datastore is locked first and stays so. In the end everything is read back and compared. An import that was cut
short is finished by saying it once more with --overwrite.

Examples:
  caracalctl datastore import -f cluster.yaml --datastore /var/lib/caracal/store
  caracalctl datastore import -f cluster.yaml --etcd-endpoints https://10.0.0.1:2379 --unlock
  caracalctl datastore import -f cluster.yaml --dry-run
  caracalctl datastore export --etcd-endpoints http://10.0.0.1:2379 | caracalctl datastore import -f - --datastore /tmp/copy")]
    Import(ImportArgs),
    /// Let nobody assign addresses until `unlock`: for upgrades and migrations
    #[command(after_help = "\
Sets datastoreReady of the ClusterInformation to false. Pods that start meanwhile wait; those that run are not touched.

Example:
  caracalctl datastore lock")]
    Lock,
    /// Take `lock` back
    Unlock,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Into this file instead of standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "directory")]
    pub(crate) filename: Option<PathBuf>,
    /// Into this folder, a file for each kind
    #[arg(long, value_name = "FOLDER")]
    pub(crate) directory: Option<PathBuf>,
    /// Only these, commas between
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub(crate) kinds: Vec<String>,
    /// Even though others may write meanwhile
    #[arg(long)]
    pub(crate) unlocked: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file, a folder, or `-` for standard input
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) filename: Vec<PathBuf>,
    /// Into a datastore that is not empty, too: objects of the same name become as in the file, others stay
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Unlock the datastore when all is there
    #[arg(long)]
    pub(crate) unlock: bool,
    /// Say what would happen, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// How many pools to make: a power of two
    pub(crate) number: u32,
    /// The pool with this CIDR
    #[arg(long, required_unless_present = "name")]
    pub(crate) cidr: Option<IpNet>,
    /// The pool of this name
    #[arg(long, value_name = "POOL")]
    pub(crate) name: Option<String>,
}
