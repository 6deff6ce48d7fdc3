use caracal_datastore::Metadata;
use serde_json::{Value, json};

use super::*;

fn migration(spec: Value) -> Stored<LiveMigration> {
    Stored {
        metadata: Metadata {
            name: "m".into(),
            namespace: Some("vms".into()),
            ..Metadata::default()
        },
        spec: serde_json::from_value(spec).unwrap(),
        revision: None,
    }
}

fn pod() -> Identity {
    Identity {
        orchestrator: "k8s".into(),
        workload: "vms/vm-7-b".into(),
        labels: BTreeMap::from([("vmi".into(), "vm-7".into())]),
    }
}

#[test]
fn no_convergence_time_is_too_long() {
    let now = Instant::now();
    let facts = Facts {
        role: None,
        route: Routed::Yes,
        can_answer: true,
    };
    let settling = Phase::Live.next(facts, now, Duration::MAX);
    assert!(settling.until().is_some_and(|until| until > now));
}

#[test]
fn a_workload_is_found_by_its_name_or_its_labels_and_a_machine_by_its_node_too() {
    let openstack = Identity {
        orchestrator: "openstack".into(),
        workload: "vm-7".into(),
        ..Identity::default()
    };
    let named = |host: &str, orchestrator: &str, workload: &str, endpoint: &str| {
        json!({"workloadEndpoint": {"hostname": host, "orchestratorID": orchestrator,
            "workloadID": workload, "endpointID": endpoint}})
    };
    let whole =
        |workload: &str| json!({"workload": {"orchestratorID": "k8s", "workloadID": workload}});
    let target = |target: Value| json!({ "target": target });
    let source = |source: Value| json!({ "source": source });
    for (spec, who, expected) in [
        (
            target(json!({"selector": "vmi == 'vm-7'"})),
            pod(),
            Some(Role::Target),
        ),
        (target(json!({"selector": "vmi == 'vm-8'"})), pod(), None),
        (
            target(named("", "k8s", "vms/vm-7-b", "eth0")),
            pod(),
            Some(Role::Target),
        ),
        (target(named("", "k8s", "vms/vm-7-b", "eth1")), pod(), None),
        (
            target(named("node1", "openstack", "vm-7", "eth0")),
            openstack.clone(),
            Some(Role::Target),
        ),
        (
            target(named("node2", "openstack", "vm-7", "eth0")),
            openstack.clone(),
            None,
        ),
        (
            // As Calico's driver names it.
            target(named("node1", "openstack", "vms/vm-7", "eth0")),
            openstack.clone(),
            Some(Role::Target),
        ),
        (source(whole("vms/vm-7-b")), pod(), Some(Role::Source)),
        (source(whole("vms/vm-7-a")), pod(), None),
        (
            source(named("node1", "openstack", "vm-7", "eth0")),
            openstack,
            Some(Role::Source),
        ),
    ] {
        let migrations = [migration(spec.clone())];
        assert_eq!(
            role(&migrations, "node1", "vms", "eth0", &who),
            expected,
            "{spec}"
        );
    }
    // Labels count within the migration's namespace.
    let selecting = [migration(target(json!({"selector": "vmi == 'vm-7'"})))];
    assert_eq!(role(&selecting, "node1", "other", "eth0", &pod()), None);
    // It came by one migration, and leaves by the next.
    let both = [
        migration(target(json!({"selector": "all()"}))),
        migration(source(whole("vms/vm-7-b"))),
    ];
    assert_eq!(
        role(&both, "node1", "vms", "eth0", &pod()),
        Some(Role::Source)
    );
}

#[test]
fn phases_follow_one_another_as_the_migration_goes_on() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let settling = Phase::Settling { until: at(30) };
    let (source, target) = (Some(Role::Source), Some(Role::Target));
    for (phase, role, now, expected) in [
        (Phase::Settled, None, 0, Phase::Settled),
        (Phase::Settled, target, 0, Phase::Awaited),
        (Phase::Awaited, target, 9, Phase::Awaited),
        // Its announcement was missed, as may be: now it is here.
        (Phase::Awaited, None, 0, settling),
        (Phase::Live, target, 9, Phase::Live),
        (Phase::Live, None, 0, settling),
        (settling, None, 29, settling),
        (settling, None, 30, Phase::Settled),
        // The same object comes again: it runs here already.
        (settling, target, 9, Phase::Live),
        (Phase::Settled, source, 0, Phase::Settled),
        (Phase::Awaited, source, 0, Phase::Settled),
        (Phase::Live, source, 0, Phase::Settled),
        (settling, source, 9, Phase::Settled),
    ] {
        let facts = Facts {
            role,
            route: Routed::No,
            can_answer: true,
        };
        let next = phase.next(facts, at(now), CONVERGENCE);
        assert_eq!(next, expected, "{phase:?} with {role:?} at {now} s");
    }
}

#[test]
fn a_workload_that_has_its_route_already_is_asked_before_it_loses_it() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let asked = |until: Option<u64>, elevated| Phase::Asked {
        until: until.map(at),
        elevated,
    };
    let settling = Phase::Settling { until: at(30) };
    let target = Some(Role::Target);
    for (phase, role, route, can_answer, now, expected) in [
        (
            Phase::Settled,
            target,
            Routed::Yes,
            true,
            0,
            asked(Some(2), false),
        ),
        (
            Phase::Settled,
            target,
            Routed::Before,
            true,
            0,
            asked(Some(2), true),
        ),
        // Not heard: it keeps what it has.
        (
            Phase::Settled,
            target,
            Routed::Before,
            false,
            0,
            asked(None, true),
        ),
        (
            asked(Some(2), true),
            target,
            Routed::Yes,
            false,
            9,
            asked(None, true),
        ),
        (
            asked(None, true),
            target,
            Routed::Yes,
            true,
            0,
            asked(Some(2), true),
        ),
        (
            asked(Some(2), false),
            target,
            Routed::Yes,
            true,
            1,
            asked(Some(2), false),
        ),
        (
            asked(Some(2), false),
            target,
            Routed::Yes,
            true,
            2,
            Phase::Awaited,
        ),
        (
            asked(Some(2), false),
            None,
            Routed::Yes,
            true,
            1,
            Phase::Settled,
        ),
        (asked(Some(2), true), None, Routed::Yes, true, 0, settling),
        (
            asked(None, true),
            Some(Role::Source),
            Routed::Yes,
            true,
            0,
            Phase::Settled,
        ),
    ] {
        let facts = Facts {
            role,
            route,
            can_answer,
        };
        let next = phase.next(facts, at(now), CONVERGENCE);
        assert_eq!(next, expected, "{phase:?} with {facts:?} at {now} s");
    }
    assert_eq!(asked(Some(2), false).heard(), Phase::Live);
    assert_eq!(asked(Some(2), false).standing(false), Standing::Normal);
    assert_eq!(asked(Some(2), false).standing(true), Standing::Awaited);
    assert_eq!(asked(Some(2), true).standing(true), Standing::Elevated);
    assert_eq!(asked(Some(2), true).until(), Some(at(2)));
    assert_eq!(asked(None, true).until(), None);
}

#[test]
fn routes_wait_until_the_workload_announces_itself_and_are_elevated_then() {
    let settling = Phase::Settling {
        until: Instant::now(),
    };
    for (phase, heard, standing, outranked) in [
        (
            Phase::Settled,
            Phase::Settled,
            Standing::Normal,
            Standing::Awaited,
        ),
        (
            Phase::Awaited,
            Phase::Live,
            Standing::Awaited,
            Standing::Awaited,
        ),
        (
            Phase::Live,
            Phase::Live,
            Standing::Elevated,
            Standing::Elevated,
        ),
        (settling, settling, Standing::Elevated, Standing::Elevated),
    ] {
        assert_eq!(phase.heard(), heard);
        assert_eq!(phase.standing(false), standing, "{phase:?}");
        assert_eq!(phase.standing(true), outranked, "{phase:?}, outranked");
    }
}
