//! The same on stores that several processes share: a folder, and etcd.

use super::*;
use crate::etcd::with_etcd::server::Server;
use crate::file::{FileDatastore, FileOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_nodes_on_one_folder_give_no_address_twice() {
    let folder = tempfile::tempdir().unwrap();
    let options = FileOptions {
        durable: false,
        ..FileOptions::default()
    };
    several_nodes(async || {
        let store = FileDatastore::open_with(folder.path(), options.clone()).await;
        Arc::new(store.unwrap())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn several_nodes_with_etcd_give_no_address_twice() {
    let server = Server::start().await;
    several_nodes(async || Arc::new(server.open().await)).await;
}

/// Nodes with a client each, that take and give back at the same time, with hardly an address to spare.
async fn several_nodes<D: Datastore + 'static>(open: impl AsyncFn() -> Arc<D>) {
    let typed = TypedStore(open().await as Arc<dyn Datastore>);
    let mut pool = IPPool::new(net("10.0.0.0/26"));
    pool.block_size = Some(30);
    typed.create(Stored::new("p", pool)).await.unwrap();
    let mut tasks = Vec::new();
    for node in ["one", "two", "three"] {
        let ipam = Ipam::new(open().await, node.to_owned());
        tasks.push(tokio::spawn(async move {
            let mut kept = Vec::new();
            for round in 0..2 {
                ipam.tend().await.unwrap();
                for index in 0..8 {
                    let handle = format!("{node}.{round}.{index}");
                    let given = ipam.assign(request(&handle, node)).await.unwrap();
                    kept.push((given[0].address, handle));
                }
                for (address, handle) in kept.split_off(kept.len() / 2 + 1) {
                    assert_eq!(ipam.release_handle(&handle).await.unwrap(), [address]);
                }
            }
            kept
        }));
    }
    let mut owners = BTreeMap::new();
    for task in tasks {
        for (address, handle) in task.await.unwrap() {
            assert_eq!(
                owners.insert(address, handle),
                None,
                "{address} was given twice"
            );
        }
    }
    let (blocks, _) = typed.list::<IPAMBlock>().await.unwrap();
    let (affinities, _) = typed.list::<BlockAffinity>().await.unwrap();
    let (handles, _) = typed.list::<IPAMHandle>().await.unwrap();
    assert_eq!(audit(&blocks, &affinities, &handles), []);
    let held: usize = blocks
        .iter()
        .map(|stored| block::allocated(&stored.spec).count())
        .sum();
    assert_eq!(held, owners.len());
}
