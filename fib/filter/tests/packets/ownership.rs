//! Our table is ours alone, stays as it is when it is right, and is put right when somebody else changes it.

use std::collections::BTreeSet;
use std::time::Instant;

use caracal_filter::{Filter, Rules, is_present, remove};

use crate::harness::{
    everything, in_namespace, nft, ruleset_with_handles, set, settle, until, until_table,
};

const OTHERS: &str = "table ip filter { \
        chain cali-FORWARD { counter accept; }; \
        chain FORWARD { type filter hook forward priority filter; jump cali-FORWARD; }; \
    }; \
    table inet unrelated { \
        set somebody { type ipv4_addr; elements = { 10.0.0.1 }; }; \
        chain c { type filter hook input priority filter; ip saddr @somebody accept; }; \
    }; \
    table ip caracal { chain not_ours { accept; }; }";

/// All tables but ours.
fn others() -> String {
    let all = ruleset_with_handles();
    let tables = all.split_inclusive("\n}\n");
    tables
        .filter(|table| !table.contains("table inet caracal {"))
        .collect()
}

#[test]
fn other_tables_are_the_same_before_and_after() {
    in_namespace(|| async {
        nft(OTHERS);
        let before = ruleset_with_handles();
        let filter = Filter::start().unwrap();
        set(&filter, everything()).await;
        assert_eq!(others(), before);
        let mut fewer = everything();
        fewer.spoofing = None;
        fewer.masquerade.sources.pop_first();
        set(&filter, fewer).await;
        assert_eq!(others(), before);
        set(&filter, Rules::default()).await;
        assert_eq!(ruleset_with_handles(), before, "nothing to do is no table");
        set(&filter, everything()).await;
        drop(filter);
        assert!(is_present().unwrap());
        assert!(remove().unwrap());
        assert!(!is_present().unwrap());
        assert_eq!(ruleset_with_handles(), before);
        assert!(!remove().unwrap(), "it was gone already");
    });
}

#[test]
fn a_restart_that_finds_everything_as_it_should_be_writes_nothing() {
    in_namespace(|| async {
        let mut rules = everything();
        rules.masquerade.ports = Some((1024, 2047));
        rules.masquerade.address = Some("192.0.2.1".parse().unwrap());
        rules.masquerade.output = Some("eth*".parse().unwrap());
        rules.spoofing.as_mut().unwrap().allowed = [(
            "cali1".to_owned(),
            ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()].into(),
        )]
        .into();
        rules.service_loops.as_mut().unwrap().reject = true;
        // Neighbours that touch, nested ones, and one at the end of all addresses.
        for net in [
            "10.66.0.0/16",
            "10.65.1.0/24",
            "255.255.255.0/24",
            "10.67.0.1/32",
        ] {
            rules.masquerade.except_to.insert(net.parse().unwrap());
        }
        let filter = Filter::start().unwrap();
        let first = set(&filter, rules.clone()).await;
        assert_eq!(first.transactions, 1);
        drop(filter);
        let before = ruleset_with_handles();
        let filter = Filter::start().unwrap();
        let again = set(&filter, rules.clone()).await;
        assert_eq!((again.transactions, again.messages), (0, 0), "{before}");
        assert_eq!(ruleset_with_handles(), before);
        // A start with other wishes is one transaction.
        drop(filter);
        let filter = Filter::start().unwrap();
        rules.service_loops = None;
        assert_eq!(set(&filter, rules).await.transactions, 1);
    });
}

#[test]
fn until_something_is_wished_for_the_table_of_a_former_run_stays() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        set(&filter, everything()).await;
        drop(filter);
        let before = ruleset_with_handles();
        let filter = Filter::start().unwrap();
        settle_nothing(&filter).await;
        assert_eq!(ruleset_with_handles(), before);
    });
}

async fn settle_nothing(filter: &Filter) {
    // Two questions: the second is answered after everything that the first may have set off.
    filter.counters().await.unwrap();
    filter.counters().await.unwrap();
}

#[test]
fn a_pool_more_is_an_element_more_and_nothing_else() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        let before = set(&filter, everything()).await;
        let mut more = everything();
        more.masquerade
            .except_to
            .insert("10.77.0.0/16".parse().unwrap());
        let after = set(&filter, more.clone()).await;
        assert_eq!(after.transactions, before.transactions + 1);
        assert_eq!(after.messages, before.messages + 1);
        assert!(nft("list set inet caracal pools-v4").contains("10.77.0.0/16"));
        // One that swallows it: one element goes, another comes.
        more.masquerade
            .except_to
            .insert("10.76.0.0/15".parse().unwrap());
        let last = set(&filter, more).await;
        assert_eq!(last.messages, after.messages + 2);
        let back = set(&filter, everything()).await;
        assert_eq!(back.messages, last.messages + 1);
        assert!(!nft("list set inet caracal pools-v4").contains("10.76"));
    });
}

#[test]
fn other_rules_replace_the_rules_of_their_chain_only() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        let before = set(&filter, everything()).await;
        let mut rejecting = everything();
        rejecting.service_loops.as_mut().unwrap().reject = true;
        let after = set(&filter, rejecting).await;
        // The rules of the chain go in one message, and one comes for pods' VXLAN and one for each family.
        assert_eq!(after.messages, before.messages + 4);
        assert!(nft("list chain inet caracal forward").contains("reject"));
    });
}

/// The lines of our table by chains and sets, which stand in the order in which they were made.
fn lines() -> BTreeSet<String> {
    let all = nft("list table inet caracal");
    let all = all.trim_start_matches("table inet caracal {\n");
    all.split("\n\n")
        .map(|part| part.trim_matches(['}', '\n', '\t', ' ']).to_owned())
        .collect()
}

/// Does this to our table, and sees it as it was before soon after.
async fn repaired(foreign: &str) {
    let filter = Filter::start().unwrap();
    let before = set(&filter, everything()).await;
    let as_it_was = lines();
    let started = Instant::now();
    nft(foreign);
    until(&filter, "a repair", |status| {
        status.repairs > before.repairs && status.settled
    })
    .await;
    println!("{foreign}: repaired after {:?}", started.elapsed());
    assert_eq!(lines(), as_it_was, "{foreign}");
    assert_eq!(settle(&filter).await.repairs, before.repairs + 1);
}

#[test]
fn a_deleted_table_is_made_again() {
    in_namespace(|| repaired("delete table inet caracal"));
}

#[test]
fn a_flushed_ruleset_is_made_again() {
    in_namespace(|| repaired("flush ruleset"));
}

#[test]
fn a_deleted_chain_is_made_again() {
    in_namespace(|| {
        repaired("flush chain inet caracal forward; delete chain inet caracal forward")
    });
}

#[test]
fn a_flushed_table_has_its_rules_again() {
    in_namespace(|| repaired("flush table inet caracal"));
}

#[test]
fn a_foreign_rule_goes() {
    in_namespace(|| repaired("insert rule inet caracal forward accept"));
}

#[test]
fn a_foreign_chain_goes() {
    in_namespace(|| repaired("add chain inet caracal mine"));
}

#[test]
fn a_foreign_element_goes() {
    in_namespace(|| repaired("add element inet caracal pools-v4 { 10.99.0.0/16 }"));
}

#[test]
fn a_missing_element_comes_back() {
    in_namespace(|| repaired("delete element inet caracal pools-v6 { fd65::/64 }"));
}

#[test]
fn a_table_that_was_put_to_sleep_wakes_up() {
    in_namespace(|| repaired("add table inet caracal { flags dormant; }"));
}

#[test]
fn a_changed_policy_is_changed_back() {
    in_namespace(|| repaired("chain inet caracal forward { policy drop; }"));
}

#[test]
fn changes_of_other_tables_are_no_repair_and_are_not_in_the_way() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        let before = set(&filter, everything()).await;
        nft(OTHERS);
        let mut more = everything();
        more.masquerade
            .except_to
            .insert("10.77.0.0/16".parse().unwrap());
        let after = set(&filter, more).await;
        assert_eq!(after.repairs, before.repairs);
        assert_eq!(after.messages, before.messages + 1);
    });
}

#[test]
fn somebody_who_does_not_stop_is_named_and_not_fought_without_end() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        set(&filter, everything()).await;
        let mut rounds = 0;
        while filter.status().borrow().conditions.is_empty() {
            nft("delete table inet caracal");
            until_table("the table or a condition", |now| {
                now.contains("table inet caracal")
                    || !filter.status().borrow().conditions.is_empty()
            })
            .await;
            settle(&filter).await;
            rounds += 1;
            assert!(rounds < 50, "{:?}", filter.status().borrow());
        }
        let status = filter.status().borrow().clone();
        let fought = &status.conditions["FilterFought"];
        assert!(fought.contains("nft (pid "), "{fought}");
        // Slower now, but still put right.
        nft("delete table inet caracal");
        until(&filter, "one more repair", |now| {
            now.repairs > status.repairs
        })
        .await;
        until_table("the table", |now| now.contains("table inet caracal")).await;
    });
}
