use super::*;
use crate::model::SpoofProtection;

fn refused(reason: &str) -> Failure {
    Failure::Refused {
        place: None,
        errno: libc::EINVAL,
        reason: reason.to_owned(),
    }
}

#[test]
fn what_is_said_to_be_in_force_is() {
    let nothing = BTreeMap::new();
    assert_eq!(said_of(None, false, &nothing), (None, None));
    let left_out = BTreeMap::from([("prerouting", "chain prerouting: no fib".to_owned())]);
    let (none, part) = said_of(None, false, &left_out);
    assert_eq!(none, None);
    assert_eq!(
        part.unwrap(),
        "the kernel refuses a part of table inet caracal: chain prerouting: no fib; the rest is in force; tried again"
    );
    // A transaction is all or nothing: without this one the table is that of before.
    let failure = refused("chain pods: Invalid argument");
    let (none, all) = said_of(Some(&failure), false, &left_out);
    assert_eq!(none, None);
    assert_eq!(
        all.unwrap(),
        "the kernel refuses what table inet caracal shall be: chain pods: Invalid argument; the table stays as it was, if \
         there was one; tried again"
    );
    let (absent, refused) = said_of(Some(&failure), true, &nothing);
    assert!(absent.unwrap().contains("may send from any address"));
    assert_eq!(refused, None);
}

#[test]
fn it_is_known_since_when_the_kernel_has_not_what_was_wished_for() {
    let (mut worker, status) = Worker::new();
    let unsettled = || status.borrow().unsettled_since;
    assert_eq!((status.borrow().settled, unsettled()), (false, None));
    let rules = Rules {
        spoofing: Some(SpoofProtection {
            device_prefixes: ["cali".to_owned()].into(),
            allowed: BTreeMap::new(),
            may_send_ipip: false,
            vxlan_port: None,
        }),
        ..Rules::default()
    };
    worker.handle(vec![Command::Set(Box::new(rules), Standing::Replaced)]);
    let first = unsettled();
    assert!(first.is_some());
    worker.tell(Some(refused("not now")), false);
    assert_eq!(unsettled(), first);
    worker.tell(None, false);
    assert_eq!((status.borrow().settled, unsettled()), (true, None));
}
