use super::*;

#[test]
fn the_numbers_of_announced_prefixes_are_read_back() {
    for (ipv6, mixed) in [(false, true), (true, true), (false, false), (true, false)] {
        let prefixes = Prefixes { ipv6, mixed };
        let mut seen = Vec::new();
        let read = prefixes.numbers(&field(prefixes, 0..500), |i| seen.push(i));
        assert_eq!(read, Ok(()));
        assert!(seen.into_iter().eq(0..500));
    }
}

#[test]
fn three_blocks_come_to_one_host_route() {
    let prefixes = Prefixes {
        ipv6: false,
        mixed: true,
    };
    let lengths: Vec<_> = (0..8).map(|i| prefixes.prefix(i).prefix_len()).collect();
    assert_eq!(lengths, [26, 26, 26, 32, 26, 26, 26, 32]);
}

#[test]
fn a_prefix_of_another_length_is_foreign() {
    let prefixes = Prefixes {
        ipv6: false,
        mixed: false,
    };
    let mut field = field(prefixes, 7..8);
    field[0] = 27;
    assert_eq!(prefixes.numbers(&field, |_| {}), Err(Foreign));
    assert_eq!(prefixes.numbers(&field[..4], |_| {}), Err(Foreign));
}

#[test]
fn a_bitmap_counts_each_prefix_once() {
    let mut there = Bitmap::new(100);
    for i in [3, 99, 3, 64] {
        there.set(i, true);
    }
    assert_eq!(there.count(), 3);
    there.set(3, false);
    there.set(3, false);
    assert_eq!(there.count(), 2);
    there.clear();
    assert_eq!(there.count(), 0);
}

fn field(prefixes: Prefixes, numbers: std::ops::Range<u32>) -> Vec<u8> {
    let mut field = Vec::new();
    for i in numbers {
        let prefix = prefixes.prefix(i);
        field.push(prefix.prefix_len());
        match prefix {
            IpNet::V4(net) => field.extend(net.addr().octets()),
            IpNet::V6(net) => field.extend(net.addr().octets()),
        }
    }
    field
}
