//! Route refresh with its markers (RFC 7313): as the one who is asked, the one who is told, and the one who asks.

use super::played::*;
use super::*;
use crate::event::Event;
use crate::wire::{
    Capability, Codec, Family, Message, Open, RouteRefresh, RouteRefreshKind, Update,
};
use RouteRefreshKind::{Begin, End};

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;
const BLOCK: &str = "10.9.0.0/26";
const OTHER: &str = "10.9.1.0/26";
const SIX: &str = "fd00:9::/64";

fn open() -> Open {
    open_with(vec![
        Capability::EnhancedRouteRefresh,
        Grace::new().capability(),
    ])
}

fn marker(family: Family, kind: RouteRefreshKind) -> Message {
    Message::RouteRefresh(Some(RouteRefresh { family, kind }))
}

/// Complete, with three paths of the played peer.
fn complete() -> Played {
    let mut played = Played::start(peer_config(PLAYED), open());
    played.codec.enhanced_route_refresh = true;
    played.announce(&[BLOCK, OTHER, SIX]);
    played.end_of_rib(&BOTH);
    played.net.settle();
    played.net.sent(0, played.connection);
    played.net.events(0);
    played
}

/// What node 0 has to say, in short: `BoRR v4`, `+10.9.0.0/26`, `-...`, `End v4`.
fn heard(played: &mut Played) -> Vec<String> {
    let sent = played.net.sent(0, played.connection);
    let mut rest = sent.as_slice();
    let codec = Codec {
        message_octets_max: 65_535,
        ..played.codec.clone()
    };
    let mut heard = Vec::new();
    while let Ok(Some(octets)) = codec.frame(rest) {
        match codec.decode(&rest[..octets]).unwrap() {
            Message::RouteRefresh(Some(refresh)) => {
                heard.push(format!("{:?} {}", refresh.kind, refresh.family));
            }
            Message::Update(update) => heard.extend(in_short(update)),
            Message::Keepalive => {}
            other => panic!("{other:?}"),
        }
        rest = &rest[octets..];
    }
    heard
}

fn in_short(update: Update) -> Vec<String> {
    let ends = update
        .end_of_rib
        .map(|family| format!("End-of-RIB {family}"));
    let gone = update.withdrawn.iter().map(|nlri| format!("-{nlri}"));
    let six = update.mp_announced.iter().flat_map(|mp| &mp.prefixes);
    let come = update.announced.iter().chain(six);
    let come = come.map(|nlri| format!("+{nlri}"));
    come.chain(gone).chain(ends).collect()
}

#[test]
fn eorr_drops_what_was_not_said_again_and_nothing_of_the_other_family() {
    let mut played = complete();
    played.say(&marker(V4, Begin));
    assert_eq!(played.stale(), 2);
    assert_eq!(played.prefixes(), [BLOCK, OTHER, SIX], "stale, and in use");
    played.announce(&[OTHER]);
    assert_eq!(played.stale(), 1);
    played.say(&marker(V4, End));
    assert_eq!(played.prefixes(), [OTHER, SIX]);
    assert_eq!(played.stale(), 0);
    let refreshed = Event::Refreshed {
        peer: crate::PeerId(0),
        family: V4,
        swept: 1,
        complete: true,
    };
    played.net.settle();
    assert_eq!(played.net.events(0), [refreshed]);
}

#[test]
fn a_borr_while_another_is_open_begins_anew() {
    let mut played = complete();
    played.say(&marker(V4, Begin));
    played.announce(&[BLOCK]);
    played.say(&marker(V4, Begin));
    assert_eq!(played.stale(), 2, "also what was said after the first one");
    played.announce(&[OTHER]);
    played.say(&marker(V4, End));
    assert_eq!(played.prefixes(), [OTHER, SIX]);
}

#[test]
fn refreshes_of_both_families_may_interleave() {
    let mut played = complete();
    played.say(&marker(V4, Begin));
    played.say(&marker(V6, Begin));
    played.announce(&[BLOCK, SIX, OTHER]);
    played.say(&marker(V4, End));
    assert_eq!(played.stale(), 0);
    played.say(&marker(V6, End));
    assert_eq!(played.prefixes(), [BLOCK, OTHER, SIX]);
}

#[test]
fn a_refresh_that_never_ends_is_ended_by_time() {
    let mut played = complete();
    played.say(&marker(V4, Begin));
    played.announce(&[BLOCK]);
    played.stay_for(359);
    assert_eq!(played.stale(), 1);
    played.stay_for(2);
    assert_eq!(played.prefixes(), [BLOCK, SIX]);
    let late = |event: &Event| {
        matches!(
            event,
            Event::Refreshed {
                complete: false,
                swept: 1,
                ..
            }
        )
    };
    assert!(played.net.events(0).iter().any(late));
    // And its end, when it comes after all, drops nothing.
    played.say(&marker(V4, End));
    assert_eq!(played.prefixes(), [BLOCK, SIX]);
}

#[test]
fn markers_are_ignored_before_end_of_rib_without_begin_and_without_agreement() {
    let ignored = |played: &mut Played| {
        played.net.settle();
        let events = played.net.events(0).into_iter();
        let details = events.filter_map(|event| match event {
            Event::RefreshIgnored { detail, .. } => Some(detail),
            _ => None,
        });
        details.collect::<Vec<String>>()
    };
    let mut played = complete();
    played.say(&marker(V4, End));
    assert_eq!(ignored(&mut played), ["EoRR of ipv4-unicast without BoRR"]);
    assert_eq!(played.prefixes().len(), 3);

    let mut played = Played::start(peer_config(PLAYED), open());
    played.announce(&[BLOCK]);
    played.say(&marker(V4, Begin));
    assert_eq!(
        ignored(&mut played),
        ["BoRR of ipv4-unicast before End-of-RIB"]
    );
    assert_eq!(played.stale(), 0);

    let mut played = Played::start(peer_config(PLAYED), open_with(Vec::new()));
    played.announce(&[BLOCK]);
    played.say(&marker(V4, Begin));
    assert_eq!(
        ignored(&mut played),
        ["a marker of ipv4-unicast that was not agreed on"]
    );
    assert_eq!(played.stale(), 0);
    assert_eq!(played.net.view(0, PLAYED).state, "Established");
}

#[test]
fn an_unknown_subtype_is_ignored_and_a_marker_of_a_wrong_length_is_an_error_of_its_own() {
    let mut played = complete();
    let mut message = Vec::new();
    played.codec.encode(&marker(V4, Begin), &mut message);
    let subtype = message.len() - 2;
    message[subtype] = 9;
    played.bytes(&message);
    assert_eq!(played.net.view(0, PLAYED).state, "Established");
    message[subtype] = 1;
    message.push(0);
    message[17] += 1;
    played.bytes(&message);
    let sent = played.net.sent(0, played.connection);
    let Message::Notification(notification) = played.codec.decode(&sent).unwrap() else {
        panic!("{sent:?}");
    };
    assert_eq!((notification.code, notification.subcode), (7, 1));
    assert_eq!(notification.data, message);
}

#[test]
fn a_session_that_breaks_in_a_refresh_keeps_what_was_good() {
    let mut played = complete();
    played.say(&marker(V4, Begin));
    played.announce(&[BLOCK]);
    played.lose();
    assert_eq!(played.prefixes(), [BLOCK, OTHER, SIX]);
    assert_eq!(played.stale(), 3);
}

#[test]
fn who_asks_is_answered_between_markers_and_asking_again_meanwhile_is_answered_afterwards() {
    let mut played = complete();
    played.net.originate(0, "10.1.0.0/26");
    played.net.originate(0, "fd00:1::/64");
    assert_eq!(heard(&mut played), ["+10.1.0.0/26", "+fd00:1::/64"]);
    for _ in 0..3 {
        let request = Message::RouteRefresh(Some(RouteRefresh::request(V4)));
        played.say(&request);
    }
    let once = ["Begin ipv4-unicast", "+10.1.0.0/26", "End ipv4-unicast"];
    assert_eq!(heard(&mut played), once);
}

#[test]
fn a_change_between_question_and_answer_is_not_lost_with_the_end_of_the_refresh() {
    let mut played = complete();
    played.net.originate(0, "10.1.0.0/26");
    heard(&mut played);
    let request = Message::RouteRefresh(Some(RouteRefresh::request(V4)));
    played.say(&request);
    // In the log, which goes first; so it must be said again after BoRR.
    played.net.originate(0, "10.2.0.0/26");
    played.net.withdraw(0, "10.1.0.0/26");
    let heard = heard(&mut played);
    let begin = heard
        .iter()
        .position(|word| word.starts_with("Begin"))
        .unwrap();
    assert_eq!(
        heard[begin..],
        ["Begin ipv4-unicast", "+10.2.0.0/26", "End ipv4-unicast"]
    );
    assert!(
        heard[..begin].contains(&"-10.1.0.0/26".to_owned()),
        "{heard:?}"
    );
}

#[test]
fn without_the_capability_the_answer_has_no_markers() {
    let mut played = Played::start(peer_config(PLAYED), open_with(Vec::new()));
    played.net.originate(0, "10.1.0.0/26");
    heard(&mut played);
    let request = Message::RouteRefresh(Some(RouteRefresh::request(V4)));
    played.say(&request);
    played.say(&request);
    assert_eq!(heard(&mut played), ["+10.1.0.0/26"]);
}

#[test]
fn no_borr_goes_out_before_end_of_rib() {
    let mut net = Net::new(2);
    let restarting = crate::config::SpeakerConfig {
        restarting: true,
        ..speaker_config(0)
    };
    net.replace(0, restarting);
    let mut config = peer_config(PLAYED);
    config.passive = true;
    net.peer(0, config);
    net.originate(0, "10.1.0.0/26");
    let mut played = Played::join(net, open());
    played.codec.enhanced_route_refresh = true;
    let request = Message::RouteRefresh(Some(RouteRefresh::request(V4)));
    played.say(&request);
    assert_eq!(heard(&mut played), ["+10.1.0.0/26"]);
    let now = played.net.now;
    played.net.nodes[0].speaker.finish_restart(now);
    let all = heard(&mut played);
    let ends = all.iter().filter(|word| word.starts_with("End-of-RIB"));
    assert_eq!(ends.count(), 2);
    assert_eq!(
        all[2..],
        ["Begin ipv4-unicast", "+10.1.0.0/26", "End ipv4-unicast"]
    );
}

#[test]
fn we_ask_a_peer_and_have_again_what_it_has_and_no_more() {
    let mut net = Net::mesh(2);
    net.originate(1, BLOCK);
    net.originate(1, SIX);
    net.settle();
    net.events(0);
    let now = net.now;
    let speaker = &mut net.nodes[0].speaker;
    speaker.refresh_peer(now, address(1), None).unwrap();
    net.settle();
    assert_eq!(net.prefixes(0), [BLOCK, SIX]);
    let events = net.events(0);
    let done = |family| {
        let refreshed = Event::Refreshed {
            peer: crate::PeerId(0),
            family,
            swept: 0,
            complete: true,
        };
        events.contains(&refreshed)
    };
    assert!(done(V4) && done(V6), "{events:?}");
}

#[test]
fn asking_whom_one_cannot_ask_is_an_error_that_names_him() {
    let mut played = Played::start(peer_config(PLAYED), open());
    played.net.peer(0, peer_config(1));
    let now = played.net.now;
    let mut ask = |of, family| {
        let speaker = &mut played.net.nodes[0].speaker;
        speaker.refresh_peer(now, address(of), family).unwrap_err()
    };
    assert_eq!(ask(3, None), "10.0.0.4 is not a configured peer");
    assert_eq!(ask(1, None), "peer 10.0.0.2: not Established");
    let mut only_v4 = peer_config(PLAYED);
    only_v4.families = vec![V4];
    let mut played = Played::start(only_v4, open());
    let now = played.net.now;
    let speaker = &mut played.net.nodes[0].speaker;
    assert_eq!(
        speaker.refresh_peer(now, address(PLAYED), Some(V6)),
        Err("peer 10.0.0.9: ipv6-unicast was not negotiated".to_owned())
    );
}
