//! Times as RFC 3339 in UTC with milliseconds. Calendar arithmetic is done once a second.

use std::time::{SystemTime, UNIX_EPOCH};

/// Writes times; remembers the text of the last second it wrote.
#[derive(Debug)]
pub(super) struct Stamp {
    second: u64,
    /// `2026-01-02T03:04:05`
    text: [u8; 19],
}

impl Default for Stamp {
    fn default() -> Self {
        Self {
            second: 0,
            text: *b"1970-01-01T00:00:00",
        }
    }
}

/// The first second of the year 10000, which four digits do not hold.
const END: u64 = 253_402_300_800;

impl Stamp {
    /// Appends 24 bytes, such as `2026-01-02T03:04:05.678Z`.
    pub(super) fn write(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs().min(END - 1);
        if second != self.second {
            self.second = second;
            self.text = calendar(second);
        }
        out.extend_from_slice(&self.text);
        let millis = since.subsec_millis();
        out.push(b'.');
        out.extend_from_slice(&digits::<3>(u64::from(millis)));
        out.push(b'Z');
    }
}

fn calendar(second: u64) -> [u8; 19] {
    let (days, rest) = (second / 86_400, second % 86_400);
    // Civil from days (Howard Hinnant): years begin in March, so that the leap day is the last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);

    let mut text = *b"0000-00-00T00:00:00";
    text[..4].copy_from_slice(&digits::<4>(year));
    text[5..7].copy_from_slice(&digits::<2>(month));
    text[8..10].copy_from_slice(&digits::<2>(day));
    text[11..13].copy_from_slice(&digits::<2>(rest / 3_600));
    text[14..16].copy_from_slice(&digits::<2>(rest / 60 % 60));
    text[17..].copy_from_slice(&digits::<2>(rest % 60));
    text
}

/// The last `N` decimal digits of a number.
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn written(stamp: &mut Stamp, millis: u64) -> String {
        let mut out = Vec::new();
        stamp.write(UNIX_EPOCH + Duration::from_millis(millis), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_times() {
        let mut stamp = Stamp::default();
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.999Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_767_322_981_678, "2026-01-02T03:03:01.678Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(written(&mut stamp, millis), expected);
        }
    }

    #[test]
    fn times_before_the_epoch_are_the_epoch() {
        let mut out = Vec::new();
        Stamp::default().write(UNIX_EPOCH - Duration::from_secs(1), &mut out);
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }

    proptest! {
        /// `httpdate` knows the calendar too, in another spelling.
        #[test]
        fn agrees_with_another_calendar(seconds in 0u64..END) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let text = written(&mut Stamp::default(), seconds * 1_000);
            let http = httpdate::fmt_http_date(time); // Sun, 06 Nov 1994 08:49:37 GMT
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = 1 + months.iter().position(|m| *m == &http[8..11]).unwrap();
            let expected = format!("{}-{month:02}-{}T{}.000Z", &http[12..16], &http[5..7], &http[17..25]);
            prop_assert_eq!(text, expected);
        }
    }
}
