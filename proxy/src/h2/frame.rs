//! Frames as they lie on the wire (RFC 9113 sections 4, 6 and 7): their heads, and the payloads of
//! those that control a connection. No state, and no judgement of what comes when.

use std::fmt;

/// Bytes of a frame's head.
pub(crate) const HEAD: usize = 9;

/// What a client sends before its first frame (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload of a frame that a receiver need not announce, and all that we take.
pub(crate) const MAX_FRAME: u32 = 16_384;
/// A window that nobody has changed.
pub(crate) const FIRST_WINDOW: u32 = 65_535;
/// The largest window, stream id, and last stream of a GOAWAY.
pub(crate) const MAX_31: u32 = 0x7fff_ffff;

/// Flags. A number means different things on different kinds.
pub(crate) mod flag {
    /// On DATA and HEADERS: the sender's last frame of the stream.
    pub(crate) const END_STREAM: u8 = 0x1;
    /// On SETTINGS and PING.
    pub(crate) const ACK: u8 = 0x1;
    /// On HEADERS and CONTINUATION: the header block is whole.
    pub(crate) const END_HEADERS: u8 = 0x4;
    /// On DATA and HEADERS.
    pub(crate) const PADDED: u8 = 0x8;
    /// On HEADERS.
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Identifiers of settings (RFC 9113 section 6.5.2, RFC 8441 section 3).
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(crate) const ENABLE_PUSH: u16 = 0x2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
}

/// An error code (RFC 9113 section 7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32);

impl Code {
    pub(crate) const NO_ERROR: Self = Self(0x0);
    pub(crate) const PROTOCOL_ERROR: Self = Self(0x1);
    pub(crate) const INTERNAL_ERROR: Self = Self(0x2);
    pub(crate) const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub(crate) const STREAM_CLOSED: Self = Self(0x5);
    pub(crate) const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub(crate) const REFUSED_STREAM: Self = Self(0x7);
    pub(crate) const CANCEL: Self = Self(0x8);
    pub(crate) const COMPRESSION_ERROR: Self = Self(0x9);
    pub(crate) const CONNECT_ERROR: Self = Self(0xa);
    pub(crate) const ENHANCE_YOUR_CALM: Self = Self(0xb);
    pub(crate) const HTTP_1_1_REQUIRED: Self = Self(0xd);

    /// Whether, in an `RST_STREAM` that we send, it says that the peer did wrong. What our own
    /// side wants, such as CANCEL, says nothing about it.
    pub(crate) const fn blames_the_peer(self) -> bool {
        matches!(
            self,
            Self::PROTOCOL_ERROR
                | Self::FLOW_CONTROL_ERROR
                | Self::STREAM_CLOSED
                | Self::FRAME_SIZE_ERROR
                | Self::REFUSED_STREAM
                | Self::COMPRESSION_ERROR
                | Self::ENHANCE_YOUR_CALM
        )
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// The successor of PRIORITY (RFC 9218 section 7.1).
    PriorityUpdate,
    /// Any other type; receivers ignore it (RFC 9113 section 4.1).
    Unknown,
}

impl Kind {
    /// Those that have a number of their own, which is their index.
    pub(crate) const ALL: [Self; 10] = [
        Self::Data,
        Self::Headers,
        Self::Priority,
        Self::Reset,
        Self::Settings,
        Self::PushPromise,
        Self::Ping,
        Self::GoAway,
        Self::WindowUpdate,
        Self::Continuation,
    ];

    /// By the type's number on the wire.
    fn of(number: u8) -> Self {
        match number {
            0x10 => Self::PriorityUpdate,
            number => match Self::ALL.get(usize::from(number)) {
                Some(kind) => *kind,
                None => Self::Unknown,
            },
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Of the payload.
    pub(crate) length: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    /// The head at the front of `bytes`, if it is all there.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes.first_chunk()?;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::of(kind),
            flags,
            // The first bit is reserved, and ignored.
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & MAX_31,
        })
    }

    /// Appends it.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    /// Writes it over one that began at `start`.
    pub(crate) fn write_at(self, out: &mut [u8], start: usize) {
        if let Some(place) = out.get_mut(start..start + HEAD) {
            place.copy_from_slice(&self.bytes());
        }
    }

    const fn bytes(self) -> [u8; HEAD] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind as u8, self.flags, s0, s1, s2, s3]
    }

    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) const fn ends_stream(&self) -> bool {
        self.has(flag::END_STREAM)
    }

    pub(crate) const fn ends_headers(&self) -> bool {
        self.has(flag::END_HEADERS)
    }

    /// DATA that carries nothing and ends nothing.
    pub(crate) const fn is_empty_data(&self) -> bool {
        matches!(self.kind, Kind::Data) && self.length == 0 && !self.ends_stream()
    }
}

fn whole(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let head = Head {
        length: payload.len() as u32,
        kind,
        flags,
        stream,
    };
    head.write(out);
    out.extend_from_slice(payload);
}

/// Appends SETTINGS.
pub(crate) fn settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let head = Head {
        length: settings.len() as u32 * 6,
        kind: Kind::Settings,
        flags: 0,
        stream: 0,
    };
    head.write(out);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of SETTINGS.
pub(crate) fn settings_ack(out: &mut Vec<u8>) {
    whole(out, Kind::Settings, flag::ACK, 0, b"");
}

/// Appends PING, or the answer to one.
pub(crate) fn ping(out: &mut Vec<u8>, ack: bool, opaque: [u8; 8]) {
    let flags = if ack { flag::ACK } else { 0 };
    whole(out, Kind::Ping, flags, 0, &opaque);
}

/// Appends GOAWAY, with `detail` for people.
pub(crate) fn go_away(out: &mut Vec<u8>, last: u32, code: Code, detail: &str) {
    let mut payload = [last.to_be_bytes(), code.0.to_be_bytes()].concat();
    payload.extend_from_slice(detail.as_bytes());
    whole(out, Kind::GoAway, 0, 0, &payload);
}

/// Appends `WINDOW_UPDATE`.
pub(crate) fn window_update(out: &mut Vec<u8>, stream: u32, by: u32) {
    whole(out, Kind::WindowUpdate, 0, stream, &by.to_be_bytes());
}

/// Appends `RST_STREAM`.
pub(crate) fn reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    whole(out, Kind::Reset, 0, stream, &code.0.to_be_bytes());
}

/// The number in a payload that is one.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

/// A payload without its padding, and for HEADERS without the priority that nobody heeds.
///
/// # Errors
/// There is more padding than payload, or less than a priority.
pub(crate) fn content<'a>(head: &Head, payload: &'a [u8]) -> Result<&'a [u8], Code> {
    let mut rest = payload;
    let mut padding = 0;
    if head.has(flag::PADDED) {
        let (length, behind) = rest.split_first().ok_or(Code::FRAME_SIZE_ERROR)?;
        (padding, rest) = (usize::from(*length), behind);
    }
    if head.kind == Kind::Headers && head.has(flag::PRIORITY) {
        let priority = rest.split_first_chunk::<5>();
        (_, rest) = priority.ok_or(Code::FRAME_SIZE_ERROR)?;
    }
    let end = rest
        .len()
        .checked_sub(padding)
        .ok_or(Code::PROTOCOL_ERROR)?;
    Ok(rest.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_were_written() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            let head = Head {
                length: 0x01_02_03,
                kind,
                flags: 0x25,
                stream: MAX_31 - 1,
            };
            let mut bytes = Vec::new();
            head.write(&mut bytes);
            assert_eq!((bytes.len(), usize::from(bytes[3])), (HEAD, number));
            assert_eq!(Head::read(&bytes), Some(head));
            assert_eq!(Head::read(&bytes[..8]), None);
            bytes[5] |= 0x80;
            assert_eq!(Head::read(&bytes), Some(head), "the reserved bit");
        }
        let kind = |number| Head::read(&[0, 0, 0, number, 0, 0, 0, 0, 0]).map(|head| head.kind);
        assert_eq!(kind(0x10), Some(Kind::PriorityUpdate));
        assert_eq!(kind(0x0a), Some(Kind::Unknown));
    }

    #[test]
    fn content_is_what_padding_and_priority_leave() {
        let head = |kind, flags| Head {
            length: 0,
            kind,
            flags,
            stream: 3,
        };
        let both = flag::PADDED | flag::PRIORITY;
        let headers = [2, 0, 0, 0, 1, 9, b'h', b'i', 0, 0];
        assert_eq!(
            content(&head(Kind::Headers, both), &headers),
            Ok(&b"hi"[..])
        );
        // The flag of priority means nothing on DATA.
        assert_eq!(content(&head(Kind::Data, 0x20), b"data"), Ok(&b"data"[..]));
        assert_eq!(
            content(&head(Kind::Data, flag::PADDED), &[1, 0]),
            Ok(&b""[..])
        );
        let wrong = |kind, flags, payload: &[u8]| content(&head(kind, flags), payload).err();
        assert_eq!(
            wrong(Kind::Data, flag::PADDED, &[]),
            Some(Code::FRAME_SIZE_ERROR)
        );
        assert_eq!(
            wrong(Kind::Data, flag::PADDED, &[2, 0]),
            Some(Code::PROTOCOL_ERROR)
        );
        assert_eq!(
            wrong(Kind::Headers, flag::PRIORITY, &[0; 4]),
            Some(Code::FRAME_SIZE_ERROR)
        );
    }
}
