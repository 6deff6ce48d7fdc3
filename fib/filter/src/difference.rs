//! From what the kernel has to what it shall have: the messages of one transaction, each with the object it is about.
//! Pure. What is right already has no message.

use std::collections::BTreeSet;

use crate::compile::CHAINS;
use crate::expression::Expression;
use crate::message::{Attributes, Message, NLM_F_APPEND, NLM_F_CREATE};
use crate::table::{Chain, Element, Set, Table, next};
use crate::{NFPROTO_INET, NFT, TABLE};

/// One message, and the chain that would be missed if the kernel does not take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) message: Message,
    /// `set pools-v4`, for people.
    pub(crate) object: String,
    pub(crate) chain: Option<String>,
}

/// All messages of the transaction; none when both are equal.
pub(crate) fn changes(actual: Option<&Table>, desired: Option<&Table>) -> Vec<Change> {
    let mut changes = Vec::new();
    match (actual, desired) {
        (None, None) => {}
        (Some(_), None) => changes.push(delete_table()),
        (Some(actual), Some(desired)) if same_frame(actual, desired) => {
            update(actual, desired, &mut changes);
        }
        (actual, Some(desired)) => {
            // Inside a transaction this is no moment without rules.
            changes.extend(actual.map(|_| delete_table()));
            create(desired, &mut changes);
        }
    }
    changes
}

/// Whether only elements and chains differ. Anything else in the table is a foreign hand's, or another version's.
pub(crate) fn same_frame(actual: &Table, desired: &Table) -> bool {
    let keys = |table: &Table| -> Vec<_> {
        let of = |(name, set): (&String, &Set)| (name.clone(), set.key);
        table.sets.iter().map(of).collect()
    };
    actual.flags == desired.flags
        && actual.objects == desired.objects
        && keys(actual) == keys(desired)
        && actual
            .chains
            .keys()
            .all(|name| CHAINS.contains(&name.as_str()))
}

fn update(actual: &Table, desired: &Table, changes: &mut Vec<Change>) {
    for (name, chain) in &actual.chains {
        let wanted = desired.chains.get(name);
        if wanted == Some(chain) {
            continue;
        }
        // Without a handle: every rule of the chain.
        changes.push(of_chain(DELRULE, name, |_| {}));
        if wanted.is_none_or(|wanted| wanted.hook != chain.hook) {
            changes.push(delete_chain(name));
        }
    }
    for (name, set) in &desired.sets {
        let there = actual.sets.get(name).map(|set| &set.elements);
        let nothing = BTreeSet::new();
        let there = there.unwrap_or(&nothing);
        // Deletions first: what comes may overlap with what goes.
        let gone: Vec<_> = there.difference(&set.elements).collect();
        elements(DELSETELEM, name, set, &gone, changes);
        let come: Vec<_> = set.elements.difference(there).collect();
        elements(NEWSETELEM, name, set, &come, changes);
    }
    for (name, chain) in &desired.chains {
        let there = actual.chains.get(name);
        if there == Some(chain) {
            continue;
        }
        if there.is_none_or(|there| there.hook != chain.hook) {
            changes.push(new_chain(name, chain));
        }
        rules(name, chain, changes);
    }
}

fn create(desired: &Table, changes: &mut Vec<Change>) {
    changes.push(change(NEWTABLE, "table", |attributes| {
        attributes.number(NFTA_TABLE_FLAGS, desired.flags);
    }));
    for (kind, name) in &desired.objects {
        changes.push(change(NEWOBJ, &format!("counter {name}"), |attributes| {
            attributes
                .text(NFTA_OBJ_NAME, name)
                .number(NFTA_OBJ_TYPE, *kind)
                .nested(NFTA_OBJ_DATA, |_| {});
        }));
    }
    for (place, (name, set)) in desired.sets.iter().enumerate() {
        changes.push(change(NEWSET, &format!("set {name}"), |attributes| {
            attributes
                .text(NFTA_SET_NAME, name)
                .number(NFTA_SET_FLAGS, set.key.flags)
                .number(NFTA_SET_KEY_TYPE, set.key.kind)
                .number(NFTA_SET_KEY_LEN, set.key.octets)
                .number(NFTA_SET_ID, place as u32 + 1);
            if set.is_concatenation() {
                let fields = [16, set.key.octets - 16];
                attributes.nested(NFTA_SET_DESC, |description| {
                    description.nested(NFTA_SET_DESC_CONCAT, |list| {
                        for octets in fields {
                            list.nested(NFTA_LIST_ELEM, |field| {
                                field.number(NFTA_SET_FIELD_LEN, octets);
                            });
                        }
                    });
                });
            }
        }));
        let all: Vec<_> = set.elements.iter().collect();
        elements(NEWSETELEM, name, set, &all, changes);
    }
    for (name, chain) in &desired.chains {
        changes.push(new_chain(name, chain));
        rules(name, chain, changes);
    }
}

pub(crate) fn delete_table() -> Change {
    change(DELTABLE, "table", |_| {})
}

fn new_chain(name: &str, chain: &Chain) -> Change {
    change_of_chain(NEWCHAIN, name, |attributes| {
        attributes.text(NFTA_CHAIN_NAME, name);
        if let Some(hook) = &chain.hook {
            attributes
                .nested(NFTA_CHAIN_HOOK, |place| {
                    place
                        .number(NFTA_HOOK_HOOKNUM, hook.number)
                        .number(NFTA_HOOK_PRIORITY, hook.priority as u32);
                })
                .number(NFTA_CHAIN_POLICY, hook.policy)
                .text(NFTA_CHAIN_TYPE, &hook.kind);
        }
    })
}

fn delete_chain(name: &str) -> Change {
    change_of_chain(DELCHAIN, name, |attributes| {
        attributes.text(NFTA_CHAIN_NAME, name);
    })
}

fn rules(name: &str, chain: &Chain, changes: &mut Vec<Change>) {
    for rule in &chain.rules {
        let mut new = of_chain(NEWRULE, name, |attributes| {
            attributes.nested(NFTA_RULE_EXPRESSIONS, |list| {
                Expression::encode_all(rule, list);
            });
        });
        new.message.flags |= NLM_F_APPEND;
        changes.push(new);
    }
}

fn elements(kind: u16, name: &str, set: &Set, elements: &[&Element], changes: &mut Vec<Change>) {
    for some in elements.chunks(ELEMENTS_A_MESSAGE) {
        changes.push(change(kind, &format!("set {name}"), |attributes| {
            attributes.text(NFTA_SET_ELEM_LIST_SET, name).nested(
                NFTA_SET_ELEM_LIST_ELEMENTS,
                |list| {
                    for element in some {
                        one_element(set, element, list);
                    }
                },
            );
        }));
    }
}

/// A set of several fields has the range in one element; one of a single field has its first key and the key behind its
/// last, unless that would be behind the end.
fn one_element(set: &Set, element: &Element, list: &mut Attributes) {
    let key = |attributes: &mut Attributes, kind: u16, key: &[u8]| {
        attributes.nested(kind, |data| {
            data.bytes(NFTA_DATA_VALUE, key);
        });
    };
    list.nested(NFTA_LIST_ELEM, |one| {
        key(one, NFTA_SET_ELEM_KEY, &element.first);
        if set.is_concatenation() {
            key(one, NFTA_SET_ELEM_KEY_END, &element.last);
        }
    });
    if let Some(behind) = next(&element.last).filter(|_| !set.is_concatenation()) {
        list.nested(NFTA_LIST_ELEM, |one| {
            key(one, NFTA_SET_ELEM_KEY, &behind);
            one.number(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        });
    }
}

fn of_chain(kind: u16, name: &str, more: impl FnOnce(&mut Attributes)) -> Change {
    change_of_chain(kind, name, |attributes| {
        attributes.text(NFTA_RULE_CHAIN, name);
        more(attributes);
    })
}

fn change_of_chain(kind: u16, name: &str, more: impl FnOnce(&mut Attributes)) -> Change {
    Change {
        chain: Some(name.to_owned()),
        ..change(kind, &format!("chain {name}"), more)
    }
}

/// Every object's first attribute is the table it stands in.
fn change(kind: u16, object: &str, more: impl FnOnce(&mut Attributes)) -> Change {
    let mut message = Message::new(NFT, kind, NFPROTO_INET);
    if [NEWTABLE, NEWOBJ, NEWSET, NEWSETELEM, NEWCHAIN, NEWRULE].contains(&kind) {
        message.flags |= NLM_F_CREATE;
    }
    message.attributes.text(NFTA_TABLE, TABLE);
    more(&mut message.attributes);
    Change {
        message,
        object: object.to_owned(),
        chain: None,
    }
}

/// An attribute holds 64 KB, and an element of two keys of 32 octets takes 88.
const ELEMENTS_A_MESSAGE: usize = 500;

// linux/netfilter/nf_tables.h
pub(crate) const NEWTABLE: u16 = 0;
pub(crate) const GETTABLE: u16 = 1;
pub(crate) const DELTABLE: u16 = 2;
pub(crate) const NEWCHAIN: u16 = 3;
pub(crate) const GETCHAIN: u16 = 4;
pub(crate) const DELCHAIN: u16 = 5;
pub(crate) const NEWRULE: u16 = 6;
pub(crate) const GETRULE: u16 = 7;
pub(crate) const DELRULE: u16 = 8;
pub(crate) const NEWSET: u16 = 9;
pub(crate) const GETSET: u16 = 10;
pub(crate) const NEWSETELEM: u16 = 12;
pub(crate) const GETSETELEM: u16 = 13;
pub(crate) const DELSETELEM: u16 = 14;
pub(crate) const NEWGEN: u16 = 15;
pub(crate) const GETGEN: u16 = 16;
pub(crate) const NEWOBJ: u16 = 18;
pub(crate) const GETOBJ: u16 = 19;
/// NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE and so on: all are 1.
pub(crate) const NFTA_TABLE: u16 = 1;
pub(crate) const NFTA_TABLE_FLAGS: u16 = 2;
pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
pub(crate) const NFTA_CHAIN_HOOK: u16 = 4;
pub(crate) const NFTA_CHAIN_POLICY: u16 = 5;
pub(crate) const NFTA_CHAIN_TYPE: u16 = 7;
pub(crate) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(crate) const NFTA_HOOK_PRIORITY: u16 = 2;
pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
pub(crate) const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(crate) const NFTA_SET_NAME: u16 = 2;
pub(crate) const NFTA_SET_FLAGS: u16 = 3;
pub(crate) const NFTA_SET_KEY_TYPE: u16 = 4;
pub(crate) const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_FIELD_LEN: u16 = 1;
pub(crate) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(crate) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(crate) const NFTA_SET_ELEM_KEY: u16 = 1;
pub(crate) const NFTA_SET_ELEM_FLAGS: u16 = 3;
pub(crate) const NFTA_SET_ELEM_KEY_END: u16 = 10;
pub(crate) const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
pub(crate) const NFTA_OBJ_NAME: u16 = 2;
pub(crate) const NFTA_OBJ_TYPE: u16 = 3;
pub(crate) const NFTA_OBJ_DATA: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
pub(crate) const NFTA_DATA_VALUE: u16 = 1;
