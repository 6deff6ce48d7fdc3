use super::*;
use crate::plan::tests::mesh_of_three;

#[test]
fn equal_plans_ask_for_nothing() {
    assert_eq!(of(&mesh_of_three(), &mesh_of_three()), []);
}

#[test]
fn tunnels_come_before_what_leads_through_them_and_everything_can_be_taken_back() {
    let plan = mesh_of_three();
    let there = of(&Plan::default(), &plan);
    assert!(matches!(there[0], Change::SetTunnels(_)), "{there:?}");
    let count = |changes: &[Change], wanted: fn(&Change) -> bool| {
        changes.iter().filter(|change| wanted(change)).count()
    };
    assert_eq!(
        count(&there, |change| matches!(change, Change::SetVtep(..))),
        2
    );
    assert_eq!(
        count(&there, |change| matches!(
            change,
            Change::SetRoute(_, Route::Blackhole)
        )),
        1
    );
    let back = of(&plan, &Plan::default());
    assert_eq!(
        count(&back, |change| matches!(change, Change::RemoveVtep(_))),
        2
    );
    assert_eq!(
        count(&back, |change| matches!(change, Change::RemoveRoute(_))),
        1
    );
}
