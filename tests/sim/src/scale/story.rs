//! What happens to a cluster, one story after the other.

use std::time::Duration;

use super::account::Account;
use super::shape::{RESTART_TIME, Shape};
use super::world::{Gauge, World, busy};
use crate::rng::Rng;

/// Something happens to a cluster that is at rest, and after it the cluster comes to rest again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// One block is taken back by its node and announced again. Two accounts.
    Change,
    /// All nodes restart, one after the other, a hundredth of them each second, each two seconds away, with their
    /// forwarding state kept.
    RollingRestart,
    /// Half of the reflectors die at once, stay away for longer than anybody waits for them, and come back. Two
    /// accounts.
    ReflectorLoss,
    /// Half of everybody cannot reach the other half, for longer than any timer, and can again. Two accounts.
    Partition,
}

impl Story {
    /// All that there are.
    pub const ALL: [Story; 4] = [
        Story::Change,
        Story::RollingRestart,
        Story::ReflectorLoss,
        Story::Partition,
    ];
}

/// A cluster that starts from nothing, everybody within ten seconds, and then lives through the stories. `tell` gets
/// each account as it comes. `Err`: after a story somebody had not what he must have.
pub fn live(
    shape: Shape,
    stories: &[Story],
    gauge: Gauge,
    mut tell: impl FnMut(&Account),
) -> Result<(), String> {
    let mut world = World::new(shape, gauge);
    let mut teller = Teller {
        begun: Duration::ZERO,
        tell: &mut tell,
    };
    teller.cold_start(&mut world)?;
    for story in stories {
        match story {
            Story::Change => teller.change(&mut world)?,
            Story::RollingRestart => teller.rolling_restart(&mut world)?,
            Story::ReflectorLoss if shape.reflectors < 2 => {}
            Story::ReflectorLoss => teller.reflector_loss(&mut world)?,
            Story::Partition => teller.partition(&mut world)?,
        }
    }
    Ok(())
}

struct Teller<'a> {
    /// Processor time at the beginning of the account.
    begun: Duration,
    tell: &'a mut dyn FnMut(&Account),
}

impl Teller<'_> {
    fn cold_start(&mut self, world: &mut World) -> Result<(), String> {
        self.begin(world);
        let shape = world.shape();
        let mut rng = Rng::new(shape.seed ^ 0x5ca1_ab1e);
        let mut last = Duration::ZERO;
        for host in 0..shape.hosts() {
            let after = match shape.is_reflector(host) {
                true => 0,
                false => rng.below(START_SPREAD.as_micros() as u64),
            };
            let after = Duration::from_micros(after);
            world.plan_start(host, after, false);
            last = last.max(after);
        }
        self.end(world, "cold start", last, SETTLE)
    }

    fn change(&mut self, world: &mut World) -> Result<(), String> {
        // Of the last node, which is light where there are light ones.
        let block = world.shape().blocks() - 1;
        self.begin(world);
        world.withdraw(block);
        self.end(world, "one block is withdrawn", Duration::ZERO, SETTLE)?;
        self.begin(world);
        world.announce(block);
        self.end(world, "one block is announced", Duration::ZERO, SETTLE)
    }

    fn rolling_restart(&mut self, world: &mut World) -> Result<(), String> {
        self.begin(world);
        let nodes = world.shape().node_hosts();
        let count = nodes.len() as u32;
        let mut last = Duration::ZERO;
        for (host, number) in nodes.zip(0..) {
            let at = ROLL * number / count;
            world.plan_kill(host, at);
            last = at + AWAY;
            world.plan_start(host, last, true);
        }
        self.end(world, "rolling restart of all nodes", last, SETTLE)
    }

    fn reflector_loss(&mut self, world: &mut World) -> Result<(), String> {
        let lost = 0..world.shape().reflectors / 2;
        self.begin(world);
        for host in lost.clone() {
            world.plan_kill(host, Duration::ZERO);
        }
        let over = RESTART_TIME + SETTLE;
        self.end(world, "half of the reflectors lost", Duration::ZERO, over)?;
        self.begin(world);
        for host in lost {
            world.plan_start(host, Duration::ZERO, true);
        }
        self.end(world, "they are back", Duration::ZERO, SETTLE)
    }

    fn partition(&mut self, world: &mut World) -> Result<(), String> {
        self.begin(world);
        // Nodes and reflectors of odd and of even number: each side has half of both.
        world.part(|host| (host % 2) as u8);
        let over = HOLD_TIME + RESTART_TIME + SETTLE;
        self.end(world, "partition into halves", Duration::ZERO, over)?;
        self.begin(world);
        world.heal();
        self.end(world, "partition heals", Duration::ZERO, SETTLE)
    }

    fn begin(&mut self, world: &mut World) {
        world.begin_account();
        self.begun = busy();
    }

    /// The last thing is done after `acting`, and then there is `rest`.
    fn end(
        &mut self,
        world: &mut World,
        story: &'static str,
        acting: Duration,
        rest: Duration,
    ) -> Result<(), String> {
        world.run_for(acting);
        let since = world.now();
        world.run_for(rest);
        let processor = busy().saturating_sub(self.begun);
        (self.tell)(&world.end_account(story, since, processor));
        world.check().map_err(|wrong| format!("{story}: {wrong}"))
    }
}

const START_SPREAD: Duration = Duration::from_secs(10);
const ROLL: Duration = Duration::from_secs(100);
const AWAY: Duration = Duration::from_secs(2);
/// As `PeerConfig::new` has it.
const HOLD_TIME: Duration = Duration::from_secs(90);
/// Long enough for whoever has to try again.
const SETTLE: Duration = Duration::from_secs(60);
