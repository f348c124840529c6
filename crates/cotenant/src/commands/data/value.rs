//! Values of the command line: JSON in an argument, in a file or on stdin.

use std::{
    io::{self, Read as _},
    path::Path,
};

use cotenant_core::{Code, Error, Result, json::Json, json::VALUE_BYTES_MAX};

/// The JSON value of an argument; `-` stands for stdin.
pub(in crate::commands) fn argument(text: &str) -> Result<Json> {
    if text == "-" { file(Path::new("-")) } else { Json::parse(text) }
}

/// A text as a JSON string.
pub(super) fn string(text: &str) -> Json {
    Json::of(&text)
}

/// The JSON value in a file; `-` stands for stdin.
pub(super) fn file(path: &Path) -> Result<Json> {
    let text = text(path)?;
    // The line end that every editor and `echo` leaves is not part of the value.
    Json::parse(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')))
}

/// The text of a file; `-` stands for stdin.
pub(super) fn text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        read_some(io::stdin().lock(), &mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| read_some(file, &mut bytes))
    };
    read.map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Invalid,
        };
        Error::new(code, format!("cannot read `{}`: {error}", path.display())).caused_by(error)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        Error::invalid(format!("`{}` is not UTF-8", path.display())).caused_by(error)
    })
}

/// Reads so much that the check of the size can tell, and not a whole disk.
fn read_some(from: impl io::Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    from.take(2 * VALUE_BYTES_MAX as u64).read_to_end(bytes)
}
