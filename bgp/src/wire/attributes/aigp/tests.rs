//! AIGP: good ones, and each way to be malformed.

use super::*;

const METRIC_7: [u8; 11] = [1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 7];

#[test]
fn a_metric_survives_the_wire() {
    assert_eq!(Aigp::new(7).octets(), METRIC_7);
    assert_eq!(Aigp::decode(&METRIC_7), Ok(Aigp::new(7)));
    assert_eq!(Aigp::new(7).metric(), 7);
    assert_eq!(Aigp::new(u64::MAX).metric(), u64::MAX - 1);
}

#[test]
fn the_first_metric_counts_and_all_is_kept() {
    let other = [9, 0, 5, 1, 2];
    let value = [&other[..], &METRIC_7, Aigp::new(8).octets(), &[2, 0, 3]].concat();
    let aigp = Aigp::decode(&value).expect("well formed");
    assert_eq!((aigp.metric(), aigp.octets()), (7, &value[..]));
}

#[test]
fn each_malformation_is_named() {
    let with = |tail: &[u8]| [&METRIC_7, tail].concat();
    for (value, error) in [
        (vec![], AigpError::NoMetric),
        (vec![9, 0, 3], AigpError::NoMetric),
        (with(&[1]), AigpError::Overrun),
        (with(&[9, 0, 2]), AigpError::Length(2)),
        (with(&[9, 0, 4]), AigpError::Overrun),
        (with(&[1, 0, 4, 0]), AigpError::Length(4)),
        (
            [&[1, 0, 11], &[255u8; 8][..]].concat(),
            AigpError::MetricMax,
        ),
    ] {
        assert_eq!(Aigp::decode(&value), Err(error), "{value:?}");
    }
}
