//! F13: durations.

use cotenant_core::clock::{DAY, check_duration, in_words, parse_duration, rfc3339};

use crate::{
    check_refusal,
    input::{Input, texts},
};

/// The longest that is read.
const MOST: u64 = 100 * 365 * DAY;

pub(crate) fn durations(bytes: &[u8]) {
    let [text] = texts(bytes);
    match parse_duration(&text) {
        Ok(ms) => {
            assert!(ms <= MOST, "{ms}");
            assert_eq!(Some(u128::from(ms)), plain(text.trim()), "{text:?}");
            let longer = format!("{}0s", text.trim());
            assert_eq!(parse_duration(&longer).ok(), Some(ms), "{longer}");
            words(ms);
        }
        Err(error) => {
            check_refusal(&error);
            assert!(error.hint.is_some(), "{error}");
            assert!(plain(text.trim()).is_none_or(|ms| ms > u128::from(MOST)), "{text:?}");
        }
    }
    let mut input = Input(bytes);
    let (ms, least, most) = (input.number(), input.number(), input.number());
    words(ms);
    assert_eq!(check_duration("ttl", ms, least, most).is_ok(), least <= ms && ms <= most);
    let at = rfc3339(i64::from_ne_bytes((ms % (1 << 50)).to_ne_bytes()));
    assert!(at.ends_with('Z') && at.is_ascii(), "{at}");
}

/// What is said of a duration is at most that long, and less than one of its unit shorter.
fn words(ms: u64) {
    let said = in_words(ms);
    let Ok(read) = parse_duration(&said) else {
        assert!(ms > MOST, "{said}");
        return;
    };
    assert!(read <= ms && ms - read < DAY, "{ms} {said}");
    assert_eq!(in_words(read), said);
}

/// Another reading: numbers and units by turns, added up. None if it is no duration.
fn plain(text: &str) -> Option<u128> {
    let (mut total, mut number, mut unit) = (0_u128, String::new(), String::new());
    let worth = |number: &str, unit: &str| {
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let (_, one) = units.into_iter().find(|(name, _)| *name == unit)?;
        Some(u128::from(number.parse::<u64>().ok()?) * one)
    };
    for character in text.chars() {
        if character.is_ascii_digit() && !unit.is_empty() {
            total += worth(&number, &unit)?;
            number.clear();
            unit.clear();
        }
        if character.is_ascii_digit() { number.push(character) } else { unit.push(character) }
    }
    Some(total + worth(&number, &unit)?)
}
