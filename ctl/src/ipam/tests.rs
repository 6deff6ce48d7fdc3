//! Golden reports on addresses.

use caracal_datastore::{Resource, manifest};

use super::*;

fn stored<R: Resource>(text: &str) -> Vec<Stored<R>> {
    manifest::parse("test", text)
        .into_objects()
        .unwrap()
        .iter()
        .filter(|object| object.key.kind == R::KIND)
        .map(|object| Stored::from_object(object).unwrap())
        .collect()
}

/// A pool of 64 addresses with two blocks of 4, another for IPv6, and a block that lost its pool. In the first
/// block one address is taken, one cools down.
const CLUSTER: &str = "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: default}
spec: {cidr: 10.233.0.0/26, blockSize: 30}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: six}
spec: {cidr: 'fd00:1::/64'}
---
apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata: {name: 10-233-0-0-30}
spec:
  cidr: 10.233.0.0/30
  affinity: host:n1
  allocations: [null, 0, 1, null]
  unallocated: [0, 3]
  attributes:
    - handle_id: k8s-pod-network.c1
      secondary: {namespace: default, node: n1, pod: web-1}
    - releasedAt: 2026-11-21T20:00:00Z
  sequenceNumber: 7
  deleted: false
  strictAffinity: false
---
apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata: {name: 10-99-0-0-30}
spec:
  cidr: 10.99.0.0/30
  allocations: [0, null, null, null]
  unallocated: [1, 2, 3]
  attributes: [{handle_id: k8s-pod-network.c9}]
  sequenceNumber: 7
  deleted: false
  strictAffinity: false
";

#[test]
fn pools_and_blocks_are_counted_as_calicoctl_counts_them() {
    let usage = usage(&stored(CLUSTER), &stored(CLUSTER));
    assert_eq!(
        table(&usage, false, false),
        "\
+----------------+---------------+-----------+------------+------------------+
| GROUPING       | CIDR          | IPS TOTAL | IPS IN USE | IPS FREE         |
+----------------+---------------+-----------+------------+------------------+
| IP Pool        | 10.233.0.0/26 | 64        | 1 (2%)     | 63 (98%)         |
| IP Pool        | fd00:1::/64   | 1.8447e19 | 0 (0%)     | 1.8447e19 (100%) |
| Block, no pool | 10.99.0.0/30  | 4         | 1 (25%)    | 3 (75%)          |
+----------------+---------------+-----------+------------+------------------+
"
    );
    let wide = table(&usage, true, true);
    assert!(
        wide.contains("| Block          | 10.233.0.0/30 | 4         | 1 (25%)    | 3 (75%)          |         | host:n1  |"),
        "{wide}"
    );
}

#[test]
fn an_address_names_its_holder() {
    let holder =
        |address: &str| holder(address.parse().unwrap(), &stored(CLUSTER), &stored(CLUSTER));
    assert_eq!(
        words(&holder("10.233.0.1").unwrap()),
        "\
IP 10.233.0.1 is in use
  pool: default
  block: 10.233.0.0/30
  affinity: host:n1
  handle: k8s-pod-network.c1
Attributes:
  namespace: default
  node: n1
  pod: web-1
"
    );
    assert_eq!(
        words(&holder("10.233.0.2").unwrap()),
        "IP 10.233.0.2 is not assigned\n  pool: default\n  block: 10.233.0.0/30\n  affinity: host:n1\n"
    );
    assert_eq!(
        words(&holder("fd00:1::7").unwrap()),
        "IP fd00:1::7 is not assigned\n  pool: six\n"
    );
    let nowhere = holder("192.0.2.1").unwrap_err();
    assert_eq!(nowhere.sort, Sort::NotFound);
    assert_eq!(nowhere.words, ["192.0.2.1 is in no pool and in no block"]);
}

#[test]
fn programs_get_the_numbers_whole() {
    let text = output::json(&usage(&stored(CLUSTER), &[])).unwrap();
    assert!(text.contains("\"total\": 18446744073709551616"), "{text}");
    let text = output::yaml(&usage(&stored(CLUSTER), &[])).unwrap();
    assert!(text.contains("total: 18446744073709551616"), "{text}");
}
