//! From words on the command line to what goes over the socket.

use clap::Parser;
use serde_json::json;

use super::*;
use crate::cli::{Cli, Command};

fn asked(words: &str) -> Value {
    let words = ["caracalctl", "peers"].into_iter().chain(words.split(' '));
    let cli = Cli::try_parse_from(words).unwrap();
    let Command::Peers(args) = cli.command else {
        panic!("{:?}", cli.command)
    };
    serde_json::to_value(order(&args.order.unwrap()).0).unwrap()
}

#[test]
fn each_order_is_a_verb() {
    for (words, verb, said) in [
        ("reset 192.0.2.7", "resetHard", ""),
        ("reset 192.0.2.7 --words soon", "resetHard", "soon"),
        (
            "reset 192.0.2.7 --graceful --words soon",
            "resetGraceful",
            "soon",
        ),
        ("reset 192.0.2.7 --soft", "resetSoft", ""),
        ("refresh 192.0.2.7", "refresh", ""),
        ("shut-down 192.0.2.7 --words five", "shutDown", "five"),
        ("bring-up 192.0.2.7", "bringUp", ""),
    ] {
        let expected = json!({"peer": "192.0.2.7", "verb": verb, "words": said});
        assert_eq!(asked(words), expected);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for words in [
        "reset 192.0.2.7 --soft --graceful",
        "reset 192.0.2.7 --soft --words soon",
        "shut-down",
        "shut-down the-router",
        "-o json reset 192.0.2.7",
    ] {
        let all = ["caracalctl", "peers"].into_iter().chain(words.split(' '));
        assert!(Cli::try_parse_from(all).is_err(), "{words}");
    }
}
