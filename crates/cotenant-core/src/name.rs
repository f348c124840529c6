//! Names, repository paths and free text: what may be said and what may not.
//!
//! Names are compared byte by byte and never used as file paths.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::{Error, Result};

/// The longest name in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The longest repository path in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// The longest free text in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Whether a character can hide or reorder text: control, bidi, zero width.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
                | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Checks a name: scope, key, resource, queue, metric.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let fault = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 256 bytes"
    } else if name.starts_with('-') {
        "begins with `-`"
    } else if name.chars().any(is_deceptive) {
        "has a control, bidi or zero-width character"
    } else if !is_nfc(name) {
        "is not in Unicode normal form C"
    } else if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        "has an empty, `.` or `..` segment"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("{what} `{}` {fault}", shown(name))))
}

/// Checks free text such as a purpose or a note.
pub fn check_text(what: &str, text: &str) -> Result<()> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::new(
            crate::Code::TooLarge,
            format!("{what} has {} bytes; at most {TEXT_BYTES_MAX} are kept", text.len()),
        ));
    }
    if text.contains('\0') {
        return Err(Error::invalid(format!("{what} has a NUL character")));
    }
    Ok(())
}

/// Checks free text, and takes the secrets out of it.
pub fn clean_text(what: &str, text: &mut String) -> Result<()> {
    check_text(what, text)?;
    crate::redact::in_place(text);
    // What stands in the place of a short secret may be longer.
    text.truncate(crate::render::cut(text, TEXT_BYTES_MAX).len());
    Ok(())
}

/// As [`clean_text`], of a text that may be absent.
pub fn clean_optional_text(what: &str, text: Option<&mut String>) -> Result<()> {
    text.map_or(Ok(()), |text| clean_text(what, text))
}

/// Brings a repository path into its one form: relative, NFC, `/`-separated, without `.`, `..`
/// or a trailing slash. The whole tree is `.`.
pub fn normal_path(path: &str) -> Result<String> {
    let wrong = |fault: &str| Error::invalid(format!("path `{}` {fault}", shown(path)));
    if path.is_empty() {
        return Err(wrong("is empty").hint("`.` means the whole tree"));
    }
    if path.starts_with('/') {
        return Err(wrong("is not relative to the repository"));
    }
    if path.chars().any(is_deceptive) {
        return Err(wrong("has a control, bidi or zero-width character"));
    }
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => return Err(wrong("has a `..` segment")),
            segment => segments.push(segment),
        }
    }
    let normal: String = segments.join("/").nfc().collect();
    match normal.len() {
        0 => Ok(".".to_owned()),
        length if length > PATH_BYTES_MAX => Err(wrong("is longer than 1024 bytes")),
        _ => Ok(normal),
    }
}

/// The directories above a normal path, nearest last, with `.` first.
pub fn directories_above(path: &str) -> Vec<&str> {
    if path == "." {
        return Vec::new();
    }
    let mut above = vec!["."];
    above.extend(path.match_indices('/').map(|(index, _)| &path[..index]));
    above
}

/// Whether two normal paths overlap: equal, or one is a directory above the other.
pub fn paths_overlap(one: &str, other: &str) -> bool {
    let contains = |outer: &str, inner: &str| {
        outer == "."
            || outer == inner
            || (inner.starts_with(outer) && inner.as_bytes().get(outer.len()) == Some(&b'/'))
    };
    contains(one, other) || contains(other, one)
}

/// A session, named by its id or, while it lives, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SessionRef(pub String);

impl SessionRef {
    /// Checks the form.
    pub fn check(&self) -> Result<()> {
        check_name("session", &self.0)
    }
}

/// Whom an offer or a message is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Addressee {
    /// One session.
    Session(SessionRef),
    /// The sessions with a label.
    Label(String),
    /// Every session.
    #[default]
    Everybody,
}

impl Addressee {
    /// Checks the form.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Session(session) => session.check(),
            Self::Label(label) => check_name("label", label),
            Self::Everybody => Ok(()),
        }
    }
}

impl std::fmt::Display for Addressee {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(session) => formatter.write_str(&session.0),
            Self::Label(label) => write!(formatter, "label:{label}"),
            Self::Everybody => formatter.write_str("everybody"),
        }
    }
}

impl std::str::FromStr for Addressee {
    type Err = Error;

    /// Reads a session's name or id, `label:WORD` or `everybody`.
    fn from_str(text: &str) -> Result<Self> {
        let addressee = match text.split_once(':') {
            Some(("label", label)) => Self::Label(label.to_owned()),
            _ if text == "everybody" => Self::Everybody,
            _ => Self::Session(SessionRef(text.to_owned())),
        };
        addressee.check()?;
        Ok(addressee)
    }
}

/// The beginning of a text, safe to show in a message.
pub fn shown(text: &str) -> String {
    shown_up_to(text, 60)
}

/// As [`shown`], with another limit.
pub(crate) fn shown_up_to(text: &str, limit: usize) -> String {
    let mut rest = text.chars();
    let safe = |character| if is_deceptive(character) { '\u{fffd}' } else { character };
    let mut short: String = rest.by_ref().take(limit).map(safe).collect();
    if rest.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_mislead_are_refused() {
        for bad in ["", "-x", "a//b", "a/./b", "../b", "a\u{202e}b", "a\nb", "e\u{301}", "a/"] {
            assert!(check_name("scope", bad).is_err(), "{bad:?}");
        }
        for good in ["issue:15", "session:claude_1", "project/x", "é", "v1.0.0", "a b"] {
            check_name("scope", good).unwrap();
        }
        assert!(check_name("scope", &"x".repeat(257)).is_err());
    }

    #[test]
    fn a_path_has_one_form() {
        assert_eq!(normal_path("./src//a.rs").unwrap(), "src/a.rs");
        assert_eq!(normal_path("src/").unwrap(), "src");
        assert_eq!(normal_path("./").unwrap(), ".");
        assert_eq!(normal_path("e\u{301}").unwrap(), "é");
        assert!(normal_path("/etc").is_err());
        assert!(normal_path("a/../b").is_err());
    }

    #[test]
    fn a_directory_overlaps_what_is_below_it_and_nothing_beside() {
        assert!(paths_overlap("src", "src/a.rs"));
        assert!(paths_overlap("src/a.rs", "."));
        assert!(!paths_overlap("src", "src2/a.rs"));
        assert_eq!(directories_above("a/b/c"), [".", "a", "a/b"]);
    }

    proptest! {
        #[test]
        fn overlap_agrees_with_the_directories(a in "[ab]{1,2}(/[ab]{1,2}){0,3}", b in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
            let expected = a == b || directories_above(&a).contains(&b.as_str())
                || directories_above(&b).contains(&a.as_str());
            prop_assert_eq!(paths_overlap(&a, &b), expected);
            prop_assert_eq!(paths_overlap(&b, &a), expected);
        }

        #[test]
        fn a_normal_path_stays_as_it_is(path in "\\PC{0,40}") {
            if let Ok(normal) = normal_path(&path) {
                prop_assert_eq!(normal_path(&normal).unwrap(), normal);
            }
        }
    }
}
