//! Properties first: whatever happens, carrying out what is pending makes actual equal to desired, and the counts are
//! those of a recount.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

type Tested = Delta<u8, u8>;

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8),
    Unset(u8, bool),
    Report(u8, Option<u8>),
    ReportAll(BTreeMap<u8, u8>),
    Doubt(u8),
    Permit(u8, bool),
    /// Carries out this many; of these every `n`th fails.
    Work(usize, usize),
    /// Takes this many and carries them out; the answer comes with [`Step::Answer`].
    Begin(usize),
    /// Of all that was begun, every `n`th failed.
    Answer(usize),
    Retry,
    Wait,
}

/// What was carried out and is not answered yet.
type Begun = Vec<(u8, Action<u8>)>;

proptest! {
    #[test]
    fn once_nothing_fails_actual_equals_desired(steps in proptest::collection::vec(step(), 0..200)) {
        let mut delta = Tested::with_tags(rank, tag);
        let mut desired = BTreeMap::new();
        let mut kernel = BTreeMap::new();
        let mut now = Instant::now();
        let mut begun = Begun::new();
        for step in steps {
            apply(&mut delta, &mut desired, &mut kernel, &mut begun, &mut now, step);
            prop_assert_eq!(delta.counts(), recount(&delta));
            for number in 0..3 {
                let listed: BTreeSet<u8> = delta.tagged(number).copied().collect();
                prop_assert_eq!(listed, tagged(&delta, number));
            }
            for (key, value) in delta.all_actual() {
                let underway = begun.iter().any(|(underway, _)| underway == key);
                prop_assert!(underway || kernel.get(key) == Some(value));
            }
        }
        apply(&mut delta, &mut desired, &mut kernel, &mut begun, &mut now, Step::Answer(0));
        delta.permit_all(|_, _| true);
        now += Duration::from_secs(60);
        apply(&mut delta, &mut desired, &mut kernel, &mut begun, &mut now, Step::Work(1000, 0));
        prop_assert_eq!(&kernel, &desired);
        let counts = delta.counts();
        prop_assert_eq!((counts.pending, counts.failed, counts.stale), (0, 0, 0));
        prop_assert!(!delta.has_due());
        prop_assert_eq!(delta.next_retry(), None);
    }

    #[test]
    fn an_action_is_never_taken_twice_and_comes_by_rank(
        wishes in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..100),
        limit in 1..20usize,
    ) {
        let mut delta = Tested::new(rank);
        for (key, value) in &wishes {
            delta.set(*key, *value);
        }
        let mut taken = Vec::new();
        loop {
            let some = delta.take(limit, Instant::now());
            prop_assert!(some.len() <= limit);
            if some.is_empty() {
                break;
            }
            taken.extend(some);
        }
        let ranks: Vec<usize> = taken.iter().map(|(key, action)| rank(key, action.as_ref())).collect();
        prop_assert!(ranks.is_sorted());
        let newest: BTreeMap<u8, u8> = wishes.iter().copied().collect();
        let written: Vec<(u8, u8)> = taken
            .iter()
            .map(|(key, action)| match action {
                Action::Set { value, .. } => (*key, *value),
                Action::Delete(_) => unreachable!("nothing is there"),
            })
            .collect();
        prop_assert_eq!(written.len(), newest.len());
        prop_assert_eq!(written.into_iter().collect::<BTreeMap<_, _>>(), newest);
    }
}

#[test]
fn only_the_newest_wish_is_written() {
    let mut delta = Tested::new(rank);
    delta.set(1, 10);
    delta.set(1, 11);
    delta.set(2, 20);
    delta.unset(2, true);
    let taken = delta.take(10, Instant::now());
    let expected = Action::Set {
        value: 11,
        owned: false,
    };
    assert_eq!(taken, [(1, expected)]);
}

#[test]
fn what_was_ours_may_be_replaced_whatever_it_is_now() {
    let mut delta = Tested::new(rank);
    delta.set(1, 10);
    delta.report(1, Some(10));
    delta.report(1, None);
    let taken = delta.take(10, Instant::now());
    assert!(matches!(taken[..], [(1, Action::Set { owned: true, .. })]));
}

#[test]
fn a_failure_waits_longer_each_time_and_a_new_wish_does_not_wait() {
    let mut delta = Tested::new(rank);
    let mut now = Instant::now();
    delta.set(1, 10);
    let mut waits = Vec::new();
    for attempt in 0..12 {
        assert_eq!(delta.take(10, now).len(), 1);
        assert_eq!(delta.failed(1, now, "no".into()), attempt == 0);
        assert!(delta.take(10, now).is_empty(), "it stands back");
        let retry = delta.next_retry().unwrap();
        waits.push(retry - now);
        now = retry;
    }
    assert!(waits.is_sorted());
    assert_eq!(waits[0], BACKOFF_MIN);
    assert_eq!(waits[11], BACKOFF_MAX);
    assert_eq!(delta.reason(&1), Some("no"));

    delta.failed(1, now, "no".into());
    delta.set(1, 10);
    assert!(delta.take(10, now).is_empty(), "an equal wish is no news");
    delta.set(1, 11);
    assert_eq!(delta.take(10, now).len(), 1);
    delta.done(
        1,
        Action::Set {
            value: 11,
            owned: false,
        },
    );
    assert_eq!(delta.counts().failed, 0);
    assert_eq!(delta.next_retry(), None);
}

#[test]
fn a_retry_by_order_does_not_wait() {
    let mut delta = Tested::new(rank);
    let now = Instant::now();
    delta.set(1, 10);
    delta.set(2, 20);
    for (key, _) in delta.take(10, now) {
        delta.failed(key, now, "no".into());
    }
    delta.retry(now, |_, value| *value == 20);
    let taken = delta.take(10, now);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].0, 2);
}

#[test]
fn what_nobody_desires_stays_until_the_gate_or_the_wish_itself_lets_it_go() {
    let mut delta = Tested::new(rank);
    delta.report(1, Some(10));
    delta.report(2, Some(20));
    delta.set(3, 30);
    delta.report(3, Some(30));
    delta.unset(3, true);
    assert_eq!(delta.take(10, Instant::now()), [(3, Action::Delete(30))]);
    delta.done(3, Action::Delete(30));
    assert_eq!(delta.counts().stale, 2);
    delta.permit_all(|key, _| *key == 1);
    assert_eq!(delta.take(10, Instant::now()), [(1, Action::Delete(10))]);
    delta.requeue(1);
    delta.permit_all(|_, _| false);
    assert!(
        delta.take(10, Instant::now()).is_empty(),
        "the gate closed again"
    );
}

#[test]
fn only_what_was_desired_in_this_run_is_withdrawn() {
    let mut delta = Tested::new(rank);
    for key in 1..=4 {
        delta.report(key, Some(10));
    }
    delta.set(1, 20);
    // Its way was lost first, and the wish taken back then.
    delta.set(2, 20);
    delta.unset(2, false);
    for key in 1..=3 {
        delta.unset(key, true);
    }
    delta.discard(4);
    let taken = delta.take(10, Instant::now()).into_iter();
    let keys: BTreeMap<u8, Action<u8>> = taken.collect();
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(delta.counts().stale, 1);
}

#[test]
fn a_whole_report_names_what_was_believed_wrongly() {
    let mut delta = Tested::new(rank);
    delta.set(1, 10);
    delta.set(2, 20);
    for (key, action) in delta.take(10, Instant::now()) {
        delta.done(key, action);
    }
    let wrong = delta.report_all(HashMap::from([(1, 10), (2, 99), (3, 30)]));
    assert_eq!(wrong, [2]);
    assert_eq!(delta.actual(&3), Some(&30));
    let taken = delta.take(10, Instant::now());
    let expected = Action::Set {
        value: 20,
        owned: true,
    };
    assert_eq!(taken, [(2, expected)]);
}

#[test]
fn a_whole_report_says_nothing_of_what_is_kept() {
    let mut delta = Tested::new(rank);
    delta.report(1, Some(10));
    delta.report(2, Some(20));
    for key in [1, 2, 3] {
        delta.keep(key);
    }
    let wrong = delta.report_all(HashMap::from([(2, 99), (3, 30), (4, 40)]));
    assert!(wrong.is_empty(), "{wrong:?}");
    let all = [1, 2, 3, 4].map(|key| delta.actual(&key).copied());
    assert_eq!(all, [Some(10), Some(20), None, Some(40)]);
    let wrong = delta.report_all(HashMap::from([(2, 99)]));
    assert_eq!(wrong.len(), 3, "it is kept from one report only");
}

#[test]
fn what_is_doubted_is_written_or_deleted_whatever_is_believed() {
    let mut delta = Tested::new(rank);
    let now = Instant::now();
    for key in 1..=3 {
        delta.set(key, 10);
        delta.report(key, Some(10));
        delta.doubt(key);
        assert!(!delta.installed(&key));
    }
    delta.unset(2, true);
    // A read is beyond doubt.
    let wrong = delta.report_all(HashMap::from([(1, 10), (2, 10), (3, 10)]));
    assert!(wrong.is_empty());
    assert!(delta.installed(&3));
    for key in 1..=2 {
        delta.doubt(key);
    }
    let taken = delta.take(10, now);
    let set = Action::Set {
        value: 10,
        owned: true,
    };
    assert_eq!(taken, [(1, set), (2, Action::Delete(10))]);
    delta.done(1, set);
    delta.done(2, Action::Delete(10));
    assert!(delta.installed(&1));
    delta.doubt(1);
    let wrong = delta.report_all(HashMap::from([(3, 10)]));
    assert!(wrong.is_empty(), "that was known");
    assert_eq!(delta.actual(&1), None);
}

fn rank(key: &u8, action: Action<&u8>) -> usize {
    match action {
        Action::Set { .. } => usize::from(key % 3),
        Action::Delete(_) => RANKS - 1,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..12u8;
    let value = 0..4u8;
    prop_oneof![
        (key.clone(), value.clone()).prop_map(|(k, v)| Step::Set(k, v)),
        (key.clone(), any::<bool>()).prop_map(|(k, at_once)| Step::Unset(k, at_once)),
        (key.clone(), proptest::option::of(value.clone())).prop_map(|(k, v)| Step::Report(k, v)),
        proptest::collection::btree_map(key.clone(), value, 0..12).prop_map(Step::ReportAll),
        key.clone().prop_map(Step::Doubt),
        (key, any::<bool>()).prop_map(|(k, verdict)| Step::Permit(k, verdict)),
        (0..6usize, 0..4usize).prop_map(|(count, n)| Step::Work(count, n)),
        (0..6usize).prop_map(Step::Begin),
        (0..4usize).prop_map(Step::Answer),
        Just(Step::Retry),
        Just(Step::Wait),
    ]
}

fn apply(
    delta: &mut Tested,
    desired: &mut BTreeMap<u8, u8>,
    kernel: &mut BTreeMap<u8, u8>,
    begun: &mut Begun,
    now: &mut Instant,
    step: Step,
) {
    match step {
        Step::Set(key, value) => {
            delta.set(key, value);
            desired.insert(key, value);
        }
        Step::Unset(key, at_once) => {
            delta.unset(key, at_once);
            desired.remove(&key);
        }
        // What others did is told when everything is answered.
        Step::Report(..) | Step::ReportAll(_) if !begun.is_empty() => {}
        Step::Report(key, value) => {
            delta.report(key, value);
            match value {
                Some(value) => kernel.insert(key, value),
                None => kernel.remove(&key),
            };
        }
        Step::ReportAll(all) => {
            *kernel = all.clone();
            delta.report_all(all.into_iter().collect());
        }
        Step::Doubt(key) => delta.doubt(key),
        Step::Permit(key, verdict) => delta.permit(key, verdict),
        Step::Work(count, n) => {
            for (i, (key, action)) in delta.take(count, *now).into_iter().enumerate() {
                if n != 0 && i % n == 0 {
                    delta.failed(key, *now, "no".into());
                    continue;
                }
                match &action {
                    Action::Set { value, .. } => kernel.insert(key, *value),
                    Action::Delete(_) => kernel.remove(&key),
                };
                delta.done(key, action);
            }
        }
        Step::Begin(count) => {
            for (key, action) in delta.take(count, *now) {
                assert!(begun.iter().all(|(underway, _)| *underway != key));
                match &action {
                    Action::Set { value, .. } => kernel.insert(key, *value),
                    Action::Delete(_) => kernel.remove(&key),
                };
                begun.push((key, action));
            }
        }
        Step::Answer(n) => {
            for (i, (key, action)) in begun.drain(..).enumerate() {
                if n != 0 && i % n == 0 {
                    match delta.actual(&key) {
                        Some(value) => kernel.insert(key, *value),
                        None => kernel.remove(&key),
                    };
                    delta.failed(key, *now, "no".into());
                } else {
                    delta.done(key, action);
                }
            }
        }
        Step::Retry => delta.retry(*now, |_, _| true),
        Step::Wait => *now += Duration::from_millis(150),
    }
}

/// Some values have none.
fn tag(value: &u8) -> Option<u32> {
    Some(u32::from(value % 4)).filter(|tag| *tag < 3)
}

/// What has this tag, by looking at all.
fn tagged(delta: &Tested, number: u32) -> BTreeSet<u8> {
    let has = |value: &Option<u8>| value.as_ref().and_then(tag) == Some(number);
    let slots = delta.slots.iter();
    slots
        .filter(|(_, slot)| has(&slot.desired) || has(&slot.actual))
        .map(|(key, _)| *key)
        .collect()
}

fn recount(delta: &Tested) -> Counts {
    let mut counts = Counts::default();
    for slot in delta.slots.values() {
        counts.add(slot);
    }
    counts
}

#[test]
fn a_list_of_tagged_keys_does_not_grow_with_those_that_come_and_go() {
    let mut delta = Delta::<u32, u8>::with_tags(|_, _| 0, tag);
    let now = Instant::now();
    for key in 0..4 {
        delta.set(key, 1);
    }
    for round in 0..1000u32 {
        let key = 4 + round % 3;
        delta.set(key, 1);
        for (key, action) in delta.take(10, now) {
            delta.done(key, action);
        }
        delta.unset(key, true);
        for (key, action) in delta.take(10, now) {
            delta.done(key, action);
        }
    }
    let listed: BTreeSet<u32> = delta.tagged(1).copied().collect();
    assert_eq!(listed, BTreeSet::from([0, 1, 2, 3]));
    let length = delta.tagged.listed(1).len();
    assert!(length < 20, "{length} entries for 4 keys");
}
