//! Reads our table as the kernel has it.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::{ENCAPSULATED, LOOPBACK, LOOPED, MASQUERADED, SPOOFED, STRANGERS};
use crate::difference::{
    GETCHAIN, GETGEN, GETOBJ, GETRULE, GETSET, GETSETELEM, GETTABLE, NFT_SET_ELEM_INTERVAL_END,
    NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE, NFTA_DATA_VALUE,
    NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_OBJ_DATA, NFTA_OBJ_NAME, NFTA_OBJ_TYPE,
    NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_FLAGS,
    NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_TABLE, NFTA_TABLE_FLAGS,
};
use crate::expression::Expression;
use crate::message::{AttributesOf, Message};
use crate::model::Counters;
use crate::socket::{Failure, Netfilter};
use crate::table::{Chain, Element, Hook, Key, NFT_OBJECT_COUNTER, Set, Table, previous};
use crate::{NFPROTO_INET, NFT, TABLE};

/// A number that every transaction of this network namespace changes.
pub(crate) fn generation(netfilter: &mut Netfilter) -> Result<u32, Failure> {
    let message = Message::new(NFT, GETGEN, 0);
    netfilter.ask(&message, |received| {
        received.attributes().number(NFTA_GEN_ID)
    })
}

/// Our table, if there is one, and the generation it is of.
pub(crate) fn table(netfilter: &mut Netfilter) -> Result<(u32, Option<Table>), Failure> {
    for _ in 0..ATTEMPTS_MAX {
        let before = generation(netfilter)?;
        let outcome = read(netfilter);
        if generation(netfilter)? != before {
            continue;
        }
        match outcome {
            Err(Failure::Stale) => {}
            outcome => return Ok((before, outcome?)),
        }
    }
    Err(Failure::Stale)
}

/// ENOENT when there is no table of ours.
pub(crate) fn look(netfilter: &mut Netfilter) -> Result<(), Failure> {
    flags(netfilter).map(drop)
}

fn flags(netfilter: &mut Netfilter) -> Result<u32, Failure> {
    let mut request = Message::new(NFT, GETTABLE, NFPROTO_INET);
    request.attributes.text(NFTA_TABLE, TABLE);
    netfilter.ask(&request, |received| {
        received.attributes().number(NFTA_TABLE_FLAGS)
    })
}

fn read(netfilter: &mut Netfilter) -> Result<Option<Table>, Failure> {
    let mut table = match flags(netfilter) {
        Ok(flags) => Table {
            flags,
            ..Table::default()
        },
        Err(failure) if failure.errno() == Some(libc::ENOENT) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    list(netfilter, GETOBJ, |object| {
        let kind = object.number(NFTA_OBJ_TYPE).unwrap_or(0);
        table.objects.insert((kind, text(object, NFTA_OBJ_NAME)));
    })?;
    list(netfilter, GETSET, |set| {
        let key = Key {
            flags: set.number(NFTA_SET_FLAGS).unwrap_or(0),
            kind: set.number(NFTA_SET_KEY_TYPE).unwrap_or(0),
            octets: set.number(NFTA_SET_KEY_LEN).unwrap_or(0),
        };
        let elements = BTreeSet::new();
        table
            .sets
            .insert(text(set, NFTA_SET_NAME), Set { key, elements });
    })?;
    for (name, set) in &mut table.sets {
        set.elements = elements(netfilter, name, set.is_concatenation())?;
    }
    list(netfilter, GETCHAIN, |chain| {
        let hook = chain.find(NFTA_CHAIN_HOOK).map(|place| Hook {
            kind: text(chain, NFTA_CHAIN_TYPE),
            number: AttributesOf(place).number(NFTA_HOOK_HOOKNUM).unwrap_or(0),
            priority: AttributesOf(place).number(NFTA_HOOK_PRIORITY).unwrap_or(0) as i32,
            policy: chain.number(NFTA_CHAIN_POLICY).unwrap_or(u32::MAX),
        });
        let rules = Vec::new();
        table
            .chains
            .insert(text(chain, NFTA_CHAIN_NAME), Chain { hook, rules });
    })?;
    list(netfilter, GETRULE, |rule| {
        let expressions = Expression::decode_all(rule.nested(NFTA_RULE_EXPRESSIONS));
        if let Some(chain) = table.chains.get_mut(&text(rule, NFTA_RULE_CHAIN)) {
            chain.rules.push(expressions);
        }
    })?;
    Ok(Some(table))
}

/// What the counters have counted.
pub(crate) fn counters(netfilter: &mut Netfilter) -> Result<Counters, Failure> {
    let mut counters = Counters::default();
    list(netfilter, GETOBJ, |object| {
        if object.number(NFTA_OBJ_TYPE) != Some(NFT_OBJECT_COUNTER) {
            return;
        }
        let packets = object
            .nested(NFTA_OBJ_DATA)
            .find(NFTA_COUNTER_PACKETS)
            .and_then(|value| Some(u64::from_be_bytes(value.try_into().ok()?)));
        let place = match object.text(NFTA_OBJ_NAME) {
            Some(MASQUERADED) => &mut counters.masqueraded,
            Some(SPOOFED) => &mut counters.spoofed,
            Some(LOOPED) => &mut counters.looped,
            Some(ENCAPSULATED) => &mut counters.encapsulated,
            Some(LOOPBACK) => &mut counters.loopback,
            Some(STRANGERS) => &mut counters.strangers,
            _ => return,
        };
        *place = packets.unwrap_or(0);
    })?;
    Ok(counters)
}

/// All objects of this kind in our table. A kernel may not have taken the table as a condition, so it is looked at again.
fn list(
    netfilter: &mut Netfilter,
    kind: u16,
    mut each: impl FnMut(AttributesOf<'_>),
) -> Result<(), Failure> {
    let mut request = Message::new(NFT, kind, NFPROTO_INET);
    request.attributes.text(NFTA_TABLE, TABLE);
    netfilter.dump(&request, |received| {
        let attributes = received.attributes();
        if received.family() == NFPROTO_INET && attributes.text(NFTA_TABLE) == Some(TABLE) {
            each(attributes);
        }
    })
}

fn elements(
    netfilter: &mut Netfilter,
    set: &str,
    concatenation: bool,
) -> Result<BTreeSet<Element>, Failure> {
    let mut request = Message::new(NFT, GETSETELEM, NFPROTO_INET);
    request
        .attributes
        .text(NFTA_TABLE, TABLE)
        .text(NFTA_SET_ELEM_LIST_SET, set);
    let key = |element: AttributesOf<'_>, kind: u16| -> Option<Vec<u8>> {
        Some(element.nested(kind).find(NFTA_DATA_VALUE)?.to_vec())
    };
    let mut whole = BTreeSet::new();
    let mut bounds: BTreeMap<Vec<u8>, Bounds> = BTreeMap::new();
    netfilter.dump(&request, |received| {
        for (_, element) in received.attributes().nested(NFTA_SET_ELEM_LIST_ELEMENTS) {
            let element = AttributesOf(element);
            let Some(first) = key(element, NFTA_SET_ELEM_KEY) else {
                continue;
            };
            if concatenation {
                let last = key(element, NFTA_SET_ELEM_KEY_END).unwrap_or_else(|| first.clone());
                whole.insert(Element { first, last });
                continue;
            }
            let flags = element.number(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
            let bounds = bounds.entry(first).or_default();
            match flags & NFT_SET_ELEM_INTERVAL_END {
                0 => bounds.begins = true,
                _ => bounds.ends = true,
            }
        }
    })?;
    whole.extend(ranges(&bounds));
    Ok(whole)
}

/// What stands at one key of a set of intervals: one ends before it, and another may begin at it.
#[derive(Debug, Default)]
struct Bounds {
    begins: bool,
    ends: bool,
}

fn ranges(bounds: &BTreeMap<Vec<u8>, Bounds>) -> Vec<Element> {
    let mut ranges = Vec::new();
    let mut open: Option<&Vec<u8>> = None;
    for (key, bounds) in bounds {
        if let Some(first) = open.filter(|_| bounds.ends || bounds.begins)
            && let Some(last) = previous(key)
        {
            let first = first.clone();
            ranges.push(Element { first, last });
            open = None;
        }
        if bounds.begins {
            open = Some(key);
        }
    }
    // Nothing ends behind the last key.
    ranges.extend(open.map(|first| Element {
        first: first.clone(),
        last: vec![u8::MAX; first.len()],
    }));
    ranges
}

fn text(attributes: AttributesOf<'_>, kind: u16) -> String {
    attributes.text(kind).unwrap_or_default().to_owned()
}

/// Whoever changes other tables all the time makes us read again, but not for ever.
const ATTEMPTS_MAX: u32 = 10;

// linux/netfilter/nf_tables.h
const NFTA_GEN_ID: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;
