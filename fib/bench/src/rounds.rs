//! Contestants that are compared with one another take turns in short rounds: each has its own thread and network namespace
//! for the whole run, and writes a part of the routes, then the next one writes as many. What the machine does besides meets
//! all of one round alike, and the ratio within a round is what is compared.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::bail;

use crate::contestants::{Contestant, Times};
use crate::namespace;
use crate::stopwatch::Took;
use crate::work::{Step, Work};

/// A step for a part of the routes.
pub(crate) type Order = (Step, Range<u32>);

/// What a contestant is told to do, on its own thread.
pub(crate) struct Turns {
    orders: Receiver<Order>,
    done: Sender<Took>,
}

impl Turns {
    /// The next order; `None`: it was the last one. What the one before took is told first.
    pub(crate) fn next(&self, before: Option<Took>) -> Option<Order> {
        if let Some(took) = before {
            // Nobody waits for it when the whole measurement has failed.
            self.done.send(took).ok();
        }
        self.orders.recv().ok()
    }
}

/// A contestant at work.
struct Session {
    contestant: Contestant,
    orders: Sender<Order>,
    done: Receiver<Took>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Session {
    fn begin(contestant: Contestant, work: Work) -> Session {
        let (orders, of_others) = channel();
        let (told, done) = channel();
        let turns = Turns {
            orders: of_others,
            done: told,
        };
        Session {
            contestant,
            orders,
            done,
            thread: namespace::begin(move || contestant.take_turns(work, &turns)),
        }
    }

    /// `None`: it has failed.
    fn turn(&self, step: Step, part: &Range<u32>) -> Option<Took> {
        self.orders.send((step, part.clone())).ok()?;
        self.done.recv().ok()
    }

    fn end(self) -> anyhow::Result<()> {
        drop(self.orders);
        namespace::join(self.thread)
    }
}

/// What became of one contestant: for each step, what each of its parts took.
pub(crate) type Outcome = (Contestant, anyhow::Result<Times>);

/// One run of all of these, who take part in rounds.
pub(crate) fn run(contestants: &[Contestant], work: Work, parts: u32) -> Vec<Outcome> {
    let mut sessions: Vec<(Session, Times)> = contestants
        .iter()
        .map(|contestant| (Session::begin(*contestant, work), Times::new()))
        .collect();
    let mut failed = Vec::new();
    let mut round = 0;
    for step in Step::ALL {
        for part in parts_of(step, work.routes, parts) {
            round += 1;
            // Nobody is always the first, or always behind the same one.
            let mut order: Vec<(Session, Times)> = std::mem::take(&mut sessions);
            let turn_by = round % order.len().max(1);
            order.rotate_left(turn_by);
            if round % 2 == 0 {
                order.reverse();
            }
            for (session, mut times) in order {
                if !session.contestant.can(step) {
                    sessions.push((session, times));
                    continue;
                }
                match session.turn(step, &part) {
                    Some(took) => {
                        times.push((step, took));
                        sessions.push((session, times));
                    }
                    None => failed.push(session),
                }
            }
        }
    }
    let ended = sessions.into_iter().map(|(session, times)| {
        let contestant = session.contestant;
        (contestant, session.end().map(|()| times))
    });
    let mut outcomes: Vec<Outcome> = ended.collect();
    outcomes.extend(failed.into_iter().map(|session| {
        let contestant = session.contestant;
        let outcome = session.end().and_then(|()| bail!("it ended too early"));
        (contestant, outcome)
    }));
    outcomes
}

/// All routes move at once: by nexthop objects that is one write a gateway, and for a part of them it is not.
fn parts_of(step: Step, routes: u32, parts: u32) -> Vec<Range<u32>> {
    let parts = match step {
        Step::Replace => 1,
        _ => parts.clamp(1, routes.max(1)),
    };
    let end = |part: u32| (u64::from(routes) * u64::from(part) / u64::from(parts)) as u32;
    (0..parts).map(|part| end(part)..end(part + 1)).collect()
}
