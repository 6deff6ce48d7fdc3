//! A kernel under watch: fails when the story says so, and notes each write that must never be.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;
use tokio::sync::oneshot;

use super::oracle::Desired;
use super::story::{Fault, METRICS};
use super::words;
use crate::kernel::{
    Answer, DeviceChange, Devices, Kernel, Key, Kind, Object, ObjectId, Refusal, Resolution, Spec,
    Tables, Write, WriteError, Written,
};
use crate::model::{Encapsulation, Gate, Route};

#[derive(Debug)]
pub(super) struct Watched<K> {
    pub(super) inner: K,
    pub(super) watch: Arc<Mutex<Watch>>,
    pub(super) answers: VecDeque<Written>,
}

#[derive(Debug, Default)]
pub(super) struct Watch {
    /// A worker starts, and waits for what it reads.
    pub(super) starting: bool,
    /// The read that is under way.
    pub(super) late: Option<Late>,
    cuts: u32,
    faults: Faults,
    pub(super) desired: Desired,
    /// Prefixes that were wished for in this life of the worker.
    pub(super) wished: BTreeSet<IpNet>,
    /// And the addresses of VTEPs.
    pub(super) named_vteps: BTreeSet<IpNet>,
    /// Route writes that the kernel took.
    pub(super) taken: Vec<Write>,
    /// Nexthop objects, as last read or written.
    pub(super) objects: Vec<(ObjectId, Object)>,
    pub(super) violations: Vec<String>,
}

/// A read on its way to the worker.
#[derive(Debug)]
pub(super) struct Late {
    read: Answer,
    reply: oneshot::Sender<Result<Tables, Refusal>>,
    /// What was there when it began.
    first: Option<Result<Tables, Refusal>>,
    /// It arrives after so many turns.
    turns: u32,
    cut: u32,
}

impl Late {
    /// One turn is over. `again` reads at this moment. Returns itself, unless it has arrived.
    pub(super) async fn turn(mut self, again: &mut impl Kernel) -> Option<Late> {
        if self.first.is_none() {
            let read = (&mut self.read).await;
            self.first = Some(read.unwrap_or_else(|_| Err(Refusal::lost())));
        }
        if self.turns > 0 {
            self.turns -= 1;
            return Some(self);
        }
        let mut read = self.first?;
        // Parts of it were read later than the others.
        if let (Ok(first), 1..) = (&mut read, self.cut % 3)
            && let Ok(last) = again.read_tables().await
        {
            let is_late = |key: &Key| self.cut % 3 == 2 || key.prefix.addr().is_ipv6();
            first.routes.retain(|(key, _)| !is_late(key));
            let late = last.routes.into_iter().filter(|(key, _)| is_late(key));
            first.routes.extend(late);
            first.neighbours = last.neighbours;
        }
        // The worker may have ended.
        self.reply.send(read).ok();
        None
    }
}

#[derive(Debug, Default)]
struct Faults {
    writes: Every,
    changes: Every,
    lose_answers: u32,
    lose_socket: u32,
    fail_reads: u32,
    slow_read: u32,
    fail_lookups: u32,
}

#[derive(Debug, Default)]
struct Every {
    every: u32,
    errno: i32,
    count: u32,
}

impl Every {
    fn refusal(&mut self) -> Option<Refusal> {
        if self.every == 0 {
            return None;
        }
        self.count += 1;
        self.count.is_multiple_of(self.every).then(|| Refusal {
            errno: self.errno,
            reason: format!("made up ({})", self.errno),
        })
    }
}

impl Watch {
    pub(super) fn make_faulty(&mut self, fault: &Fault) {
        let every = |every: u32, errno: i32| Every {
            every,
            errno,
            count: 0,
        };
        match *fault {
            Fault::RefuseWrites { every: n, errno } => self.faults.writes = every(n, errno),
            Fault::RefuseChanges { every: n, errno } => self.faults.changes = every(n, errno),
            Fault::LoseAnswers => self.faults.lose_answers += 1,
            Fault::LoseSocket => self.faults.lose_socket += 1,
            Fault::SlowRead(turns) => self.faults.slow_read = turns,
            Fault::FailReads(n) => self.faults.fail_reads += n,
            Fault::FailLookups(n) => self.faults.fail_lookups += n,
            // That is the business of who delivers them.
            Fault::LoseEvents => {}
        }
    }

    pub(super) fn heal(&mut self) {
        self.faults = Faults::default();
    }

    /// What must hold of each write, whatever happened before.
    fn judge(&mut self, write: &Write) {
        let complaint = match write {
            Write::Set { key, spec, .. } => {
                // The way to a VTEP stays as long as routes lead there.
                let named = self.named_vteps.contains(&key.prefix);
                let wished = self.desired.wishes(&key.prefix) || named;
                if spec.protocol != OURS {
                    Some("writes a route that is not signed")
                } else if !wished || !METRICS.contains(&key.metric) {
                    Some("writes a route that nobody wishes for")
                } else {
                    None
                }
            }
            Write::Delete { key, spec } if spec.protocol == OURS => {
                let wished_once = self.wished.contains(&key.prefix);
                if !wished_once && !self.lets_go(spec) {
                    Some("deletes what the gate protects")
                } else if *key == self.desired.key(key.prefix) && self.is_steady(&key.prefix) {
                    Some("deletes a route that is wished for and has a way")
                } else {
                    None
                }
            }
            // Of these the routes that use them say what is right.
            Write::SetObject { .. } | Write::DeleteObject { .. } => None,
            Write::Delete { key, spec } => {
                let wished = self.desired.wishes(&key.prefix);
                if !CALICO.contains(&spec.protocol)
                    && spec.hops().iter().any(|hop| hop.via.is_some())
                {
                    Some("deletes a route of someone else")
                } else if !wished && !self.lets_go(spec) {
                    Some("deletes what others left and the gate protects")
                } else {
                    None
                }
            }
        };
        if let Some(complaint) = complaint {
            self.violations.push(format!(
                "the worker {complaint}: {write:?}, gate {:?}",
                self.desired.gate
            ));
        }
    }

    /// The gate's promise, in the words of [`Gate`].
    fn lets_go(&self, spec: &Spec) -> bool {
        let hops = words::hops(spec, &self.objects);
        let local = spec.kind == Kind::Blackhole
            || (spec.object().is_none() && hops.iter().all(|hop| hop.via.is_none()));
        match &self.desired.gate {
            Gate::Closed => false,
            Gate::LocalOnly => local,
            Gate::OpenExcept(peers) => {
                let known = spec.object().is_none() || !hops.is_empty();
                let mut vias = hops.iter().filter_map(|hop| hop.via);
                known && !vias.any(|via| peers.contains(&via))
            }
            Gate::Open => true,
        }
    }

    /// Its wish has a way at all times, by `eth0`, which nothing happens to.
    fn is_steady(&self, prefix: &IpNet) -> bool {
        if self.desired.is_workload(prefix) {
            return false;
        }
        match self.desired.routes.get(prefix) {
            Some(Route::Blackhole) => true,
            Some(Route::Remote {
                next_hops,
                encapsulation: Encapsulation::None,
            }) => next_hops.iter().all(on_eth0),
            _ => false,
        }
    }
}

fn on_eth0(next_hop: &IpAddr) -> bool {
    ["172.18.0.0/24", "2001:db8:18::/64"]
        .iter()
        .any(|subnet| super::story::net(subnet).contains(next_hop))
}

impl<K: Kernel> Kernel for Watched<K> {
    async fn read_devices(&mut self) -> Result<Devices, Refusal> {
        if take_one(&mut self.watch.lock().unwrap().faults.fail_reads) {
            return Err(Refusal {
                errno: libc::EINTR,
                reason: "dump interrupted".into(),
            });
        }
        self.inner.read_devices().await
    }

    fn begin_read(&mut self) -> Answer {
        let read = self.inner.begin_read();
        let mut watch = self.watch.lock().unwrap();
        if watch.starting {
            return read;
        }
        let turns = std::mem::take(&mut watch.faults.slow_read);
        let (reply, answer) = oneshot::channel();
        watch.cuts += 1;
        watch.late = Some(Late {
            read,
            reply,
            first: None,
            turns,
            cut: watch.cuts,
        });
        answer
    }

    fn write(&mut self, batch: &[Write]) -> Result<Vec<Result<(), Refusal>>, WriteError> {
        let mut watch = self.watch.lock().unwrap();
        for write in batch {
            watch.judge(write);
        }
        if take_one(&mut watch.faults.lose_socket) {
            return Err(WriteError::Failed("broken pipe".into()));
        }
        let refusals: Vec<_> = batch
            .iter()
            .map(|_| watch.faults.writes.refusal())
            .collect();
        let passed: Vec<Write> = batch
            .iter()
            .zip(&refusals)
            .filter(|(_, refusal)| refusal.is_none())
            .map(|(write, _)| write.clone())
            .collect();
        let mut outcomes = match passed.is_empty() {
            true => Vec::new(),
            false => self.inner.write(&passed)?,
        }
        .into_iter();
        let taken = passed.iter().zip(outcomes.as_slice());
        let taken = taken.filter(|(_, outcome)| outcome.is_ok());
        let taken: Vec<Write> = taken.map(|(write, _)| write.clone()).collect();
        for write in &taken {
            if let Write::SetObject { id, object, .. } = write {
                watch.objects.retain(|(known, _)| known != id);
                watch.objects.push((*id, object.clone()));
            }
        }
        watch.taken.extend(taken);
        if take_one(&mut watch.faults.lose_answers) {
            return Err(WriteError::Overrun);
        }
        Ok(refusals
            .into_iter()
            .map(|refusal| match refusal {
                Some(refusal) => Err(refusal),
                None => outcomes.next().expect("an outcome for each write"),
            })
            .collect())
    }

    /// Written at once, and told later.
    fn begin_write(&mut self, batch: Vec<Write>) {
        let lost = self.answers.iter().any(|a| a.outcomes.is_err());
        let outcomes = match lost {
            true => Err(WriteError::Behind),
            false => self.write(&batch),
        };
        let writes = batch;
        self.answers.push_back(Written { writes, outcomes });
    }

    async fn written(&mut self) -> Written {
        self.answers.pop_front().expect("a batch was begun")
    }

    fn try_written(&mut self) -> Option<Written> {
        None
    }

    async fn resolve(&mut self, to: IpAddr) -> Result<Resolution, Refusal> {
        if take_one(&mut self.watch.lock().unwrap().faults.fail_lookups) {
            return Err(Refusal {
                errno: 0,
                reason: "no answer from the kernel".into(),
            });
        }
        self.inner.resolve(to).await
    }

    async fn change(&mut self, change: &DeviceChange) -> Result<(), Refusal> {
        let refusal = self.watch.lock().unwrap().faults.changes.refusal();
        match refusal {
            Some(refusal) => Err(refusal),
            None => self.inner.change(change).await,
        }
    }
}

fn take_one(count: &mut u32) -> bool {
    let any = *count > 0;
    *count = count.saturating_sub(1);
    any
}

pub(super) const OURS: u8 = 67;
/// BIRD and Felix.
const CALICO: [u8; 2] = [12, 80];
