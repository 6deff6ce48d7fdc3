//! Numbers: who gets which, who keeps it, and who takes it over.

use std::net::IpAddr;

use super::*;
use crate::model::Encapsulation;
use crate::plan;

#[test]
fn equal_legs_share_an_object_and_different_ones_by_the_same_way_do_not() {
    let mut scene = Scene::new();
    let first = scene.lead(&["10.9.9.1"], &["172.18.0.254"], None);
    let same = scene.lead(&["10.9.9.1"], &["172.18.0.254"], None);
    let other = scene.lead(&["10.9.9.2"], &["172.18.0.254"], None);
    assert_eq!(first, Some(670_000_001));
    assert_eq!(same, first);
    assert_ne!(other, first);
    assert_eq!(scene.ways(other), ["172.18.0.254"]);
}

#[test]
fn prefixes_of_both_families_have_objects_of_their_own() {
    let mut scene = Scene::new();
    let ids = [false, true].map(|v6| {
        let legs = Legs::from_buf([Leg::Remote {
            next_hop: address("2001:db8::2"),
            encapsulation: Encapsulation::None,
            v6,
        }]);
        let hops = [hop("2001:db8::2")];
        let (numbers, objects) = (&mut scene.numbers, &mut scene.objects);
        numbers.lead(&legs, &hops, None, |_| false, objects)
    });
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_way_that_changes_changes_the_object_and_not_its_number() {
    let mut scene = Scene::new();
    let before = scene.lead(&["10.9.9.1"], &["172.18.0.254"], None);
    let after = scene.lead(&["10.9.9.1"], &["172.18.0.253"], before);
    assert_eq!(after, before);
    assert_eq!(scene.ways(after), ["172.18.0.253"]);
}

#[test]
fn other_legs_take_the_number_over_only_when_all_routes_on_it_wish_for_them() {
    let mut scene = Scene::new();
    let there = scene.lead(&["10.9.9.1"], &["172.18.0.254"], None);
    let another = scene.lead(&["10.9.9.2"], &["172.18.0.253"], there);
    assert_ne!(another, there);
    assert_eq!(scene.ways(there), ["172.18.0.254"], "as it was");
    scene.may_move = true;
    let same = scene.lead(&["10.9.9.3"], &["172.18.0.252"], there);
    assert_eq!(same, there);
    assert_eq!(scene.ways(there), ["172.18.0.252"]);
    let new = scene.lead(&["10.9.9.1"], &["172.18.0.254"], None);
    assert_ne!(new, there, "whoever had it before gets another");
}

#[test]
fn an_object_never_becomes_a_group_nor_the_reverse() {
    let mut scene = Scene::new();
    scene.may_move = true;
    let single = scene.lead(&["10.9.9.1"], &["172.18.0.2"], None);
    let group = scene.lead(
        &["10.9.9.1", "10.9.9.2"],
        &["172.18.0.2", "172.18.0.3"],
        single,
    );
    assert_ne!(group, single);
    let back = scene.lead(&["10.9.9.3"], &["172.18.0.2"], group);
    assert!(back != group && back != single);
}

#[test]
fn the_order_of_ways_makes_no_difference_and_members_are_shared() {
    let mut scene = Scene::new();
    let legs = ["10.9.9.1", "10.9.9.2"];
    let there = scene.lead(&legs, &["172.18.0.2", "172.18.0.3"], None);
    let group = scene.objects.desired(&there.unwrap()).cloned();
    scene.lead(&legs, &["172.18.0.3", "172.18.0.2"], there);
    assert_eq!(scene.objects.desired(&there.unwrap()), group.as_ref());
    let other = scene.lead(
        &["10.9.9.1", "10.9.9.3"],
        &["172.18.0.3", "172.18.0.4"],
        None,
    );
    let members = |id: Option<ObjectId>| {
        let object = scene.objects.desired(&id.unwrap()).unwrap();
        object.members().iter().map(|m| m.id).collect::<Vec<_>>()
    };
    let shared = members(there).into_iter();
    let shared = shared.filter(|id| members(other).contains(id));
    assert_eq!(shared.count(), 1, "172.18.0.3");
}

#[test]
fn a_group_stays_one_when_one_way_is_left_of_it() {
    let mut scene = Scene::new();
    let legs = ["10.9.9.1", "10.9.9.2"];
    let there = scene.lead(&legs, &["172.18.0.2", "172.18.0.3"], None);
    let after = scene.lead(&legs, &["172.18.0.3"], there);
    assert_eq!(after, there);
    assert_eq!(scene.ways(after), ["172.18.0.3"]);
}

#[test]
fn an_object_of_an_earlier_run_is_adopted_if_it_is_as_wanted() {
    let mut scene = Scene::new();
    let earlier = Object::single(67, hop("172.18.0.2"));
    scene.objects.report(670_000_007, Some(earlier.clone()));
    scene.objects.report(670_000_008, Some(earlier));
    let adopted = scene.lead(&["172.18.0.2"], &["172.18.0.2"], Some(670_000_007));
    assert_eq!(adopted, Some(670_000_007));
    let taken = scene.lead(&["10.9.9.1"], &["172.18.0.2"], Some(670_000_007));
    assert_eq!(taken, Some(670_000_001), "it is somebody's already");
    // Routes of the earlier run may be on it that nobody has wished for yet.
    let other = scene.lead(&["172.18.0.3"], &["172.18.0.3"], Some(670_000_008));
    assert_eq!(other, Some(670_000_002));
    assert!(scene.objects.desired(&670_000_008).is_none());
}

#[test]
fn a_group_of_an_earlier_run_is_adopted_with_its_members() {
    let mut scene = Scene::new();
    let ways = ["172.18.0.2", "172.18.0.3"];
    for (id, way) in (670_000_021..).zip(ways) {
        scene.objects.report(id, Some(Object::single(67, hop(way))));
    }
    let members = [670_000_021, 670_000_022].map(|id| Member { id, weight: 0 });
    let group = Object::group(67, members);
    scene.objects.report(670_000_020, Some(group));
    let adopted = scene.lead(&ways, &ways, Some(670_000_020));
    assert_eq!(adopted, Some(670_000_020));
    let counts = scene.objects.counts();
    assert_eq!((counts.desired, counts.pending), (3, 0));
}

#[test]
fn numbers_of_others_are_passed_over_until_they_are_free() {
    let mut scene = Scene::new();
    scene.numbers.set_taken(HashSet::from([670_000_001]));
    scene.numbers.take(670_000_002);
    let third = scene.lead(&["172.18.0.2"], &["172.18.0.2"], None);
    assert_eq!(third, Some(670_000_003));
    scene.numbers.give_up(670_000_003);
    scene.objects.unset(670_000_003, false);
    let fourth = scene.lead(&["172.18.0.2"], &["172.18.0.2"], third);
    assert_eq!(fourth, Some(670_000_004));
}

#[test]
fn a_released_number_is_used_again_when_all_others_have_been() {
    let mut scene = Scene::among(100..=102);
    let ways = ["172.18.0.2", "172.18.0.3", "172.18.0.4", "172.18.0.5"];
    let lead = |scene: &mut Scene, at: usize| scene.lead(&[ways[at]], &[ways[at]], None);
    for (at, id) in (100..=102).enumerate() {
        assert_eq!(lead(&mut scene, at), Some(id));
    }
    assert_eq!(lead(&mut scene, 3), None, "no number is left");
    assert_eq!(lead(&mut scene, 1), Some(101), "who has one keeps it");
    let unneeded = scene.numbers.keep(&HashSet::from([100, 102]));
    assert_eq!(unneeded, [101]);
    scene.objects.unset(101, false);
    assert_eq!(lead(&mut scene, 3), Some(101));
}

#[test]
fn a_group_for_whose_members_there_are_too_few_numbers_is_none() {
    let mut scene = Scene::among(100..=102);
    scene.numbers.take(101);
    let ways = ["172.18.0.2", "172.18.0.3"];
    assert_eq!(scene.lead(&ways, &ways, None), None);
}

#[test]
fn a_way_without_a_gateway_is_not_shared() {
    let mut scene = Scene::new();
    let linked = Hop {
        via: None,
        ..hop("172.18.0.2")
    };
    let legs = legs(&["172.18.0.2"]);
    let (numbers, objects) = (&mut scene.numbers, &mut scene.objects);
    assert_eq!(
        numbers.lead(&legs, &[linked], None, |_| true, objects),
        None
    );
}

struct Scene {
    numbers: Allocation,
    objects: Objects,
    /// All routes on whatever object wish for the new legs.
    may_move: bool,
}

impl Scene {
    fn new() -> Scene {
        Scene::among(NUMBERS)
    }

    fn among(numbers: RangeInclusive<ObjectId>) -> Scene {
        Scene {
            numbers: Allocation::among(numbers, 67),
            objects: Objects::with_tags(plan::object, Object::device),
            may_move: false,
        }
    }

    /// Next hops, the ways to them, and where the route is now.
    fn lead(&mut self, to: &[&str], ways: &[&str], there: Option<ObjectId>) -> Option<ObjectId> {
        let hops: Vec<Hop> = ways.iter().map(|way| hop(way)).collect();
        let may_move = self.may_move;
        let (numbers, objects) = (&mut self.numbers, &mut self.objects);
        numbers.lead(&legs(to), &hops, there, |_| may_move, objects)
    }

    fn ways(&self, id: Option<ObjectId>) -> Vec<String> {
        let hops = hops(id.unwrap(), &self.objects);
        hops.iter()
            .map(|hop| hop.via.unwrap().to_string())
            .collect()
    }
}

fn legs(to: &[&str]) -> Legs {
    let leg = |to: &&str| Leg::Remote {
        next_hop: address(to),
        encapsulation: Encapsulation::None,
        v6: false,
    };
    to.iter().map(leg).collect()
}

fn hop(via: &str) -> Hop {
    Hop {
        via: Some(address(via)),
        device: 1,
        onlink: false,
        weight: 0,
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
