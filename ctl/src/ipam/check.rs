//! `ipam check`: whether what IPAM says and what is used are the same.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use caracal_datastore::Datastore;

use super::args::Check;
use super::report::{Allocation, Report};
use crate::failure::{Failure, Sort};
use crate::outcome::Outcome;
use crate::output;

/// The command.
pub(crate) async fn check(store: &Arc<dyn Datastore>, args: &Check) -> Result<Outcome, Failure> {
    let report = Report::make(store).await?;
    match args.output.as_deref() {
        Some("json") => return Ok(Outcome::text(output::json(&report)?)),
        Some("yaml") => return Ok(Outcome::text(output::yaml(&report)?)),
        None | Some("table") => {}
        Some(file) => {
            let text = output::json(&report)?;
            std::fs::write(Path::new(file), text)
                .map_err(|fault| Failure::new(Sort::Failed, format!("{file}: {fault}")))?;
        }
    }
    Ok(Outcome::text(words(&report, args)))
}

/// As many nodes as `calicoctl` lists.
const TOP: usize = 20;

/// In the order of `calicoctl ipam check`.
fn words(report: &Report, args: &Check) -> String {
    let counted = &report.counted;
    let mut out = Text::default();
    out.line("Checking IPAM for inconsistencies...\n");
    out.line(format!("Found {} IPAM blocks.", counted.blocks.len()));
    for (cidr, owner) in &counted.blocks {
        let owner = owner.as_deref().unwrap_or("nobody's");
        out.line(format!("  IPAM block {cidr} affinity={owner}"));
    }
    let given: Vec<&Allocation> = report.allocations.values().flatten().collect();
    out.line(format!("IPAM blocks record {} allocations.\n", given.len()));
    out.line(format!("Found {} IP pools.", counted.pools.len()));
    for pool in &counted.pools {
        out.line(format!("  {pool}"));
    }
    out.line(format!("\nFound {} node tunnel IPs.", counted.tunnels));
    out.line(format!(
        "Found {} service load balancer IPs.",
        counted.load_balancers
    ));
    out.line(format!("Found {} workload IPs.", counted.workloads));
    out.line(format!("Found {} handles.\n", counted.handles));
    top(report, &mut out);
    if let Some(why) = &counted.incomplete {
        out.line(format!(
            "Nothing is said to be unused, because not everything can be read: {why}"
        ));
    }
    let leaked: Vec<&Allocation> = report.leaked().collect();
    if args.show_all_ips {
        for one in &given {
            out.line(format!("  {}", sentence(one)));
        }
    } else if args.show_problem_ips {
        for one in &leaked {
            out.line(format!("  {}", sentence(one)));
        }
    }
    out.line(format!(
        "Found {} IPs that are allocated in IPAM but not actually in use.",
        leaked.len()
    ));
    for (words, addresses) in [
        ("in-use IPs that are not in IP pools", &counted.outside),
        (
            "in-use IPs that are in IP pools but have no IPAM allocation",
            &counted.unallocated,
        ),
        ("IPs with several users", &counted.contested),
    ] {
        if args.show_problem_ips || args.show_all_ips {
            out.addresses(addresses.iter());
        }
        out.line(format!("Found {} {words}.", addresses.len()));
    }
    out.line(format!(
        "Found {} handles with no matching IPs (and {} handles with matches).",
        report.leaked_handles.len(),
        counted.handles - report.leaked_handles.len()
    ));
    let listed = counted.outside.len() + counted.unallocated.len() + counted.contested.len();
    for problem in report.problems.iter().skip(listed) {
        out.line(format!("  {problem}"));
    }
    let count = report.problem_count();
    let hint = match leaked.len() + report.leaked_handles.len() {
        0 => "",
        _ => " `caracalctl ipam gc --dry-run` says what would be put right.",
    };
    out.line(format!("Check complete; found {count} problems.{hint}"));
    out.0
}

fn top(report: &Report, out: &mut Text) {
    let mut nodes: Vec<(&String, usize)> = report
        .counted
        .nodes
        .iter()
        .map(|(node, count)| (node, *count))
        .collect();
    nodes.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    let Some((_, most)) = nodes.first() else {
        return;
    };
    let median = nodes[nodes.len() / 2].1;
    for (node, count) in nodes.iter().take(TOP) {
        out.line(format!("  {node} has {count} allocations"));
    }
    out.line(format!(
        "Node with most allocations has {most}; median is {median}.\n"
    ));
}

fn sentence(one: &Allocation) -> String {
    let handle = one.handle.as_deref().unwrap_or("(none)");
    let state = if one.in_use { "in use" } else { "leaked" };
    format!("{} {state}; handle={handle}: {}", one.ip, one.because)
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    fn addresses<'a>(&mut self, addresses: impl Iterator<Item = (&'a IpAddr, &'a String)>) {
        for (address, user) in addresses {
            self.line(format!("  {address}: {user}"));
        }
    }
}
