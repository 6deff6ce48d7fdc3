//! What becomes of a pool, and when it is left alone.

use caracal_datastore::memory::{Fault, Verb};
use caracal_datastore::{Key, MemoryDatastore, manifest};

use super::*;

const POOLS: &str = "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: p, labels: {a: b}}
spec: {cidr: 10.1.0.0/24, blockSize: 26, ipipMode: Always, disabled: true, unknown: 1}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: six}
spec: {cidr: 'fd00::/64'}
---
apiVersion: projectcalico.org/v3
kind: ClusterInformation
metadata: {name: default}
spec: {datastoreReady: false}
";

async fn store() -> MemoryDatastore {
    let store = MemoryDatastore::new();
    for object in manifest::parse("test", POOLS).into_objects().unwrap() {
        store.create(object).await.unwrap();
    }
    store
}

fn by_name(number: u32, name: &str) -> SplitArgs {
    SplitArgs {
        number,
        cidr: None,
        name: Some(name.to_owned()),
    }
}

async fn pools(store: &dyn Datastore) -> Vec<String> {
    let pools = store.list(Kind::IPPool).await.unwrap();
    let pools = pools.iter();
    pools
        .map(|pool| format!("{} {}", pool.key.name, cidr(pool)))
        .collect()
}

#[tokio::test]
async fn a_pool_becomes_several_that_have_what_it_had() {
    let store: Arc<dyn Datastore> = Arc::new(store().await);
    let args = SplitArgs {
        number: 4,
        cidr: Some("10.1.0.0/24".parse().unwrap()),
        name: None,
    };
    let said = split(&store, &args).await.unwrap().text;
    assert_eq!(
        said,
        "IPPool split-p-0 created: 10.1.0.0/26\nIPPool split-p-1 created: 10.1.0.64/26\n\
         IPPool split-p-2 created: 10.1.0.128/26\nIPPool split-p-3 created: 10.1.0.192/26\n\
         IPPool p deleted: it is now 4 pools\n"
    );
    let part = store.get(&Key::new(Kind::IPPool, "split-p-3")).await;
    let part = part.unwrap().unwrap();
    assert_eq!(part.metadata.labels["a"], "b");
    assert_eq!(
        part.spec,
        json!({"cidr": "10.1.0.192/26", "blockSize": 26, "ipipMode": "Always", "disabled": true, "unknown": 1})
    );
    split(&store, &by_name(2, "six")).await.unwrap();
    assert!(
        pools(&*store)
            .await
            .contains(&"split-six-1 fd00::8000:0:0:0/65".to_owned())
    );
}

#[tokio::test]
async fn a_split_that_was_cut_short_is_finished_by_the_next() {
    let memory = store().await;
    let client = memory.client();
    client.set_plan(
        |operation| match (operation.verb, operation.name.as_str()) {
            (Verb::Create, "split-p-1") => Fault::Before(MemoryDatastore::down()),
            _ => Fault::None,
        },
    );
    let args = by_name(2, "p");
    let cut: Arc<dyn Datastore> = Arc::new(client);
    let failure = split(&cut, &args).await.unwrap_err();
    assert_eq!(failure.sort, Sort::Unavailable);
    let there = ["p 10.1.0.0/24", "six fd00::/64", "split-p-0 10.1.0.0/25"];
    assert_eq!(pools(&memory).await, there);
    let store: Arc<dyn Datastore> = Arc::new(memory.client());
    let said = split(&store, &args).await.unwrap().text;
    assert!(
        said.starts_with("IPPool split-p-0 is there already: "),
        "{said}"
    );
    let there = [
        "six fd00::/64",
        "split-p-0 10.1.0.0/25",
        "split-p-1 10.1.0.128/25",
    ];
    assert_eq!(pools(&memory).await, there);
}

#[tokio::test]
async fn what_makes_no_sense_changes_nothing() {
    let memory = store().await;
    let writes = memory.writes();
    let store: Arc<dyn Datastore> = Arc::new(memory.client());
    for (args, sort, words) in [
        (by_name(3, "p"), Sort::Usage, "3 is not a power of two"),
        (by_name(1, "p"), Sort::Usage, "1 is not a power of two"),
        (
            by_name(8, "p"),
            Sort::Failed,
            "a /27 has no room for a block, which is a /26",
        ),
        (
            by_name(2, "q"),
            Sort::NotFound,
            "there is no IPPool of the name q",
        ),
    ] {
        let failure = split(&store, &args).await.unwrap_err();
        assert_eq!(failure.sort, sort, "{failure}");
        assert!(failure.words[0].contains(words), "{failure}");
    }
    assert_eq!(memory.writes(), writes);
    lock::set(&store, true).await.unwrap();
    let failure = split(&store, &by_name(2, "p")).await.unwrap_err();
    assert!(failure.words[0].contains("is not locked"), "{failure}");
}
