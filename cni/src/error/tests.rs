//! The shape of an error.

use super::*;

#[test]
fn has_the_keys_of_the_specification() {
    let error = CniError::new(Code::TryAgainLater, "no agent on /run/caracal/agent.sock")
        .details("Connection refused");
    assert_eq!(
        error.render("0.4.0").to_string(),
        r#"{"cniVersion":"0.4.0","code":11,"details":"Connection refused","msg":"no agent on /run/caracal/agent.sock"}"#
    );
}

#[test]
fn leaves_details_out_when_there_are_none() {
    let error = CniError::new(Code::Decode, "network config: not JSON");
    assert_eq!(
        error.render("1.1.0").to_string(),
        r#"{"cniVersion":"1.1.0","code":6,"msg":"network config: not JSON"}"#
    );
}
