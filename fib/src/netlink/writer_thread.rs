//! A thread that writes batches while the next ones are made. It gets octets and gives back what the kernel said: what they
//! were made of stays here, in the cache of the processor that looks at it again.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as blocking};
use std::thread;

use tokio::sync::mpsc::{self, error::TryRecvError};

use super::writer::{Encoder, Messages, Writer};
use crate::kernel::{Refusal, Write, WriteError, Written};

/// The writer, and its thread, which ends with this.
#[derive(Debug)]
pub(super) struct WriterThread {
    /// A small batch is written where it was made: to wake another thread takes longer.
    writer: Arc<Mutex<Writer>>,
    encoder: Encoder,
    batches: blocking::Sender<Begun>,
    /// Counts the failures that were told. A batch that was begun under the same number as one that failed is behind it.
    failures: u64,
    answers: mpsc::UnboundedReceiver<Answered>,
    /// Batches that the thread took and has not answered, in their order.
    owed: VecDeque<Vec<Write>>,
    /// Answers to batches that were written here, for want of the thread. They stand behind those that are owed.
    written_here: VecDeque<Written>,
    /// Room for more.
    spare: Vec<Messages>,
}

/// A batch on its way to the thread.
#[derive(Debug)]
struct Begun {
    messages: Messages,
    failures: u64,
}

/// What the thread says of it.
#[derive(Debug)]
struct Answered {
    messages: Messages,
    outcomes: Result<Vec<Result<(), Refusal>>, WriteError>,
}

impl WriterThread {
    /// The thread belongs to the network namespace of the one that calls this.
    pub(super) fn start(writer: Writer) -> io::Result<WriterThread> {
        let encoder = writer.encoder();
        let writer = Arc::new(Mutex::new(writer));
        let (batches, incoming) = blocking::channel();
        let (outgoing, answers) = mpsc::unbounded_channel();
        let shared = writer.clone();
        thread::Builder::new()
            .name("caracal-fib-out".into())
            .spawn(move || work(&shared, &incoming, &outgoing))?;
        Ok(WriterThread {
            writer,
            encoder,
            batches,
            failures: 0,
            answers,
            owed: VecDeque::new(),
            written_here: VecDeque::new(),
            spare: Vec::new(),
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
        let mut messages = self.spare.pop().unwrap_or_default();
        self.encoder.encode(&batch, &mut messages);
        let begun = Begun {
            messages,
            failures: self.failures,
        };
        match self.batches.send(begun) {
            Ok(()) => self.owed.push_back(batch),
            Err(blocking::SendError(Begun { messages, .. })) => {
                let outcomes = lock(&self.writer).send(&messages);
                let writes = batch;
                self.written_here.push_back(Written { writes, outcomes });
            }
        }
    }

    /// To be asked for as many answers as batches were begun.
    pub(super) async fn written(&mut self) -> Written {
        if self.owed.is_empty()
            && let Some(written) = self.written_here.pop_front()
        {
            return written;
        }
        let answered = self.answers.recv().await.unwrap_or_else(unanswered);
        self.told(answered)
    }

    pub(super) fn try_written(&mut self) -> Option<Written> {
        if self.owed.is_empty() {
            return self.written_here.pop_front();
        }
        let answered = match self.answers.try_recv() {
            Ok(answered) => answered,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => unanswered(),
        };
        Some(self.told(answered))
    }

    fn told(&mut self, answered: Answered) -> Written {
        let Answered { messages, outcomes } = answered;
        self.failures += u64::from(outcomes.is_err());
        if self.spare.len() < SPARE_MAX {
            self.spare.push(messages);
        }
        let writes = self.owed.pop_front().unwrap_or_default();
        Written { writes, outcomes }
    }
}

/// The thread has ended with the batch.
fn unanswered() -> Answered {
    Answered {
        messages: Messages::default(),
        outcomes: Err(WriteError::Failed(
            "the thread of the writer has ended".into(),
        )),
    }
}

fn work(
    writer: &Mutex<Writer>,
    batches: &blocking::Receiver<Begun>,
    answers: &mpsc::UnboundedSender<Answered>,
) {
    let mut failed = None;
    while let Ok(Begun { messages, failures }) = batches.recv() {
        let outcomes = match failed == Some(failures) {
            true => Err(WriteError::Behind),
            false => lock(writer).send(&messages),
        };
        if outcomes.is_err() {
            failed = Some(failures);
        }
        if answers.send(Answered { messages, outcomes }).is_err() {
            return;
        }
    }
}

/// A writer that panicked in the middle of a batch is as good as before: what it has not answered is missed.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More are not under way.
const SPARE_MAX: usize = 4;
