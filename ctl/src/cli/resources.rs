//! Verbs about resources.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};

/// What to do with resources.
#[derive(Debug, Subcommand)]
pub(crate) enum ResourceCommand {
    /// Show resources of a kind
    #[command(after_help = "\
Kinds: Node, IPPool, IPReservation, BGPConfiguration, BGPPeer, BGPFilter, IPAMBlock, BlockAffinity, IPAMHandle, IPAMConfig, WorkloadEndpoint,
FelixConfiguration, ClusterInformation, CalicoNodeStatus, HostEndpoint, NetworkPolicy, GlobalNetworkPolicy, NetworkSet, GlobalNetworkSet,
LiveMigration; of Kubernetes Secret, Namespace, Service, EndpointSlice.
Case does not matter, plurals and short names work (pools, bgpconfig, wep); several have commas between them.

Formats: table, wide, yaml, json, name (KIND/NAME, one a line),
  jsonpath=TEMPLATE                  as kubectl's: text, {.a.b}, {.a[*].b}, {.a[?(@.b==\"c\")]}, {range .items[*]}...{end}, {\"\\n\"}
  custom-columns=HEADING:PATH,...    a table of your own
With several objects, or none named, the root is a list with `items`.

Selectors (-l) are Calico's, or kubectl's (a=b,c!=d,e,!f).

Examples:
  caracalctl get nodes
  caracalctl get ippool default-ipv4-ippool -o yaml
  caracalctl get wep -n default -o wide
  caracalctl get nodes -l 'rack in {\"a\", \"b\"}' -o name
  caracalctl get pools -o 'jsonpath={range .items[*]}{.metadata.name}{\"\\t\"}{.spec.cidr}{\"\\n\"}{end}'
  caracalctl get nodes -o custom-columns=NODE:.metadata.name,AS:.spec.bgp.asNumber
  caracalctl get -f pools.yaml                what is in the datastore of what the file names")]
    Get(GetArgs),
    /// Create resources, or change them to what the manifests say
    #[command(after_help = "\
All documents are checked before the first is written. A file may hold several, separated by `---`. A document's `spec`, labels and
annotations replace those of the object; what else the object has (status, fields of others in its metadata) stays. Who else writes
at the same time is not overwritten unseen: the object is read again, and tried again.

Examples:
  caracalctl apply -f pools.yaml
  caracalctl apply -f manifests/ --recursive      every .yaml, .yml and .json file of a folder and of those below
  caracalctl apply -f pools.yaml --dry-run        what would happen
  caracalctl get ippool default-ipv4-ippool -o yaml > pool.yaml; vi pool.yaml; caracalctl apply -f pool.yaml")]
    Apply(WriteArgs),
    /// Create resources; those that exist already are an error
    #[command(after_help = "\
Examples:
  caracalctl create -f pools.yaml
  caracalctl create -f pools.yaml --skip-exists   leave those that exist as they are")]
    Create(CreateArgs),
    /// Change resources; those that do not exist are an error
    #[command(after_help = "\
Examples:
  caracalctl replace -f pools.yaml
  caracalctl replace -f pools.yaml --skip-not-exists")]
    Replace(ReplaceArgs),
    /// Change fields of a resource
    #[command(after_help = "\
Types: merge (RFC 7396: fields that are given replace those that are there, null removes one, a list replaces a list whole), json
(RFC 6902: a list of operations). strategic, which is kubectl's for Kubernetes' own kinds, does not exist for custom resources,
whose lists have no merge keys.

Examples:
  caracalctl patch ippool default-ipv4-ippool -p '{\"spec\": {\"natOutgoing\": true}}'
  caracalctl patch node n1 --type json -p '[{\"op\": \"remove\", \"path\": \"/spec/bgp/asNumber\"}]'
  caracalctl patch bgpconfig default -p '{\"spec\": {\"asNumber\": null}}' --dry-run")]
    Patch(PatchArgs),
    /// Delete resources, by kind and name or by manifest
    #[command(after_help = "\
Examples:
  caracalctl delete ippool old-pool
  caracalctl delete -f pools.yaml --skip-not-exists")]
    Delete(DeleteArgs),
    /// Add, change and remove labels of a resource
    #[command(after_help = "\
Examples:
  caracalctl label nodes n1 rack=a zone=eu
  caracalctl label nodes n1 rack=b --overwrite
  caracalctl label nodes n1 rack-                 removes it; `rack --remove` does, too")]
    Label(LabelArgs),
    /// Check manifests, and change nothing: every fault of every document, with file and line
    #[command(after_help = "\
No datastore is asked. Pools are checked against each other, and no object may stand there twice.

Examples:
  caracalctl validate -f manifests/ --recursive
  helm template ... | caracalctl validate -f -")]
    Validate(ValidateArgs),
}

/// Formats of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GetFormat {
    /// For people.
    Table,
    /// For people with wide screens.
    Wide,
    /// For programs.
    Json,
    /// For both, and for `apply`.
    Yaml,
    /// KIND/NAME, one a line.
    Name,
    /// kubectl's template.
    JsonPath(String),
    /// `HEADING:PATH,...`
    CustomColumns(String),
}

impl FromStr for GetFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<GetFormat, String> {
        let (word, template) = match text.split_once('=') {
            Some((word, template)) => (word, Some(template.to_owned())),
            None => (text, None),
        };
        match (word, template) {
            ("table" | "ps", None) => Ok(GetFormat::Table),
            ("wide", None) => Ok(GetFormat::Wide),
            ("json", None) => Ok(GetFormat::Json),
            ("yaml", None) => Ok(GetFormat::Yaml),
            ("name", None) => Ok(GetFormat::Name),
            ("jsonpath", Some(template)) => Ok(GetFormat::JsonPath(template)),
            ("custom-columns", Some(columns)) => Ok(GetFormat::CustomColumns(columns)),
            ("jsonpath" | "custom-columns", None) => Err(format!("{word}= needs what to print")),
            ("go-template" | "go-template-file", _) => Err(
                "Go templates are not known here: jsonpath=... and custom-columns=... print chosen fields"
                    .to_owned(),
            ),
            _ => Err(
                "known are table, wide, yaml, json, name, jsonpath=..., custom-columns=...".to_owned(),
            ),
        }
    }
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct GetArgs {
    /// The kind, or several with commas between them
    #[arg(required_unless_present = "filename")]
    pub(crate) kind: Option<String>,
    /// Names; none: all
    pub(crate) names: Vec<String>,
    /// What the manifests in a file or folder, or on standard input (`-`), name
    #[arg(short, long = "filename", value_name = "FILE", conflicts_with_all = ["kind", "names"])]
    pub(crate) filename: Vec<PathBuf>,
    /// Folders with those below
    #[arg(short = 'R', long, requires = "filename")]
    pub(crate) recursive: bool,
    /// Namespace, for kinds that have one; none: all when listing, `default` for a name
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, visible_alias = "all", conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Those with such labels
    #[arg(short = 'l', long, conflicts_with_all = ["names", "filename"])]
    pub(crate) selector: Option<String>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: GetFormat,
    /// Tables without their first line
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// Where manifests are read.
#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// A file, a folder, or `-` for standard input; may be given several times
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub(crate) filename: Vec<PathBuf>,
    /// Folders with those below
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Files and folders without objects are no failure
    #[arg(long)]
    pub(crate) skip_empty: bool,
    /// Namespace of manifests that name none, where their kind has one [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    pub(crate) sources: Sources,
    /// Say what would happen, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    /// Existence is success
    #[arg(long)]
    pub(crate) skip_exists: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    /// Absence is success
    #[arg(long, visible_alias = "ignore-not-found")]
    pub(crate) skip_not_exists: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    pub(crate) sources: Sources,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct PatchArgs {
    /// The kind
    pub(crate) kind: String,
    /// Its name
    pub(crate) name: String,
    /// The patch, JSON or YAML
    #[arg(short, long, value_name = "PATCH")]
    pub(crate) patch: String,
    /// What sort of patch it is
    #[arg(long = "type", value_name = "TYPE", default_value = "merge")]
    pub(crate) patch_type: PatchType,
    /// Namespace, for kinds that have one [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Print what would become of it, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The sorts of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PatchType {
    /// RFC 7396
    Merge,
    /// RFC 6902
    Json,
    /// Refused, with the reason
    #[value(hide = true)]
    Strategic,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct DeleteArgs {
    /// The kind
    #[arg(required_unless_present = "filename", requires = "names")]
    pub(crate) kind: Option<String>,
    /// Names
    pub(crate) names: Vec<String>,
    /// What the manifests in a file or folder, or on standard input (`-`), name
    #[arg(short, long = "filename", value_name = "FILE", conflicts_with = "kind")]
    pub(crate) filename: Vec<PathBuf>,
    /// Folders with those below
    #[arg(short = 'R', long, requires = "filename")]
    pub(crate) recursive: bool,
    /// Files and folders without objects are no failure
    #[arg(long, requires = "filename")]
    pub(crate) skip_empty: bool,
    /// Namespace, for kinds that have one; with --filename, of manifests that name none [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Absence is success
    #[arg(long, visible_alias = "ignore-not-found")]
    pub(crate) skip_not_exists: bool,
    /// Say what would happen, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct LabelArgs {
    /// The kind
    pub(crate) kind: String,
    /// Its name
    pub(crate) name: String,
    /// KEY=VALUE sets, KEY- removes
    #[arg(required = true, value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Labels that have another value may be changed
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// The labels are keys, and are removed
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) remove: bool,
    /// Namespace, for kinds that have one [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

#[cfg(test)]
mod tests {
    //! Words for formats.

    use super::*;

    #[test]
    fn formats_have_their_words() {
        assert_eq!("ps".parse(), Ok(GetFormat::Table));
        let path = GetFormat::JsonPath("{.a=b}".to_owned());
        assert_eq!("jsonpath={.a=b}".parse(), Ok(path));
        for (text, words) in [
            ("jsonpath", "jsonpath= needs what to print"),
            ("go-template={{.}}", "Go templates are not known here"),
            ("yaml=", "known are table, wide"),
        ] {
            let fault = text.parse::<GetFormat>().unwrap_err();
            assert!(fault.contains(words), "{fault}");
        }
    }
}
