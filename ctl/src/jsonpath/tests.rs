//! Templates as they stand in kubectl's documentation.

use serde_json::json;

use super::*;

fn said(template: &str) -> String {
    let root = json!({
        "kind": "List",
        "items": [
            {"kind": "None", "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}},
             "status": {"capacity": {"cpu": 4}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}]}},
            {"kind": "None", "metadata": {"name": "127.0.0.2"},
             "status": {"capacity": {"cpu": 8}, "addresses": [
                {"type": "LegacyHostIP", "address": "127.0.0.2"}, {"type": "another-type", "address": "127.0.0.3"}]}},
        ],
        "users": [{"name": "myself", "user": {}}, {"name": "e2e", "user": {"username": "admin", "password": "secret"}}],
        "big": 1_799_999_999_999_999_999_u64,
    });
    match Template::parse(template) {
        Ok(template) => template.print(&root).unwrap(),
        Err(fault) => format!("fault: {fault}"),
    }
}

#[test]
fn kubectls_own_examples_print_what_its_documentation_says() {
    for (template, printed) in [
        ("kind is {.kind}", "kind is List"),
        ("{['kind']}", "List"),
        ("{..metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.users[0].name}", "myself"),
        (
            "{.items[0]['metadata', 'status']['name', 'capacity']}",
            "127.0.0.1 {\"cpu\":4}",
        ),
        ("{.users[?(@.name==\"e2e\")].user.password}", "secret"),
        (
            "{range .items[*]}[{.metadata.name}, {.status.capacity}] {end}",
            "[127.0.0.1, {\"cpu\":4}] [127.0.0.2, {\"cpu\":8}] ",
        ),
        (
            r"{.items[0].metadata.labels.kubernetes\.io/hostname}",
            "127.0.0.1",
        ),
        ("{.items[-1].metadata.name}", "127.0.0.2"),
        ("{.items[0:1].metadata.name}", "127.0.0.1"),
        (
            "{range .items[*]}{.metadata.name}{\"\\t\"}{.status.capacity.cpu}{'\\n'}{end}",
            "127.0.0.1\t4\n127.0.0.2\t8\n",
        ),
    ] {
        assert_eq!(said(template), printed, "{template}");
    }
}

#[test]
fn paths_have_their_corners() {
    for (template, printed) in [
        // What is not there is nothing.
        ("<{.no.such}>", "<>"),
        ("{$.kind} {@.kind}", "List List"),
        // The root within a range.
        (
            "{range .users[*]}{$.kind}/{@.name} {end}",
            "List/myself List/e2e ",
        ),
        ("{range .users[*].name}{@};{end}", "myself;e2e;"),
        ("{.users.[1].name}", "e2e"),
        ("{.big}", "1799999999999999999"),
        (
            "{.items[?(@.status.capacity.cpu>4)].metadata.name}",
            "127.0.0.2",
        ),
        (
            r#"{.items[?(@.metadata.labels.kubernetes\.io/hostname=="127.0.0.1")].status.capacity.cpu}"#,
            "4",
        ),
        (
            r#"{.items[*].status.addresses[?(@.type=="another-type")].address}"#,
            "127.0.0.3",
        ),
        ("{\"}\"}{.kind}", "}List"),
        (
            "{range .items[*]}{range .status.addresses[*]}{.address},{end};{end}",
            "127.0.0.1,;127.0.0.2,127.0.0.3,;",
        ),
    ] {
        assert_eq!(said(template), printed, "{template}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (template, words) in [
        (".kind", "\".kind\" has no path"),
        ("{.kind", "has no closing brace"),
        ("{range .items[*]}x", "{range ...} has no {end}"),
        ("{.kind}{end}", "{end} has no {range ...}"),
        ("{kind}", "path \"kind\": 'k' does not begin a step"),
        ("{.a .b}", "a blank stands in it"),
        ("{.a[}", "a bracket is not closed"),
        (
            "{.a[b]}",
            "path \".a[b]\": is not understood; known are .field",
        ),
        ("{.a..}", "ends in .."),
        ("{\"a}", "has no closing brace"),
        ("{\"\\q\"}", "is not a text in quotes"),
    ] {
        let fault = said(template);
        assert!(
            fault.starts_with("fault: ") && fault.contains(words),
            "{template}: {fault}"
        );
    }
    let deep = "{range .a}".repeat(40);
    assert!(said(&deep).contains("nested deeper than 32"));
}

#[test]
fn a_columns_path_may_leave_out_dot_and_braces() {
    let root = json!({"metadata": {"name": "a"}});
    for text in [
        "metadata.name",
        ".metadata.name",
        "{.metadata.name}",
        "$.metadata.name",
    ] {
        let path = Path::parse_relaxed(text).unwrap();
        assert_eq!(path.values(&root).unwrap(), [&json!("a")], "{text}");
    }
}
