//! The static table (RFC 7541 appendix A), by index and by name.

/// Entries of the table.
pub(super) const COUNT: usize = 61;

/// Name and value in one piece, as the dynamic table has them.
struct Entry {
    text: &'static str,
    name: usize,
    /// The first entry with this name.
    known: u8,
}

macro_rules! entries {
    ($($known:literal $name:literal $value:literal,)*) => {
        [$(Entry { text: concat!($name, $value), name: $name.len(), known: $known }),*]
    };
}

static ENTRIES: [Entry; COUNT] = ALL;
const ALL: [Entry; COUNT] = entries![
    1 ":authority" "",
    2 ":method" "GET",
    2 ":method" "POST",
    4 ":path" "/",
    4 ":path" "/index.html",
    6 ":scheme" "http",
    6 ":scheme" "https",
    8 ":status" "200",
    8 ":status" "204",
    8 ":status" "206",
    8 ":status" "304",
    8 ":status" "400",
    8 ":status" "404",
    8 ":status" "500",
    15 "accept-charset" "",
    16 "accept-encoding" "gzip, deflate",
    17 "accept-language" "",
    18 "accept-ranges" "",
    19 "accept" "",
    20 "access-control-allow-origin" "",
    21 "age" "",
    22 "allow" "",
    23 "authorization" "",
    24 "cache-control" "",
    25 "content-disposition" "",
    26 "content-encoding" "",
    27 "content-language" "",
    28 "content-length" "",
    29 "content-location" "",
    30 "content-range" "",
    31 "content-type" "",
    32 "cookie" "",
    33 "date" "",
    34 "etag" "",
    35 "expect" "",
    36 "expires" "",
    37 "from" "",
    38 "host" "",
    39 "if-match" "",
    40 "if-modified-since" "",
    41 "if-none-match" "",
    42 "if-range" "",
    43 "if-unmodified-since" "",
    44 "last-modified" "",
    45 "link" "",
    46 "location" "",
    47 "max-forwards" "",
    48 "proxy-authenticate" "",
    49 "proxy-authorization" "",
    50 "range" "",
    51 "referer" "",
    52 "refresh" "",
    53 "retry-after" "",
    54 "server" "",
    55 "set-cookie" "",
    56 "strict-transport-security" "",
    57 "transfer-encoding" "",
    58 "user-agent" "",
    59 "vary" "",
    60 "via" "",
    61 "www-authenticate" "",
];

/// Slots of the names' table: a perfect hash, which the build checks.
const SLOTS: usize = 128;
/// The known index of the one name that a slot may hold; zero where there is none.
static BY_NAME: [u8; SLOTS] = by_name();

/// An entry, counted from one: its text, the length of its name, and the first with that name.
#[inline]
pub(super) fn get(index: usize) -> Option<(&'static [u8], usize, u8)> {
    let entry = ENTRIES.get(index.wrapping_sub(1))?;
    Some((entry.text.as_bytes(), entry.name, entry.known))
}

/// The first entry with a name, or zero. Names are in lower case, as they are on the wire.
pub(super) fn find(name: &[u8]) -> u8 {
    let (known, candidate) = candidate(name);
    if candidate == name { known } else { 0 }
}

/// The same for a name of any case.
pub(super) fn find_any_case(name: &[u8]) -> u8 {
    let (known, candidate) = candidate(name);
    if candidate == name || candidate.eq_ignore_ascii_case(name) {
        known
    } else {
        0
    }
}

/// The only name of the table that `name` can be. An empty one is zero.
#[inline]
fn candidate(name: &[u8]) -> (u8, &'static [u8]) {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return (0, b"");
    };
    let slot = slot(*first, *last, name.len());
    #[expect(clippy::indexing_slicing, reason = "a slot is below their number")]
    let known = BY_NAME[slot];
    let text = get(usize::from(known)).map_or(&b""[..], |(text, name, _)| {
        text.get(..name).unwrap_or_default()
    });
    (known, text)
}

/// Setting this bit makes letters lower case; it leaves digits and `-` and `:` as they are.
const LOWER: u8 = 0x20;

/// The factors were found by trial.
#[inline]
const fn slot(first: u8, last: u8, length: usize) -> usize {
    let first = (first | LOWER) as usize;
    let last = (last | LOWER) as usize;
    (first * 6 + last * 35 + (length & 0xff) * 43) % SLOTS
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn by_name() -> [u8; SLOTS] {
    let mut slots = [0; SLOTS];
    let mut at = 0;
    while at < COUNT {
        let entry = &ALL[at];
        let text = entry.text.as_bytes();
        let slot = slot(text[0], text[entry.name - 1], entry.name);
        assert!(
            slots[slot] == 0 || slots[slot] == entry.known,
            "two names in a slot"
        );
        slots[slot] = entry.known;
        at += 1;
    }
    slots
}
