//! Messages of nfnetlink as bytes: `nlmsghdr`, `nfgenmsg`, attributes, and back. Numbers in attributes are in network
//! order, those in headers in the host's.
//!
//! ```text
//!   length 4 | subsystem, type 2 | flags 2 | sequence 4 | port 4 | family 1 | version 1 | resource 2 | attributes …
//! ```

#[cfg(test)]
mod tests;

/// One message, without sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Subsystem and type.
    pub(crate) kind: u16,
    /// NLM_F_…, without REQUEST and ACK.
    pub(crate) flags: u16,
    /// NFPROTO_… or AF_….
    pub(crate) family: u8,
    pub(crate) resource: u16,
    pub(crate) attributes: Attributes,
}

impl Message {
    pub(crate) fn new(subsystem: u16, kind: u16, family: u8) -> Message {
        Message {
            kind: subsystem << 8 | kind,
            flags: 0,
            family,
            resource: 0,
            attributes: Attributes::default(),
        }
    }

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>, flags: u16, sequence: u32) {
        let length = (HEADERS_BYTES + self.attributes.0.len()) as u32;
        buffer.extend_from_slice(&length.to_ne_bytes());
        buffer.extend_from_slice(&self.kind.to_ne_bytes());
        buffer.extend_from_slice(&(NLM_F_REQUEST | self.flags | flags).to_ne_bytes());
        buffer.extend_from_slice(&sequence.to_ne_bytes());
        buffer.extend_from_slice(&0u32.to_ne_bytes());
        buffer.extend_from_slice(&[self.family, NFNETLINK_V0]);
        buffer.extend_from_slice(&self.resource.to_be_bytes());
        buffer.extend_from_slice(&self.attributes.0);
    }
}

/// Attributes being written, one after the other, each padded to four octets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(pub(crate) Vec<u8>);

impl Attributes {
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Attributes {
        self.nested(kind, |inner| inner.0.extend_from_slice(value))
    }

    /// With the zero at its end that the kernel asks for.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Attributes {
        self.nested(kind, |inner| {
            inner.0.extend_from_slice(value.as_bytes());
            inner.0.push(0);
        })
    }

    pub(crate) fn number(&mut self, kind: u16, value: u32) -> &mut Attributes {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// What `inner` writes stands inside one attribute. NLA_F_NESTED is not set: neither does the kernel set it here.
    pub(crate) fn nested(
        &mut self,
        kind: u16,
        inner: impl FnOnce(&mut Attributes),
    ) -> &mut Attributes {
        let start = self.0.len();
        self.0.extend_from_slice(&0u16.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        inner(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// One message that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Whose request it answers, or who did what it tells of.
    pub(crate) port: u32,
    /// Behind `nlmsghdr`.
    pub(crate) body: &'a [u8],
}

impl<'a> Received<'a> {
    /// Of `nfgenmsg`; 0 when there is none.
    pub(crate) fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or(0)
    }

    /// Behind `nfgenmsg`.
    pub(crate) fn attributes(&self) -> AttributesOf<'a> {
        AttributesOf(self.body.get(4..).unwrap_or(&[]))
    }
}

/// The messages in one datagram. A broken one ends it.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Received<'a>> {
        let length = u32_at(self.0, 0)? as usize;
        let received = Received {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            port: u32_at(self.0, 12)?,
            body: self.0.get(NLMSG_HEADER_BYTES..length)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(received)
    }
}

/// The attributes in a stretch of bytes. A broken one ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttributesOf<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for AttributesOf<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = u16_at(self.0, 0)? as usize;
        let kind = u16_at(self.0, 2)? & NLA_TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

impl<'a> AttributesOf<'a> {
    pub(crate) fn find(mut self, wanted: u16) -> Option<&'a [u8]> {
        self.find_map(|(kind, value)| (kind == wanted).then_some(value))
    }

    pub(crate) fn number(self, wanted: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.find(wanted)?.try_into().ok()?))
    }

    pub(crate) fn text(self, wanted: u16) -> Option<&'a str> {
        let value = self.find(wanted)?;
        std::str::from_utf8(value.split(|byte| *byte == 0).next()?).ok()
    }

    pub(crate) fn nested(self, wanted: u16) -> AttributesOf<'a> {
        AttributesOf(self.find(wanted).unwrap_or(&[]))
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

// linux/netlink.h, linux/netfilter/nfnetlink.h
pub(crate) const NLMSG_HEADER_BYTES: usize = 16;
const HEADERS_BYTES: usize = NLMSG_HEADER_BYTES + 4;
const NFNETLINK_V0: u8 = 0;
const NLA_TYPE_MASK: u16 = 0x3fff;
pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_CAPPED: u16 = 0x100;
pub(crate) const NLM_F_ACK_TLVS: u16 = 0x200;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLMSGERR_ATTR_MSG: u16 = 1;
