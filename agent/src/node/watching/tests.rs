use caracal_datastore::MemoryDatastore;
use caracal_datastore::memory::{Fault, Verb};
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_followed_by_another_with_longer_and_longer_pauses() {
    let ended = MemoryDatastore::new();
    let watcher = ended.watch(&WATCHED).await.unwrap();
    drop(ended);
    let store = MemoryDatastore::new();
    let mut faults = 6;
    store.set_plan(move |operation| {
        if operation.verb == Verb::Watch && faults > 0 {
            faults -= 1;
            return Fault::Before(MemoryDatastore::down());
        }
        Fault::None
    });
    let mut watching = Watching::new(Arc::new(store), watcher);
    let next = watching.next().await;
    assert!(matches!(next, News::Event(WatchEvent::InSync)), "{next:?}");
    let next = watching.next().await;
    assert!(matches!(next, News::Ended), "{next:?}");
    assert!(watching.waiting().is_none());
    let began = Instant::now();
    // Whoever waits for something else meanwhile does not put the attempts off.
    let impatient = tokio::time::timeout(Duration::from_millis(500), watching.next());
    assert!(impatient.await.is_err());
    let next = watching.next().await;
    assert!(matches!(next, News::Again), "{next:?}");
    let pauses = [1, 2, 4, 8, 16, 30, 30];
    let expected = Duration::from_secs(pauses.iter().sum());
    assert_eq!(began.elapsed(), expected);
    let next = watching.next().await;
    assert!(matches!(next, News::Event(WatchEvent::InSync)), "{next:?}");
}
