//! Finding the end of a head in bytes that arrive in pieces, each byte looked at once.
//!
//! Line ends are checked on the way: a head that was found complete holds no bare LF.

use crate::{
    error::{Cause, Failure},
    message::Limits,
};

/// How far the search got.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    scanned: usize,
    line_start: usize,
    lines: usize,
}

impl HeadScan {
    /// Looks at what is new in `bytes`, which begins with the head. Returns the head's length when it is complete.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Failure> {
        let new = bytes.get(self.scanned..).unwrap_or_default();
        for at in memchr::memchr_iter(b'\n', new) {
            let lf = self.scanned + at;
            let cr = lf.wrapping_sub(1);
            if lf == 0 || bytes.get(cr) != Some(&b'\r') {
                return Err(Failure::new(Cause::BadRequest, "bare LF in head"));
            }
            if lf >= limits.head {
                break;
            }
            if cr == self.line_start {
                if self.lines == 0 {
                    return Err(Failure::new(
                        Cause::BadRequest,
                        "empty line instead of a first line",
                    ));
                }
                return Ok(Some(lf + 1));
            }
            if self.lines == 0 && cr > limits.line {
                return Err(Failure::new(Cause::RequestLineTooLong, "first line"));
            }
            self.lines += 1;
            if self.lines > limits.fields + 1 {
                return Err(Failure::new(Cause::RequestHeadTooLarge, "number of fields"));
            }
            self.line_start = lf + 1;
        }
        self.scanned = bytes.len();
        if self.lines == 0 && bytes.len() > limits.line + 1 {
            return Err(Failure::new(Cause::RequestLineTooLong, "first line"));
        }
        if bytes.len() >= limits.head {
            return Err(Failure::new(Cause::RequestHeadTooLarge, "size of the head"));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        head: 64,
        line: 20,
        fields: 3,
    };

    /// The verdict must not depend on how the bytes arrive.
    fn check(bytes: &[u8], expected: Result<Option<usize>, Cause>) {
        let whole = HeadScan::default()
            .advance(bytes, &LIMITS)
            .map_err(|f| f.cause);
        assert_eq!(whole, expected, "{:?}", String::from_utf8_lossy(bytes));
        let mut scan = HeadScan::default();
        let piecewise = (1..=bytes.len())
            .map(|n| scan.advance(&bytes[..n], &LIMITS).map_err(|f| f.cause))
            .find(|r| *r != Ok(None))
            .unwrap_or(Ok(None));
        assert_eq!(
            piecewise,
            expected,
            "piecewise {:?}",
            String::from_utf8_lossy(bytes)
        );
    }

    #[test]
    fn verdicts() {
        check(b"GET / HTTP/1.1\r\na: b\r\n\r\n", Ok(Some(24)));
        check(b"GET / HTTP/1.1\r\n\r\n", Ok(Some(18)));
        check(b"GET / HTTP/1.1\r\na: b\r\n\r", Ok(None));
        check(b"GET / HTTP/1.1\na: b\r\n\r\n", Err(Cause::BadRequest));
        check(b"GET / HTTP/1.1\r\na: b\r\n\n", Err(Cause::BadRequest));
        check(b"\r\n", Err(Cause::BadRequest));
        check(
            b"GET /1234567890123456 HTTP/1.1\r\n",
            Err(Cause::RequestLineTooLong),
        );
        check(
            b"GET / HTTP/1.1\r\na:1\r\nb:2\r\nc:3\r\nd:4\r\n\r\n",
            Err(Cause::RequestHeadTooLarge),
        );
        check(
            b"GET / HTTP/1.1\r\na: 12345678901234567890123456789012345678901234567890\r\n\r\n",
            Err(Cause::RequestHeadTooLarge),
        );
    }
}
