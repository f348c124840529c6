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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn parsing_never_panics(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
        }
    }
}
