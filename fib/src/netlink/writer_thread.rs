//! A thread that writes batches while the next ones are made.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::thread;

use tokio::sync::mpsc;

use super::writer::Writer;
use crate::kernel::{Refusal, Write, WriteError, Written};

/// The writer, and its thread, which ends with this.
#[derive(Debug)]
pub(super) struct WriterThread {
    /// A small batch is written where it was made: to wake another thread takes longer.
    writer: Arc<Mutex<Writer>>,
    batches: blocking::Sender<Vec<Write>>,
    answers: mpsc::UnboundedReceiver<Written>,
}

impl WriterThread {
    /// The thread belongs to the network namespace of the one that calls this.
    pub(super) fn start(writer: Writer) -> io::Result<WriterThread> {
        let writer = Arc::new(Mutex::new(writer));
        let (batches, incoming) = blocking::channel();
        let (outgoing, answers) = mpsc::unbounded_channel();
        let shared = writer.clone();
        thread::Builder::new()
            .name("caracal-fib-out".into())
            .spawn(move || work(&shared, &incoming, &outgoing))?;
        Ok(WriterThread {
            writer,
            batches,
            answers,
        })
    }

    pub(super) fn write(
        &mut self,
        batch: &[Write],
    ) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        lock(&self.writer).write(batch)
    }

    pub(super) fn begin_write(&mut self, batch: Vec<Write>) {
        // A thread that is gone shows in the answer that does not come.
        self.batches.send(batch).ok();
    }

    pub(super) async fn written(&mut self) -> Written {
        let answered = self.answers.recv().await;
        answered.unwrap_or_else(|| Written {
            writes: Vec::new(),
            outcomes: Err(WriteError::Failed(
                "the thread of the writer has ended".into(),
            )),
        })
    }

    pub(super) fn try_written(&mut self) -> Option<Written> {
        self.answers.try_recv().ok()
    }
}

fn work(
    writer: &Mutex<Writer>,
    batches: &blocking::Receiver<Vec<Write>>,
    answers: &mpsc::UnboundedSender<Written>,
) {
    while let Ok(writes) = batches.recv() {
        let outcomes = lock(writer).write(&writes);
        if answers.send(Written { writes, outcomes }).is_err() {
            return;
        }
    }
}

/// A writer that panicked in the middle of a batch is as good as before: what it has not answered is missed.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}
