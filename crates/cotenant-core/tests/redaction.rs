//! The corpora of secrets and of ordinary lines: what must be caught, and what must not.
#![allow(missing_docs)]

use std::{fs, path::Path};

use cotenant_core::redact::secrets;

const FORMATS: &str = include_str!("data/secrets.txt");
const ORDINARY: &str = include_str!("data/ordinary.txt");
/// How many secrets of each format are drawn.
const VARIANTS: usize = 40;
/// What stands around a secret where people paste one.
const CONTEXTS: [&str; 8] = [
    "#",
    "use # please.",
    "export X=#",
    "{\"k\": \"#\"}",
    "(`#`)",
    "https://h.example/?a=#&b=1",
    "x = '#';",
    "first line\nthen #\nand more",
];

/// A small generator of numbers, the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % limit
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[self.below(letters.len())]).collect()
    }
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Fills a template. Answers the text and the parts that must not be seen.
fn fill(template: &str, draw: &mut Draw) -> (String, Vec<String>) {
    let (mut text, mut parts) = (String::new(), Vec::new());
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(&before.replace("\\n", "\n"));
        let (what, after) = behind.split_once('}').expect("a part is closed");
        let (kind, length) = what.split_once(':').unwrap_or((what, "0"));
        let length: usize = length.parse().expect("a length is a number");
        let part = match kind {
            "a" => draw.text(LETTERS, length),
            "x" => draw.text("0123456789abcdef", length),
            "u" => format!(
                "{}{}{}",
                draw.text(LETTERS, 1),
                draw.text(&format!("{LETTERS}_-"), length - 2),
                draw.text(LETTERS, 1)
            ),
            "b" => draw.text(&format!("{LETTERS}+/"), length - 1) + &draw.text(LETTERS, 1),
            "U" => draw.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length),
            "d" => draw.text("123456789", length),
            "p" => format!(
                "{}{}{}{}",
                draw.text(LETTERS, length - 3),
                draw.text("!#%*+", 1),
                draw.text("0123456789", 1),
                draw.text(LETTERS, 1)
            ),
            "g" => [8, 4, 4, 4, 12].map(|length| draw.text("0123456789abcdef", length)).join("-"),
            _ => panic!("unknown part `{what}`"),
        };
        text.push_str(&part);
        parts.push(part);
        rest = after;
    }
    text.push_str(&rest.replace("\\n", "\n"));
    (text, parts)
}

#[test]
fn secrets_of_every_format_are_caught() {
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let (mut all, mut missed, mut weak, mut formats) = (0, Vec::new(), Vec::new(), 0);
    for line in FORMATS.lines().filter(|line| !line.starts_with('#')) {
        let (rule, template) = line.split_once('\t').unwrap();
        formats += 1;
        let mut caught = 0;
        for variant in 0..VARIANTS {
            let (secret, parts) = fill(template, &mut draw);
            let text = CONTEXTS[variant % CONTEXTS.len()].replace('#', &secret);
            let clean = secrets(&text);
            let seen = parts.iter().any(|part| part.len() >= 8 && clean.contains(part.as_str()));
            if !seen && clean.contains(&format!("[redacted:{rule}]")) {
                caught += 1;
            } else {
                missed.push(format!("{rule}: {text} -> {clean}"));
            }
        }
        all += VARIANTS;
        if caught * 10 < VARIANTS * 9 {
            weak.push(format!("{rule} {template}: {caught} of {VARIANTS}"));
        }
    }
    println!("{formats} formats, {all} secrets, {} missed", missed.len());
    assert!(weak.is_empty(), "{}", weak.join("\n"));
    assert!(formats >= 120);
    assert!(missed.len() * 100 <= all, "{} of {all} missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn ordinary_lines_are_left_alone() {
    let lines: Vec<&str> = ORDINARY.lines().collect();
    let wrong: Vec<_> = lines
        .iter()
        .filter(|line| secrets(line) != **line)
        .map(|line| format!("{line} -> {}", secrets(line)))
        .collect();
    println!("{} lines, {} wrong", lines.len(), wrong.len());
    assert!(wrong.len() * 100 <= lines.len(), "{}", wrong.join("\n"));
}

/// The sources of this repository are ordinary lines too.
#[test]
fn this_repository_is_left_alone() {
    let (mut lines, mut wrong) = (0, Vec::new());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders =
        vec![root.join("crates"), root.join("docs"), root.join("xtask"), root.join("plugin")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "data" && name != "target" {
                folders.push(path);
                continue;
            }
            // Those that are about secrets hold some.
            if matches!(name, "redact.rs" | "redaction.rs" | "governance.md") {
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for line in text.lines() {
                lines += 1;
                if secrets(line) != line {
                    wrong.push(format!("{}: {}", path.display(), secrets(line)));
                }
            }
        }
    }
    println!("{lines} lines, {} wrong", wrong.len());
    assert!(lines > 10_000);
    assert!(wrong.len() * 100 <= lines, "{}", wrong.join("\n"));
}
