//! The writer against a real kernel in a namespace of its own, with and without its thread.

use super::*;
use crate::kernel::{Key, Spec};
use crate::netlink::in_namespace;

#[test]
fn without_its_thread_the_writer_still_writes_and_answers_in_order() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut thread = WriterThread::start(Writer::open().unwrap()).unwrap();
            thread.begin_write(vec![blackhole(1)]);
            assert_eq!(thread.written().await.outcomes, Ok(vec![Ok(())]));
            // It ends with a batch that it has taken.
            let (batches, taken) = blocking::channel();
            let (answers, unanswered) = mpsc::unbounded_channel();
            (thread.batches, thread.answers) = (batches, unanswered);
            thread.begin_write(vec![blackhole(2)]);
            assert!(thread.try_written().is_none());
            drop((taken, answers));
            for i in 3..6 {
                thread.begin_write(vec![blackhole(i)]);
            }
            let lost = thread.written().await;
            assert!(matches!(lost.outcomes, Err(WriteError::Failed(_))));
            let third = thread.written().await;
            assert_eq!(third.writes, [blackhole(3)]);
            assert_eq!(third.outcomes, Ok(vec![Ok(())]));
            let fourth = thread.try_written().unwrap();
            assert_eq!(fourth.writes, [blackhole(4)]);
            assert_eq!(thread.written().await.writes, [blackhole(5)]);
            assert!(thread.try_written().is_none());
        });
    });
}

#[test]
fn what_is_behind_a_batch_that_failed_is_not_written_before_that_is_told() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut thread = WriterThread::start(Writer::open().unwrap()).unwrap();
            lock(&thread.writer).lose();
            for i in 1..4 {
                thread.begin_write(vec![blackhole(i)]);
            }
            let outcomes = [
                thread.written().await.outcomes,
                thread.written().await.outcomes,
                thread.written().await.outcomes,
            ];
            assert!(
                matches!(outcomes[0], Err(WriteError::Failed(_))),
                "{outcomes:?}"
            );
            let behind = Err(WriteError::Behind);
            assert_eq!(outcomes[1..], [behind.clone(), behind]);
            thread.begin_write(vec![blackhole(4)]);
            assert_eq!(thread.written().await.outcomes, Ok(vec![Ok(())]));
        });
    });
}

fn blackhole(i: u8) -> Write {
    Write::Set {
        key: Key::new(std::net::IpAddr::from([10, 0, 0, i]).into(), 0),
        spec: Spec::blackhole(67),
        replace: false,
    }
}
