//! Policies: ordered rules over a prefix and where its path comes from.

use ipnet::IpNet;

use crate::config::{Policy, PolicyRule};

impl Policy {
    /// Whether it takes a path of `prefix` that is ours (`local`) or learned.
    pub fn accepts(&self, prefix: &IpNet, local: bool) -> bool {
        self.rules
            .iter()
            .find(|rule| rule.matches(prefix, local))
            .map_or(self.default_accept, |rule| rule.accept)
    }
}

impl PolicyRule {
    fn matches(&self, prefix: &IpNet, local: bool) -> bool {
        let within = self.within.is_empty() || self.within.iter().any(|net| net.contains(prefix));
        within && self.local.is_none_or(|wanted| wanted == local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = Policy {
            rules: vec![
                PolicyRule {
                    within: vec![net("10.0.1.0/24")],
                    local: None,
                    accept: false,
                },
                PolicyRule {
                    within: vec![net("10.0.0.0/16"), net("fd00::/8")],
                    local: None,
                    accept: true,
                },
            ],
            default_accept: false,
        };
        assert!(policy.accepts(&net("10.0.0.0/16"), true));
        assert!(policy.accepts(&net("10.0.2.0/26"), false));
        assert!(!policy.accepts(&net("10.0.1.64/26"), true));
        assert!(policy.accepts(&net("fd00:1::/64"), true));
        assert!(
            !policy.accepts(&net("10.0.0.0/8"), true),
            "wider than the rule"
        );
        assert!(!policy.accepts(&net("192.0.2.0/24"), true));
    }

    #[test]
    fn a_rule_may_be_for_local_or_learned_paths_only() {
        let policy = Policy {
            rules: vec![PolicyRule {
                within: vec![],
                local: Some(true),
                accept: true,
            }],
            default_accept: false,
        };
        assert!(policy.accepts(&net("10.0.0.0/24"), true));
        assert!(!policy.accepts(&net("10.0.0.0/24"), false));
    }
}
