//! Finds secrets in free text and puts `[redacted:RULE]` in their place.
//!
//! Hand-written rules over one table, because hooks run this and a regular-expression engine costs more to
//! start than they may take. A secret is known by its prefix and alphabet, by what is assigned to a name
//! that says so (`password=`), or by its place (an address's password, an authorization header). Text that
//! merely looks random is left alone: hashes and ids are everywhere in code.
//!
//! # Invariants
//! - Redacting again changes nothing.
//! - What is replaced begins and ends at a character, never inside a JSON escape.

mod table;

use std::borrow::Cow;

use self::table::{COMMON, NAMED, Of, PREFIXED};
use crate::json::Json;

/// How often a text is looked at again that had secrets in it.
const PASSES_MAX: usize = 8;

/// Replaces the secrets in a text. What is gone may have hidden another one, so that it is looked at until
/// nothing is found: to redact again changes nothing.
pub fn secrets(text: &str) -> Cow<'_, str> {
    let mut clean = pass(text);
    for _ in 1..PASSES_MAX {
        let Cow::Owned(once) = &clean else { break };
        let Cow::Owned(again) = pass(once) else { break };
        clean = Cow::Owned(again);
    }
    clean
}

fn pass(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut clean = String::new();
    let (mut kept, mut at) = (0, 0);
    while at < bytes.len() {
        match hit(bytes, at) {
            Some(Hit { rule, start, end }) if start >= kept && end > start => {
                clean.push_str(&text[kept..start]);
                clean.push_str("[redacted:");
                clean.push_str(rule);
                clean.push(']');
                (kept, at) = (end, end);
            }
            _ => at += 1,
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[kept..]);
    Cow::Owned(clean)
}

/// Replaces the secrets in a text in place.
pub fn in_place(text: &mut String) {
    if let Cow::Owned(clean) = secrets(text) {
        *text = clean;
    }
}

/// As [`in_place`], of a text that may be absent.
pub fn in_option(text: &mut Option<String>) {
    text.iter_mut().for_each(in_place);
}

/// Replaces the secrets in the texts of a JSON value; everything else stays byte for byte.
pub fn in_json(json: &Json) -> Json {
    let text = json.text();
    let bytes = text.as_bytes();
    let (mut clean, mut kept, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        if bytes[at] != b'"' {
            at += 1;
            continue;
        }
        let start = at;
        at += 1;
        while at < bytes.len() && bytes[at] != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        at = (at + 1).min(bytes.len());
        let Ok(said) = serde_json::from_str::<String>(&text[start..at]) else { continue };
        // A value tells by the name of its member what it is.
        let named = member_before(&text[..start]);
        let whole = named.map_or_else(|| said.clone(), |name| format!("{name}={said}"));
        if let Cow::Owned(redacted) = secrets(&whole) {
            let redacted = match named {
                Some(name) => redacted.get(name.len() + 1..).unwrap_or("[redacted]"),
                None => &redacted,
            };
            clean.push_str(&text[kept..start]);
            clean.push_str(Json::of(&redacted).text());
            kept = at;
        }
    }
    if kept == 0 {
        return json.clone();
    }
    clean.push_str(&text[kept..]);
    Json::stored(clean)
}

/// The name of the member whose value begins here, if it is a plain word.
fn member_before(text: &str) -> Option<&str> {
    let name = text.trim_end().strip_suffix(':')?.trim_end().strip_suffix('"')?;
    let name = &name[name.rfind('"')? + 1..];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

/// Where a secret is.
struct Hit {
    rule: &'static str,
    start: usize,
    end: usize,
}

/// The secret that begins, or is announced, at this byte.
fn hit(bytes: &[u8], at: usize) -> Option<Hit> {
    match bytes[at] {
        b'-' if bytes[at..].starts_with(b"-----BEGIN ") => return pem(bytes, at),
        b':' if bytes[at..].starts_with(b"://") => return address(bytes, at + 3),
        byte if !byte.is_ascii_alphanumeric() => return None,
        _ => {}
    }
    if !begins_word(bytes, at) {
        return None;
    }
    prefixed(bytes, at)
        .or_else(|| web_token(bytes, at))
        .or_else(|| numbered(bytes, at))
        .or_else(|| header(bytes, at))
        .or_else(|| named(bytes, at))
}

/// Whether a word begins here. A letter that follows a line break of JSON (`\n`) begins one.
fn begins_word(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| bytes[before]) else { return true };
    let escaped = at >= 2 && bytes[at - 2] == b'\\' && matches!(before, b'n' | b't' | b'r');
    let joined = matches!(before, b'_' | b'-' | b'+')
        && at >= 2
        && (bytes[at - 2].is_ascii_alphanumeric() || bytes[at - 2] == b'_');
    escaped || !(before.is_ascii_alphanumeric() || joined)
}

/// How far an alphabet goes.
fn run(bytes: &[u8], at: usize, takes: impl Fn(u8) -> bool) -> usize {
    at + bytes[at.min(bytes.len())..].iter().take_while(|byte| takes(**byte)).count()
}

/// Without what a sentence puts behind it.
fn trimmed(bytes: &[u8], start: usize, mut end: usize) -> usize {
    while end > start && matches!(bytes[end - 1], b'.' | b',' | b'-' | b'%' | b'$') {
        end -= 1;
    }
    end
}

fn distinct(body: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in body {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count()
}

fn has_letter_and_digit(body: &[u8]) -> bool {
    body.iter().any(u8::is_ascii_digit) && body.iter().any(u8::is_ascii_alphabetic)
}

fn prefixed(bytes: &[u8], at: usize) -> Option<Hit> {
    let first = bytes[at];
    PREFIXED.iter().find_map(|(rule, prefix, of, least)| {
        if prefix.as_bytes()[0] != first || !bytes[at..].starts_with(prefix.as_bytes()) {
            return None;
        }
        let body = at + prefix.len();
        let end = trimmed(bytes, body, run(bytes, body, |byte| of.takes(byte)));
        let body = &bytes[body..end];
        let ends = bytes.get(end).is_none_or(|next| !next.is_ascii_alphanumeric() && *next != b'_');
        let fits = body.len() >= *least
            && ends
            && distinct(body) >= 6
            && (!COMMON.contains(rule) || has_letter_and_digit(body));
        fits.then_some(Hit { rule, start: at, end })
    })
}

/// Three parts with dots between, the first two of them JSON in base64.
fn web_token(bytes: &[u8], at: usize) -> Option<Hit> {
    if !bytes[at..].starts_with(b"eyJ") {
        return None;
    }
    let end = trimmed(bytes, at, run(bytes, at, |byte| Of::Url.takes(byte) || byte == b'.'));
    let mut parts = bytes[at..end].split(|byte| *byte == b'.');
    let (head, body) = (parts.next()?, parts.next()?);
    let fits = head.len() >= 12 && body.len() >= 12 && (body.starts_with(b"eyJ") || end - at >= 80);
    fits.then_some(Hit { rule: "jwt", start: at, end })
}

/// Secrets that are known by the lengths of their parts: bots of Telegram and Discord, applications of
/// Azure, keys of Mailchimp.
fn numbered(bytes: &[u8], at: usize) -> Option<Hit> {
    let digits = run(bytes, at, |byte| byte.is_ascii_digit());
    if (8..=10).contains(&(digits - at)) && bytes[digits..].starts_with(b":AA") {
        let end = run(bytes, digits + 1, |byte| Of::Url.takes(byte));
        return (end - digits > 33).then_some(Hit { rule: "telegram", start: at, end });
    }
    if matches!(bytes[at], b'M' | b'N' | b'O') {
        let end = trimmed(bytes, at, run(bytes, at, |byte| Of::Url.takes(byte) || byte == b'.'));
        let parts: Vec<usize> =
            bytes[at..end].split(|byte| *byte == b'.').map(<[u8]>::len).collect();
        if let [first, 6, last] = parts[..]
            && (23..=28).contains(&first)
            && (27..=40).contains(&last)
        {
            return Some(Hit { rule: "discord", start: at, end });
        }
    }
    let hex = run(bytes, at, |byte| byte.is_ascii_hexdigit());
    if hex - at == 32 && bytes[hex..].starts_with(b"-us") {
        let end = run(bytes, hex + 3, |byte| byte.is_ascii_digit());
        return (end > hex + 3).then_some(Hit { rule: "mailchimp", start: at, end });
    }
    if bytes[at..].get(3..6).is_some_and(|mark| mark[0].is_ascii_digit() && &mark[1..] == b"Q~") {
        let end = run(bytes, at, |byte| Of::Dotted.takes(byte));
        return (end - at >= 37).then_some(Hit { rule: "azure", start: at, end });
    }
    None
}

/// What stands behind `Bearer` and `Basic`.
fn header(bytes: &[u8], at: usize) -> Option<Hit> {
    let (rule, least, length) = if starts(bytes, at, b"bearer ") {
        ("bearer", 16, 7)
    } else if starts(bytes, at, b"basic ") {
        ("basic", 12, 6)
    } else {
        return None;
    };
    let start = run(bytes, at + length, |byte| byte == b' ');
    let end = trimmed(bytes, start, run(bytes, start, |byte| Of::Any.takes(byte)));
    let body = &bytes[start..end];
    let fits =
        body.len() >= least && (has_letter_and_digit(body) || body.ends_with(b"=")) && varied(body);
    fits.then_some(Hit { rule, start, end })
}

fn starts(bytes: &[u8], at: usize, word: &[u8]) -> bool {
    bytes[at..].get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
}

/// The password in an address: `postgres://ann:secret@host`.
fn address(bytes: &[u8], at: usize) -> Option<Hit> {
    let inside = |byte: u8| {
        !byte.is_ascii_whitespace()
            && !matches!(byte, b'/' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\')
    };
    let end = run(bytes, at, inside);
    let host = bytes[at..end].iter().rposition(|byte| *byte == b'@')? + at;
    let colon = bytes[at..host].iter().position(|byte| *byte == b':')? + at;
    let password = &bytes[colon + 1..host];
    let fits = password.len() >= 4 && !is_placeholder(password);
    fits.then_some(Hit { rule: "url-password", start: colon + 1, end: host })
}

/// What stands for a secret in examples.
fn is_placeholder(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let word = |word: &&[u8]| lower == *word;
    let words: [&[u8]; 12] = [
        b"password",
        b"passwd",
        b"pass",
        b"secret",
        b"token",
        b"changeme",
        b"postgres",
        b"root",
        b"user",
        b"example",
        b"test",
        b"admin",
    ];
    words.iter().any(word)
        || matches!(value[0], b'$' | b'<' | b'{' | b'[' | b'*' | b'%' | b'(')
        || distinct(value) <= 2
        || lower.starts_with(b"your")
        || lower.windows(7).any(|part| part == b"example")
}

/// A private key, to its end.
fn pem(bytes: &[u8], at: usize) -> Option<Hit> {
    let label = run(bytes, at + 11, |byte| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' '
    });
    let private = bytes[at..label].windows(11).any(|part| part == b"PRIVATE KEY");
    if !private || !bytes[label..].starts_with(b"-----") {
        return None;
    }
    let body = label + 5;
    // Without a key behind it, it is somebody talking about keys.
    let takes = |byte: u8| {
        Of::Base64.takes(byte)
            || byte.is_ascii_whitespace()
            || matches!(byte, b'\\' | b':' | b'-' | b',' | b'.')
    };
    let reach = run(bytes, body, takes);
    if bytes[body..reach].iter().filter(|byte| byte.is_ascii_alphanumeric()).count() < 40 {
        return None;
    }
    let close = bytes[body..].windows(9).position(|part| part == b"-----END ");
    let end = match close {
        Some(close) => {
            let label = run(bytes, body + close + 9, |byte| byte != b'-' && byte != b'\n');
            run(bytes, label, |byte| byte == b'-')
        }
        None => trimmed(bytes, body, run(bytes, body, |byte| takes(byte) && byte != b'\\')),
    };
    Some(Hit { rule: "private-key", start: at, end })
}

/// What is assigned to a name that says it is secret: `password = "…"`, `--token …`, `api_key: …`.
fn named(bytes: &[u8], at: usize) -> Option<Hit> {
    let end =
        run(bytes, at, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    let (secret, least) = secret_name(&bytes[at..end])?;
    let option = at >= 2 && &bytes[at - 2..at] == b"--";
    let mut value = run(bytes, end, |byte| matches!(byte, b'"' | b'\'' | b'`' | b']' | b'\\'));
    let spaces = run(bytes, value, |byte| byte == b' ');
    let sign = bytes.get(spaces).copied();
    let netrc = secret == "password"
        && spaces == value + 1
        && word_before(bytes, at).is_some_and(|word| !word.is_empty());
    match sign {
        Some(b'=' | b':') => {
            value = run(bytes, spaces, |byte| matches!(byte, b'=' | b':' | b'>'));
            if value - spaces > 2
                || bytes[spaces..value] == *b"=="
                || bytes[spaces..value] == *b"::"
            {
                return None;
            }
            value = run(bytes, value, |byte| byte == b' ');
        }
        _ if spaces > value && (option || netrc) => value = spaces,
        _ => return None,
    }
    let escape = bytes.get(value) == Some(&b'\\');
    let quote = bytes
        .get(value + usize::from(escape))
        .copied()
        .filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    let start = value + usize::from(escape) + usize::from(quote.is_some());
    let stop = if let Some(quote) = quote {
        run(bytes, start, |byte| byte != quote && byte != b'\\' && byte != b'\n')
    } else {
        let ends = |byte: u8| {
            byte.is_ascii_whitespace() || !byte.is_ascii() || b"\"'`,;&\\)]}|<".contains(&byte)
        };
        trimmed(bytes, start, run(bytes, start, |byte| !ends(byte)))
    };
    let body = &bytes[start..stop];
    let is_secret = body.len() >= least
        && body.len() <= 4096
        && !is_placeholder(body)
        && !body.contains(&b' ')
        && if quote.is_some() { is_strong(body) } else { is_strong(body) && !is_code(body) };
    is_secret.then_some(Hit { rule: secret, start, end: stop })
}

/// The word before this one, of the same line.
fn word_before(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let end = bytes[..at].iter().rposition(|byte| *byte != b' ')? + 1;
    let line = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |line| line + 1);
    bytes[line..end].windows(6).any(|part| part == b"login ").then_some(&bytes[line..end])
}

/// Whether a name says that what it holds is secret, and the least length of it.
fn secret_name(name: &[u8]) -> Option<(&'static str, usize)> {
    let flat: Vec<u8> = name
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
        .collect();
    NAMED.iter().find_map(|(word, least)| {
        let ends = flat.ends_with(word.as_bytes())
            || flat
                .strip_suffix(b"s")
                .is_some_and(|it| it.ends_with(word.as_bytes()) && word.len() > 4);
        let tail = |suffix: &[u8]| {
            flat.strip_suffix(suffix).is_some_and(|rest| rest.ends_with(word.as_bytes()))
        };
        let fits = if *word == "auth" {
            flat == b"auth" || flat == b"xauth"
        } else {
            ends || tail(b"value")
        };
        fits.then_some((*word, *least))
    })
}

/// Whether a value is what programs or careful people make: letters together with digits or signs.
fn is_strong(body: &[u8]) -> bool {
    let letters = body.iter().any(u8::is_ascii_alphabetic);
    let digits = body.iter().any(u8::is_ascii_digit);
    let signs = body.iter().any(|byte| {
        matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'+' | b'~' | b'?')
    });
    let mixed = body.iter().any(u8::is_ascii_uppercase) && body.iter().any(u8::is_ascii_lowercase);
    letters && (digits || (signs && mixed)) && varied(body)
}

fn varied(body: &[u8]) -> bool {
    distinct(body) * 5 >= body.len().min(30) * 2
}

/// Whether a value without quotes is rather an expression: a call, a path of names, a variable.
fn is_code(body: &[u8]) -> bool {
    if body.iter().any(|byte| matches!(byte, b'(' | b'{' | b'[' | b'$' | b'>'))
        || body.windows(2).any(|two| two == b"::")
    {
        return true;
    }
    // Words with at most two digits behind them are names.
    let is_word = |word: &[u8]| {
        let letters = word.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let rest = &word[letters..];
        letters > 0 && rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit)
    };
    body.len() < 40
        && body.split(|byte| matches!(byte, b'_' | b'.' | b'-' | b'/')).all(is_word)
        && body.iter().any(|byte| matches!(byte, b'_' | b'.' | b'-' | b'/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_named_and_gone() {
        let body = "aB3dE6".repeat(6);
        let text = format!("use ghp_{body}, then go on");
        assert_eq!(secrets(&text), "use [redacted:github], then go on");
        assert_eq!(
            secrets("db: postgres://ann:s3cr3t!@db/x"),
            "db: postgres://ann:[redacted:url-password]@db/x"
        );
        assert_eq!(secrets("password: hunter2"), "password: [redacted:password]");
        assert_eq!(secrets("let token = parser.next();"), "let token = parser.next();");
    }

    #[test]
    fn of_json_only_the_secret_changes() {
        let json = Json::parse(r#"{"n": 1.0, "password": "hunter2", "say":"a\u00e9"}"#).unwrap();
        assert_eq!(
            in_json(&json).text(),
            r#"{"n": 1.0, "password": "[redacted:password]", "say":"a\u00e9"}"#
        );
        let clean = Json::parse(r#"{"a": "b"}"#).unwrap();
        assert_eq!(in_json(&clean), clean);
    }

    proptest! {
        #[test]
        fn redacting_again_changes_nothing(text in "(password[=: ]{1,2}|sk-|://a:|eyJ|Bearer )?[a-zA-Z0-9_@.\\-\"' ]{0,80}") {
            let once = secrets(&text).into_owned();
            prop_assert_eq!(secrets(&once).into_owned(), once);
        }

        #[test]
        fn json_stays_json(text in any::<String>()) {
            let json = Json::of(&serde_json::json!({"token": text, "b": [text]}));
            Json::parse(in_json(&json).text()).unwrap();
        }
    }
}
