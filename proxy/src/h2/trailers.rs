//! Trailers between HTTP/2 and text. The same ones pass as on HTTP/1, with the same causes.

use super::{
    fields,
    hpack::{Block, Field},
    lines,
};
use crate::{
    error::{Cause, Failure},
    message::{Fields, Known, Limits, as_response, grpc, may_trail, parse_section},
};

const fn bad(detail: &'static str) -> Failure {
    Failure::new(Cause::BadRequest, detail)
}

/// Whose mistake it is.
fn whose(from_upstream: bool) -> impl Fn(Failure) -> Failure {
    move |failure| {
        if from_upstream {
            as_response(failure)
        } else {
            failure
        }
    }
}

/// Those of received trailers that may be passed on, each checked.
///
/// # Errors
/// They are malformed, or too large.
fn each<'a>(
    trailers: &'a Block,
    limits: &Limits,
    from_upstream: bool,
    mut pass: impl FnMut(Known, Field<'a>),
) -> Result<(), Failure> {
    let whose = whose(from_upstream);
    lines::check_size(trailers, 0, limits).map_err(&whose)?;
    for field in trailers.iter() {
        let known = lines::check(&field).map_err(|detail| whose(bad(detail)))?;
        if may_trail(known, field.name) {
            pass(known, field);
        }
    }
    Ok(())
}

/// Appends the section that received trailers are: the lines that may be passed on, and its last
/// empty line.
///
/// # Errors
/// They are malformed, or too large.
pub(crate) fn read_trailers(
    trailers: &Block,
    limits: &Limits,
    from_upstream: bool,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    each(trailers, limits, from_upstream, |_, field| {
        lines::write(out, field.name, field.value);
    })?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Received trailers as a header block, those that may be passed on. Empty: none may.
///
/// # Errors
/// They are malformed, or too large.
pub(crate) fn pass_trailers(
    trailers: &Block,
    limits: &Limits,
    from_upstream: bool,
) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(trailers.size());
    each(trailers, limits, from_upstream, |known, field| {
        fields::one(&mut out, known, field.name, field.value);
    })?;
    Ok(out)
}

/// The trailers that a section is as a header block, those that may be passed on, and the status of a
/// gRPC call in them. `section` is empty, or ends with its empty line.
///
/// # Errors
/// It is not valid field syntax, or too large.
pub(crate) fn write_trailers(
    section: &[u8],
    limits: &Limits,
    from_upstream: bool,
) -> Result<(Vec<u8>, Option<u32>), Failure> {
    let (mut out, mut status) = (Vec::new(), None::<Option<u32>>);
    if section.is_empty() {
        return Ok((out, None));
    }
    let mut list = Fields::default();
    parse_section(section, 0, limits.fields, &mut list, bad).map_err(whose(from_upstream))?;
    for field in list.iter() {
        let (name, value) = (field.name.of(section), field.value.of(section));
        if may_trail(field.known, name) {
            fields::one(&mut out, field.known, name, value);
        }
        if name.eq_ignore_ascii_case(STATUS) {
            // Of several the first one, as below.
            status = status.or(Some(grpc::status(value)));
        }
    }
    Ok((out, status.flatten()))
}

const STATUS: &[u8] = b"grpc-status";

/// The status of a gRPC call, which its trailers tell.
pub(crate) fn grpc_status(trailers: &Block) -> Option<u32> {
    let field = trailers.iter().find(|field| field.name == STATUS)?;
    grpc::status(field.value)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{block, lines},
        *,
    };

    const LIMITS: Limits = Limits {
        head: 1_024,
        line: 1_024,
        fields: 4,
    };

    fn list(fields: &[(&str, &str)]) -> Block {
        let list: Vec<_> = fields
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
            .collect();
        block(&list)
    }

    fn read(fields: &[(&str, &str)], from_upstream: bool) -> Result<String, Cause> {
        let mut out = Vec::new();
        let block = list(fields);
        read_trailers(&block, &LIMITS, from_upstream, &mut out).map_err(|f| f.cause)?;
        let passed = pass_trailers(&block, &LIMITS, from_upstream).map_err(|f| f.cause)?;
        let text = String::from_utf8(out).expect("text");
        // What passes to HTTP/1 passes to HTTP/2.
        assert_eq!(lines(&passed).join("\r\n"), text.trim_end());
        Ok(text)
    }

    #[test]
    fn what_passes() {
        let grpc = [
            ("grpc-status", "5"),
            ("grpc-message", ""),
            ("grpc-status-details-bin", "AAE="),
            ("content-length", "5"),
        ];
        let text = "grpc-status: 5\r\ngrpc-message: \r\ngrpc-status-details-bin: AAE=\r\n\r\n";
        assert_eq!(read(&grpc, true).as_deref(), Ok(text));
        let (back, status) = write_trailers(text.as_bytes(), &LIMITS, true).expect("valid");
        assert_eq!(
            (lines(&back).join("\r\n").as_str(), status),
            (text.trim_end(), Some(5))
        );
        assert_eq!(read(&[], true).as_deref(), Ok("\r\n"));
        for nothing in ["", "\r\n"] {
            let back = write_trailers(nothing.as_bytes(), &LIMITS, true).expect("valid");
            assert_eq!(back, (Vec::new(), None));
        }
    }

    #[test]
    fn whose_fault_it_is() {
        for fields in [
            [("connection", "x")].as_slice(),
            &[("x", " y")],
            &[("x_forwarded_for", "y")],
            &[(":path", "/")],
            &[("X", "y")],
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
