//! How long a step takes, and how much of a processor. The second is what tells when others use the machine too.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::time::{ClockId, clock_gettime};

use crate::work::{PATIENCE, Work};

/// What a step took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    pub time: Duration,
    /// In user space and in the kernel on the writer's behalf.
    pub processor: Duration,
}

impl AddAssign for Took {
    fn add_assign(&mut self, other: Took) {
        self.time += other.time;
        self.processor += other.processor;
    }
}

pub(crate) struct Stopwatch {
    start: Instant,
    processor: Duration,
    whose: Whose,
}

#[derive(Clone, Copy)]
enum Whose {
    This,
    /// Those that have ended and were waited for.
    Children,
    Process(u32),
}

impl Stopwatch {
    pub(crate) fn of_this_process() -> anyhow::Result<Stopwatch> {
        Stopwatch::start(Whose::This)
    }

    pub(crate) fn of_children() -> anyhow::Result<Stopwatch> {
        Stopwatch::start(Whose::Children)
    }

    pub(crate) fn of(process: u32) -> anyhow::Result<Stopwatch> {
        Stopwatch::start(Whose::Process(process))
    }

    fn start(whose: Whose) -> anyhow::Result<Stopwatch> {
        Ok(Stopwatch {
            processor: used(whose)?,
            start: Instant::now(),
            whose,
        })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn took(&self) -> anyhow::Result<Took> {
        let time = self.start.elapsed();
        let processor = used(self.whose)?.saturating_sub(self.processor);
        Ok(Took { time, processor })
    }

    /// For writers that do not say when they are ready: looks until the kernel has as many routes.
    pub(crate) fn until_in_kernel(&self, work: &Work, wanted: usize) -> anyhow::Result<Took> {
        loop {
            let count = work.in_kernel()?;
            if count == wanted {
                return self.took();
            }
            if self.elapsed() > PATIENCE {
                bail!("the kernel has {count} routes after {PATIENCE:?}, not {wanted}");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

fn used(whose: Whose) -> anyhow::Result<Duration> {
    let (process, first) = match whose {
        Whose::This => {
            let used = clock_gettime(ClockId::ProcessCPUTime);
            return Ok(Duration::try_from(used)?);
        }
        Whose::Children => (std::process::id(), CUTIME),
        Whose::Process(process) => (process, UTIME),
    };
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).context(path)?;
    // The name in brackets may contain anything.
    let (_, fields) = text.rsplit_once(')').context("stat: no name")?;
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(first).take(2) {
        ticks += field.parse::<u64>()?;
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}

/// A look at 100,000 IPv4 routes takes the kernel 3 ms.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

// proc(5), counted from the field after the name: user and system time, and the same of children.
const UTIME: usize = 11;
const CUTIME: usize = 13;
