//! Policies in sessions: what they change, how they are changed, and dry runs.

use serde_json::json;

use super::*;
use crate::config::PeerConfig;
use crate::policy::Policy;
use crate::view::PathView;

fn policy(written: serde_json::Value) -> Policy {
    serde_json::from_value(written).unwrap()
}

fn prefers(local_pref: u32) -> Policy {
    policy(json!({
        "rules": [{"name": "prefer", "set": {"localPref": local_pref}, "action": "next"}],
        "default": "accept",
    }))
}

/// The path of the prefix at `node` that came from `from`.
fn path(net: &Net, node: usize, text: &str, from: usize) -> PathView {
    let route = net.nodes[node].speaker.route(&prefix(text)).unwrap();
    let mut paths = route.paths.into_iter();
    paths.find(|path| path.peer == Some(address(from))).unwrap()
}

const P: &str = "10.233.0.0/26";

#[test]
fn a_change_of_import_policy_judges_what_was_received_without_a_word_on_the_wire() {
    let mut net = Net::mesh(2);
    net.originate(1, P);
    net.settle();
    let flaps_and_messages = |net: &Net| {
        let view = net.view(0, 1);
        (view.flaps, view.messages_sent, view.messages_received)
    };
    let before = flaps_and_messages(&net);
    let import = |net: &mut Net, import: Policy| {
        net.peer(
            0,
            PeerConfig {
                import,
                ..peer_config(1)
            },
        );
        net.settle();
    };
    import(&mut net, prefers(300));
    assert_eq!(path(&net, 0, P, 1).local_pref, 300);
    assert_eq!(net.nodes[0].changes.last(), Some(&prefix(P)));
    // From what was received, not from what the last policy made of it.
    let plus = json!({"rules": [{"match": {"localPref": [100]}, "set": {"localPref": 7}, "action": "accept"}], "default": "reject"});
    import(&mut net, policy(plus));
    assert_eq!(path(&net, 0, P, 1).local_pref, 7);
    import(&mut net, Policy::reject_all());
    assert!(!path(&net, 0, P, 1).best);
    import(&mut net, Policy::accept_all());
    assert_eq!(path(&net, 0, P, 1).local_pref, 100);
    assert_eq!(flaps_and_messages(&net), before);
    net.withdraw(1, P);
    net.settle();
    assert_eq!(net.prefixes(0), [] as [&str; 0]);
}

#[test]
fn what_import_makes_of_a_path_decides_and_is_passed_on() {
    let mut net = Net::new(3);
    // 0 and 2 are clients of 1.
    for client in [0, 2] {
        net.peer(client, peer_config(1));
        let import = policy(json!({
            "rules": [{"set": {"communities": {"add": ["64512:7"]}, "med": 9}, "action": "accept"}],
            "default": "reject",
        }));
        net.peer(
            1,
            PeerConfig {
                reflector_client: true,
                import,
                ..peer_config(client)
            },
        );
    }
    net.run_for(20);
    net.originate(0, P);
    net.settle();
    let seen = path(&net, 2, P, 1);
    assert_eq!(
        (seen.med, seen.communities),
        (Some(9), vec!["64512:7".to_owned()])
    );
}

#[test]
fn a_change_of_export_policy_tells_the_peer_what_is_other_now() {
    let mut net = Net::mesh(2);
    net.originate(1, P);
    net.settle();
    let export = |net: &mut Net, export: Policy| {
        net.peer(
            1,
            PeerConfig {
                export,
                ..peer_config(0)
            },
        );
        net.settle();
    };
    export(&mut net, prefers(5));
    assert_eq!(path(&net, 0, P, 1).local_pref, 5);
    export(&mut net, Policy::reject_all());
    assert_eq!(net.prefixes(0), [] as [&str; 0]);
    assert_eq!(net.view(0, 1).flaps, 0);
}

#[test]
fn a_rule_for_one_peer_is_for_that_peer_only() {
    let mut net = Net::mesh(3);
    let for_two = policy(json!({
        "rules": [{"match": {"peers": [address(2).to_string()]}, "action": "reject"}],
        "default": "accept",
    }));
    for other in [1, 2] {
        let export = for_two.clone();
        net.peer(
            0,
            PeerConfig {
                export,
                ..peer_config(other)
            },
        );
    }
    net.originate(0, P);
    net.settle();
    assert_eq!(net.prefixes(1), [P]);
    assert_eq!(net.prefixes(2), [] as [&str; 0]);
}

#[test]
fn a_session_that_will_be_shut_down_is_the_last_choice_at_both_ends() {
    let mut net = Net::mesh(3);
    net.originate(1, P);
    net.originate(0, "10.233.9.0/26");
    net.settle();
    net.peer(
        0,
        PeerConfig {
            graceful_shutdown: true,
            ..peer_config(1)
        },
    );
    net.settle();
    let received = path(&net, 0, P, 1);
    assert_eq!(
        (received.local_pref, received.communities),
        (0, vec!["65535:0".to_owned()])
    );
    let sent = path(&net, 1, "10.233.9.0/26", 0);
    assert_eq!(
        (sent.local_pref, sent.communities),
        (0, vec!["65535:0".to_owned()])
    );
    assert_eq!(
        path(&net, 2, "10.233.9.0/26", 0).local_pref,
        100,
        "another session"
    );
    net.peer(0, peer_config(1));
    net.settle();
    assert_eq!(path(&net, 0, P, 1).local_pref, 100);
    assert_eq!(path(&net, 1, "10.233.9.0/26", 0).local_pref, 100);
}

#[test]
fn a_node_in_maintenance_is_everybodys_last_choice_until_it_is_over() {
    let mut net = Net::mesh(3);
    net.originate(0, P);
    net.originate(1, P);
    net.settle();
    let chosen = |net: &Net| net.nodes[2].speaker.next_hops(&prefix(P))[0];
    assert_eq!(chosen(&net), address(0));
    let now = net.now;
    net.nodes[0].speaker.set_graceful_shutdown(now, true);
    net.settle();
    assert_eq!(chosen(&net), address(1));
    net.nodes[0].speaker.set_graceful_shutdown(now, false);
    net.settle();
    assert_eq!(chosen(&net), address(0));
    assert_eq!(net.view(2, 0).flaps, 0);
}

#[test]
fn an_external_peers_graceful_shutdown_is_honoured_unless_told_not_to() {
    let mut net = Net::new(2);
    net.peer(
        0,
        PeerConfig {
            remote_asn: 64999.into(),
            ..peer_config(1)
        },
    );
    net.peer(
        1,
        PeerConfig {
            local_asn: 64999,
            graceful_shutdown: true,
            ..peer_config(0)
        },
    );
    net.run_for(20);
    net.originate(1, P);
    net.settle();
    assert_eq!(path(&net, 0, P, 1).local_pref, 0);
    net.peer(
        0,
        PeerConfig {
            remote_asn: 64999.into(),
            honour_graceful_shutdown: false,
            ..peer_config(1)
        },
    );
    net.settle();
    assert_eq!(path(&net, 0, P, 1).local_pref, 100);
}

#[test]
fn a_dry_run_says_what_would_be_sent_and_why_and_changes_nothing() {
    let mut net = Net::mesh(3);
    net.originate(0, P);
    net.originate(1, "10.233.1.0/26");
    net.originate(2, P);
    net.settle();
    let speaker = &net.nodes[0].speaker;
    let says = |with: Option<&Policy>| {
        let views = match with {
            Some(policy) => speaker.explain_export_with(address(2), None, policy),
            None => speaker.explain_export(address(2), None),
        };
        let views = views.unwrap().into_iter();
        let says = views.map(|view| (view.prefix.to_string(), view.from, view.sent, view.reason));
        says.collect::<Vec<_>>()
    };
    let row = |prefix: &str, from: Option<usize>, sent, reason: &str| {
        (
            prefix.to_owned(),
            from.map(address),
            sent,
            reason.to_owned(),
        )
    };
    assert_eq!(
        says(None),
        [
            row(P, None, true, "export policy, default"),
            row(P, Some(2), false, "not best: a local path is preferred"),
            row(
                "10.233.1.0/26",
                Some(1),
                false,
                "from an internal peer, and we do not reflect it"
            ),
        ]
    );
    let other = policy(json!({
        "rules": [{"name": "hold", "match": {"prefixes": [P]}, "action": "reject"}],
        "default": "accept",
    }));
    assert_eq!(
        says(Some(&other))[0],
        row(P, None, false, "export policy, rule 1 \"hold\"")
    );
    let one = speaker.explain_export_with(address(2), Some(&prefix(P)), &prefers(9));
    let after = one.unwrap().remove(0).after.unwrap();
    assert_eq!(
        (after.local_pref, after.next_hop),
        (Some(9), Some(address(0)))
    );
    assert_eq!(net.prefixes(2).len(), 2, "as before");

    let views = speaker
        .explain_import_with(address(1), None, &other)
        .unwrap();
    assert_eq!(
        (views.len(), views[0].accepted, views[0].reason.as_str()),
        (1, true, "import policy, default")
    );
    let refused = speaker.explain_export(std::net::IpAddr::from([192, 0, 2, 1]), None);
    assert_eq!(refused.unwrap_err(), "192.0.2.1 is not a configured peer");
}

#[test]
fn a_policy_is_evaluated_once_for_equal_attributes_where_it_does_not_ask_for_the_prefix() {
    use crate::judgements::Judgements;
    let mut net = Net::mesh(2);
    for number in 0..200 {
        net.originate(1, &format!("10.233.{number}.0/26"));
    }
    net.settle();
    let evaluations = |net: &mut Net, import: &Policy| {
        let speaker = &mut net.nodes[0].speaker;
        let (peer, session) = speaker.in_session(address(1)).unwrap();
        let mut importer = peer.importer(&speaker.config, session);
        importer.policy = import.program(&peer.session_peer());
        let id = peer.id;
        let mut judgements = Judgements::default();
        speaker.rib.rejudge(id, |prefix, received, interner| {
            judgements
                .judge(&importer, prefix, received, interner)
                .clone()
        });
        judgements.evaluations
    };
    assert_eq!(evaluations(&mut net, &prefers(7)), 1);
    let by_prefix = policy(json!({
        "rules": [
            {"match": {"prefixes": ["10.233.0.0/17 inside"]}, "set": {"med": 1}, "action": "next"},
            {"match": {"prefixes": ["10.233.128.0/18 inside"]}, "set": {"med": 2}, "action": "next"},
        ],
        "default": "accept",
    }));
    assert_eq!(
        evaluations(&mut net, &by_prefix),
        3,
        "for either rule, and for none"
    );
}

#[test]
fn a_peer_of_which_nothing_is_kept_is_asked_once_more_after_a_change_of_import_policy() {
    let mut net = Net::new(2);
    let config = |import: Policy| PeerConfig {
        keep_received: false,
        import,
        ..peer_config(1)
    };
    net.peer(0, config(Policy::accept_all()));
    net.peer(1, peer_config(0));
    net.originate(1, P);
    net.run_for(20);
    let sent = |net: &Net| net.view(0, 1).messages_sent;
    let before = sent(&net);
    net.peer(0, config(prefers(300)));
    net.settle();
    assert_eq!(path(&net, 0, P, 1).local_pref, 300);
    assert_eq!(sent(&net) - before, 2, "a ROUTE-REFRESH for each family");
    let plus = json!({"rules": [{"match": {"localPref": [100]}, "set": {"localPref": 7}, "action": "accept"}], "default": "reject"});
    net.peer(0, config(policy(plus)));
    net.settle();
    assert_eq!(path(&net, 0, P, 1).local_pref, 7, "of what was received");
    // What is rejected is not there at all.
    net.peer(0, config(Policy::reject_all()));
    net.settle();
    assert_eq!(net.nodes[0].speaker.route(&prefix(P)), None);
    assert_eq!(net.view(0, 1).prefixes_received, 0);
    net.peer(0, config(Policy::accept_all()));
    net.settle();
    assert_eq!(path(&net, 0, P, 1).local_pref, 100);
    assert_eq!(net.view(0, 1).flaps, 0);
    // Nothing has changed, so nothing is asked.
    let before = sent(&net);
    let mut renamed = config(Policy::accept_all());
    renamed.name = "another".to_owned();
    net.peer(0, renamed);
    net.settle();
    assert_eq!(sent(&net), before);
}

#[test]
fn of_a_peer_that_cannot_be_asked_everything_is_kept() {
    let mut open = super::played::open_with(Vec::new());
    open.capabilities
        .retain(|capability| *capability != crate::wire::Capability::RouteRefresh);
    let config = |import: Policy| PeerConfig {
        keep_received: false,
        passive: true,
        import,
        ..peer_config(super::played::PLAYED)
    };
    let mut played = super::played::Played::start(config(prefers(300)), open);
    played.announce(&[P]);
    let local_pref =
        |played: &super::played::Played| path(&played.net, 0, P, super::played::PLAYED).local_pref;
    assert_eq!(local_pref(&played), 300);
    played.net.peer(0, config(Policy::reject_all()));
    assert_eq!(played.prefixes(), [] as [&str; 0]);
    played.net.peer(0, config(Policy::accept_all()));
    assert_eq!(local_pref(&played), 100);
}

#[test]
fn a_rule_may_ask_for_the_device_that_a_session_is_bound_to() {
    let rule = json!({
        "rules": [{"match": {"interfaces": ["eth*"]}, "set": {"localPref": 300}, "action": "accept"}],
        "default": "accept",
    });
    for (interface, wanted) in [(None, 100), (Some("eth7"), 300), (Some("br0"), 100)] {
        let mut net = Net::new(2);
        net.peer(
            0,
            PeerConfig {
                interface: interface.map(str::to_owned),
                import: policy(rule.clone()),
                ..peer_config(1)
            },
        );
        net.peer(1, peer_config(0));
        net.originate(1, P);
        net.run_for(20);
        assert_eq!(path(&net, 0, P, 1).local_pref, wanted, "{interface:?}");
    }
}
