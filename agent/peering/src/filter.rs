//! BGPFilters as policies. A rule that asks for something that we cannot answer is left out, and said.

use caracal_bgp::Policy;
use caracal_bgp::policy::{Changes, Match, PeerPattern, PrefixRange, Rule, SourcePattern};
use caracal_bgp::wire::Family;
use caracal_datastore::resources::{
    BGPFilter, BGPFilterRule, FilterAction, MatchOperator, PrefixLength,
};
use serde_json::Value;

use crate::View;
use crate::export::add;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Import,
    Export,
}

/// The rules of these filters in order, and then those of `policy`: where no filter decides, what holds without one.
/// What cannot be followed is added to `faults`.
pub(crate) fn filtered(
    view: &View,
    names: &[String],
    way: Way,
    policy: Policy,
    faults: &mut Vec<String>,
) -> Policy {
    let mut rules = Vec::new();
    for name in names {
        let Some(filter) = view.filters.get(name) else {
            faults.push(format!("BGPFilter {name}: there is none"));
            continue;
        };
        for (list, family, written) in lists(&filter.spec, way) {
            for (index, rule) in written.iter().enumerate() {
                let place = format!("{list}[{index}]");
                match as_rule(rule, family) {
                    Ok(rule) => rules.push(Rule {
                        name: format!("{name} {place}"),
                        ..rule
                    }),
                    Err(why) => faults.push(format!("BGPFilter {name}: spec.{place}.{why}")),
                }
            }
        }
    }
    rules.extend(policy.rules);
    Policy { rules, ..policy }
}

fn lists(filter: &BGPFilter, way: Way) -> [(&'static str, Family, &[BGPFilterRule]); 2] {
    let (v4, v6) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
    match way {
        Way::Import => [
            ("importV4", v4, &filter.import_v4),
            ("importV6", v6, &filter.import_v6),
        ],
        Way::Export => [
            ("exportV4", v4, &filter.export_v4),
            ("exportV6", v6, &filter.export_v6),
        ],
    }
}

/// `Err`: field, value and why.
fn as_rule(written: &BGPFilterRule, family: Family) -> Result<Rule, String> {
    if let Some((field, value)) = written.extra.first_key_value() {
        return Err(format!("{field}: {value} is not known here"));
    }
    let mut when = Match {
        families: vec![family],
        ..Match::default()
    };
    if let Some(interface) = &written.interface {
        return Err(format!(
            "interface: {interface}: paths have no device; the rule is left out"
        ));
    }
    if let (Some(cidr), Some(operator)) = (written.cidr, written.match_operator) {
        let PrefixLength { min, max } = written.prefix_length.unwrap_or_default();
        let (least, most) = (cidr.prefix_len(), cidr.max_prefix_len());
        let is_equal = matches!(operator, MatchOperator::Equal | MatchOperator::NotEqual);
        let range = if is_equal {
            PrefixRange::exact(cidr)
        } else {
            let (min, max) = (min.unwrap_or(least).max(least), max.unwrap_or(most));
            PrefixRange::new(cidr, min, max)
                .ok_or_else(|| format!("prefixLength: {min} to {max} in {cidr}"))?
        };
        match operator {
            MatchOperator::Equal | MatchOperator::In => when.prefixes.push(range),
            MatchOperator::NotEqual | MatchOperator::NotIn => when.not_prefixes.push(range),
        }
    }
    match written.source.as_deref() {
        None | Some("") => {}
        Some("RemotePeers") => when.from.push(SourcePattern::Learned),
        Some(other) => return Err(format!("source: {other:?} is not RemotePeers")),
    }
    match written.peer_type.as_deref() {
        None | Some("") => {}
        Some("eBGP") => when.peers.push(PeerPattern::External),
        Some("iBGP") => when.peers.push(PeerPattern::Internal),
        Some(other) => return Err(format!("peerType: {other:?} is neither eBGP nor iBGP")),
    }
    for value in written.communities.iter().flat_map(|all| &all.values) {
        let bad = |why: String| format!("communities.values: {why}");
        if value.matches(':').count() == 2 {
            let pattern = value.parse().map_err(|why| bad(format!("{why}")))?;
            when.large_communities.any.push(pattern);
        } else {
            let pattern = value.parse().map_err(|why| bad(format!("{why}")))?;
            when.communities.any.push(pattern);
        }
    }
    if !when.communities.any.is_empty() && !when.large_communities.any.is_empty() {
        // Any of them is meant, and two kinds of conditions must both hold.
        return Err("communities.values: standard and large ones in one rule".to_owned());
    }
    if !written.as_path_prefix.is_empty() {
        let asns: Vec<String> = written.as_path_prefix.iter().map(u32::to_string).collect();
        let regexp = format!("^{}_", asns.join("_"));
        let regexp = regexp
            .parse()
            .map_err(|why| format!("asPathPrefix: {why}"))?;
        when.as_path.regexp.push(regexp);
    }
    if let Some(priority) = written.priority {
        when.local_pref.push(local_pref(priority).into());
    }
    match written.action {
        FilterAction::Reject => Ok(Rule::reject(when)),
        FilterAction::Accept => Ok(Rule {
            set: changes(&written.operations)?,
            ..Rule::accept(when)
        }),
    }
}

fn changes(operations: &[Value]) -> Result<Changes, String> {
    let mut set = Changes::default();
    for (index, operation) in operations.iter().enumerate() {
        let unknown = || format!("operations[{index}]: {operation} is not known here");
        let fields = operation.as_object().filter(|fields| fields.len() == 1);
        let (name, value) = fields
            .and_then(|fields| fields.iter().next())
            .ok_or_else(unknown)?;
        let bad = |why: String| format!("operations[{index}].{name}: {why}");
        match (name.as_str(), value.get("value"), value.get("prefix")) {
            ("addCommunity", Some(Value::String(text)), None) => {
                add(text, &mut set).map_err(bad)?;
            }
            ("setPriority", Some(value), None) => {
                let priority = value.as_u64().and_then(|number| u32::try_from(number).ok());
                let priority = priority.filter(|&priority| priority <= PRIORITY_MAX);
                let priority = priority.ok_or_else(|| bad(format!("{value} is no priority")))?;
                set.local_pref = Some(local_pref(priority));
            }
            ("prependASPath", None, Some(Value::Array(asns))) => {
                for asn in asns {
                    let number = asn.as_u64().and_then(|number| u32::try_from(number).ok());
                    let number = number.ok_or_else(|| bad(format!("{asn} is no AS number")))?;
                    set.prepend_path.push(number);
                }
            }
            _ => return Err(unknown()),
        }
    }
    Ok(set)
}

/// Calico's LOCAL_PREF of a route with this priority in the kernel.
fn local_pref(priority: u32) -> u32 {
    PRIORITY_MAX.saturating_sub(priority)
}

const PRIORITY_MAX: u32 = 2_147_483_647;

#[cfg(test)]
mod tests;
