//! Header blocks (RFC 7541), written as a test wants them: nothing is compressed unless it says so.

/// A header block under construction.
#[derive(Clone, Debug, Default)]
pub struct Block(Vec<u8>);

impl Block {
    /// A block of these fields, each a literal that is not indexed.
    pub fn of(fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(Self::default(), |block, (name, value)| {
            block.literal(name, value)
        })
    }

    /// A field as it is, not indexed (section 6.2.2).
    #[must_use]
    pub fn literal(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.push(0);
        self.string(name.as_ref());
        self.string(value.as_ref());
        self
    }

    /// A field as it is, which also enters the dynamic table (section 6.2.1) as entry 62.
    #[must_use]
    pub fn insert(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.push(0x40);
        self.string(name.as_ref());
        self.string(value.as_ref());
        self
    }

    /// An entry of the static table (1 to 61) or the dynamic one (62 and on).
    #[must_use]
    pub fn indexed(mut self, index: usize) -> Self {
        self.integer(0x80, 7, index);
        self
    }

    /// The same entry so many times: a byte each.
    #[must_use]
    pub fn repeated(self, index: usize, times: usize) -> Self {
        (0..times).fold(self, |block, _| block.indexed(index))
    }

    /// A new size of the dynamic table (section 6.3).
    #[must_use]
    pub fn table_size(mut self, size: usize) -> Self {
        self.integer(0x20, 5, size);
        self
    }

    /// Bytes that are no field at all.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A string that is not Huffman coded (section 5.2).
    fn string(&mut self, bytes: &[u8]) {
        self.integer(0, 7, bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// A number behind a prefix (section 5.1).
    fn integer(&mut self, pattern: u8, bits: u32, value: usize) {
        let most = (1 << bits) - 1;
        if value < most {
            self.0.push(pattern | u8::try_from(value).unwrap());
            return;
        }
        self.0.push(pattern | u8::try_from(most).unwrap());
        let mut rest = value - most;
        while rest >= 0x80 {
            self.0.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        self.0.push(u8::try_from(rest).unwrap());
    }
}

impl From<Block> for Vec<u8> {
    fn from(block: Block) -> Self {
        block.0
    }
}

/// The block of a request to `http://a.example`, with more fields behind.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Block {
    let head = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", path),
    ];
    Block::of(&[&head, fields].concat())
}

/// The block of a CONNECT (RFC 9113 section 8.5), with more fields behind.
pub fn connect(authority: &str, fields: &[(&str, &str)]) -> Block {
    let head = [(":method", "CONNECT"), (":authority", authority)];
    Block::of(&[&head, fields].concat())
}

/// The block of an extended CONNECT to `http://a.example` (RFC 8441 section 4).
pub fn extended_connect(protocol: &str, path: &str, fields: &[(&str, &str)]) -> Block {
    let protocol = [(":protocol", protocol)];
    request("CONNECT", path, &[&protocol, fields].concat())
}

/// The block of a response.
pub fn response(status: u16, fields: &[(&str, &str)]) -> Block {
    Block::of(&[&[(":status", &*status.to_string())], fields].concat())
}
