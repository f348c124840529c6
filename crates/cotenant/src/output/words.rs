//! Times and holders in words.

use std::time::{SystemTime, UNIX_EPOCH};

use cotenant_core::{
    Error,
    claim::{Holding, HoldingState, Mode},
    clock::{DAY, HOUR, MINUTE, SECOND, in_words},
    render::{for_terminal, inline},
};

/// How long ago, e.g. `3m ago`.
pub(crate) fn ago(ms: u64) -> String {
    if ms < 1_000 { "just now".to_owned() } else { format!("{} ago", in_words(ms)) }
}

/// How much is done, as a bar with its percentage.
pub(crate) fn bar(percent: u8) -> String {
    let full = usize::from(percent.min(100)) / 10;
    format!("{}{} {percent}%", "█".repeat(full), "░".repeat(10 - full))
}

/// In how long, e.g. `in 3m`. What begins with a day has a day left a moment later too, not 23 hours: rounded to
/// the nearest of the unit that is shown.
pub(crate) fn in_time(ms: u64) -> String {
    let unit = match ms {
        0 => return "now".to_owned(),
        1..SECOND => 1,
        SECOND..120_000 => SECOND,
        120_000..7_200_000 => MINUTE,
        7_200_000..172_800_000 => HOUR,
        _ => DAY,
    };
    format!("in {}", in_words(ms.saturating_add(unit / 2)))
}

/// How long ago a wall time was, e.g. `3m ago`; the time itself if it cannot be read.
pub(crate) fn since(at: &str) -> String {
    since_ms(at).map_or_else(|| at.to_owned(), ago)
}

/// How long ago a wall time was. The wall clock may have been set meanwhile; it decides nothing.
pub(crate) fn since_ms(at: &str) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis();
    let age = i64::try_from(now).ok()? - unix_ms(at)?;
    u64::try_from(age).ok().or(Some(0))
}

/// Reads what [`cotenant_core::clock::rfc3339`] writes.
fn unix_ms(at: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| at.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let ms = number(20..23).unwrap_or(0);
    // Days from civil, as in Hinnant's algorithms: years begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + ms)
}

/// What is held; of a path in a linked worktree also which one.
pub(crate) fn item_words(holding: &Holding) -> String {
    let resource = for_terminal(&holding.resource);
    match holding.tree.as_deref().and_then(|tree| tree.split_once('+')) {
        Some((_, worktree)) => format!("{resource} (worktree {})", for_terminal(worktree)),
        None => resource,
    }
}

/// One holding in a line: who, since when, what for, until when.
pub(crate) fn holding_line(holding: &Holding) -> String {
    let name = for_terminal(&holding.name);
    let what = match (holding.state, holding.mode) {
        (HoldingState::Waiting, _) => format!("{name} waits for it"),
        (HoldingState::Cooling, _) => format!("cooling; {name}, its holder, was lost"),
        (HoldingState::Held, Mode::Advisory) => format!("{name} works on it (advisory)"),
        (HoldingState::Held, Mode::Exclusive) => format!("held by {name}"),
    };
    let mut who = vec![for_terminal(&holding.kind), for_terminal(&holding.user)];
    who.extend(holding.host.as_deref().map(|host| format!("host {}", for_terminal(host))));
    who.extend(holding.pid.map(|pid| format!("pid {pid}")));
    let since = match holding.state {
        HoldingState::Cooling => String::new(),
        _ => format!(" for {}", in_words(holding.held_for_ms)),
    };
    let until = match (holding.expires_in_ms, holding.state) {
        (Some(ms), HoldingState::Cooling) => format!(", free {}", in_time(ms)),
        (Some(ms), _) => format!(", expires {} unless renewed", in_time(ms)),
        (None, HoldingState::Held) => ", as long as its session lives".to_owned(),
        (None, _) => String::new(),
    };
    let heard = ago(holding.heartbeat_age_ms);
    let words = holding.note.as_ref().or(holding.purpose.as_ref());
    let words = words.map(|words| format!(": {}", inline(words))).unwrap_or_default();
    format!("{what} ({}){since}{until}; last heard of {heard}{words}", who.join(", "))
}

/// The holders that an error names, each in a line.
pub(super) fn holder_lines(error: &Error) -> Vec<String> {
    let holders = error.details.get("holders").cloned().unwrap_or_default();
    let holders: Vec<Holding> = serde_json::from_value(holders).unwrap_or_default();
    holders
        .iter()
        .map(|holding| format!("{}: {}", item_words(holding), holding_line(holding)))
        .collect()
}

/// The tasks that an error names for somebody to do instead, each in a line.
pub(super) fn ready_lines(error: &Error) -> Vec<String> {
    let tasks = error.details.get("ready_tasks").and_then(|tasks| tasks.as_array());
    let line = |task: &serde_json::Value| {
        let (queue, about) = (task["queue"].as_str()?, task["about"].as_str()?);
        Some(format!("ready: task {} of {}: {}", task["task"], for_terminal(queue), inline(about)))
    };
    tasks.into_iter().flatten().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_to_the_nearest() {
        let told = |ms| in_time(ms);
        assert_eq!((told(0), told(400)), ("now".to_owned(), "in 400ms".to_owned()));
        assert_eq!((told(59_700), told(59_200)), ("in 60s".to_owned(), "in 59s".to_owned()));
        assert_eq!(told(15 * MINUTE - 1), "in 15m");
        assert_eq!(told(DAY - 1), "in 24h");
        assert_eq!(told(2 * DAY - 1), "in 2d");
        assert_eq!(told(u64::MAX), format!("in {}d", u64::MAX / DAY));
    }

    #[test]
    fn wall_times_are_read_back() {
        for ms in [0, 951_782_400_000, 1_795_168_183_946, 4_102_444_799_999] {
            assert_eq!(unix_ms(&cotenant_core::clock::rfc3339(ms)), Some(ms));
        }
        assert_eq!(unix_ms("yesterday"), None);
    }
}
