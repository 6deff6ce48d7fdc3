//! GoBGP 3.10 and a speaker of ours on one link: single features, as `caracal_interop_tests::features` describes them.

use caracal_interop_tests::{GoBgp, features::*};
use caracal_lab::lab_tests;

lab_tests! {
    without programs;

    fn communities_of_all_kinds_pass_between_as_numbers_of_four_octets() {
        attributes::communities_between_large_as_numbers::<GoBgp>()
    }

    fn md5_wants_the_right_key() {
        security::md5::<GoBgp>()
    }

    fn ttl_security_wants_ttl_255() {
        security::ttl_security::<GoBgp>()
    }

    fn we_ask_for_a_refresh() {
        refresh::we_ask::<GoBgp>()
    }

    fn we_help_it_restart() {
        restart::we_help::<GoBgp>()
    }

    fn it_helps_us_restart() {
        restart::they_help::<GoBgp>()
    }

    fn we_help_it_restart_for_long() {
        restart::we_help_long::<GoBgp>()
    }

    fn it_helps_us_restart_for_long() {
        restart::they_help_long::<GoBgp>()
    }

    fn its_prefix_limit_ends_the_session() {
        limits::their_limit::<GoBgp>()
    }

    fn our_prefix_limit_ends_the_session() {
        limits::our_limit::<GoBgp>(&["maximum number of prefixes reached"])
    }

    fn our_words_for_a_shutdown_are_seen() {
        shutdown::our_words::<GoBgp>()
    }

    fn its_words_for_a_shutdown_are_seen() {
        shutdown::their_words::<GoBgp>()
    }

    fn it_gets_two_paths() {
        add_path::theirs_gets_two::<GoBgp>()
    }

    fn we_get_two_paths() {
        add_path::ours_gets_two::<GoBgp>()
    }

    fn ipv4_has_ipv6_next_hops() {
        attributes::extended_next_hop::<GoBgp>()
    }

    fn graceful_shutdown_is_the_last_choice() {
        manners::graceful_shutdown::<GoBgp>()
    }

    fn it_connects_to_us() {
        manners::they_connect::<GoBgp>()
    }

    fn we_connect_to_it() {
        manners::we_connect::<GoBgp>()
    }

    fn an_as_set_arrives() {
        attributes::as_set::<GoBgp>()
    }

    fn it_is_a_client_of_our_reflector() {
        attributes::reflected::<GoBgp>()
    }

    fn it_says_the_name_of_its_host() {
        manners::host_names::<GoBgp>()
    }
}
