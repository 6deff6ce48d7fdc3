//! When a repair becomes a fight, how slow it becomes, and when it is over.

use super::*;

#[test]
fn a_few_repairs_are_no_fight_and_many_are_until_it_is_quiet() {
    let mut fights = Fights::default();
    let start = Instant::now();
    for i in 0..ROUNDS_AT_ONCE {
        let at = start + Duration::from_millis(i.into());
        assert_eq!(fights.again("a", "ip", at), Round::AtOnce);
    }
    assert_eq!(fights.iter().count(), 0);
    let at = start + Duration::from_secs(1);
    let pause = PAUSE_MIN;
    let begun = Round::After { pause, first: true };
    assert_eq!(fights.again("a", "networkd", at), begun);
    assert_eq!(fights.again("b", "ip", at), Round::AtOnce, "another key");
    let (key, rounds) = fights.iter().next().unwrap();
    assert_eq!(
        (*key, rounds.count, rounds.by.as_str()),
        ("a", 6, "networkd")
    );

    let end = fights.next_end().unwrap();
    assert_eq!(end, at + PAUSE_MIN + QUIET);
    assert_eq!(fights.end_quiet(end - Duration::from_nanos(1)), ["b"; 0]);
    assert_eq!(fights.end_quiet(end), ["a"]);
    assert_eq!((fights.ongoing(), fights.next_end()), (0, None));
    assert_eq!(fights.again("a", "ip", end), Round::AtOnce);
}

/// Whatever the other does, and for however long.
#[test]
fn a_fight_becomes_slower_and_slower() {
    let mut fights = Fights::default();
    let start = Instant::now();
    let mut now = start;
    let mut writes = 0;
    while now < start + Duration::from_secs(3600) {
        // The other undoes it at once.
        if let Round::After { pause, .. } = fights.again("a", "ip", now) {
            now += pause;
        }
        writes += 1;
    }
    assert!((100..150).contains(&writes), "{writes} writes in an hour");
    assert_eq!(fights.ongoing(), 1);
}

#[test]
fn old_rounds_are_forgotten() {
    let mut fights = Fights::default();
    let start = Instant::now();
    for key in 0..SWEEP_MIN {
        fights.again(key, "ip", start);
    }
    fights.again(usize::MAX, "ip", start + QUIET);
    assert_eq!(fights.rounds.len(), 1);
}
