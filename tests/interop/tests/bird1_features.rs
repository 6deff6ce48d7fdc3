//! BIRD 1.6 and a speaker of ours on one link: single features, as `caracal_interop_tests::features` describes them.

use caracal_interop_tests::{Bird1, features::*};
use caracal_lab::lab_tests;

lab_tests! {
    without programs;

    fn communities_of_all_kinds_pass_between_as_numbers_of_four_octets() {
        attributes::communities_between_large_as_numbers::<Bird1>()
    }

    fn as_numbers_of_two_octets_do() {
        attributes::two_octets::<Bird1>()
    }

    fn md5_wants_the_right_key() {
        security::md5::<Bird1>()
    }

    fn ttl_security_wants_ttl_255() {
        security::ttl_security::<Bird1>()
    }

    fn it_asks_for_a_refresh() {
        refresh::they_ask::<Bird1>()
    }

    fn we_ask_for_a_refresh() {
        refresh::we_ask::<Bird1>()
    }

    fn a_refresh_has_begin_and_end() {
        refresh::we_ask_with_begin_and_end::<Bird1>()
    }

    fn we_help_it_restart() {
        restart::we_help::<Bird1>()
    }

    fn it_helps_us_restart() {
        restart::they_help::<Bird1>()
    }

    fn it_helps_us_restart_for_long() {
        restart::they_help_long::<Bird1>()
    }

    fn its_prefix_limit_ends_the_session() {
        limits::their_limit::<Bird1>()
    }

    fn our_prefix_limit_ends_the_session() {
        limits::our_limit::<Bird1>(&["Maximum number of prefixes reached"])
    }

    fn our_words_for_a_shutdown_are_seen() {
        shutdown::our_words::<Bird1>()
    }

    fn its_words_for_a_shutdown_are_seen() {
        shutdown::their_words::<Bird1>()
    }

    fn it_gets_two_paths() {
        add_path::theirs_gets_two::<Bird1>()
    }

    fn we_get_two_paths() {
        add_path::ours_gets_two::<Bird1>()
    }

    fn a_message_has_more_than_4096_octets() {
        attributes::extended_message::<Bird1>()
    }

    fn graceful_shutdown_is_the_last_choice() {
        manners::graceful_shutdown::<Bird1>()
    }

    fn it_connects_to_us() {
        manners::they_connect::<Bird1>()
    }

    fn we_connect_to_it() {
        manners::we_connect::<Bird1>()
    }

    fn a_hold_time_of_zero_is_agreed_on() {
        manners::hold_time_of_zero::<Bird1>()
    }

    fn an_as_set_arrives() {
        attributes::as_set::<Bird1>()
    }

    fn it_is_a_client_of_our_reflector() {
        attributes::reflected::<Bird1>()
    }
}
