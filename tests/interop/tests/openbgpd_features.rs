//! OpenBGPD 7.7 and a speaker of ours on one link: single features, as `caracal_interop_tests::features` describes them.

use caracal_interop_tests::{OpenBgpd, features::*};
use caracal_lab::lab_tests;

lab_tests! {
    without programs;

    fn communities_of_all_kinds_pass_between_as_numbers_of_four_octets() {
        attributes::communities_between_large_as_numbers::<OpenBgpd>()
    }

    fn as_numbers_of_two_octets_do() {
        attributes::two_octets::<OpenBgpd>()
    }

    fn md5_wants_the_right_key() {
        security::md5::<OpenBgpd>()
    }

    fn ttl_security_wants_ttl_255() {
        security::ttl_security::<OpenBgpd>()
    }

    fn it_asks_for_a_refresh() {
        refresh::they_ask::<OpenBgpd>()
    }

    fn it_helps_us_restart() {
        restart::they_help::<OpenBgpd>()
    }

    fn its_prefix_limit_ends_the_session() {
        limits::their_limit::<OpenBgpd>()
    }

    fn our_prefix_limit_ends_the_session() {
        limits::our_limit::<OpenBgpd>(&["Cease, received max-prefix exceeded"])
    }

    fn our_words_for_a_shutdown_are_seen() {
        shutdown::our_words::<OpenBgpd>()
    }

    fn its_words_for_a_shutdown_are_seen() {
        shutdown::their_words::<OpenBgpd>()
    }

    fn it_gets_two_paths() {
        add_path::theirs_gets_two::<OpenBgpd>()
    }

    fn we_get_two_paths() {
        add_path::ours_gets_two::<OpenBgpd>()
    }

    fn roles_must_fit() {
        manners::roles::<OpenBgpd>()
    }

    fn graceful_shutdown_is_the_last_choice() {
        manners::graceful_shutdown::<OpenBgpd>()
    }

    fn it_connects_to_us() {
        manners::they_connect::<OpenBgpd>()
    }

    fn we_connect_to_it() {
        manners::we_connect::<OpenBgpd>()
    }

    fn a_hold_time_of_zero_is_agreed_on() {
        manners::hold_time_of_zero::<OpenBgpd>()
    }

    fn an_as_set_arrives() {
        attributes::as_set::<OpenBgpd>()
    }

    fn it_is_a_client_of_our_reflector() {
        attributes::reflected::<OpenBgpd>()
    }
}
