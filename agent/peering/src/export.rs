//! What a peer may get (the order of Calico's export filter, as far as it is about BGP paths).

use caracal_bgp::policy::{
    Changes, Decision, Match, Policy, PrefixRange, Rule, RuleAction, SourcePattern,
};
use ipnet::IpNet;

use crate::View;

/// The export policy of every session of this node. What cannot be followed is added to `faults`.
///
/// 1. Nothing inside a pool with `disableBGPExport`.
/// 2. What lies inside a prefix of `prefixAdvertisements` gets its communities, and goes on.
/// 3. Local paths: which there are is decided where they are originated (confirmed blocks, borrowed addresses).
/// 4. Learned paths inside an enabled pool: what an external peer or a client of this reflector is to have.
/// 5. Nothing else. What an outside router taught this node is not passed on.
pub fn export_policy(node: &str, view: &View, faults: &mut Vec<String>) -> Policy {
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
    rules.extend(advertisements(node, view, faults));
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

/// Those of `node.<node>` where there are any, else those of `default`.
fn advertisements(node: &str, view: &View, faults: &mut Vec<String>) -> Vec<Rule> {
    let names = [format!("node.{node}"), "default".to_owned()];
    let of = |name: String| Some((view.configurations.get(&name)?, name));
    let mut configurations = names.into_iter().filter_map(of);
    let decides = configurations.find(|(stored, _)| !stored.spec.prefix_advertisements.is_empty());
    let Some((stored, name)) = decides else {
        return Vec::new();
    };
    // Names may be of the cluster's configuration, too.
    let cluster = view.configurations.get("default").map(|all| &all.spec);
    let mut rules = Vec::new();
    for (index, entry) in stored.spec.prefix_advertisements.iter().enumerate() {
        let mut set = Changes::default();
        for (position, text) in entry.communities.iter().enumerate() {
            let value = match stored.spec.community(text) {
                same if same == text => cluster.map_or(same, |all| all.community(text)),
                value => value,
            };
            if let Err(why) = add(value, &mut set) {
                faults.push(format!(
                    "BGPConfiguration {name}: spec.prefixAdvertisements[{index}].communities[{position}]: {why}"
                ));
            }
        }
        let when = Match {
            prefixes: vec![PrefixRange::inside(entry.cidr.trunc())],
            ..Match::default()
        };
        rules.push(Rule {
            name: format!("prefixAdvertisements {}", entry.cidr),
            set,
            action: RuleAction::Next,
            ..Rule::accept(when)
        });
    }
    rules
}

/// A standard community, or a large one.
pub(crate) fn add(community: &str, set: &mut Changes) -> Result<(), String> {
    if community.matches(':').count() == 2 {
        let large = community.parse().map_err(|why| format!("{why}"))?;
        set.large_communities.add.push(large);
    } else {
        let standard = community.parse().map_err(|why| format!("{why}"))?;
        set.communities.add.push(standard);
    }
    Ok(())
}

fn named(name: &str, rule: Rule) -> Rule {
    Rule {
        name: name.to_owned(),
        ..rule
    }
}

#[cfg(test)]
mod tests;
