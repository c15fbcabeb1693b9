//! Reading times as people write them: RFC 3339, with a blank or a `T`, with or without an offset.

use crate::nearest;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// The first time that there is: those before it would be shown with years that are not read back.
pub const FIRST: Timestamp = Timestamp::constant(-62_167_219_200, 0);
/// The last time that there is: no time zone leads out of the year 9999.
pub const LAST: Timestamp = Timestamp::MAX;

/// Reads a time; without an offset it is UTC.
///
/// # Errors
/// A sentence that says what a time must look like.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let shown = nearest::quoted(text);
    let expected = || format!("{shown} is not a time such as 2021-12-28T12:00:00Z or 2021-12-28 12:00:00+00");
    let (clock, rest) = split(text).ok_or_else(expected)?;
    let clock: DateTime = clock.parse().map_err(|_| expected())?;
    let offset = offset(rest).ok_or_else(expected)?;
    let time = offset.to_timestamp(clock).ok().filter(|time| *time >= FIRST);
    time.ok_or_else(|| format!("{shown} is out of range: times go from {FIRST} to {LAST}"))
}

/// Date and time of day with its fraction, and what comes after it. The parser alone would take names of zones and
/// years of six digits too, and make a leap second the one before it, which nobody sent.
fn split(text: &str) -> Option<(&str, &str)> {
    const CLOCK: &str = "0000-00-00T00:00:00";
    let (clock, rest) = text.split_at_checked(CLOCK.len())?;
    let fits = |(found, wanted): (u8, u8)| match wanted {
        b'0' => found.is_ascii_digit(),
        b'T' => matches!(found, b'T' | b't' | b' '),
        other => found == other,
    };
    let is_clock = clock.bytes().zip(CLOCK.bytes()).all(fits) && !clock.ends_with(":60");
    is_clock.then(|| text.split_at(text.len() - after_fraction(rest).len()))
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
fn offset(text: &str) -> Option<Offset> {
    let number = |text: &str, most: i32| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number: &i32| is_number && *number <= most)
    };
    let sign = match text.bytes().next() {
        None | Some(b'Z' | b'z') => return (text.len() <= 1).then_some(Offset::UTC),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let (hours, minutes) = text[1..].split_at_checked(2)?;
    let minutes = if minutes.is_empty() { "00" } else { minutes.strip_prefix(':').unwrap_or(minutes) };
    Offset::from_seconds(sign * (number(hours, 23)? * 60 + number(minutes, 59)?) * 60).ok()
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
            "2021-12-28t12:00:00z",
            "2021-12-28T12:00:00-00:00",
            "2021-12-28T14:30:00+0230",
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
            "2021-12-28T12:00:00+99",
            "2021-12-28T12:00:00+24:00",
            "2021-12-28T12:00:00+02:60",
            "2021-12-28T12:00:00+02:",
            "2021-12-28T12:00:00+é",
            "2021-12-28T12:00:00Z+02",
            "2021-12-28T23:59:60Z",
            "2021-12-28T12:00:00é",
        ] {
            assert!(parse(bad).unwrap_err().contains("is not a time"), "{bad}");
        }
    }

    #[test]
    fn times_go_only_so_far() {
        let (first, last) = ("0000-01-01T00:00:00Z", "9999-12-30T22:00:00.999999999Z");
        assert_eq!((parse(first), parse(last)), (Ok(FIRST), Ok(LAST)));
        assert_eq!((FIRST.to_string(), LAST.to_string()), (first.to_owned(), last.to_owned()));
        for far in [
            "9999-12-31T23:59:59Z",
            "9999-12-30 22:00:01",
            "9999-12-30T21:00:00-23:00",
            "0000-01-01T00:00:00+00:01",
        ] {
            let wrong = parse(far).unwrap_err();
            assert!(
                wrong.contains("is out of range: times go from 0000-01-01T00:00:00Z to 9999-"),
                "{wrong}"
            );
        }
    }
}
