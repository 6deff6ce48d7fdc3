//! What `--help` teaches about `ipam check`, `release`, `gc` and `configure`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  caracalctl ipam check
  caracalctl ipam check --show-problem-ips
  caracalctl ipam check -o report.json          also writes a report, for `ipam release --from-report`
  caracalctl ipam check -o json                 the report on standard output")]
pub(crate) struct Check {
    /// Every address that IPAM has given, with who uses it
    #[arg(long)]
    pub(crate) show_all_ips: bool,
    /// Addresses that nobody uses, or that IPAM has not given
    #[arg(long)]
    pub(crate) show_problem_ips: bool,
    /// `json` or `yaml`: the report in place of words; any other word: a file that gets the report as JSON
    #[arg(short, long, value_name = "FORMAT|FILE")]
    pub(crate) output: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
An address that a workload or a tunnel uses is not released, and no address of a kind that is not judged, unless
with --force. That is asked of the datastore again for each address, whatever a report says.

Examples:
  caracalctl ipam release --ip=10.233.1.2
  caracalctl ipam release --from-report=now.json --from-report=hour-ago.json   what is leaked in all of them")]
pub(crate) struct Release {
    /// This address
    #[arg(
        long,
        value_name = "ADDRESS",
        conflicts_with = "from_report",
        required_unless_present = "from_report"
    )]
    pub(crate) ip: Option<IpAddr>,
    /// What a report of `ipam check` says to be leaked; of several what all of them say. Also reports of calicoctl
    #[arg(long, value_name = "FILE")]
    pub(crate) from_report: Vec<PathBuf>,
    /// Also what is in use, or not known
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The agents do this all the time (one of them does); by hand it is for clusters whose agents do not. What looks wrong is
looked at twice, and put right if nothing has changed in between and a fresh read says the same.

Examples:
  caracalctl ipam gc --dry-run
  caracalctl ipam gc --grace-seconds 3600")]
pub(crate) struct Gc {
    /// Only say what looks wrong
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What was assigned or claimed less long ago is left alone
    #[arg(long, value_name = "SECONDS", default_value_t = 900,
          value_parser = clap::value_parser!(u64).range(60..))]
    pub(crate) grace_seconds: u64,
    /// Between the two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) pause_seconds: u64,
    /// At most so many repairs
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  caracalctl ipam configure --strictaffinity=true
  caracalctl ipam configure --max-blocks-per-host=4
  caracalctl ipam show --show-configuration")]
pub(crate) struct Configure {
    /// No node uses an address out of another node's block
    #[arg(
        long,
        value_name = "BOOL",
        action = clap::ArgAction::Set,
        required_unless_present = "max_blocks_per_host"
    )]
    pub(crate) strictaffinity: Option<bool>,
    /// How many blocks a node may have; 0 stands for 20
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_blocks_per_host: Option<u32>,
}
