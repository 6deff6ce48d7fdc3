use netlink_packet_core::NLM_F_REPLACE;
use proptest::prelude::*;

use super::*;
use crate::kernel::Write;
use crate::netlink::encode;

proptest! {
    #[test]
    fn every_object_is_read_back_equal(id in 1..u32::MAX, object in object(), replace: bool) {
        let bytes = encoded(&Write::SetObject { id, object: object.clone(), replace });
        let message = NetlinkMessage::<Message>::deserialize(&bytes).unwrap();
        prop_assert_eq!(message.header.flags & NLM_F_REPLACE != 0, replace);
        let NetlinkPayload::InnerMessage(read) = message.payload else {
            return Err(TestCaseError::fail("no inner message"));
        };
        prop_assert_eq!(read, Message::Object(id, object));
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_an_error_or_lacks_what_was_cut(object in object(), at in 0usize..200) {
        let bytes = encoded(&Write::SetObject { id: 7, object: object.clone(), replace: true });
        let body = &bytes[16..];
        let at = at % body.len();
        let read = super::object(&body[..at]);
        prop_assert_ne!(read.clone(), Some((7, object)));
        if let Some((id, _)) = read {
            prop_assert_eq!(id, 7);
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_an_object(bytes: Vec<u8>) {
        super::object(&bytes);
    }
}

#[test]
fn a_deletion_names_its_object() {
    let bytes = encoded(&Write::DeleteObject { id: 670_000_001 });
    let message = NetlinkMessage::<Message>::deserialize(&bytes).unwrap();
    let read = NetlinkPayload::InnerMessage(Message::ObjectGone(670_000_001));
    assert_eq!(message.payload, read);
}

#[test]
fn what_we_never_write_is_told_from_what_we_do() {
    let single = Object::single(67, hop([172, 18, 0, 2].into()));
    let whole = encoded(&Write::SetObject {
        id: 7,
        object: single,
        replace: false,
    });
    for (kind, value) in [
        (NHA_BLACKHOLE, &[][..]),
        (NHA_FDB, &[]),
        (NHA_ENCAP_TYPE, &[1, 0]),
        (NHA_GROUP_TYPE, &[1, 0]),
    ] {
        let mut body = whole[16..].to_vec();
        body.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(value);
        let (id, object) = super::object(&body).unwrap();
        assert_eq!(
            (id, object.protocol, object.content),
            (7, 67, Content::Other)
        );
    }
}

#[test]
fn the_kernel_keeps_an_object_as_we_wrote_it() {
    crate::netlink::in_namespace(|| {
        for line in [
            "link add eth0 index 7 type veth peer name peer0",
            "link set peer0 up",
            "link set eth0 up",
            "address add 172.18.0.1/24 dev eth0",
        ] {
            let words = line.split(' ');
            let outcome = std::process::Command::new("ip").args(words).status();
            assert!(outcome.unwrap().success());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (objects, connection) = Objects::open().unwrap();
            tokio::spawn(connection);
            let found = objects.all().await.unwrap();
            assert_eq!(found, Some(vec![]), "and this kernel has nexthop objects");
            let mut writer = crate::netlink::writer::Writer::open().unwrap();
            let v4 = Object::single(67, hop([172, 18, 0, 2].into()));
            let v6 = Object::single(
                67,
                Hop {
                    onlink: true,
                    ..hop("fe80::7".parse().unwrap())
                },
            );
            let members = [7, 8].map(|id| Member { id, weight: 2 });
            let group = Object::group(67, members);
            let wanted = vec![(7, v4.clone()), (8, v6), (9, group)];
            let batch: Vec<Write> = wanted
                .iter()
                .map(|(id, object)| Write::SetObject {
                    id: *id,
                    object: object.clone(),
                    replace: false,
                })
                .collect();
            let outcomes = writer.write(&batch).unwrap();
            assert_eq!(outcomes, vec![Ok(()); 3]);
            assert_eq!(objects.all().await.unwrap(), Some(wanted));
            let hops = objects.hops(9).await.unwrap();
            assert_eq!(hops.len(), 2);
            assert!(hops.iter().all(|hop| hop.weight == 2));
            assert!(objects.hops(77).await.is_err(), "there is none");
            let again = writer.write(&batch[..1]).unwrap();
            assert_eq!(again[0].as_ref().unwrap_err().errno, libc::EEXIST);
            let gone = writer.write(&[Write::DeleteObject { id: 8 }]).unwrap();
            assert_eq!(gone, [Ok(())]);
            let left = Object::group(67, members[..1].iter().copied());
            assert_eq!(objects.all().await.unwrap(), Some(vec![(7, v4), (9, left)]));
        });
    });
}

fn encoded(write: &Write) -> Vec<u8> {
    let mut buffer = vec![];
    encode::message(&mut buffer, write, 1);
    buffer
}

fn hop(via: IpAddr) -> Hop {
    Hop {
        via: Some(via),
        device: 7,
        onlink: false,
        weight: 0,
    }
}

fn object() -> impl Strategy<Value = Object> {
    let via = prop_oneof![
        any::<u32>().prop_map(|a| Some(IpAddr::V4(a.into()))),
        any::<u128>().prop_map(|a| Some(IpAddr::V6(a.into()))),
        Just(None),
    ];
    let single = (via, 1..9u32, any::<bool>()).prop_map(|(via, device, onlink)| Hop {
        via,
        device,
        onlink,
        weight: 0,
    });
    let members = proptest::collection::vec((1..99u32, any::<u8>()), 1..9);
    let members = members.prop_map(|all| {
        all.into_iter()
            .map(|(id, weight)| Member { id, weight })
            .collect::<Vec<_>>()
    });
    prop_oneof![
        (any::<u8>(), single).prop_map(|(protocol, hop)| Object::single(protocol, hop)),
        (any::<u8>(), members).prop_map(|(protocol, members)| Object::group(protocol, members)),
    ]
}
