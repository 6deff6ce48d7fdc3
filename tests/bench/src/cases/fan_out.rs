//! S2: every client announces, and receives what all others announce.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Run, note_latencies};
use crate::report::Unit;
use crate::scene::{Scene, Shape};

/// First load, re-announce, withdraw.
pub(super) fn everyone(run: &mut Run<'_>, clients: u32, blocks: u32) -> Result<()> {
    let clients = run.scaled(clients, 2);
    let title = format!("S2 {clients} x {blocks}");
    let shape = Shape::everyone(clients as usize, blocks);
    run.with_scene(&shape, |scene| {
        let total = scene.total.into();
        let (first, second) = (scene.whole_feeds(1), scene.feeds(2));
        let took = scene.announce("first load", 1, &first)?;
        scene.check_count(total)?;
        scene.note_time(&format!("{title}: first load"), took.time);
        let took = scene.announce("re-announce", 2, &second)?;
        scene.check_count(total)?;
        scene.note_time(&format!("{title}: re-announce"), took.time);
        scene.note_processor(&format!("{title}: re-announce"), took);
        let took = scene.withdraw("withdraw", 2)?;
        scene.check_count(0)?;
        scene.note_time(&format!("{title}: withdraw"), took.time);
        let memory = scene.peak_memory_mib()?;
        scene.note(&format!("{title}: peak memory"), Unit::Mebibytes, memory);
        Ok(())
    })
}

/// All sessions are reset and come back at once.
pub(super) fn storm(run: &mut Run<'_>, clients: u32, blocks: u32) -> Result<()> {
    let clients = run.scaled(clients, 2);
    let title = format!("S2 {clients} x {blocks}: storm");
    let shape = Shape::everyone(clients as usize, blocks);
    run.with_scene(&shape, |scene| {
        let total = scene.total;
        let (first, second) = (scene.whole_feeds(1), scene.whole_feeds(2));
        scene.announce("first load", 1, &first)?;
        scene.check_count(total.into())?;
        for (client, octets) in scene.swarm.clients.iter_mut().zip(second) {
            client.greeting = Some(octets);
        }
        scene
            .swarm
            .expect(2, true, |client| total - client.own.len() as u32);
        // Not those from before it listened.
        scene.swarm.refused = Default::default();
        let took = scene.step_through_losses("storm", |swarm| swarm.reset_all())?;
        scene.check_count(total.into())?;
        scene.note_time(&title, took.time);
        scene.note_processor(&title, took);
        let (lost, refused) = (scene.swarm.lost.len(), scene.swarm.refused.0);
        scene.note(&format!("{title}, sessions lost"), Unit::Count, lost as f64);
        scene.note(
            &format!("{title}, attempts refused"),
            Unit::Count,
            refused as f64,
        );
        let memory = scene.peak_memory_mib()?;
        scene.note(&format!("{title}, peak memory"), Unit::Mebibytes, memory);
        Ok(())
    })
}

/// One route changes; how long until all others have it?
pub(super) fn one_route(run: &mut Run<'_>, clients: u32, blocks: u32) -> Result<()> {
    let clients = run.scaled(clients, 2);
    let samples = run.scaled(SAMPLES, 3);
    let title = format!("S2 one route to {} clients", clients - 1);
    let shape = Shape::everyone(clients as usize, blocks);
    run.with_scene(&shape, |scene| {
        let first = scene.whole_feeds(1);
        scene.announce("first load", 1, &first)?;
        scene.check_count(scene.total.into())?;
        let alone = changes(scene, 2..samples + 2, PAUSE)?;
        let close = changes(scene, samples + 2..2 * samples + 2, PAUSE_SHORT)?;
        scene.check_count(scene.total.into())?;
        note_latencies(scene, &title, alone);
        let after = PAUSE_SHORT.as_millis();
        note_latencies(scene, &format!("{title}, {after} ms after another"), close);
        Ok(())
    })
}

/// How long each took; all others have one when the next begins.
fn changes(scene: &mut Scene<'_>, rounds: Range<u32>, pause: Duration) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    for round in rounds {
        scene.swarm.idle(pause)?;
        let change = scene.feeds[0].announce_one(0, round);
        let swarm = &mut scene.swarm;
        swarm.expect(round, true, |client| u32::from(client.own.start != 0));
        let start = Instant::now();
        swarm.send(0, change)?;
        latencies.push(swarm.run(start).context("one route")?);
    }
    Ok(latencies)
}

const SAMPLES: u32 = 100;
/// Longer than TCP's delayed acknowledgements (40 ms) wait, so that one change does not meet those of the one before.
const PAUSE: Duration = Duration::from_millis(50);
/// Shorter: who leaves Nagle's algorithm on waits for them.
const PAUSE_SHORT: Duration = Duration::from_millis(20);
