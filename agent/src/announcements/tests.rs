use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

fn frame(operation: u8, address: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &MAC, &address, &[0; 6], &address].concat()
}

#[test]
fn arp_names_the_sender_with_its_address_and_rarp_and_probes_without() {
    for (operation, address, expected) in [
        (1, [10, 65, 0, 7], Some(Ipv4Addr::new(10, 65, 0, 7))),
        (2, [10, 65, 0, 7], Some(Ipv4Addr::new(10, 65, 0, 7))),
        (1, [0; 4], None),
        (3, [0; 4], None),
    ] {
        let mut octets = frame(operation, address);
        // Ethernet fills up short frames.
        octets.resize(46, 0);
        let heard = parse(&octets).unwrap();
        assert_eq!((heard.mac, heard.address), (MAC, expected), "{operation}");
    }
}

#[test]
fn what_is_cut_short_or_of_another_kind_of_link_is_nobody() {
    let whole = frame(1, [10, 65, 0, 7]);
    for length in 0..18 {
        assert_eq!(parse(&whole[..length]), None, "{length} octets");
    }
    for index in 0..6 {
        let mut other = whole.clone();
        other[index] ^= 1;
        assert_eq!(parse(&other), None, "octet {index}");
    }
}
