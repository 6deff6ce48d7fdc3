//! S1: one sender, the reflector, one receiver.

use anyhow::Result;

use super::{Run, mixed, thousands};
use crate::report::Unit;
use crate::scene::Shape;

pub(super) fn feed(
    run: &mut Run<'_>,
    title: &str,
    count: u32,
    a_set: u32,
    ipv6: bool,
) -> Result<()> {
    let count = run.scaled(count, 4);
    let title = format!("{title} {}", thousands(count));
    let shape = Shape::pair(mixed(ipv6), count, a_set);
    run.with_scene(&shape, |scene| {
        let (first, second) = (scene.whole_feeds(1), scene.feeds(2));
        let took = scene.announce("first load", 1, &first)?;
        scene.check_count(count.into())?;
        scene.note_time(&format!("{title}: first load"), took.time);
        scene.note_processor(&format!("{title}: first load"), took);
        let took = scene.announce("re-announce", 2, &second)?;
        scene.check_count(count.into())?;
        scene.note_time(&format!("{title}: re-announce"), took.time);
        let took = scene.withdraw("withdraw", 2)?;
        scene.check_count(0)?;
        scene.note_time(&format!("{title}: withdraw"), took.time);
        let memory = scene.peak_memory_mib()?;
        scene.note(&format!("{title}: peak memory"), Unit::Mebibytes, memory);
        Ok(())
    })
}
