//! Reading times as people write them: RFC 3339, with a blank or a `T`, with or without an offset.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Reads a time; without an offset it is UTC.
///
/// # Errors
/// A sentence that says what a time must look like.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let expected =
        || format!("{text:?} is not a time such as 2021-12-28T12:00:00Z or 2021-12-28 12:00:00+00");
    if !has_form(text) {
        return Err(expected());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let civil = text.parse::<DateTime>().map_err(|_| expected())?;
    TimeZone::UTC.to_timestamp(civil).map_err(|_| expected())
}

/// Whether a text has the form that is promised. The parser alone would take names of zones and years of six digits
/// too, and drop or keep them as nobody expects.
fn has_form(text: &str) -> bool {
    const CLOCK: &str = "0000-00-00T00:00:00";
    let Some((clock, rest)) = text.split_at_checked(CLOCK.len()) else {
        return false;
    };
    let fits = |(found, wanted): (u8, u8)| match wanted {
        b'0' => found.is_ascii_digit(),
        b'T' => matches!(found, b'T' | b't' | b' '),
        other => found == other,
    };
    clock.bytes().zip(CLOCK.bytes()).all(fits) && is_offset(after_fraction(rest))
}

fn after_fraction(rest: &str) -> &str {
    const DIGITS_MAX: usize = 9;
    let digits = |fraction: &str| fraction.bytes().take_while(u8::is_ascii_digit).count();
    match rest.strip_prefix('.') {
        Some(fraction) if (1..=DIGITS_MAX).contains(&digits(fraction)) => &fraction[digits(fraction)..],
        _ => rest,
    }
}

/// `Z`, `+02`, `+0200`, `+02:00` or nothing.
fn is_offset(text: &str) -> bool {
    let Some(hours) = text.strip_prefix(['+', '-']) else {
        return matches!(text, "" | "Z" | "z");
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match hours.len() {
        2 | 4 => is_digits(hours),
        5 => hours.as_bytes()[2] == b':' && is_digits(&hours.replacen(':', "", 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_producers_send() {
        let noon = "2021-12-28T12:00:00Z";
        for form in [
            "2021-12-28 12:00:00+00",
            "2021-12-28 12:00:00",
            "2021-12-28T12:00:00",
            "2021-12-28T12:00:00+00:00",
            "2021-12-28T14:00:00+02:00",
            "2021-12-28 14:00:00+02",
            "2021-12-28T12:00:00.000Z",
        ] {
            assert_eq!(parse(form).unwrap().to_string(), noon, "{form}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for bad in [
            "",
            "noon",
            "2021-12-28",
            "2021-13-01T00:00:00Z",
            "1640692800",
            "99999-01-01T00:00:00Z",
            "2021-12-28T12:00:00[America/New_York]",
            "2021-12-28T12:00:00+00:00[America/New_York]",
            "2021-12-28T12:00:00[u-ca=hebrew]",
            "2021-12-28T12:00:00,5Z",
            "2021-12-28T12:00:00.Z",
            "2021-12-28T12:00:00.0123456789Z",
            "-009999-01-02T00:00:00Z",
            "2021-12-28T12:00:00+1",
            "2021-12-28T12:00:00é",
        ] {
            assert!(parse(bad).unwrap_err().contains("is not a time"), "{bad}");
        }
    }
}
