//! Good messages made bad, in ways that leave most of their structure.

use caracal_bgp::wire::iana::attribute_flag;

/// xorshift64*, so that a run depends on its seed and nothing else.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("64 bits");
        usize::try_from(self.next() % end).expect("below a usize")
    }

    pub(crate) fn octet(&mut self) -> u8 {
        let interesting = [
            0, 1, 2, 3, 4, 14, 15, 16, 32, 33, 0x40, 0x80, 0x90, 0xc0, 129, 254, 255,
        ];
        match self.below(2) {
            0 => interesting[self.below(interesting.len())],
            _ => self.next().to_le_bytes()[0],
        }
    }
}

/// RFC 4271 §4.1.
pub(crate) const HEADER_OCTETS: usize = 19;

/// One change of the body, perhaps by the end of another message. Lengths inside it become wrong by all but the first two.
pub(crate) fn mutate(random: &mut Random, octets: &mut Vec<u8>, other: &[u8]) {
    if octets.len() <= HEADER_OCTETS {
        octets.push(random.octet());
        return;
    }
    let at = HEADER_OCTETS + random.below(octets.len() - HEADER_OCTETS);
    let count = 1 + random.below(8).min(octets.len() - at - 1);
    match random.below(9) {
        0 => octets[at] ^= 1 << random.below(8),
        1 => octets[at] = random.octet(),
        2 => octets.insert(at, random.octet()),
        3 => drop(octets.drain(at..at + count)),
        4 => octets.truncate(at),
        5 => {
            let again: Vec<_> = octets[at..].to_vec();
            octets.extend(again);
        }
        6 => {
            let from = HEADER_OCTETS + random.below(other.len() - HEADER_OCTETS + 1);
            octets.truncate(at);
            octets.extend_from_slice(&other[from.min(other.len())..]);
        }
        7 => octets[at] = octets[at].wrapping_add(1),
        _ => {
            let length = u16::try_from(random.below(600)).expect("small");
            if at + 2 <= octets.len() {
                octets[at..at + 2].copy_from_slice(&length.to_be_bytes());
            }
        }
    }
    octets.truncate(9000);
}

/// Attributes taken apart, shuffled, repeated, left out: right lengths, wrong company.
pub(crate) fn shuffle_attributes(random: &mut Random, octets: &mut Vec<u8>) {
    let Some(list) = attribute_list(octets) else {
        return;
    };
    let mut attributes = Vec::new();
    let mut rest = &octets[list.clone()];
    while rest.len() >= 4 {
        let (front, length) = match rest[0] & attribute_flag::EXTENDED_LENGTH {
            0 => (3, usize::from(rest[2])),
            _ => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
        };
        let (one, tail) = rest.split_at((front + length).min(rest.len()));
        attributes.push(one.to_vec());
        rest = tail;
    }
    for _ in 0..1 + random.below(4) {
        if attributes.is_empty() {
            break;
        }
        let one = random.below(attributes.len());
        match random.below(4) {
            0 => attributes.push(attributes[one].clone()),
            1 => drop(attributes.remove(one)),
            2 => attributes[one][0] = random.octet() & !attribute_flag::EXTENDED_LENGTH,
            _ => {
                let other = random.below(attributes.len());
                attributes.swap(one, other);
            }
        }
    }
    let attributes = attributes.concat();
    let length = u16::try_from(attributes.len().min(4000)).expect("cut");
    octets[list.start - 2..list.start].copy_from_slice(&length.to_be_bytes());
    octets.splice(list, attributes);
    octets.truncate(9000);
}

/// Where the Path Attributes field of an UPDATE is.
fn attribute_list(octets: &[u8]) -> Option<std::ops::Range<usize>> {
    let length_at = |at: usize| {
        let length = octets.get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes([length[0], length[1]])))
    };
    if octets.get(18) != Some(&2) {
        return None;
    }
    let start = HEADER_OCTETS + 2 + length_at(HEADER_OCTETS)? + 2;
    let end = start + length_at(start - 2)?;
    (end <= octets.len()).then_some(start..end)
}
