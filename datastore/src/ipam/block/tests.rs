//! The arithmetic, and that no sequence of operations breaks the invariant.

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn cidr(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn attribute(handle: &str) -> Attribute {
    Attribute {
        handle_id: Some(handle.to_owned()),
        ..Attribute::default()
    }
}

#[test]
fn addresses_come_from_the_front_and_go_to_the_end() {
    let mut block = new(cidr("10.0.0.4/30"), Some("n"), at(0));
    let first = assign_next(&mut block, attribute("a")).unwrap();
    assert_eq!(first, "10.0.0.4".parse::<IpAddr>().unwrap());
    assert_eq!(block.unallocated, [1, 2, 3]);
    assert_eq!(
        release(&mut block, "a", &[first], at(1), Duration::ZERO),
        [first]
    );
    assert_eq!(block.unallocated, [1, 2, 3, 0]);
    assert!(block.attributes.is_empty() && block.sequence_number_for_allocation.is_empty());
}

#[test]
fn equal_attributes_are_kept_once() {
    let mut block = new(cidr("10.0.0.0/30"), Some("n"), at(0));
    for handle in ["a", "b", "a"] {
        assign_next(&mut block, attribute(handle)).unwrap();
    }
    assert_eq!(block.attributes.len(), 2);
    assert_eq!(block.allocations, [Some(0), Some(1), Some(0), None]);
    assert_eq!(addresses_of(&block, "a").len(), 2);
    assert_eq!(addresses_of(&block, "a\rold tail").len(), 2);
}

#[test]
fn a_new_block_counts_from_nanoseconds_and_notes_the_number_of_each_allocation() {
    let mut block = new(cidr("10.0.0.0/26"), Some("n"), at(0));
    assert_eq!(block.sequence_number, 1_800_000_000_000_000_000);
    assign_next(&mut block, attribute("a")).unwrap();
    assert_eq!(
        block.sequence_number_for_allocation["0"],
        1_800_000_000_000_000_000
    );
    let json = serde_json::to_string(&block).unwrap();
    assert!(
        json.contains("\"sequenceNumber\":1800000000000000000"),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<IPAMBlock>(&json).unwrap(), block);
}

#[test]
fn a_released_address_rests_until_its_cooldown_is_over() {
    let mut block = new(cidr("10.0.0.1/32"), Some("n"), at(0));
    let address = assign_next(&mut block, attribute("a")).unwrap();
    let rest = Duration::from_secs(30);
    release(&mut block, "a", &[address], at(10), rest);
    assert_eq!(free(&block), 0);
    assert!(!is_empty(&block));
    assert_eq!(block.attributes[0].released_at, Some(Timestamp::of(at(10))));
    assert!(defects(&block).is_empty());
    assert!(!collect(&mut block, at(39), rest));
    assert!(collect(&mut block, at(40), rest));
    assert!(is_empty(&block) && free(&block) == 1);
}

#[test]
fn an_address_asked_for_by_name_is_given_once() {
    let mut block = new(cidr("fd00::/126"), Some("n"), at(0));
    let address: IpAddr = "fd00::2".parse().unwrap();
    assign_address(&mut block, address, attribute("a")).unwrap();
    assert_eq!(
        assign_address(&mut block, address, attribute("b")).unwrap_err(),
        "it is taken by a"
    );
    // While it cools down only who asks for it may have it.
    release(&mut block, "a", &[address], at(1), Duration::from_secs(60));
    assign_address(&mut block, address, attribute("b")).unwrap();
    assert!(defects(&block).is_empty());
    let outside = "fd00::4".parse().unwrap();
    assert_eq!(
        assign_address(&mut block, outside, attribute("b")).unwrap_err(),
        "it is not in block fd00::/126"
    );
}

#[test]
fn nobody_releases_what_another_has() {
    let mut block = new(cidr("10.0.0.0/30"), Some("n"), at(0));
    let address = assign_next(&mut block, attribute("a")).unwrap();
    assert!(release(&mut block, "b", &[address], at(1), Duration::ZERO).is_empty());
    assert_eq!(addresses_of(&block, "a"), [address]);
}

#[test]
fn each_defect_has_its_name() {
    let good = new(cidr("10.0.0.0/30"), Some("n"), at(0));
    let broken = |change: fn(&mut IPAMBlock)| {
        let mut block = good.clone();
        change(&mut block);
        let found = defects(&block);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (change, expected) in [
        (
            (|block| block.cidr = "10.0.0.1/30".parse().unwrap()) as fn(&mut IPAMBlock),
            "spec.cidr: 10.0.0.1/30 has host bits set",
        ),
        (
            |block| block.cidr = "10.0.0.0/8".parse().unwrap(),
            "spec.cidr: 10.0.0.0/8 is too large for a block",
        ),
        (
            |block| block.allocations.push(None),
            "spec.allocations: has 5 entries, its CIDR has 4 addresses",
        ),
        (
            |block| block.unallocated.push(4),
            "spec.unallocated: 4 is outside the block",
        ),
        (
            |block| block.unallocated.push(0),
            "spec.unallocated: 0 stands there twice",
        ),
        (
            |block| {
                block.attributes.push(Attribute::default());
                block.allocations[2] = Some(0);
            },
            "spec.unallocated: 2 is allocated as well",
        ),
        (
            |block| {
                block.unallocated.remove(1);
                block.allocations[1] = Some(7);
            },
            "spec.allocations[1]: points to attribute 7, which is not there",
        ),
        (
            |block| {
                block.unallocated.remove(3);
            },
            "spec.unallocated: 3 is neither free nor allocated",
        ),
        (
            |block| block.attributes.push(Attribute::default()),
            "spec.attributes[0]: nothing points to it",
        ),
    ] {
        assert_eq!(broken(change), [expected]);
    }
    assert!(defects(&good).is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Assign(u8),
    AssignAt(u8, u8),
    Release(u8),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..5_u8).prop_map(Step::Assign),
        (0..5_u8, 0..12_u8).prop_map(|(handle, offset)| Step::AssignAt(handle, offset)),
        (0..5_u8).prop_map(Step::Release),
        (0..40_u8).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_operations_breaks_the_invariant(
        steps in proptest::collection::vec(step(), 1..80),
        cooldown in 0..60_u64,
    ) {
        let mut block = new(cidr("10.0.0.8/29"), Some("n"), at(0));
        let cooldown = Duration::from_secs(cooldown);
        let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Assign(handle) => {
                    let handle = format!("h{handle}");
                    if let Some(address) = assign_next(&mut block, attribute(&handle)) {
                        prop_assert!(owners.insert(address, handle).is_none());
                    }
                }
                Step::AssignAt(handle, offset) => {
                    let handle = format!("h{handle}");
                    let address = IpAddr::from([10, 0, 0, 8 + offset]);
                    if assign_address(&mut block, address, attribute(&handle)).is_ok() {
                        prop_assert!(owners.insert(address, handle).is_none());
                    }
                }
                Step::Release(handle) => {
                    let handle = format!("h{handle}");
                    let had = addresses_of(&block, &handle);
                    let released = release(&mut block, &handle, &had, at(now), cooldown);
                    prop_assert_eq!(&released, &had);
                    for address in released {
                        prop_assert_eq!(owners.remove(&address), Some(handle.clone()));
                    }
                }
                Step::Wait(seconds) => {
                    now += u64::from(seconds);
                    collect(&mut block, at(now), cooldown);
                }
            }
            prop_assert_eq!(defects(&block), Vec::<Defect>::new());
            let found: BTreeMap<IpAddr, String> = allocated(&block)
                .filter_map(|(address, attribute)| Some((address, attribute.handle_id.clone()?)))
                .collect();
            prop_assert_eq!(&found, &owners);
        }
    }
}
