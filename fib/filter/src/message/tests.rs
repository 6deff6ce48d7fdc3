use super::*;

#[test]
fn a_message_comes_back_as_it_was_written() {
    let mut message = Message::new(10, 5, 1);
    message
        .attributes
        .text(1, "caracal")
        .number(2, 77)
        .nested(3, |inner| {
            inner.bytes(1, &[1, 2, 3]);
        });
    let mut bytes = Vec::new();
    message.encode(&mut bytes, NLM_F_ACK, 9);
    message.encode(&mut bytes, 0, 10);
    let read: Vec<_> = Messages(&bytes).collect();
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].kind, read[0].sequence), (10 << 8 | 5, 9));
    assert_eq!(read[0].flags, NLM_F_REQUEST | NLM_F_ACK);
    assert_eq!(read[1].flags, NLM_F_REQUEST);
    assert_eq!(read[0].family(), 1);
    let attributes = read[0].attributes();
    assert_eq!(attributes.text(1), Some("caracal"));
    assert_eq!(attributes.number(2), Some(77));
    assert_eq!(attributes.nested(3).find(1), Some(&[1u8, 2, 3][..]));
    assert_eq!(attributes.find(4), None);
}

#[test]
fn bytes_that_break_off_end_it_without_harm() {
    let mut message = Message::new(10, 5, 1);
    message.attributes.text(1, "caracal").number(2, 77);
    let mut bytes = Vec::new();
    message.encode(&mut bytes, 0, 1);
    for length in 0..bytes.len() {
        assert_eq!(Messages(&bytes[..length]).count(), 0, "{length}");
    }
    let attributes = message.attributes.0;
    for length in 0..attributes.len() {
        assert!(AttributesOf(&attributes[..length]).count() < 2, "{length}");
    }
    // A length shorter than its own header.
    assert_eq!(Messages(&[4, 0, 0, 0, 0, 0, 0, 0]).count(), 0);
    assert_eq!(AttributesOf(&[1, 0, 0, 0]).count(), 0);
}
