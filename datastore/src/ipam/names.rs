//! Names and labels of IPAM's objects, bit for bit as Calico makes them.

use std::collections::BTreeMap;

use ipnet::IpNet;
use sha2::{Digest, Sha256};
use sha3::Sha3_256;

/// So long names are cut, with a hash.
const NAME_CUT: usize = 253;

/// How many hex digits of the hash.
const HASH_DIGITS: usize = 11;

/// A block's name: its CIDR with `.`, `:` and `/` as `-`.
pub fn block(cidr: &IpNet) -> String {
    cidr.to_string().replace(['.', ':', '/'], "-")
}

/// A block's CIDR from its name, in which `.`, `:` and `/` are `-`.
pub fn cidr_of_block(name: &str) -> Option<IpNet> {
    let (address, length) = name.rsplit_once('-')?;
    [".", ":"]
        .iter()
        .filter_map(|dot| {
            format!("{}/{length}", address.replace('-', dot))
                .parse()
                .ok()
        })
        .find(|cidr: &IpNet| block(cidr) == name && cidr.trunc() == *cidr)
}

/// A node's affinity to a block: `<node>-<block>`. Where that is too long the node's name is cut, and a hash of both
/// follows, 252 characters in all.
pub fn affinity(node: &str, cidr: &IpNet) -> String {
    let block = block(cidr);
    let name = format!("{node}-{block}");
    if name.len() < NAME_CUT {
        return name;
    }
    let hash: String = Sha256::digest(format!("{node}+{block}").as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // Two separators.
    let mut end = NAME_CUT - 1 - block.len() - HASH_DIGITS - 2;
    while !node.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{block}-{}", &node[..end], &hash[..HASH_DIGITS])
}

/// A handle's object name: the handle itself. etcd's keys keep its case, and nothing tells the handle of a
/// lower-cased name; a custom resource must be named in lower case, which is the business of that backend.
pub fn handle(handle: &str) -> String {
    handle.to_owned()
}

/// The labels of a node's affinity, by which Calico lists them.
pub fn affinity_labels(node: &str, cidr: &IpNet) -> BTreeMap<String, String> {
    let version = match cidr {
        IpNet::V4(_) => "4",
        IpNet::V6(_) => "6",
    };
    BTreeMap::from([
        (
            "projectcalico.org/hostname-hash".to_owned(),
            hostname_hash(node),
        ),
        (
            "projectcalico.org/affinity-type".to_owned(),
            "host".to_owned(),
        ),
        (
            "projectcalico.org/ip-version".to_owned(),
            version.to_owned(),
        ),
    ])
}

/// base32 without padding of SHA3-256 of the host's name.
pub fn hostname_hash(node: &str) -> String {
    base32(&Sha3_256::digest(node.as_bytes()))
}

/// RFC 4648 §6 without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    let mut buffer = 0_u32;
    let mut bits = 0;
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits) as usize & 31]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits)) as usize & 31]));
    }
    text
}

/// FNV-1a with 32 bits, from which a node's candidate walk starts.
pub(crate) fn fnv32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    //! Names against values computed elsewhere.

    use super::*;

    #[test]
    fn blocks_and_affinities_are_named_by_their_cidr() {
        let v4: IpNet = "10.0.0.64/26".parse().unwrap();
        let v6: IpNet = "fd00:1::40/122".parse().unwrap();
        assert_eq!(block(&v4), "10-0-0-64-26");
        assert_eq!(block(&v6), "fd00-1--40-122");
        assert_eq!(affinity("node-1", &v4), "node-1-10-0-0-64-26");
        assert_eq!(handle("k8s-pod-network.AbC"), "k8s-pod-network.AbC");
    }

    #[test]
    fn a_long_affinity_name_is_cut_and_ends_in_its_hash() {
        let cidr: IpNet = "10.0.0.0/26".parse().unwrap();
        let fits = "n".repeat(252 - "-10-0-0-0-26".len());
        assert_eq!(affinity(&fits, &cidr).len(), 252);
        let one = affinity(&"n".repeat(250), &cidr);
        let other = affinity(&"n".repeat(251), &cidr);
        // Computed with Python's hashlib, as libcalico-go does it.
        let node = "n".repeat(228);
        assert_eq!(one, format!("{node}-10-0-0-0-26-f1d50507857"));
        assert_eq!((one.len(), other.len()), (252, 252));
        assert_ne!(one, other);
    }

    #[test]
    fn the_hash_of_a_host_is_sha3_in_base32() {
        // Computed with Python's hashlib and base64.
        assert_eq!(
            hostname_hash(""),
            "U774N6F7D3LWMUOBI5LKAYOWML2YB72N4Q5UT6UC3AFEXAHYINFA"
        );
        assert_eq!(
            hostname_hash("node-1"),
            "A3XPYDATRKB7Q4SM2O5FN4RXIHBFIL2PITFX26BAIP5XAB2X74CA"
        );
        // RFC 4648 §10.
        for (text, expected) in [("f", "MY"), ("fo", "MZXQ"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(text.as_bytes()), expected);
        }
        assert_eq!(fnv32("foobar"), 0xbf9c_f968);
    }
}
