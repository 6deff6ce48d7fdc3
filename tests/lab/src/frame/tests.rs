//! Frames put together by hand, read back.

use super::*;

const POD: [u8; 4] = [10, 233, 0, 1];
const OTHER: [u8; 4] = [10, 233, 1, 1];
const NODE: [u8; 4] = [172, 31, 1, 1];
const REMOTE: [u8; 4] = [172, 31, 2, 1];

fn on_ethernet(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&[0u8; 12][..], &ethertype.to_be_bytes(), packet].concat()
}

fn in_ipv4(protocol: u8, source: [u8; 4], target: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 20];
    header[0] = 0x45;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&target);
    [&header[..], payload].concat()
}

fn in_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    [&[0x30, 0x39][..], &port.to_be_bytes(), &[0; 4], payload].concat()
}

fn echo_request() -> Vec<u8> {
    in_ipv4(1, POD, OTHER, &[8, 0, 0, 0, 0x12, 0x34, 0, 1])
}

fn probe() -> Probe {
    Probe {
        source: POD.into(),
        target: OTHER.into(),
        id: 0x1234,
    }
}

#[test]
fn reads_a_bare_echo_request() {
    let frame = on_ethernet(0x0800, &echo_request());
    assert_eq!(
        read(&frame),
        Some(Content::Request(probe(), Wrapping::Bare))
    );
}

#[test]
fn reads_an_echo_request_inside_ip_protocol_4_with_the_outer_addresses() {
    let frame = on_ethernet(0x0800, &in_ipv4(4, NODE, REMOTE, &echo_request()));
    assert_eq!(
        read(&frame),
        Some(Content::Request(
            probe(),
            Wrapping::Ipip(NODE.into(), REMOTE.into())
        ))
    );
}

#[test]
fn reads_an_echo_request_inside_vxlan_with_the_outer_addresses() {
    let vxlan = [
        &[8, 0, 0, 0, 0, 16, 0, 0][..],
        &on_ethernet(0x0800, &echo_request()),
    ]
    .concat();
    let frame = on_ethernet(0x0800, &in_ipv4(17, NODE, REMOTE, &in_udp(4789, &vxlan)));
    assert_eq!(
        read(&frame),
        Some(Content::Request(
            probe(),
            Wrapping::Vxlan(NODE.into(), REMOTE.into())
        ))
    );
}

#[test]
fn reads_an_ipv6_echo_request() {
    let (source, target): (Ipv6Addr, Ipv6Addr) = (
        "fd00:233::1".parse().unwrap(),
        "fd00:233::2".parse().unwrap(),
    );
    let mut packet = [0u8; 48];
    packet[6] = 58;
    packet[8..24].copy_from_slice(&source.octets());
    packet[24..40].copy_from_slice(&target.octets());
    packet[40] = 128;
    packet[44..46].copy_from_slice(&[0, 7]);
    let seen = Probe {
        source: source.into(),
        target: target.into(),
        id: 7,
    };
    assert_eq!(
        read(&on_ethernet(0x86dd, &packet)),
        Some(Content::Request(seen, Wrapping::Bare))
    );
}

#[test]
fn an_echo_reply_is_no_request() {
    let reply = in_ipv4(1, OTHER, POD, &[0, 0, 0, 0, 0x12, 0x34, 0, 1]);
    assert_eq!(read(&on_ethernet(0x0800, &reply)), None);
}

#[test]
fn reads_the_payload_of_a_datagram_to_the_discard_port() {
    let frame = on_ethernet(0x0800, &in_ipv4(17, NODE, NODE, &in_udp(9, b"mark")));
    assert_eq!(read(&frame), Some(Content::Discard(b"mark")));
}

#[test]
fn a_frame_cut_anywhere_is_nothing_and_no_panic() {
    let vxlan = [
        &[8, 0, 0, 0, 0, 16, 0, 0][..],
        &on_ethernet(0x0800, &echo_request()),
    ]
    .concat();
    let frame = on_ethernet(0x0800, &in_ipv4(17, NODE, REMOTE, &in_udp(4789, &vxlan)));
    let whole = frame.len() - 2; // the sequence number at the end is not looked at
    for cut in 0..whole {
        assert_eq!(read(&frame[..cut]), None, "cut at {cut}");
    }
}
