//! Keys and tables without sockets.

use super::*;

fn key(text: &str) -> SessionOptions {
    SessionOptions {
        key: Some(Md5Key::new(text.as_bytes()).unwrap()),
        ttl_security: None,
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_key_is_never_printed() {
    let text = format!("{:?} {:#?}", key("hush"), key("hush"));
    assert!(!text.contains("hush") && !text.contains("104"), "{text}");
}

#[test]
fn a_key_that_the_kernel_would_not_take_is_refused_with_its_length() {
    assert!(Md5Key::new(&[b'x'; 80]).is_ok());
    let error = Md5Key::new(&[b'x'; 81]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a TCP MD5 key has 1 to 80 octets, and this one has 81"
    );
    assert_eq!(Md5Key::new(b""), Err(BadKey { octets: 0 }));
}

#[test]
fn the_longest_prefix_decides_and_an_address_before_all_prefixes() {
    let mut table = OptionsTable::default();
    assert!(table.replace(net("10.0.0.0/8"), Some(key("eight"))));
    assert!(table.replace(net("10.1.0.0/16"), Some(key("sixteen"))));
    assert!(table.replace(net("10.1.0.1/32"), Some(SessionOptions::default())));
    assert_eq!(table.of(address("10.2.0.1")), Some(&key("eight")));
    assert_eq!(table.of(address("10.1.0.2")), Some(&key("sixteen")));
    assert_eq!(
        table.of(address("10.1.0.1")),
        Some(&SessionOptions::default())
    );
    assert_eq!(table.of(address("192.0.2.1")), None);
    assert_eq!(table.of(address("::1")), None);
    assert!(table.replace(net("10.1.0.0/16"), None));
    assert_eq!(table.of(address("10.1.0.2")), Some(&key("eight")));
}

#[test]
fn saying_the_same_again_changes_nothing() {
    let mut table = OptionsTable::default();
    assert!(table.replace(net("10.0.0.1/32"), Some(key("one"))));
    assert!(!table.replace(net("10.0.0.1/32"), Some(key("one"))));
    assert!(table.replace(net("10.0.0.1/32"), Some(key("two"))));
    assert!(table.replace(net("10.0.0.1/32"), None));
    assert!(!table.replace(net("10.0.0.1/32"), None));
}

#[test]
fn a_neighbour_has_a_ttl_of_255_and_each_hop_takes_one() {
    let ttl_min = |hops| {
        let options = SessionOptions {
            key: None,
            ttl_security: NonZeroU8::new(hops),
        };
        options.ttl_min()
    };
    assert_eq!(ttl_min(0), None);
    assert_eq!(ttl_min(1), Some(255));
    assert_eq!(ttl_min(2), Some(254));
    assert_eq!(ttl_min(255), Some(1));
}

#[test]
fn errors_name_the_peer_and_what_helps() {
    let error = |peers, code| {
        let why = io::Error::from_raw_os_error(code);
        OptionsError::Key { peers, why }.to_string()
    };
    assert_eq!(
        error(net("10.0.0.1/32"), libc::ENOPROTOOPT),
        "cannot sign the sessions with 10.0.0.1: this kernel has no TCP MD5 (CONFIG_TCP_MD5SIG)"
    );
    assert_eq!(
        error(net("fd00::/64"), libc::ENOMEM),
        "cannot sign the sessions with fd00::/64: no room for another key on this socket; \
         raise the sysctl net.core.optmem_max"
    );
}
