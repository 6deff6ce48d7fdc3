//! S5 and S6: with a full table, a session is reset, or one route flaps.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Run, mixed, note_latencies, thousands};
use crate::scene::Shape;

/// S5: the receiver's session is reset and comes back, then the sender's.
pub(super) fn resets(run: &mut Run<'_>, count: u32) -> Result<()> {
    let count = run.scaled(count, 4);
    let title = format!("S5 {}", thousands(count));
    let shape = Shape::pair(mixed(false), count, 100);
    run.with_scene(&shape, |scene| {
        let (first, second) = (scene.whole_feeds(1), scene.whole_feeds(2));
        scene.announce("first load", 1, &first)?;
        scene.check_count(count.into())?;
        let took = scene.step_through_losses("receiver's reset", |swarm| swarm.reset(RECEIVER))?;
        scene.check_count(count.into())?;
        scene.note_time(&format!("{title}: receiver's reset"), took.time);
        let total = scene.total;
        scene
            .swarm
            .expect(2, true, |client| total - client.own.len() as u32);
        scene.swarm.clients[SENDER].greeting = second.into_iter().next();
        let took = scene.step_through_losses("sender's reset", |swarm| swarm.reset(SENDER))?;
        scene.check_count(count.into())?;
        scene.note_time(&format!("{title}: sender's reset"), took.time);
        Ok(())
    })
}

/// S6: one route goes and comes; how long until the receiver knows?
pub(super) fn flaps(run: &mut Run<'_>, count: u32) -> Result<()> {
    let count = run.scaled(count, 4);
    let samples = run.scaled(SAMPLES, 4);
    let title = format!("S6 flap, {} loaded", thousands(count));
    let shape = Shape::pair(mixed(false), count, 100);
    run.with_scene(&shape, |scene| {
        let first = scene.whole_feeds(1);
        scene.announce("first load", 1, &first)?;
        scene.check_count(count.into())?;
        let mut latencies = Vec::new();
        // Only what flaps counts from now on.
        scene.swarm.expect(1, true, |_| 0);
        for sample in 0..samples {
            scene.swarm.idle(PAUSE)?;
            let feeds = &scene.feeds[SENDER];
            // The last one announces.
            let announces = (samples - sample) % 2 == 1;
            let (octets, forget) = match announces {
                true => (feeds.announce_one(0, sample + 2), true),
                // The first withdrawal is of what was loaded, and has to be seen as a change.
                false => (feeds.withdraw_some(0..1), false),
            };
            let swarm = &mut scene.swarm;
            if !announces && sample == 0 {
                swarm.clients[RECEIVER].there.set(0, true);
            }
            let receivers = u32::from(announces);
            swarm.expect(sample + 2, forget, |client| {
                receivers * u32::from(client.own.is_empty())
            });
            let start = Instant::now();
            swarm.send(SENDER, octets)?;
            latencies.push(swarm.run(start).context("flap")?);
        }
        scene.check_count(count.into())?;
        note_latencies(scene, &title, latencies);
        Ok(())
    })
}

/// In [`Shape::pair`].
const SENDER: usize = 0;
const RECEIVER: usize = 1;
const SAMPLES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);
