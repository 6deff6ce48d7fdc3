//! One family's way through its stages.

use super::*;

const V4: Family = Family::Ipv4Unicast;
const PATIENCE: Duration = Duration::from_secs(360);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(time: u64) -> Time {
    Time::ZERO + seconds(time)
}

fn lost(now: u64, restart: u64, long: u64, before: Option<&Kept>) -> Option<Kept> {
    Kept::lost(at(now), V4, seconds(restart), seconds(long), before)
}

#[test]
fn without_a_stale_time_everything_ends_with_restart_time() {
    let kept = lost(10, 120, 0, None).unwrap();
    assert_eq!(kept.until, at(130));
    assert_eq!(kept.over(at(130)), None);
    assert_eq!(lost(10, 0, 0, None), None);
}

#[test]
fn the_long_lived_period_begins_when_restart_time_is_over_also_when_that_is_zero() {
    let kept = lost(10, 120, 1000, None).unwrap();
    assert!(!kept.is_long_lived());
    let long = kept.over(at(130)).unwrap();
    assert_eq!((long.stage, long.until), (Stage::LongLived, at(1130)));
    assert_eq!(long.over(at(1130)), None);
    assert_eq!(lost(10, 0, 1000, None).unwrap().until, at(1010));
}

#[test]
fn a_stale_time_that_runs_is_not_started_anew_before_the_peer_has_said_everything() {
    let long = lost(0, 0, 1000, None).unwrap();
    let back = long.returned(at(600), PATIENCE);
    assert_eq!(back.until, at(960));
    let again = lost(700, 120, 1000, Some(&back)).unwrap();
    assert!(again.is_long_lived());
    assert_eq!(again.until, at(820));
    assert_eq!(again.over(at(820)).unwrap().until, at(1000));
    // And when it is over while the peer is back, only Restart Time is left.
    let late = lost(1001, 120, 1000, Some(&back)).unwrap();
    assert_eq!(
        late.stage,
        Stage::Restarting {
            then: LongLived::Never
        }
    );
    assert!(!late.is_long_lived());
    // It also goes on over two short returns.
    let twice = again.returned(at(710), PATIENCE);
    assert_eq!(
        twice.stage,
        Stage::Returned {
            long_lived: Some(at(1000))
        }
    );
}

#[test]
fn a_stale_time_is_new_after_a_session_that_was_complete() {
    let kept = lost(2000, 120, 1000, None).unwrap();
    assert_eq!(kept.over(at(2120)).unwrap().until, at(3120));
    let refreshing = Kept::refreshing(at(2000), V4, PATIENCE);
    assert_eq!(refreshing.over(at(2360)), None);
    assert_eq!(
        lost(2000, 120, 1000, Some(&refreshing)),
        lost(2000, 120, 1000, None)
    );
}
