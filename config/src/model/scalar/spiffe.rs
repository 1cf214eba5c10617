//! SPIFFE IDs: `spiffe://` trust domain, path. Text in, verdict out; no certificate is known here.
//!
//! What the specification leaves no room for is refused rather than repaired: a name that two
//! readers could take for different ones is no identity. So there is nothing to normalise, and two
//! IDs are the same if and only if their bytes are.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::json;

use crate::engine::{Grammar, Refused, Scalar};

const SCHEME: &str = "spiffe://";
/// Longest ID in bytes, scheme included (SPIFFE-ID section 2.3).
const LONGEST: usize = 2_048;
/// Longest trust domain in bytes: that of a host in a URI.
const LONGEST_DOMAIN: usize = 255;

/// A namespace of identities with roots of its own: `example.org`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// The identity of a workload, or, without a path, of a trust domain itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    domain: TrustDomain,
}

/// One identity, or with `/*` at its end all of a namespace or of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPattern {
    text: Arc<str>,
    domain: TrustDomain,
}

/// Why a text is no SPIFFE ID, or no trust domain.
#[allow(missing_docs, reason = "`text` says what each means")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    TooLong,
    Scheme,
    NoDomain,
    DomainCharacter,
    EmptySegment,
    DotSegment,
    PathCharacter,
}

impl Invalid {
    const fn text(self) -> &'static str {
        match self {
            Self::TooLong => "it is longer than 2048 bytes, or its trust domain than 255",
            Self::Scheme => "it does not begin with spiffe://",
            Self::NoDomain => "it names no trust domain",
            Self::DomainCharacter => "a trust domain is made of a-z 0-9 . - _",
            Self::EmptySegment => "its path has an empty segment, or ends with /",
            Self::DotSegment => "its path has a segment . or ..",
            Self::PathCharacter => "a path is made of a-z A-Z 0-9 . - _ between /",
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Invalid {}

impl TrustDomain {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
        if text.is_empty() {
            return Err(Invalid::NoDomain);
        }
        if text.len() > LONGEST_DOMAIN {
            return Err(Invalid::TooLong);
        }
        // A port, user information and an escape fall here, too.
        if !text.bytes().all(known) {
            return Err(Invalid::DomainCharacter);
        }
        Ok(Self(text.into()))
    }
}

impl SpiffeId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whose roots vouch for it.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Empty for the ID of a trust domain, else it begins with `/`.
    pub fn path(&self) -> &str {
        &self.text[SCHEME.len() + self.domain.0.len()..]
    }
}

impl FromStr for SpiffeId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > LONGEST {
            return Err(Invalid::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(Invalid::Scheme)?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let domain = domain.parse()?;
        if let Some(path) = path.strip_prefix('/') {
            path.split('/').try_for_each(segment)?;
        }
        Ok(Self {
            text: text.into(),
            domain,
        })
    }
}

impl Grammar for TrustDomain {
    const SCALAR: Scalar = Scalar {
        name: "trust domain",
        expected: "a trust domain: 1 to 255 of a-z 0-9 . - _",
        schema: || json!({ "type": "string", "pattern": "^[a-z0-9._-]{1,255}$" }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        text.parse().map_err(|_| None)
    }

    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    fn stand_in() -> Self {
        Self("".into())
    }
}

impl Grammar for SpiffeId {
    const SCALAR: Scalar = Scalar {
        name: "SPIFFE ID",
        expected: "a SPIFFE ID: spiffe://, a trust domain, a path",
        schema: || json!({ "type": "string", "pattern": "^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+$" }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        match text.parse::<Self>() {
            Ok(id) if id.path().is_empty() => Err(None),
            Ok(id) => Ok(id),
            Err(why) => Err(Some(format!("{}; {why}", Self::SCALAR.expected).into())),
        }
    }

    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }

    fn stand_in() -> Self {
        Self {
            text: SCHEME.into(),
            domain: TrustDomain::stand_in(),
        }
    }
}

impl IdentityPattern {
    /// The trust domain of those it stands for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Whether it stands for this one.
    pub fn matches(&self, id: &SpiffeId) -> bool {
        match self.text.strip_suffix('*') {
            // With the slash at its end, so that whole segments count.
            Some(beginning) => id.as_str().starts_with(beginning),
            None => *self.text == *id.text,
        }
    }
}

impl Grammar for IdentityPattern {
    const SCALAR: Scalar = Scalar {
        name: "identities",
        expected: "a SPIFFE ID, or the beginning of some with /* behind it",
        schema: || json!({ "type": "string", "pattern": "^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*(/\\*|/[A-Za-z0-9._-]+)$" }),
    };

    fn parse(text: &str) -> Result<Self, Refused> {
        let beginning = text.strip_suffix("/*");
        let id: SpiffeId = beginning.unwrap_or(text).parse().map_err(|_| None)?;
        if beginning.is_none() && id.path().is_empty() {
            return Err(None);
        }
        Ok(Self {
            text: text.into(),
            domain: id.domain,
        })
    }

    fn text(&self) -> Cow<'_, str> {
        (&*self.text).into()
    }

    /// It stands for nobody.
    fn stand_in() -> Self {
        Self {
            text: "".into(),
            domain: TrustDomain::stand_in(),
        }
    }
}

fn segment(segment: &str) -> Result<(), Invalid> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    match segment {
        "" => Err(Invalid::EmptySegment),
        "." | ".." => Err(Invalid::DotSegment),
        // A query, a fragment and an escape fall here.
        other if !other.bytes().all(known) => Err(Invalid::PathCharacter),
        _ => Ok(()),
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids() {
        let long_domain = "d".repeat(255);
        let longest = format!("spiffe://d/{}", "p".repeat(LONGEST - 11));
        for (text, domain, path) in [
            ("spiffe://example.org", "example.org", ""),
            (
                "spiffe://example.org/ns/shop/sa/web",
                "example.org",
                "/ns/shop/sa/web",
            ),
            ("spiffe://a_b-c.1/X.Y_z-0", "a_b-c.1", "/X.Y_z-0"),
            ("spiffe://d/...", "d", "/..."),
            (&format!("spiffe://{long_domain}"), &long_domain, ""),
            (&longest, "d", &longest[10..]),
        ] {
            let id: SpiffeId = text.parse().unwrap();
            assert_eq!(id.as_str(), text);
            assert_eq!((id.trust_domain().as_str(), id.path()), (domain, path));
        }
    }

    #[test]
    fn patterns() {
        let ids = [
            "spiffe://d/ns/a/web",
            "spiffe://d/ns/ab/web",
            "spiffe://d/ns/a",
            "spiffe://dd/ns/a/web",
        ];
        for (pattern, expected) in [
            ("spiffe://d/ns/a/web", [true, false, false, false]),
            ("spiffe://d/ns/a/*", [true, false, false, false]),
            ("spiffe://d/*", [true, true, true, false]),
        ] {
            let pattern = IdentityPattern::parse(pattern).unwrap();
            assert_eq!(
                ids.map(|id| pattern.matches(&id.parse().unwrap())),
                expected,
                "{pattern:?}"
            );
        }
        for text in [
            "*",
            "spiffe://*",
            "spiffe://d",
            "spiffe://d/a*",
            "spiffe://d/*/a",
            "spiffe://d/a/**",
            "spiffe://d//*",
        ] {
            assert!(IdentityPattern::parse(text).is_err(), "{text}");
        }
        let nobody = IdentityPattern::stand_in();
        assert!(!nobody.matches(&ids[0].parse().unwrap()));
    }

    #[test]
    fn what_is_no_id() {
        for (text, why) in [
            ("", Invalid::Scheme),
            ("spiffe:/d", Invalid::Scheme),
            ("SPIFFE://d", Invalid::Scheme),
            ("https://d/p", Invalid::Scheme),
            (" spiffe://d", Invalid::Scheme),
            ("spiffe://", Invalid::NoDomain),
            ("spiffe:///p", Invalid::NoDomain),
            ("spiffe://D", Invalid::DomainCharacter),
            ("spiffe://d:80/p", Invalid::DomainCharacter),
            ("spiffe://u@d/p", Invalid::DomainCharacter),
            ("spiffe://[::1]/p", Invalid::DomainCharacter),
            ("spiffe://d%2e/p", Invalid::DomainCharacter),
            ("spiffe://d?q", Invalid::DomainCharacter),
            ("spiffe://ä/p", Invalid::DomainCharacter),
            ("spiffe://d ", Invalid::DomainCharacter),
            ("spiffe://d\0", Invalid::DomainCharacter),
            ("spiffe://d/", Invalid::EmptySegment),
            ("spiffe://d/p/", Invalid::EmptySegment),
            ("spiffe://d//p", Invalid::EmptySegment),
            ("spiffe://d/./p", Invalid::DotSegment),
            ("spiffe://d/p/..", Invalid::DotSegment),
            ("spiffe://d/p?q", Invalid::PathCharacter),
            ("spiffe://d/p#f", Invalid::PathCharacter),
            ("spiffe://d/%70", Invalid::PathCharacter),
            ("spiffe://d/p\n", Invalid::PathCharacter),
            ("spiffe://d/a:b", Invalid::PathCharacter),
            ("spiffe://d/ü", Invalid::PathCharacter),
            (&format!("spiffe://{}", "d".repeat(256)), Invalid::TooLong),
            (
                &format!("spiffe://d/{}", "p".repeat(LONGEST - 10)),
                Invalid::TooLong,
            ),
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(why), "{text}");
        }
    }

    proptest! {
        /// Against a second statement of the same rules.
        #[test]
        fn any_text_is_judged_as_the_pattern_does(text in "(spiffe://)?[a-z_.-]{0,4}[A-Z:@%]?(/[a-zA-Z0-9._-]{0,3}[?#%]?){0,3}/?") {
            let pattern = regex::Regex::new(r"\Aspiffe://[a-z0-9._-]{1,255}(/[a-zA-Z0-9._-]+)*\z").unwrap();
            let dots = text.split('/').skip(3).any(|s| s == "." || s == "..");
            let expected = pattern.is_match(&text) && !dots;
            prop_assert_eq!(text.parse::<SpiffeId>().is_ok(), expected);
        }
    }
}
