//! The parts of a rule: each loads something into a register, compares it, or does something with the packet.
//!
//! An expression is its name and its attributes. Ours have exactly those that the kernel gives back in a dump, so that
//! equality says whether a rule in the kernel is still the one that was written.

use std::collections::BTreeMap;

use crate::message::{Attributes, AttributesOf};
use crate::table::{NF_ACCEPT, NF_DROP};

/// One expression of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expression {
    name: String,
    attributes: BTreeMap<u16, Vec<u8>>,
}

/// Where an expression finds or leaves its value. Each holds 16 octets; a longer key lies in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register(pub(crate) u32);

impl Expression {
    fn new(name: &str, attributes: Attributes) -> Expression {
        Expression {
            name: name.to_owned(),
            attributes: by_kind(&attributes.0),
        }
    }

    /// As in NFTA_RULE_EXPRESSIONS, one NFTA_LIST_ELEM each.
    pub(crate) fn encode_all(expressions: &[Expression], into: &mut Attributes) {
        for expression in expressions {
            into.nested(NFTA_LIST_ELEM, |element| {
                element.text(NFTA_EXPR_NAME, &expression.name);
                element.nested(NFTA_EXPR_DATA, |data| {
                    for (kind, value) in &expression.attributes {
                        data.bytes(*kind, value);
                    }
                });
            });
        }
    }

    pub(crate) fn decode_all(list: AttributesOf<'_>) -> Vec<Expression> {
        list.map(|(_, element)| {
            let element = AttributesOf(element);
            Expression {
                name: element.text(NFTA_EXPR_NAME).unwrap_or_default().to_owned(),
                attributes: by_kind(element.nested(NFTA_EXPR_DATA).0),
            }
        })
        .collect()
    }
}

fn by_kind(attributes: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    AttributesOf(attributes)
        .map(|(kind, value)| (kind, value.to_vec()))
        .collect()
}

/// A fact about the packet, not a part of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meta {
    InputDevice = 6,
    OutputDevice = 7,
    Family = 15,
    Transport = 16,
}

pub(crate) fn meta(what: Meta, to: Register) -> Expression {
    let mut attributes = Attributes::default();
    attributes.number(1, to.0).number(2, what as u32);
    Expression::new("meta", attributes)
}

/// Octets of the network header.
pub(crate) fn network_header(offset: u32, octets: u32, to: Register) -> Expression {
    payload(NFT_PAYLOAD_NETWORK_HEADER, offset, octets, to)
}

/// Octets of the transport's header.
pub(crate) fn transport_header(offset: u32, octets: u32, to: Register) -> Expression {
    payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, octets, to)
}

fn payload(base: u32, offset: u32, octets: u32, to: Register) -> Expression {
    let mut attributes = Attributes::default();
    attributes
        .number(1, to.0)
        .number(2, base)
        .number(3, offset)
        .number(4, octets);
    Expression::new("payload", attributes)
}

/// Goes on only if the register begins with these octets.
pub(crate) fn equal(register: Register, value: &[u8]) -> Expression {
    compare(register, NFT_CMP_EQ, value)
}

/// Goes on only if the register begins with others.
pub(crate) fn not_equal(register: Register, value: &[u8]) -> Expression {
    compare(register, NFT_CMP_NEQ, value)
}

fn compare(register: Register, how: u32, value: &[u8]) -> Expression {
    let mut attributes = Attributes::default();
    attributes
        .number(1, register.0)
        .number(2, how)
        .nested(3, |data| {
            data.bytes(NFTA_DATA_VALUE, value);
        });
    Expression::new("cmp", attributes)
}

/// Goes on only if the set has the register's value.
pub(crate) fn within(set: &str, register: Register) -> Expression {
    lookup(set, register, 0)
}

/// Goes on only if the set does not have it.
pub(crate) fn outside(set: &str, register: Register) -> Expression {
    lookup(set, register, NFT_LOOKUP_F_INV)
}

fn lookup(set: &str, register: Register, flags: u32) -> Expression {
    let mut attributes = Attributes::default();
    attributes
        .text(1, set)
        .number(2, register.0)
        .number(5, flags);
    Expression::new("lookup", attributes)
}

/// Whether the routing table leads back to the packet's source through the device it came in by: 1 or 0.
pub(crate) fn source_is_routed_back(to: Register) -> Expression {
    let mut attributes = Attributes::default();
    attributes
        .number(1, to.0)
        .number(2, NFT_FIB_RESULT_OIF)
        .number(3, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT);
    Expression::new("fib", attributes)
}

/// What the source is to this host: [`RTN_LOCAL`] if it is an address of it. `of_output`: of the outgoing device.
pub(crate) fn kind_of_source(of_output: bool, to: Register) -> Expression {
    let mut attributes = Attributes::default();
    let device = if of_output { NFTA_FIB_F_OIF } else { 0 };
    attributes
        .number(1, to.0)
        .number(2, NFT_FIB_RESULT_ADDRTYPE)
        .number(3, NFTA_FIB_F_SADDR | device);
    Expression::new("fib", attributes)
}

/// A named counter.
pub(crate) fn count(counter: &str) -> Expression {
    let mut attributes = Attributes::default();
    attributes
        .number(1, crate::table::NFT_OBJECT_COUNTER)
        .text(2, counter);
    Expression::new("objref", attributes)
}

/// A constant.
pub(crate) fn immediate(register: Register, value: &[u8]) -> Expression {
    let mut attributes = Attributes::default();
    attributes.number(1, register.0).nested(2, |data| {
        data.bytes(NFTA_DATA_VALUE, value);
    });
    Expression::new("immediate", attributes)
}

pub(crate) fn accept() -> Expression {
    verdict(NF_ACCEPT)
}

pub(crate) fn drop() -> Expression {
    verdict(NF_DROP)
}

fn verdict(code: u32) -> Expression {
    let mut attributes = Attributes::default();
    attributes.number(1, NFT_REG_VERDICT).nested(2, |data| {
        data.nested(NFTA_DATA_VERDICT, |verdict| {
            verdict.number(1, code);
        });
    });
    Expression::new("immediate", attributes)
}

/// Answers with ICMP or ICMPv6 port unreachable.
pub(crate) fn reject() -> Expression {
    let mut attributes = Attributes::default();
    attributes
        .number(1, NFT_REJECT_ICMPX_UNREACH)
        .bytes(2, &[NFT_REJECT_ICMPX_PORT_UNREACH]);
    Expression::new("reject", attributes)
}

/// The first and the last port stand in these registers.
pub(crate) type Ports = Option<(Register, Register)>;

/// Source becomes an address of the outgoing device.
pub(crate) fn masquerade(ports: Ports) -> Expression {
    let mut attributes = Attributes::default();
    match ports {
        None => attributes.number(1, NF_NAT_RANGE_PROTO_RANDOM_FULLY),
        Some((first, last)) => attributes
            .number(
                1,
                NF_NAT_RANGE_PROTO_RANDOM_FULLY | NF_NAT_RANGE_PROTO_SPECIFIED,
            )
            .number(2, first.0)
            .number(3, last.0),
    };
    Expression::new("masq", attributes)
}

/// Source becomes the address in the register.
pub(crate) fn source_nat(family: u8, address: Register, ports: Ports) -> Expression {
    let mut attributes = Attributes::default();
    attributes
        .number(1, NFT_NAT_SNAT)
        .number(2, family.into())
        .number(3, address.0)
        .number(4, address.0);
    let mut flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_RANDOM_FULLY;
    if let Some((first, last)) = ports {
        flags |= NF_NAT_RANGE_PROTO_SPECIFIED;
        attributes.number(5, first.0).number(6, last.0);
    }
    attributes.number(7, flags);
    Expression::new("nat", attributes)
}

/// RTN_LOCAL of linux/rtnetlink.h, in the host's order as the kernel leaves it in a register.
pub(crate) const RTN_LOCAL: [u8; 4] = 2u32.to_ne_bytes();

// linux/netfilter/nf_tables.h, nf_nat.h
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFT_REG_VERDICT: u32 = 0;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;
const NFT_LOOKUP_F_INV: u32 = 1;
const NFT_FIB_RESULT_OIF: u32 = 1;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_SADDR: u32 = 1;
const NFTA_FIB_F_IIF: u32 = 8;
const NFTA_FIB_F_OIF: u32 = 16;
const NFTA_FIB_F_PRESENT: u32 = 32;
const NFT_NAT_SNAT: u32 = 0;
const NF_NAT_RANGE_MAP_IPS: u32 = 1;
const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 2;
const NF_NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 16;
const NFT_REJECT_ICMPX_UNREACH: u32 = 2;
const NFT_REJECT_ICMPX_PORT_UNREACH: u8 = 1;
