//! The frames of an HTTP/2 connection, found in its bytes however these are split: heads are
//! read, payloads are skipped and never copied (RFC 9113 section 4.1).
//!
//! It sees what the h2 crate sees, before it does, and judges nothing: what does not parse as a
//! frame is h2's to refuse.

/// Bytes of a frame's head.
const HEAD: usize = 9;
/// A head and the first four bytes of its payload, which for `RST_STREAM` are the error code.
const HEAD_AND_CODE: usize = HEAD + 4;

/// What a client sends before its first frame (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// On DATA and HEADERS: the sender's last frame of the stream.
const END_STREAM: u8 = 0x1;
/// On SETTINGS and PING: the answer to one.
const ACK: u8 = 0x1;
/// On HEADERS, `PUSH_PROMISE` and CONTINUATION: the header block is whole.
const END_HEADERS: u8 = 0x4;
/// On DATA and HEADERS.
const PADDED: u8 = 0x8;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    /// PRIORITY, and its successor `PRIORITY_UPDATE` (RFC 9218 section 7.1).
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Any other type; receivers ignore it (RFC 9113 section 4.1).
    Unknown,
}

impl Kind {
    /// Every kind; its index is `kind as usize`.
    pub(crate) const ALL: [Self; 11] = [
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
        Self::Unknown,
    ];

    /// By the type's number on the wire.
    fn of(number: u8) -> Self {
        match number {
            0x10 => Self::Priority,
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
    /// The error code of `RST_STREAM`; 0 on anything else.
    pub(crate) code: u32,
}

impl Head {
    pub(crate) const fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    pub(crate) const fn ends_headers(&self) -> bool {
        self.flags & END_HEADERS != 0
    }

    /// SETTINGS or PING that answer those of the peer.
    pub(crate) const fn is_answer(&self) -> bool {
        matches!(self.kind, Kind::Settings | Kind::Ping) && self.flags & ACK != 0
    }

    /// DATA that carries nothing and ends nothing.
    pub(crate) const fn is_empty_data(&self) -> bool {
        matches!(self.kind, Kind::Data) && self.length == 0 && !self.ends_stream()
    }

    /// Whether it has the flag for padding.
    pub(crate) const fn is_padded(&self) -> bool {
        self.flags & PADDED != 0
    }
}

/// What becomes of a frame that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Pass,
    /// It is taken out, if its payload is empty and its head lies whole in the bytes at hand.
    Drop,
    /// Neither it nor anything behind it goes on.
    Stop,
}

/// Finds frames in one direction of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    /// Bytes to pass over before the next head.
    skip: usize,
    /// A head that has begun: its first `begun` bytes.
    head: [u8; HEAD_AND_CODE],
    begun: usize,
}

impl Meter {
    /// A direction that begins with a client's preface, or else with a frame.
    pub(crate) const fn new(preface: bool) -> Self {
        Self {
            skip: if preface { PREFACE.len() } else { 0 },
            head: [0; HEAD_AND_CODE],
            begun: 0,
        }
    }

    /// Looks at the next bytes, shows each frame whose head is complete to `see`, and returns how
    /// many bytes at the front of `bytes` go on. After a stop nothing more may be fed.
    pub(crate) fn feed(&mut self, bytes: &mut [u8], mut see: impl FnMut(&Head) -> Fate) -> usize {
        // What goes on are `bytes[..kept]` and, behind what was taken out, `bytes[from..at]`.
        let (mut kept, mut from, mut at) = (0, 0, 0);
        while at < bytes.len() {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            let start = at;
            let whole = self.begun == 0;
            let Some(head) = self.head(bytes, &mut at) else {
                break;
            };
            match see(&head) {
                Fate::Drop if whole && head.length == 0 => {
                    bytes.copy_within(from..start, kept);
                    kept += start - from;
                    from = at;
                }
                Fate::Pass | Fate::Drop => {}
                // Of a head that began earlier, the front has gone on already.
                Fate::Stop => {
                    at = if whole { start } else { 0 };
                    break;
                }
            }
        }
        if from == 0 {
            return at;
        }
        bytes.copy_within(from..at, kept);
        kept + at - from
    }

    /// Looks at bytes that go on whatever they are.
    pub(crate) fn watch(&mut self, bytes: &[u8], mut see: impl FnMut(&Head)) {
        let mut at = 0;
        while at < bytes.len() {
            let skipped = self.skip.min(bytes.len() - at);
            self.skip -= skipped;
            at += skipped;
            let Some(head) = self.head(bytes, &mut at) else {
                break;
            };
            see(&head);
        }
    }

    /// Reads a head, or what is there of it, and moves `at` behind it. The payload is what is to
    /// be skipped next, less the code where that was read with the head.
    fn head(&mut self, bytes: &[u8], at: &mut usize) -> Option<Head> {
        let rest = bytes.get(*at..).unwrap_or_default();
        if self.begun == 0
            && let Some((head, read)) = parse(rest)
        {
            *at += read;
            self.skip = HEAD + head.length as usize - read;
            return Some(head);
        }
        for byte in rest {
            if let Some(place) = self.head.get_mut(self.begun) {
                *place = *byte;
            }
            self.begun += 1;
            *at += 1;
            let begun = self.head.get(..self.begun).unwrap_or_default();
            if let Some((head, read)) = parse(begun) {
                self.begun = 0;
                self.skip = HEAD + head.length as usize - read;
                return Some(head);
            }
        }
        None
    }
}

/// A head and how many bytes it was read from, if they are all there.
fn parse(bytes: &[u8]) -> Option<(Head, usize)> {
    let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes.first_chunk()?;
    let mut head = Head {
        length: u32::from_be_bytes([0, l0, l1, l2]),
        kind: Kind::of(kind),
        flags,
        // The first bit is reserved, and ignored.
        stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        code: 0,
    };
    if head.kind != Kind::Reset || head.length < 4 {
        return Some((head, HEAD));
    }
    let [.., a, b, c, d] = bytes.first_chunk::<HEAD_AND_CODE>()?;
    head.code = u32::from_be_bytes([*a, *b, *c, *d]);
    Some((head, HEAD_AND_CODE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// Feeds `bytes` in pieces that end at `cuts`; what was seen, and what went on.
    fn feed(
        meter: &mut Meter,
        bytes: &[u8],
        cuts: &[usize],
        mut fate: impl FnMut(&Head) -> Fate,
    ) -> (Vec<Head>, Vec<u8>) {
        let (mut seen, mut on, mut stopped) = (Vec::new(), Vec::new(), false);
        let mut start = 0;
        for end in cuts.iter().copied().chain([bytes.len()]) {
            let mut piece = bytes[start..end].to_vec();
            start = end;
            let n = meter.feed(&mut piece, |head| {
                seen.push(*head);
                let fate = fate(head);
                stopped |= fate == Fate::Stop;
                fate
            });
            on.extend_from_slice(&piece[..n]);
            if stopped {
                break;
            }
        }
        (seen, on)
    }

    #[test]
    fn heads_are_read_as_they_were_written() {
        let bytes = [
            PREFACE.to_vec(),
            frame(4, 0, 0, &[0; 12]),
            frame(1, 0x25, 0x8000_0003, &[7; 300]),
            frame(3, 0, 3, &[0, 0, 0, 8]),
            frame(3, 0, 5, &[1, 2]),
            frame(0x10, 0, 0, &[0; 5]),
            frame(0x77, 0xff, 1, b""),
            frame(0, 1, 3, b""),
        ]
        .concat();
        let (seen, on) = feed(&mut Meter::new(true), &bytes, &[], |_| Fate::Pass);
        let short: Vec<_> = seen
            .iter()
            .map(|h| (h.kind, h.length, h.flags, h.stream, h.code))
            .collect();
        assert_eq!(
            short,
            [
                (Kind::Settings, 12, 0, 0, 0),
                (Kind::Headers, 300, 0x25, 3, 0),
                (Kind::Reset, 4, 0, 3, 8),
                (Kind::Reset, 2, 0, 5, 0),
                (Kind::Priority, 5, 0, 0, 0),
                (Kind::Unknown, 0, 0xff, 1, 0),
                (Kind::Data, 0, 1, 3, 0),
            ]
        );
        assert_eq!(on, bytes);
    }

    #[test]
    fn what_is_dropped_is_missing_and_nothing_else() {
        let empty = frame(0, 0, 1, b"");
        let parts = [
            frame(1, 4, 1, b"head"),
            empty.clone(),
            empty.clone(),
            frame(0, 0, 1, b"body"),
            empty.clone(),
            frame(0, 1, 1, b""),
        ];
        let fate = |head: &Head| {
            if head.is_empty_data() {
                Fate::Drop
            } else {
                Fate::Pass
            }
        };
        let without: Vec<_> = parts
            .iter()
            .filter(|part| **part != empty)
            .cloned()
            .collect();
        let (_, on) = feed(&mut Meter::new(false), &parts.concat(), &[], fate);
        assert_eq!(on, without.concat());
        // One that was handed on in part has to go on whole.
        let at = parts[0].len() + 4;
        let (seen, on) = feed(&mut Meter::new(false), &parts.concat(), &[at], fate);
        assert_eq!(seen.len(), parts.len());
        assert_eq!(
            on,
            [&parts[0], &empty, &parts[3], &parts[5]]
                .map(Vec::as_slice)
                .concat()
        );
    }

    #[test]
    fn nothing_goes_on_from_a_stop() {
        let bytes = [
            frame(6, 0, 0, &[0; 8]),
            frame(0, 0, 1, b""),
            frame(9, 0, 1, b"x"),
        ]
        .concat();
        let fate = |head: &Head| match head.kind {
            Kind::Continuation => Fate::Stop,
            Kind::Data => Fate::Drop,
            _ => Fate::Pass,
        };
        for cut in 0..bytes.len() {
            let (seen, on) = feed(&mut Meter::new(false), &bytes, &[cut], fate);
            assert_eq!(seen.len(), 3);
            // Of the frame that stops all, less than its head went on.
            assert!(on.len() < 17 + 9 + 9, "{cut}: {on:?}");
            assert!(on.starts_with(&bytes[..17]), "{cut}: {on:?}");
        }
    }

    proptest! {
        #[test]
        fn splits_change_nothing(
            frames in prop::collection::vec((0_u8..12, any::<u8>(), any::<u32>(), 0_usize..40), 0..12),
            preface in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut bytes = if preface { PREFACE.to_vec() } else { Vec::new() };
            for (kind, flags, stream, length) in &frames {
                bytes.extend(frame(*kind, *flags, *stream, &vec![*kind; *length]));
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let whole = feed(&mut Meter::new(preface), &bytes, &[], |_| Fate::Pass);
            prop_assert_eq!(whole.0.len(), frames.len());
            prop_assert_eq!(&whole.1, &bytes);
            let mut watched = Vec::new();
            let mut meter = Meter::new(preface);
            let single: Vec<_> = (1..bytes.len()).collect();
            for cuts in [&cuts, &single] {
                prop_assert_eq!(&feed(&mut Meter::new(preface), &bytes, cuts, |_| Fate::Pass), &whole);
            }
            for byte in bytes.chunks(1 + cuts.len()) {
                meter.watch(byte, |head| watched.push(*head));
            }
            prop_assert_eq!(watched, whole.0);
        }
    }
}
