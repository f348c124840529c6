//! Shows changes before they are made.

use similar::TextDiff;

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
    let diff = TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(3)
        .header(&name(&change.before), &name(&change.after))
        .to_string();
    printable(&diff)
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
    }
}
