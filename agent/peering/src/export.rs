//! What a peer may get (the order of Calico's export filter, as far as it is about BGP paths).

use caracal_bgp::policy::{Decision, Match, Policy, PrefixRange, Rule, SourcePattern};
use ipnet::IpNet;

use crate::View;

/// The export policy of every session of a node.
///
/// 1. Nothing inside a pool with `disableBGPExport`.
/// 2. Local paths: which there are is decided where they are originated (confirmed blocks, borrowed addresses).
/// 3. Learned paths inside an enabled pool: what an external peer or a client of this reflector is to have.
/// 4. Nothing else. What an outside router taught this node is not passed on.
pub fn export_policy(view: &View) -> Policy {
    let pools = |wanted: fn(bool, bool) -> bool| -> Vec<PrefixRange> {
        let mut cidrs: Vec<IpNet> = view
            .pools
            .values()
            .filter(|pool| wanted(pool.spec.disabled, pool.spec.disable_bgp_export))
            .map(|pool| pool.spec.cidr.trunc())
            .collect();
        // Equal policies share one Adj-RIB-Out, so equal sets must look equal.
        cidrs.sort();
        cidrs.dedup();
        cidrs.into_iter().map(PrefixRange::inside).collect()
    };
    let kept_inside = pools(|_, kept_inside| kept_inside);
    let enabled = pools(|disabled, _| !disabled);
    let mut rules = Vec::new();
    // A rule without prefixes would match everything.
    if !kept_inside.is_empty() {
        rules.push(named(
            "disableBGPExport",
            Rule::reject(Match {
                prefixes: kept_inside,
                ..Match::default()
            }),
        ));
    }
    rules.push(named(
        "local",
        Rule::accept(Match {
            from: vec![SourcePattern::Local],
            ..Match::default()
        }),
    ));
    if !enabled.is_empty() {
        rules.push(named(
            "learned in pools",
            Rule::accept(Match {
                prefixes: enabled,
                from: vec![SourcePattern::Learned],
                ..Match::default()
            }),
        ));
    }
    Policy {
        rules,
        default: Decision::Reject,
    }
}

fn named(name: &str, rule: Rule) -> Rule {
    Rule {
        name: name.to_owned(),
        ..rule
    }
}

#[cfg(test)]
mod tests;
