//! What is said where the filter cannot be written, or not as it was wished for.

use std::time::Duration;

use caracal_filter::{Filter, FilterError, Rules};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::harness::{everything, in_namespace, nft, protected, set, until};

#[test]
fn without_the_permission_there_is_a_condition_and_nobody_waits() {
    in_namespace(|| async {
        // Of this thread, and of that which it starts; what the kernel without nf_tables says, the same place takes in.
        let mut ours = capabilities(None).unwrap();
        ours.effective.remove(CapabilitySet::NET_ADMIN);
        ours.permitted.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, ours).unwrap();
        let filter = Filter::start().unwrap();
        filter.set(everything());
        let status = until(&filter, "NoNftables", |now| {
            now.conditions.contains_key("NoNftables")
        })
        .await;
        let message = &status.conditions["NoNftables"];
        for words in [
            "Operation not permitted",
            "may send from any address",
            "CAP_NET_ADMIN",
        ] {
            assert!(message.contains(words), "{words}: {message}");
        }
        assert_eq!(status.conditions.len(), 1, "{status:?}");
        assert!(!status.settled);
        // An ADD goes on at once, with the reason.
        let outcome = filter.settled(Duration::MAX).await;
        assert!(
            matches!(&outcome, Err(FilterError::NotInForce(why)) if why == message),
            "{outcome:?}"
        );
        // Who wishes for nothing misses nothing.
        filter.set(Rules::default());
        let settled = |now: &caracal_filter::FilterStatus| now.conditions.is_empty() && now.settled;
        until(&filter, "no condition", settled).await;
    });
}

#[test]
fn a_change_that_the_kernel_refuses_leaves_the_table_as_it_was_and_says_so() {
    in_namespace(|| async {
        let filter = Filter::start().unwrap();
        set(&filter, everything()).await;
        let before = nft("list table inet caracal");
        // No name of a device is as long as this beginning of one.
        let mut spoofing = protected();
        spoofing.device_prefixes.insert("x".repeat(65));
        filter.set(Rules {
            spoofing: Some(spoofing),
            ..everything()
        });
        let status = until(&filter, "FilterRefused", |now| {
            now.conditions.contains_key("FilterRefused")
        })
        .await;
        let message = &status.conditions["FilterRefused"];
        assert!(message.contains("chain "), "{message}");
        assert!(message.contains("the table stays as it was"), "{message}");
        assert!(!status.settled);
        assert_eq!(nft("list table inet caracal"), before);
        set(&filter, everything()).await;
        until(&filter, "no condition", |now| now.conditions.is_empty()).await;
    });
}
