//! FRR 8.4 and a speaker of ours on one link: single features, as `caracal_interop_tests::features` describes them.

use caracal_interop_tests::{Frr, features::*};
use caracal_lab::lab_tests;

lab_tests! {
    without programs;

    fn communities_of_all_kinds_pass_between_as_numbers_of_four_octets() {
        attributes::communities_between_large_as_numbers::<Frr>()
    }

    fn as_numbers_of_two_octets_do() {
        attributes::two_octets::<Frr>()
    }

    fn md5_wants_the_right_key() {
        security::md5::<Frr>()
    }

    fn ttl_security_wants_ttl_255() {
        security::ttl_security::<Frr>()
    }

    fn it_asks_for_a_refresh() {
        refresh::they_ask::<Frr>()
    }

    fn we_ask_for_a_refresh() {
        refresh::we_ask::<Frr>()
    }

    fn a_refresh_has_begin_and_end() {
        refresh::we_ask_with_begin_and_end::<Frr>()
    }

    fn we_help_it_restart() {
        restart::we_help::<Frr>()
    }

    fn it_helps_us_restart() {
        restart::they_help::<Frr>()
    }

    fn we_help_it_restart_for_long() {
        restart::we_help_long::<Frr>()
    }

    fn it_helps_us_restart_for_long() {
        restart::they_help_long::<Frr>()
    }

    fn its_prefix_limit_ends_the_session() {
        limits::their_limit::<Frr>()
    }

    fn our_prefix_limit_ends_the_session() {
        limits::our_limit::<Frr>(&["Maximum Number of Prefixes Reached"])
    }

    fn our_words_for_a_shutdown_are_seen() {
        shutdown::our_words::<Frr>()
    }

    fn its_words_for_a_shutdown_are_seen() {
        shutdown::their_words::<Frr>()
    }

    fn it_gets_two_paths() {
        add_path::theirs_gets_two::<Frr>()
    }

    fn we_get_two_paths() {
        add_path::ours_gets_two::<Frr>()
    }

    fn ipv4_has_ipv6_next_hops() {
        attributes::extended_next_hop::<Frr>()
    }

    fn a_message_has_more_than_4096_octets() {
        attributes::extended_message::<Frr>()
    }

    fn roles_must_fit() {
        manners::roles::<Frr>()
    }

    fn graceful_shutdown_is_the_last_choice() {
        manners::graceful_shutdown::<Frr>()
    }

    fn it_connects_to_us() {
        manners::they_connect::<Frr>()
    }

    fn we_connect_to_it() {
        manners::we_connect::<Frr>()
    }

    fn a_hold_time_of_zero_is_agreed_on() {
        manners::hold_time_of_zero::<Frr>()
    }

    fn an_as_set_arrives() {
        attributes::as_set::<Frr>()
    }

    fn it_is_a_client_of_our_reflector() {
        attributes::reflected::<Frr>()
    }

    fn it_says_the_name_of_its_host() {
        manners::host_names::<Frr>()
    }
}
