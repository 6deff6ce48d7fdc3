//! S3 and S4: a node, and its kernel.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Run, mixed, note_latencies, thousands};
use crate::feed::Octets;
use crate::kernel::{self, Listener};
use crate::prefixes::Prefixes;
use crate::report::Unit;
use crate::scene::{Scene, Shape, Took};
use crate::speakers::Role;

/// S3: a node in a mesh, each peer with a few blocks.
pub(super) fn mesh(run: &mut Run<'_>, peers: u32, blocks: u32) -> Result<()> {
    let peers = run.scaled(peers, 2);
    let prefixes = Prefixes {
        ipv6: false,
        mixed: false,
    };
    let shape = Shape {
        prefixes,
        role: Role::Node,
        own: vec![blocks; peers as usize],
        a_set: blocks,
    };
    let title = format!("S3 {} routes from {peers} peers in the FIB", peers * blocks);
    run.with_scene(&shape, |scene| {
        let feeds = scene.whole_feeds(1);
        let total = u64::from(scene.total);
        let base = routes(scene)?;
        let took = until_in_kernel(scene, feeds, base + total).context("first load")?;
        scene.check_count(total)?;
        scene.note_time(&title, took.time);
        scene.note_processor(&title, took);
        Ok(())
    })
}

/// S4: all from one peer, out again, and one route into the full table.
pub(super) fn table(run: &mut Run<'_>, count: u32, ipv6: bool) -> Result<()> {
    let count = run.scaled(count, 4);
    let samples = run.scaled(SAMPLES, 4);
    let family = if ipv6 { "S4 IPv6" } else { "S4" };
    let title = format!("{family} {} routes", thousands(count));
    let shape = Shape {
        role: Role::Node,
        // The last one comes and goes when the others are there.
        own: vec![count],
        ..Shape::pair(mixed(ipv6), count, 100)
    };
    run.with_scene(&shape, |scene| {
        let (feeds, total) = (scene.whole_feeds(1), u64::from(count));
        let base = routes(scene)?;
        let took = until_in_kernel(scene, feeds, base + total).context("into the FIB")?;
        scene.check_count(total)?;
        scene.note_time(&format!("{title} into the FIB"), took.time);
        let rate = f64::from(count) / took.time.as_secs_f64();
        scene.note(&format!("{title}: rate"), Unit::PerSecond, rate);
        scene.note_processor(&format!("{title} into the FIB"), took);

        let listener = Listener::open(&scene.network.speaker, ipv6, scene.swarm.patience)?;
        let address = scene.swarm.prefixes.prefix(0).addr();
        let mut latencies = Vec::new();
        for sample in 0..samples {
            let comes = sample % 2 == 1;
            let octets = match comes {
                true => scene.feeds[0].announce_one(0, 1),
                false => scene.feeds[0].withdraw_some(0..1),
            };
            let start = Instant::now();
            scene.swarm.send(0, octets)?;
            listener.wait_for(address, comes)?;
            latencies.push(start.elapsed());
            scene.swarm.idle(PAUSE)?;
        }
        drop(listener);
        note_latencies(scene, &format!("{title}: one more"), latencies);
        scene.check_count(total)?;

        let feeds = vec![scene.feeds[0].withdraw()];
        let took = until_in_kernel(scene, feeds, base).context("out of the FIB")?;
        scene.check_count(0)?;
        scene.note_time(&format!("{title} out of the FIB"), took.time);
        let memory = scene.peak_memory_mib()?;
        scene.note(&format!("{title}: peak memory"), Unit::Mebibytes, memory);
        Ok(())
    })
}

/// Everyone sends, until the kernel has as many routes.
fn until_in_kernel(scene: &mut Scene<'_>, feeds: Vec<Octets>, wanted: u64) -> Result<Took> {
    let (process, ipv6) = (scene.process()?, scene.swarm.prefixes.ipv6);
    scene.measure(
        |swarm| {
            swarm.expect(1, true, |_| 0);
            let mut feeds = feeds.into_iter().enumerate();
            feeds.try_for_each(|(i, octets)| swarm.send(i, octets))
        },
        |swarm, start| {
            loop {
                let look = Instant::now();
                let count = kernel::routes(process, ipv6)?;
                if count == wanted {
                    return Ok(start.elapsed());
                }
                if start.elapsed() > swarm.patience {
                    let patience = swarm.patience.as_secs();
                    bail!("the kernel has {count} routes after {patience} s, not {wanted}");
                }
                // A look at a large table is not cheap: it gets a fifth of one processor at most.
                swarm.idle((look.elapsed() * 4).max(LOOK_AGAIN))?;
            }
        },
    )
}

/// How many the kernel has now.
fn routes(scene: &Scene<'_>) -> Result<u64> {
    kernel::routes(scene.process()?, scene.swarm.prefixes.ipv6)
}

const SAMPLES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);
const LOOK_AGAIN: Duration = Duration::from_micros(200);
