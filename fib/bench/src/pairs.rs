//! Two contestants that took part in the same rounds, compared round by round.

use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::contestants::Contestant;
use crate::report::median;
use crate::work::{Family, Step};

/// How fast one was, in parts of how fast the other was.
#[derive(Debug, Serialize)]
pub(crate) struct Pair {
    pub family: Family,
    pub step: Step,
    pub contestant: Contestant,
    pub mark: Contestant,
    /// Of each round, in their order.
    pub ratios: Vec<f64>,
    pub median: f64,
    /// Half of the rounds are between these.
    pub quartiles: [f64; 2],
}

impl Pair {
    pub(crate) fn new(
        family: Family,
        step: Step,
        contestant: Contestant,
        mark: Contestant,
        ratios: Vec<f64>,
    ) -> Pair {
        let mut sorted = ratios.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        // The median of each half; the one in the middle belongs to both.
        let half = sorted.len().div_ceil(2);
        Pair {
            family,
            step,
            contestant,
            mark,
            median: median(&sorted),
            quartiles: [
                median(&sorted[..half]),
                median(&sorted[sorted.len() - half..]),
            ],
            ratios,
        }
    }

    /// `0.93 (0.90 to 0.97)`.
    pub(crate) fn text(&self) -> String {
        let [low, high] = self.quartiles;
        format!("{:.2} ({low:.2} to {high:.2})", self.median)
    }
}

/// The pairs of a family, if there are any.
pub(crate) fn table(pairs: &[Pair], family: Family) -> Option<String> {
    let of_family = || pairs.iter().filter(|pair| pair.family == family);
    of_family().next()?;
    let mut builder = Builder::default();
    let steps = Step::ALL.map(|step| step.to_string());
    builder.push_record(std::iter::once(String::new()).chain(steps));
    for (contestant, mark) in PAIRS {
        let of = |step| {
            of_family()
                .find(|pair| (pair.contestant, pair.mark, pair.step) == (contestant, mark, step))
        };
        if Step::ALL.into_iter().all(|step| of(step).is_none()) {
            continue;
        }
        let cells = Step::ALL.map(|step| of(step).map_or_else(|| "-".into(), Pair::text));
        builder.push_record(std::iter::once(format!("{contestant} to {mark}")).chain(cells));
    }
    Some(builder.build().with(Style::markdown()).to_string())
}

/// Who is compared with whom.
pub(crate) const PAIRS: [(Contestant, Contestant); 3] = [
    (Contestant::Fib, Contestant::Raw),
    // As it is by default.
    (Contestant::FibNexthop, Contestant::Raw),
    (Contestant::FibNexthop, Contestant::RawNexthop),
];
