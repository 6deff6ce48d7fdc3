use super::*;

fn settled() -> (Snapshot, FibStatus, FilterStatus) {
    let snapshot = Snapshot {
        datastore_in_sync: true,
        ..Snapshot::default()
    };
    let fib = FibStatus {
        in_sync: true,
        ..FibStatus::default()
    };
    let filter = FilterStatus {
        settled: true,
        ..FilterStatus::default()
    };
    (snapshot, fib, filter)
}

#[test]
fn a_filter_that_is_not_in_force_yet_is_not_ready_and_one_that_cannot_be_is_a_condition() {
    let (snapshot, fib, mut filter) = settled();
    assert_eq!(not_ready(&snapshot, &fib, &filter), [""; 0]);
    filter.settled = false;
    assert_eq!(
        not_ready(&snapshot, &fib, &filter),
        ["the packet filter is not in the kernel yet"]
    );
    let why = "no permission".to_owned();
    filter.conditions.insert("NoNftables".to_owned(), why);
    assert_eq!(not_ready(&snapshot, &fib, &filter), [""; 0]);
}

#[test]
fn a_kernel_that_does_not_answer_the_filter_is_named_after_a_while() {
    let start = Instant::now();
    let (.., mut filter) = settled();
    assert_eq!(filter_late(&filter, start + 2 * FILTER_LATE), None);
    filter.settled = false;
    filter.unsettled_since = Some(start);
    assert_eq!(filter_late(&filter, start + FILTER_LATE), None);
    let late = filter_late(&filter, start + 2 * FILTER_LATE).unwrap();
    assert_eq!(late.name, "FilterLate");
    assert!(late.message.contains("for 10 s"), "{}", late.message);
    let why = "no permission".to_owned();
    filter.conditions.insert("NoNftables".to_owned(), why);
    assert_eq!(filter_late(&filter, start + 2 * FILTER_LATE), None);
}

#[test]
fn what_other_watches_cannot_follow_or_read_is_said_once() {
    let known = datastore_unread("datastore kubernetes: ippools is forbidden");
    let mut conditions = vec![known.clone()];
    let of_ipam = (
        vec![
            "datastore kubernetes: ippools is forbidden".to_owned(),
            "datastore kubernetes: ipreservations is forbidden".to_owned(),
        ],
        vec!["IPReservation r: spec.reservedCIDRs: 7".to_owned()],
    );
    let of_questions = (of_ipam.0.clone(), Vec::new());
    of_other_watches(&mut conditions, [of_ipam, of_questions]);
    let names: Vec<&str> = conditions.iter().map(|one| one.name.as_str()).collect();
    let expected = ["DatastoreUnread", "DatastoreUnread", "InvalidResource"];
    assert_eq!(names, expected);
    assert_eq!(conditions[0], known);
    assert!(
        conditions[1].message.contains("ipreservations"),
        "{conditions:?}"
    );
}
