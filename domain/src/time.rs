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
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let has_clock = text.contains(':');
    let civil = text.parse::<DateTime>().map_err(|_| expected())?;
    if !has_clock {
        return Err(expected());
    }
    TimeZone::UTC.to_timestamp(civil).map_err(|_| expected())
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
        for bad in ["", "noon", "2021-12-28", "2021-13-01T00:00:00Z", "1640692800", "99999-01-01T00:00:00Z"] {
            assert!(parse(bad).unwrap_err().contains("is not a time"), "{bad}");
        }
    }
}
