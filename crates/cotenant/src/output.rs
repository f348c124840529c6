//! What a command prints: the answer on stdout, the talk on stderr.

use std::io::Write as _;

/// Prints a line to stderr. Nobody can be told if that fails.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
