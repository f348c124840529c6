//! The store's clock and the limits of every duration.
//!
//! # Invariants
//! - The tick never decreases.
//! - Nothing expires before its TTL of tick has passed, whatever the wall clock does.

use crate::{Error, Result, id::Tick};

/// A second in milliseconds.
pub const SECOND: u64 = 1_000;
/// A minute in milliseconds.
pub const MINUTE: u64 = 60 * SECOND;
/// An hour in milliseconds.
pub const HOUR: u64 = 60 * MINUTE;
/// A day in milliseconds.
pub const DAY: u64 = 24 * HOUR;

/// One reading of the source that drives the tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which source it is: a boot id, or a database system and its timeline.
    pub source: String,
    /// Its value in milliseconds.
    pub value_ms: i64,
}

/// Where the tick stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The stored tick.
    pub tick: Tick,
    /// The source of the last reading.
    pub source: String,
    /// The value of the last reading.
    pub value_ms: i64,
}

/// Moves the tick by what the source advanced since the last reading; a new source moves it by
/// nothing. `step_max` bounds one step where the source can jump.
pub fn advance(stand: &Stand, reading: &Reading, step_max: Option<u64>) -> Tick {
    if stand.source != reading.source {
        return stand.tick;
    }
    let delta = (reading.value_ms - stand.value_ms).max(0);
    let delta = step_max.map_or(delta, |max| delta.min(i64::try_from(max).unwrap_or(i64::MAX)));
    Tick(stand.tick.0 + delta)
}

impl Tick {
    /// The tick that many milliseconds later.
    pub fn after(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// The milliseconds from now until this tick, 0 if it has passed.
    pub fn remaining(self, now: Tick) -> u64 {
        u64::try_from(self.0 - now.0).unwrap_or(0)
    }

    /// The milliseconds from this tick until now, 0 if it lies ahead.
    pub fn age(self, now: Tick) -> u64 {
        now.remaining(self)
    }
}

/// Checks that a duration lies within its limits.
pub fn check_duration(what: &str, ms: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&ms) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} is {}; it must be between {} and {}",
        in_words(ms),
        in_words(least),
        in_words(most)
    )))
}

/// A duration for people, e.g. `90s`, `15m`, `2h`, `3d`.
pub fn in_words(ms: u64) -> String {
    match ms {
        0..SECOND => format!("{ms}ms"),
        SECOND..120_000 => format!("{}s", ms / SECOND),
        120_000..7_200_000 => format!("{}m", ms / MINUTE),
        7_200_000..172_800_000 => format!("{}h", ms / HOUR),
        _ => format!("{}d", ms / DAY),
    }
}

/// Reads a duration such as `90s`, `15m`, `2h`, `1h30m` or `250ms`. A unit is required.
pub fn parse_duration(text: &str) -> Result<u64> {
    let wrong = || {
        Error::invalid(format!("`{}` is not a duration", crate::name::shown(text)))
            .hint("write a number and a unit: 250ms, 90s, 15m, 2h, 1d")
    };
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        total = number.checked_mul(unit).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
    }
    if total > 100 * 365 * DAY {
        return Err(wrong());
    }
    Ok(total)
}

/// Wall time as RFC 3339 in UTC with milliseconds, for display only.
///
/// The civil date follows the days-from-civil algorithm of Howard Hinnant's "chrono-Compatible
/// Low-Level Date Algorithms".
pub fn rfc3339(unix_ms: i64) -> String {
    let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Reads a calendar time such as `2026-12-01T09:30:00Z` or `2026-12-01T09:30:00+01:00`, in
/// milliseconds since 1970. The offset from UTC is required.
pub fn parse_rfc3339(text: &str) -> Result<i64> {
    read_rfc3339(text).ok_or_else(|| {
        Error::invalid(format!("`{}` is not a calendar time", crate::name::shown(text)))
            .hint("write 2026-12-01T09:30:00Z, or with an offset such as +01:00 for the Z")
    })
}

fn read_rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            digits.parse::<i64>().ok()
        } else {
            None
        }
    };
    let marks = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    if marks.iter().any(|(at, mark)| text.get(*at..=*at) != Some(mark.encode_utf8(&mut [0; 4]))) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?;
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    if rest.starts_with('.') && fraction.is_empty() {
        return None;
    }
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let offset_minutes = match offset.as_bytes() {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) =>
        {
            let digit = |byte: &u8| i64::from(byte - b'0');
            let minutes = (digit(h1) * 10 + digit(h2)) * 60 + digit(m1) * 10 + digit(m2);
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_of_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days from civil, as in Hinnant's algorithms: years begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let minutes = ((era * 146_097 + day_of_era - 719_468) * 24 + hour) * 60 + minute;
    Some(((minutes - offset_minutes) * 60 + second) * 1_000 + fraction.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_calendar_time_names_its_offset() {
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00Z").unwrap(), 0);
        assert_eq!(parse_rfc3339("2000-02-29T01:30:00.5+01:30").unwrap(), 951_782_400_500);
        assert_eq!(parse_rfc3339("1999-12-31T23:00:00-01:00").unwrap(), 946_684_800_000);
        for bad in [
            "",
            "2026-12-01",
            "2026-12-01T09:30:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01t09:30:00Z",
            "2026-12-01T09:30:00.Z",
            "2026-12-01T09:30:00+1:00",
            "1969-12-31T23:59:59Z",
            "+026-12-01T09:30:00Z",
            "２026-12-01",
        ] {
            assert!(parse_rfc3339(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("90s").unwrap(), 90_000);
        assert_eq!(parse_duration("1h30m").unwrap(), 5_400_000);
        assert_eq!(parse_duration("250ms").unwrap(), 250);
        for bad in ["", "90", "s", "1x", "-1s", "1s!", "99999999999999999999s", "1.5h", "９s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wall_time_reads_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_168_183_946), "2026-11-20T09:49:43.946Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn the_tick_never_goes_back(tick in 0i64..1_000_000, value in 0i64..1_000_000, read in 0i64..1_000_000, same in any::<bool>()) {
            let stand = Stand { tick: Tick(tick), source: "a".into(), value_ms: value };
            let reading = Reading { source: if same { "a" } else { "b" }.into(), value_ms: read };
            let next = advance(&stand, &reading, Some(30_000));
            prop_assert!(next >= stand.tick);
            prop_assert!(next.0 <= tick + (read - value).max(0));
            prop_assert!(next.0 - tick <= 30_000);
        }

        #[test]
        fn words_can_be_read_back(ms in 0u64..10 * DAY) {
            let read = parse_duration(&in_words(ms)).unwrap();
            prop_assert!(read <= ms && ms - read < ms.max(1));
        }

        #[test]
        fn a_calendar_time_is_read_as_it_is_written(ms in 0i64..253_402_300_800_000) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(ms)).unwrap(), ms);
        }

        #[test]
        fn reading_a_calendar_time_never_panics(text in "\\PC{0,30}|[0-9T:.+Z-]{0,30}") {
            let _ = parse_rfc3339(&text);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
        }
    }
}
