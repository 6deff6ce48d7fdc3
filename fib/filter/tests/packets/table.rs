//! What we write is what `nft` reads.

use caracal_filter::{Filter, Rules};

use crate::harness::{everything, in_namespace, masqueraded, nft, set};

/// The table as `nft` prints it.
fn listed() -> String {
    nft("list table inet caracal")
}

#[test]
fn nft_prints_the_table_as_it_was_meant() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        let mut rules = everything();
        rules.spoofing.as_mut().unwrap().allowed = [(
            "cali1".to_owned(),
            ["10.9.0.0/24".parse().unwrap(), "fd09::/64".parse().unwrap()].into(),
        )]
        .into();
        set(&filter, rules).await;
        assert_eq!(listed(), include_str!("table.nft"));
    });
}

#[test]
fn nft_prints_ports_an_address_hosts_and_a_device() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        let mut masquerade = masqueraded();
        masquerade.ports = Some((30_000, 30_009));
        masquerade.address = Some("192.0.2.7".parse().unwrap());
        masquerade.output = Some("eth+".parse().unwrap());
        masquerade.except_to_hosts = ["192.0.2.9".parse().unwrap()].into();
        let rules = Rules {
            masquerade,
            ..Rules::default()
        };
        set(&filter, rules).await;
        let listed = listed();
        for line in [
            "ip saddr @masquerade-v4 ip daddr != @pools-v4 ip daddr != @nodes-v4 oifname \"eth*\" meta l4proto tcp counter \
             name \"masqueraded\" snat ip to 192.0.2.7:30000-30009 fully-random",
            "ip saddr @masquerade-v4 ip daddr != @pools-v4 ip daddr != @nodes-v4 oifname \"eth*\" counter name \"masqueraded\" \
             snat ip to 192.0.2.7 fully-random",
            "ip6 saddr @masquerade-v6 ip6 daddr != @pools-v6 ip6 daddr != @nodes-v6 oifname \"eth*\" meta l4proto udp counter \
             name \"masqueraded\" masquerade to :30000-30009 fully-random",
        ] {
            assert!(listed.contains(line), "{line}\n{listed}");
        }
    });
}
