//! What the environment may look like.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Invocation, CniError> {
    Invocation::read(|name| {
        pairs
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn add_with(name: &str, value: &str) -> Result<Invocation, CniError> {
    let mut pairs = vec![
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/p1"),
        ("CNI_IFNAME", "eth0"),
    ];
    pairs.retain(|(key, _)| *key != name);
    pairs.push((name, value));
    read(&pairs)
}

fn message(result: Result<Invocation, CniError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.code, Code::InvalidEnvironment);
    error.msg
}

#[test]
fn reads_what_containerd_sends() {
    let call = add_with(
        "CNI_ARGS",
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-1;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u",
    )
    .unwrap();
    assert_eq!(call.command, Command::Add);
    assert_eq!(call.container_id, "c1");
    assert_eq!(call.netns, "/run/netns/p1");
    assert_eq!(call.ifname, "eth0");
    assert_eq!(call.args.namespace.as_deref(), Some("default"));
    assert_eq!(call.args.pod.as_deref(), Some("web-1"));
}

#[test]
fn names_every_variable_that_is_missing() {
    assert_eq!(
        message(read(&[("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "eth0")])),
        "CNI_CONTAINERID, CNI_NETNS are missing for ADD"
    );
    assert_eq!(message(read(&[])), "CNI_COMMAND is missing");
}

#[test]
fn needs_no_namespace_for_del_and_nothing_for_status() {
    let del = [
        ("CNI_COMMAND", "DEL"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "eth0"),
    ];
    assert_eq!(read(&del).unwrap().netns, "");
    assert_eq!(
        read(&[("CNI_COMMAND", "STATUS")]).unwrap().command,
        Command::Status
    );
}

#[test]
fn refuses_a_command_that_does_not_exist() {
    assert_eq!(
        message(read(&[("CNI_COMMAND", "add")])),
        "CNI_COMMAND add is none of ADD, DEL, CHECK, STATUS, GC, VERSION"
    );
}

#[test]
fn refuses_ids_and_names_that_could_leave_their_folder() {
    assert!(message(add_with("CNI_CONTAINERID", "../../etc/x")).starts_with("CNI_CONTAINERID"));
    assert!(message(add_with("CNI_CONTAINERID", ".x")).starts_with("CNI_CONTAINERID"));
    assert!(message(add_with("CNI_IFNAME", "..")).starts_with("CNI_IFNAME"));
    assert!(message(add_with("CNI_IFNAME", "a/b")).starts_with("CNI_IFNAME"));
    assert!(message(add_with("CNI_IFNAME", "sixteen-octets-x")).starts_with("CNI_IFNAME"));
    assert!(add_with("CNI_IFNAME", "fifteen-octets-").is_ok());
}

#[test]
fn takes_addresses_with_and_without_length() {
    let call = add_with("CNI_ARGS", "IP=10.0.0.1/24,fd00::1").unwrap();
    assert_eq!(
        call.args.addresses,
        vec![
            "10.0.0.1".parse::<IpAddr>().unwrap(),
            "fd00::1".parse().unwrap()
        ]
    );
    assert_eq!(
        message(add_with("CNI_ARGS", "IP=10.0.0")),
        "CNI_ARGS: IP=10.0.0 is not an address"
    );
    assert_eq!(
        message(add_with("CNI_ARGS", "IP=10.0.0.1/33")),
        "CNI_ARGS: IP=10.0.0.1/33 is not an address"
    );
    assert_eq!(
        message(add_with("CNI_ARGS", "nonsense")),
        "CNI_ARGS: nonsense is not of the form KEY=VALUE"
    );
}
