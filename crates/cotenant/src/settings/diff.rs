//! Shows changes before they are made.

use std::fmt::{Result, Write};

use imara_diff::{
    Algorithm, Diff, InternedInput, Interner, Token, UnifiedDiffConfig, UnifiedDiffPrinter,
};

use super::FileChange;

/// Renders changes as one unified diff of plain text.
///
/// Control characters are shown as escapes, since a file of a foreign project must not command
/// the terminal.
pub(crate) fn unified_diff(changes: &[FileChange]) -> String {
    changes.iter().map(file_diff).collect()
}

fn file_diff(change: &FileChange) -> String {
    let text = |bytes: &Option<Vec<u8>>| {
        String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
    };
    let name = |bytes: &Option<Vec<u8>>| match bytes {
        Some(_) => change.path.display().to_string(),
        None => "/dev/null".to_owned(),
    };
    let (before, after) = (text(&change.before), text(&change.after));
    if before == after {
        return String::new();
    }
    let lines = InternedInput::new(before.as_str(), after.as_str());
    let mut diff = Diff::compute(Algorithm::Histogram, &lines);
    diff.postprocess_lines(&lines);
    let printer = Printer(&lines.interner);
    let hunks = diff.unified_diff(&printer, UnifiedDiffConfig::default(), &lines);
    let (before, after) = (name(&change.before), name(&change.after));
    printable(&format!("--- {before}\n+++ {after}\n{hunks}"))
}

/// Prints as `diff -u` does: a length of one is left out, and that a last line has no end is said.
struct Printer<'a>(&'a Interner<&'a str>);

impl Printer<'_> {
    fn line(&self, mut out: impl Write, mark: char, line: Token) -> Result {
        let line = self.0[line];
        let missing = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
        write!(out, "{mark}{line}{missing}")
    }
}

impl UnifiedDiffPrinter for Printer<'_> {
    fn display_header(
        &self,
        mut out: impl Write,
        start_before: u32,
        start_after: u32,
        len_before: u32,
        len_after: u32,
    ) -> Result {
        let range = |start: u32, lines: u32| match lines {
            0 => format!("{start},0"),
            1 => format!("{}", start + 1),
            _ => format!("{},{lines}", start + 1),
        };
        let (before, after) = (range(start_before, len_before), range(start_after, len_after));
        writeln!(out, "@@ -{before} +{after} @@")
    }

    fn display_context_token(&self, out: impl Write, line: Token) -> Result {
        self.line(out, ' ', line)
    }

    fn display_hunk(&self, mut out: impl Write, before: &[Token], after: &[Token]) -> Result {
        before.iter().try_for_each(|line| self.line(&mut out, '-', *line))?;
        after.iter().try_for_each(|line| self.line(&mut out, '+', *line))
    }
}

fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let text = text.replace("\r\n", "\n");
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<&str>, after: Option<&str>) -> FileChange {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let (before, after) = (bytes(before), bytes(after));
        FileChange { path: "/p/a.json".into(), before, after, private: false }
    }

    #[test]
    fn a_changed_file_is_shown_with_context() {
        assert_eq!(
            unified_diff(&[change(
                Some("{\r\n  \"a\": 1\r\n}\r\n"),
                Some("{\r\n  \"a\": 2\r\n}\r\n")
            )]),
            "--- /p/a.json\n+++ /p/a.json\n@@ -1,3 +1,3 @@\n {\n-  \"a\": 1\n+  \"a\": 2\n }\n"
        );
    }

    #[test]
    fn changes_far_apart_are_shown_apart() {
        let text = |first: &str, last: &str| format!("{first}\n{}{last}", "same\n".repeat(9));
        assert_eq!(
            unified_diff(&[change(Some(&text("a", "y")), Some(&text("b", "z\n")))]),
            "--- /p/a.json\n+++ /p/a.json\n@@ -1,4 +1,4 @@\n-a\n+b\n same\n same\n same\n\
             @@ -8,4 +8,4 @@\n same\n same\n same\n-y\n\\ No newline at end of file\n+z\n"
        );
    }

    #[test]
    fn new_and_deleted_files_are_shown_as_such() {
        assert_eq!(
            unified_diff(&[change(None, Some("{}\n")), change(Some("{}"), None)]),
            "--- /dev/null\n+++ /p/a.json\n@@ -0,0 +1 @@\n+{}\n\
             --- /p/a.json\n+++ /dev/null\n@@ -1 +0,0 @@\n-{}\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn the_terminal_gets_no_commands() {
        let diff = unified_diff(&[change(None, Some("\u{1b}[2J\u{9b}x\tü\n"))]);
        assert!(diff.ends_with("+\\u{1b}[2J\\u{9b}x\tü\n"), "{diff}");
    }

    #[test]
    fn no_change_is_no_text() {
        assert_eq!(unified_diff(&[]), "");
        assert_eq!(unified_diff(&[change(Some("a\n"), Some("a\n"))]), "");
    }
}
