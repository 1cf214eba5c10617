//! Where two readings of one head must agree, and the few places where they need not.

use std::fmt::Debug;

use outrigger_proxy::fuzzing::{Framing, Head, Reading};
use outrigger_tests::http::latin1;

use crate::{
    PROBE,
    oracle::{self, Message, Opinion},
};

/// What may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// llhttp refuses what we accept.
    Refused,
    RequestLine,
    Status,
    Version,
    EndOfHead,
    Fields,
    Framing,
    KeepAlive,
    Upgrade,
}

/// A difference that we know and want.
pub(crate) struct Explained {
    what: &'static [What],
    pub(crate) why: &'static str,
    /// Whether it is this one, by our reading and the head's bytes.
    is: fn(&Head, &[u8]) -> bool,
}

/// Every difference that is allowed. Each must be seen in the run, so that none outlives its reason.
pub(crate) const EXPLAINED: &[Explained] = &[
    Explained {
        what: &[What::Refused],
        why: "llhttp has a list of methods; to us any token is one (RFC 9110 section 9.1)",
        is: |head, _| {
            let (method, _) = head.asked.clone().unwrap_or_default();
            !METHODS.split(' ').any(|m| m.as_bytes() == method)
        },
    },
    Explained {
        // It refuses such a request, and reads such a response to the end of its connection.
        what: &[What::Refused, What::Framing, What::KeepAlive],
        why: "llhttp takes no tab after a coding; we do (RFC 9110 section 5.6.3), and write our own line",
        is: |_, raw| {
            raw.windows(9)
                .any(|w| w.eq_ignore_ascii_case(b"chunked\t\r"))
        },
    },
    Explained {
        what: &[What::KeepAlive],
        why: "to llhttp `keep-alive` beats `close` on HTTP/1.0; to us `close` does (RFC 9112 section 9.3)",
        is: |head, _| {
            head.minor == 0 && has_token(head, b"close") && has_token(head, b"keep-alive")
        },
    },
    Explained {
        what: &[What::KeepAlive],
        why: "to llhttp `Proxy-Connection` is `Connection`; to us it is nothing (RFC 9112 appendix C.2.2)",
        is: |head, _| values(head, b"proxy-connection").next().is_some(),
    },
    Explained {
        what: &[What::Upgrade],
        why: "CONNECT is an upgrade to llhttp and a tunnel to us",
        is: |head, _| head.asked.as_ref().is_some_and(|(m, _)| m == b"CONNECT"),
    },
    Explained {
        what: &[What::Upgrade],
        why: "llhttp upgrades from HTTP/1.0; we do not (RFC 9110 section 7.8)",
        is: |head, _| head.minor == 0 && values(head, b"upgrade").next().is_some(),
    },
    Explained {
        what: &[What::Upgrade],
        why: "we follow no upgrade that is named on two lines",
        is: |head, _| values(head, b"upgrade").count() > 1,
    },
];

/// What llhttp takes for a method of HTTP.
const METHODS: &str = "DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH \
     UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH \
     PURGE MKCALENDAR LINK UNLINK SOURCE QUERY";

fn values<'a>(head: &'a Head, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let of_name = move |(n, _): &&(Vec<u8>, Vec<u8>)| n.eq_ignore_ascii_case(name);
    head.fields
        .iter()
        .filter(of_name)
        .map(|(_, v)| v.as_slice())
}

fn has_token(head: &Head, token: &[u8]) -> bool {
    values(head, b"connection")
        .flat_map(|value| value.split(|b| *b == b','))
        .any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}

/// Compares, and returns the indices of [`EXPLAINED`] that it took.
///
/// # Errors
/// What differs and must not.
pub(crate) fn judge(ours: &Reading, raw: &[u8], theirs: &Opinion) -> Result<Vec<usize>, String> {
    let message = theirs.messages.first();
    let found = message.and_then(|m| Some((m, m.head.as_ref()?)));
    // What ends within the message is about it; what comes later is about the probe.
    let unfinished = message.is_none_or(|m| m.whole.is_none());
    let error = theirs.error.as_deref().filter(|_| unfinished);
    let (head, differences) = match (ours, found, error) {
        (Reading::Refused, ..) | (Reading::Partial, None, _) => return Ok(Vec::new()),
        (Reading::Partial, Some(_), _) => {
            return Err("a whole head to llhttp and not to us".to_owned());
        }
        (Reading::Head(head), _, Some(error)) => (head, vec![(What::Refused, error.to_owned())]),
        (Reading::Head(_), None, None) => return Err("to llhttp the head goes on".to_owned()),
        (Reading::Head(head), Some((message, theirs)), None) => {
            (head, differences(head, message, theirs))
        }
    };
    let explain = |(what, text): &(What, String)| {
        EXPLAINED
            .iter()
            .position(|e| e.what.contains(what) && (e.is)(head, raw))
            .ok_or_else(|| format!("{what:?}: {text}"))
    };
    differences.iter().map(explain).collect()
}

fn differences(ours: &Head, message: &Message, theirs: &oracle::Head) -> Vec<(What, String)> {
    let mut found = Vec::new();
    let (method, target) = ours.asked.clone().unwrap_or_default();
    check(
        &mut found,
        What::RequestLine,
        &(latin1(&method), latin1(&target)),
        &(theirs.method.clone(), message.target.clone()),
    );
    check(
        &mut found,
        What::Status,
        &ours.status.unwrap_or_default(),
        &theirs.status,
    );
    check(
        &mut found,
        What::Version,
        &format!("1.{}", ours.minor),
        &theirs.version,
    );
    // The head came in two pieces, the second of them its last byte.
    check(&mut found, What::EndOfHead, &1, &theirs.piece);
    let of_ours = ours.fields.iter().map(|(n, v)| (latin1(n), latin1(v)));
    let of_theirs = message.fields.iter();
    let of_theirs = of_theirs.map(|(n, v)| (n.clone(), v.trim_end_matches([' ', '\t']).to_owned()));
    check(
        &mut found,
        What::Fields,
        &of_ours.collect::<Vec<_>>(),
        &of_theirs.collect::<Vec<_>>(),
    );
    check(
        &mut found,
        What::KeepAlive,
        &ours.keep_alive,
        &theirs.keep_alive,
    );
    check(&mut found, What::Upgrade, &ours.upgrade, &theirs.upgrade);
    // After a head that asks for an upgrade httptools leaves the body to its caller.
    if !theirs.upgrade {
        check(
            &mut found,
            What::Framing,
            &visible(ours.framing),
            &framing(message),
        );
    }
    found
}

fn check<A: PartialEq<B> + Debug, B: Debug>(
    found: &mut Vec<(What, String)>,
    what: What,
    ours: &A,
    theirs: &B,
) {
    if ours != theirs {
        found.push((what, format!("{ours:?}, to llhttp {theirs:?}")));
    }
}

/// A framing as far as [`PROBE`] shows it.
#[derive(Debug, PartialEq, Eq)]
enum Visible {
    None,
    Length(usize),
    Chunked,
    /// The probe did not end it.
    Open,
}

fn visible(framing: Framing) -> Visible {
    match framing {
        Framing::None | Framing::Length(0) => Visible::None,
        Framing::Length(n) => match usize::try_from(n) {
            Ok(n) if n <= PROBE.len() => Visible::Length(n),
            _ => Visible::Open,
        },
        Framing::UntilClose => Visible::Open,
        Framing::Chunked => Visible::Chunked,
    }
}

fn framing(message: &Message) -> Visible {
    match message.whole {
        Some(1) => Visible::None,
        Some(_) if message.chunked && message.body == "x" => Visible::Chunked,
        Some(_) => Visible::Length(message.body.len()),
        None => Visible::Open,
    }
}
