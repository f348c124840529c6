//! Free texts on their way to others, and transcripts.

use cotenant_core::{
    json::Json,
    name::is_deceptive,
    redact,
    render::{INJECTION_BYTES_MAX, Part, for_agent, inline},
};

use crate::{input::texts as parts, transcript::Tally};

/// A frame keeps what is in it, and what is redacted stays so.
pub(crate) fn texts(bytes: &[u8]) {
    let [text, writer, drawn] = parts(bytes);
    let once = redact::secrets(&text).into_owned();
    assert_eq!(redact::secrets(&once), once, "redacting again changes it");
    let json = redact::in_json(&Json::of(&serde_json::json!({"token": text, "n": [text]})));
    Json::parse(json.text()).expect("redacted JSON is JSON");
    let line = inline(&text);
    assert!(!line.contains('\n') && !line.chars().any(is_deceptive), "{line:?}");
    let delimiter = format!("d{}", drawn.len());
    let quote = Part::Quote { writer, trust: "agent".into(), text };
    let framed = for_agent(&[quote], &delimiter);
    assert!(framed.len() <= INJECTION_BYTES_MAX, "{}", framed.len());
    let lines: Vec<&str> = framed.lines().collect();
    let (open, close) = (format!("<<{delimiter} "), format!("<<end {delimiter}>>"));
    assert!(lines[0].starts_with(&open) && lines[lines.len() - 1] == close, "{framed:?}");
    assert!(lines[1..lines.len() - 1].iter().all(|line| line.starts_with("| ")), "{framed:?}");
    assert_eq!(framed.matches(&close).count(), 1, "{framed:?}");
}

/// Reading in parts is reading at once, and what is kept reads back.
pub(crate) fn transcripts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (mut whole, mut apart) = (Tally::default(), Tally::default());
    whole.read(&text);
    for line in text.lines() {
        apart.read(line);
        let kept = serde_json::to_string(&apart).expect("a tally is JSON");
        apart = serde_json::from_str(&kept).expect("what is kept reads back");
    }
    assert_eq!(whole, apart);
    assert!(whole.context >= 0 && whole.recent_errors() <= 10, "{whole:?}");
    assert!(whole.counters.values().all(|count| *count > 0), "{whole:?}");
}
