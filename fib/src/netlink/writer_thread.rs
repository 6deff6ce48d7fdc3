//! A thread that writes batches while the next ones are made.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::thread;

use tokio::sync::mpsc::{self, error::TryRecvError};

use super::writer::Writer;
use crate::kernel::{Refusal, Write, WriteError, Written};

/// The writer, and its thread, which ends with this.
#[derive(Debug)]
pub(super) struct WriterThread {
    /// A small batch is written where it was made: to wake another thread takes longer.
    writer: Arc<Mutex<Writer>>,
    batches: blocking::Sender<Begun>,
    /// Counts the failures that were told. A batch that was begun under the same number as one that failed is behind it.
    failures: u64,
    answers: mpsc::UnboundedReceiver<Written>,
    /// Batches that the thread took and has not answered.
    owed: usize,
    /// Answers to batches that were written here, for want of the thread. They stand behind those that are owed.
    written_here: VecDeque<Written>,
}

/// A batch on its way to the thread.
#[derive(Debug)]
struct Begun {
    writes: Vec<Write>,
    failures: u64,
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
            failures: 0,
            answers,
            owed: 0,
            written_here: VecDeque::new(),
        })
    }

    pub(super) fn write(
        &mut self,
        batch: &[Write],
    ) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        lock(&self.writer).write(batch)
    }

    /// Without the thread, which ends only when it panics, everything is slower and goes on.
    pub(super) fn begin_write(&mut self, batch: Vec<Write>) {
        let begun = Begun {
            writes: batch,
            failures: self.failures,
        };
        match self.batches.send(begun) {
            Ok(()) => self.owed += 1,
            Err(blocking::SendError(Begun { writes, .. })) => {
                let outcomes = lock(&self.writer).write(&writes);
                self.written_here.push_back(Written { writes, outcomes });
            }
        }
    }

    /// To be asked for as many answers as batches were begun.
    pub(super) async fn written(&mut self) -> Written {
        if self.owed == 0
            && let Some(written) = self.written_here.pop_front()
        {
            return written;
        }
        self.owed = self.owed.saturating_sub(1);
        let answered = self.answers.recv().await.unwrap_or_else(unanswered);
        self.told(answered)
    }

    pub(super) fn try_written(&mut self) -> Option<Written> {
        if self.owed == 0 {
            return self.written_here.pop_front();
        }
        let answered = match self.answers.try_recv() {
            Ok(answered) => answered,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => unanswered(),
        };
        self.owed -= 1;
        Some(self.told(answered))
    }

    fn told(&mut self, answered: Written) -> Written {
        self.failures += u64::from(answered.outcomes.is_err());
        answered
    }
}

/// The thread has ended with the batch.
fn unanswered() -> Written {
    Written {
        writes: Vec::new(),
        outcomes: Err(WriteError::Failed(
            "the thread of the writer has ended".into(),
        )),
    }
}

fn work(
    writer: &Mutex<Writer>,
    batches: &blocking::Receiver<Begun>,
    answers: &mpsc::UnboundedSender<Written>,
) {
    let mut failed = None;
    while let Ok(Begun { writes, failures }) = batches.recv() {
        let outcomes = match failed == Some(failures) {
            true => Err(WriteError::Behind),
            false => lock(writer).write(&writes),
        };
        if outcomes.is_err() {
            failed = Some(failures);
        }
        if answers.send(Written { writes, outcomes }).is_err() {
            return;
        }
    }
}

/// A writer that panicked in the middle of a batch is as good as before: what it has not answered is missed.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}
