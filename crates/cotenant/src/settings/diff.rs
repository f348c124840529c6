//! Shows changes before they are made.

use diffy::DiffOptions;

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
    let (before_name, after_name) = (name(&change.before), name(&change.after));
    let patch = DiffOptions::new()
        .set_original_filename(before_name)
        .set_modified_filename(after_name)
        .create_patch(&before, &after);
    printable(&patch.to_string())
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

    /// With a library whose first header tells another line than the one it begins with, this was wrong.
    #[test]
    fn a_change_behind_some_lines_says_where_it_is() {
        let text = |line: &str| format!("1\n2\n3\n4\n5\n{line}\n7\n");
        assert_eq!(
            unified_diff(&[change(Some(&text("6")), Some(&text("six")))]),
            "--- /p/a.json\n+++ /p/a.json\n@@ -3,5 +3,5 @@\n 3\n 4\n 5\n-6\n+six\n 7\n"
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
