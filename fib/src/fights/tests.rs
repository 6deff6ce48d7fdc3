//! When a repair becomes a fight, and when it is over.

use super::*;

#[test]
fn a_few_repairs_are_no_fight_and_many_are_until_the_window_is_over() {
    let mut fights = Fights::default();
    let start = Instant::now();
    for i in 0..ROUNDS_MAX {
        assert!(!fights.again("a", start + Duration::from_millis(i.into())));
    }
    assert!(fights.again("a", start + Duration::from_secs(1)));
    assert!(
        !fights.again("b", start + Duration::from_secs(1)),
        "another key"
    );
    assert!(!fights.again("a", start + WINDOW));
}

#[test]
fn old_rounds_are_forgotten() {
    let mut fights = Fights::default();
    let start = Instant::now();
    for key in 0..=REMEMBERED_MAX {
        fights.again(key, start);
    }
    fights.again(usize::MAX, start + WINDOW);
    assert_eq!(fights.rounds.len(), 1);
}
