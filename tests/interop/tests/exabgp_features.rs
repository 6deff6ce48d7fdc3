//! ExaBGP 4.2 and a speaker of ours on one link: single features, as `caracal_interop_tests::features` describes them.

use anyhow::ensure;
use caracal_interop_tests::features::{ANNOUNCED, *};
use caracal_interop_tests::{ExaBgp, Wish};
use caracal_lab::lab_tests;

lab_tests! {
    without programs;

    fn communities_of_all_kinds_pass_between_as_numbers_of_four_octets() {
        attributes::communities_between_large_as_numbers::<ExaBgp>()
    }

    fn as_numbers_of_two_octets_do() {
        attributes::two_octets::<ExaBgp>()
    }

    fn md5_wants_the_right_key() {
        security::md5::<ExaBgp>()
    }

    fn ttl_security_wants_ttl_255() {
        security::ttl_security::<ExaBgp>()
    }

    fn it_asks_for_a_refresh() {
        refresh::they_ask::<ExaBgp>()
    }

    fn we_help_it_restart() {
        restart::we_help::<ExaBgp>()
    }

    fn our_prefix_limit_ends_the_session() {
        limits::our_limit::<ExaBgp>(&["Maximum Number of Prefixes Reached"])
    }

    fn it_gets_two_paths() {
        add_path::theirs_gets_two::<ExaBgp>()
    }

    fn ipv4_has_ipv6_next_hops() {
        attributes::extended_next_hop::<ExaBgp>()
    }

    fn a_message_has_more_than_4096_octets() {
        attributes::extended_message::<ExaBgp>()
    }

    fn graceful_shutdown_is_the_last_choice() {
        manners::graceful_shutdown::<ExaBgp>()
    }

    fn it_connects_to_us() {
        manners::they_connect::<ExaBgp>()
    }

    fn we_connect_to_it() {
        manners::we_connect::<ExaBgp>()
    }

    fn a_hold_time_of_zero_is_agreed_on() {
        manners::hold_time_of_zero::<ExaBgp>()
    }

    fn we_get_two_paths() {
        let wish = Wish {
            add_path: true,
            ..Wish::default()
        };
        let one = Match::<ExaBgp>::begin(OTHER_ASN, wish, |_, peer| peer.add_path.receive = true)?;
        let (prefix, own) = (ANNOUNCED.prefix, one.own);
        let say = |verb: &str, id: u8| {
            let path = format!("next-hop 10.9.0.{id} origin igp as-path [ {OTHER_ASN} ]");
            let words = format!("{verb} route {prefix} path-information 0.0.0.{id} {path}");
            one.router.command(own, &words)
        };
        say("announce", 5)?;
        say("announce", 6)?;
        let paths = one.we_have(prefix, |paths| paths.len() == 2)?;
        let mut ids: Vec<_> = paths.iter().filter_map(|path| path.path_id).collect();
        ids.sort_unstable();
        ensure!(ids == [5, 6], "path ids {ids:?}");
        say("withdraw", 5)?;
        one.we_have(prefix, |paths| paths.len() == 1 && paths[0].path_id == Some(6))?;
        Ok(())
    }

    fn an_as_set_arrives() {
        attributes::as_set::<ExaBgp>()
    }

    fn it_is_a_client_of_our_reflector() {
        attributes::reflected::<ExaBgp>()
    }
}
