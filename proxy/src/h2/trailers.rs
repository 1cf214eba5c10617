//! Trailers between HTTP/2 and text. The same ones pass as on HTTP/1, with the same causes.

use http::HeaderMap;

use super::{
    lines,
    map::{self, Text},
};
use crate::{
    error::{Cause, Failure},
    message::{Fields, Limits, as_response, grpc, may_trail, parse_section},
};

const fn bad(detail: &'static str) -> Failure {
    Failure::new(Cause::BadRequest, detail)
}

/// Appends the section that received trailers are: the lines that may be passed on, and its last
/// empty line.
///
/// # Errors
/// They are malformed, or too large.
pub(crate) fn read_trailers(
    trailers: &HeaderMap,
    limits: &Limits,
    from_upstream: bool,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let whose = |failure| {
        if from_upstream {
            as_response(failure)
        } else {
            failure
        }
    };
    lines::check_size(trailers, 0, limits).map_err(whose)?;
    for (name, value) in trailers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        let known = lines::check(name, value).map_err(|detail| whose(bad(detail)))?;
        if may_trail(known, name) {
            lines::write(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The trailers that a section is, those that may be passed on. `section` is empty, or ends with
/// its empty line.
///
/// # Errors
/// It is not valid field syntax, or too large.
pub(crate) fn write_trailers(
    section: &[u8],
    limits: &Limits,
    from_upstream: bool,
) -> Result<HeaderMap, Failure> {
    let whose = |failure| {
        if from_upstream {
            as_response(failure)
        } else {
            failure
        }
    };
    let mut map = HeaderMap::new();
    if section.is_empty() {
        return Ok(map);
    }
    let mut fields = Fields::default();
    parse_section(section, 0, limits.fields, &mut fields, bad).map_err(whose)?;
    let text = Text::begin(section, 0).end();
    for field in fields.iter() {
        let name = field.name.of(section);
        if may_trail(field.known, name) {
            map::append(&mut map, &text, field.known, name, field.value)
                .map_err(|detail| whose(bad(detail)))?;
        }
    }
    Ok(map)
}

/// Leaves in received trailers what may be passed on.
///
/// # Errors
/// They are malformed, or too large.
pub(crate) fn keep_allowed(
    trailers: &mut HeaderMap,
    limits: &Limits,
    from_upstream: bool,
) -> Result<(), Failure> {
    let whose = |failure| {
        if from_upstream {
            as_response(failure)
        } else {
            failure
        }
    };
    lines::check_size(trailers, 0, limits).map_err(whose)?;
    let mut left_out = Vec::new();
    for (name, value) in &*trailers {
        let bytes = name.as_str().as_bytes();
        let known = lines::check(bytes, value.as_bytes()).map_err(|d| whose(bad(d)))?;
        if !may_trail(known, bytes) {
            left_out.push(name.clone());
        }
    }
    for name in left_out {
        trailers.remove(name);
    }
    Ok(())
}

/// The status of a gRPC call, which its trailers tell.
pub(crate) fn grpc_status(trailers: &HeaderMap) -> Option<u32> {
    grpc::status(trailers.get("grpc-status")?.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const LIMITS: Limits = Limits {
        head: 1_024,
        line: 1_024,
        fields: 4,
    };

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        fields.iter().map(pair).collect()
    }

    fn read(fields: &[(&'static str, &'static str)], from_upstream: bool) -> Result<String, Cause> {
        let mut out = Vec::new();
        read_trailers(&map(fields), &LIMITS, from_upstream, &mut out).map_err(|f| f.cause)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn what_passes() {
        let grpc = [
            ("grpc-status", "5"),
            ("grpc-message", ""),
            ("grpc-status-details-bin", "AAE="),
            ("content-length", "5"),
        ];
        let lines = "grpc-status: 5\r\ngrpc-message: \r\ngrpc-status-details-bin: AAE=\r\n\r\n";
        assert_eq!(read(&grpc, true).as_deref(), Ok(lines));
        let back = write_trailers(lines.as_bytes(), &LIMITS, true).expect("valid");
        assert_eq!(back, map(&grpc[..3]));
        assert_eq!(read(&[], true).as_deref(), Ok("\r\n"));
        for nothing in ["", "\r\n"] {
            let back = write_trailers(nothing.as_bytes(), &LIMITS, true).expect("valid");
            assert!(back.is_empty());
        }
    }

    #[test]
    fn whose_fault_it_is() {
        for fields in [
            [("connection", "x")].as_slice(),
            &[("x", " y")],
            &[("x_forwarded_for", "y")],
        ] {
            assert_eq!(read(fields, false), Err(Cause::BadRequest));
            assert_eq!(read(fields, true), Err(Cause::BadResponse));
        }
        let many = [("x", "1"); 5];
        assert_eq!(read(&many, false), Err(Cause::RequestHeadTooLarge));
        assert_eq!(read(&many, true), Err(Cause::ResponseHeadTooLarge));
        for section in [
            &b"x y: 1\r\n\r\n"[..],
            b"x: 1\r\n",
            b"x: 1\n\r\n",
            b"x: \0\r\n\r\n",
        ] {
            let cause = |from| write_trailers(section, &LIMITS, from).map_err(|f| f.cause);
            assert_eq!(cause(false), Err(Cause::BadRequest));
            assert_eq!(cause(true), Err(Cause::BadResponse));
        }
    }
}
