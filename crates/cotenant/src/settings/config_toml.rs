//! Our MCP server in a TOML file, as `[mcp_servers.cotenant]`.
//!
//! The parser says where things are and the text is cut and extended there: writing the parsed
//! tree back would turn every line ending into a bare newline.

use std::ops::Range;
use std::path::Path;

use toml_edit::{Array, Document, DocumentMut, InlineTable, Item, TableLike, Value};

use super::command::is_our_program;
use super::document::{decode, position};
use super::{Entry, SettingsError};

const BOM: &str = "\u{feff}";

/// A server to install or to remove.
struct Server<'a> {
    /// The key of the table of servers.
    servers: &'a str,
    name: &'a str,
    command: &'a str,
    args: &'a [String],
}

/// Installs the servers among the entries into a file's bytes. TOML files hold nothing else of us.
pub(super) fn install(
    path: &Path,
    bytes: Option<&[u8]>,
    entries: &[Entry],
) -> Result<Vec<u8>, SettingsError> {
    edit(path, bytes.unwrap_or_default(), entries, installed)
}

/// Removes the servers among the entries from a file's bytes.
pub(super) fn uninstall(
    path: &Path,
    bytes: &[u8],
    entries: &[Entry],
) -> Result<Vec<u8>, SettingsError> {
    edit(path, bytes, entries, removed)
}

fn edit(
    path: &Path,
    bytes: &[u8],
    entries: &[Entry],
    change: impl Fn(&Path, &str, &Server<'_>) -> Result<String, SettingsError>,
) -> Result<Vec<u8>, SettingsError> {
    let (bom, text) = decode(path, bytes)?;
    let mut text = text.to_owned();
    for entry in entries {
        if let Entry::Server { servers, name, command, args } = entry
            && let [servers] = servers.as_slice()
        {
            text = change(path, &text, &Server { servers, name, command, args })?;
        }
    }
    Ok(format!("{}{text}", if bom { BOM } else { "" }).into_bytes())
}

fn installed(path: &Path, text: &str, server: &Server<'_>) -> Result<String, SettingsError> {
    let document = parse(path, text)?;
    let Some(found) = find(path, text, &document, server)? else {
        let extended = appended(text, server);
        // A table of servers written in braces cannot be continued by a header further down.
        return if Document::parse(extended.as_str()).is_ok() {
            Ok(extended)
        } else {
            Ok(with_tree(text, server, |servers| {
                servers.insert(server.name, Item::Value(server.inline().into()));
            }))
        };
    };
    let same_command = found.get("command").and_then(Item::as_str) == Some(server.command);
    let same_args = args(found) == Some(server.args.iter().map(String::as_str).collect());
    if same_command && same_args {
        return Ok(text.to_owned());
    }
    if !is_ours(found) {
        let (line, column) = position(text, span(document.get(server.servers), server.name).start);
        let key = format!("{}.{}", server.servers, server.name);
        return Err(SettingsError::NameTaken { path: path.to_owned(), line, column, key });
    }
    let mut fields = vec![
        (found.get("command").and_then(Item::span), literal(server.command.into())),
        (found.get("args").and_then(Item::span), literal(Value::Array(server.array()))),
    ];
    fields.sort_by_key(|(span, _)| span.as_ref().map(|span| span.start));
    let mut edited = text.to_owned();
    for (span, value) in fields.into_iter().rev() {
        edited.replace_range(span.unwrap_or_default(), &value);
    }
    Ok(edited)
}

fn removed(path: &Path, text: &str, server: &Server<'_>) -> Result<String, SettingsError> {
    let document = parse(path, text)?;
    let Some(found) = find(path, text, &document, server)? else { return Ok(text.to_owned()) };
    let written = found.get("command").and_then(Item::as_str) == Some(server.command);
    if !written && !is_ours(found) {
        return Ok(text.to_owned());
    }
    let mut statements = Vec::new();
    if let Some(servers) = document.get(server.servers).and_then(Item::as_table) {
        collect(text, servers, server.name, &mut statements);
    }
    statements.sort_by_key(|range| range.start);
    let mut edited = text.to_owned();
    for range in statements.iter().rev() {
        cut(&mut edited, range.clone());
    }
    let gone = |text: &str| {
        let document = Document::parse(text).ok()?;
        Some(document.get(server.servers).is_none_or(|servers| servers.get(server.name).is_none()))
    };
    if gone(&edited) == Some(true) {
        return Ok(edited);
    }
    Ok(with_tree(text, server, |servers| drop(servers.remove(server.name))))
}

impl Server<'_> {
    fn array(&self) -> Array {
        self.args.iter().map(String::as_str).collect()
    }

    fn inline(&self) -> InlineTable {
        let command = ("command", Value::from(self.command));
        [command, ("args", Value::Array(self.array()))].into_iter().collect()
    }
}

fn parse<'a>(path: &Path, text: &'a str) -> Result<Document<&'a str>, SettingsError> {
    Document::parse(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        let message = error.message().to_owned();
        SettingsError::Parse { path: path.to_owned(), line, column, message }
    })
}

fn find<'a>(
    path: &Path,
    text: &str,
    document: &'a Document<&str>,
    server: &Server<'_>,
) -> Result<Option<&'a dyn TableLike>, SettingsError> {
    let table = |item: &'a Item, key: String| {
        item.as_table_like().ok_or_else(|| {
            let (line, column) = position(text, item.span().unwrap_or_default().start);
            let (path, expected, found) = (path.to_owned(), "a table", "something else");
            SettingsError::Shape { path, line, column, key, expected, found }
        })
    };
    let Some(servers) = document.get(server.servers) else { return Ok(None) };
    let servers = table(servers, server.servers.to_owned())?;
    let Some(found) = servers.get(server.name) else { return Ok(None) };
    table(found, format!("{}.{}", server.servers, server.name)).map(Some)
}

fn is_ours(server: &dyn TableLike) -> bool {
    server.get("command").and_then(Item::as_str).is_some_and(is_our_program)
        && args(server).is_some_and(|args| args.first() == Some(&"mcp"))
}

fn args(server: &dyn TableLike) -> Option<Vec<&str>> {
    server.get("args")?.as_array()?.iter().map(Value::as_str).collect()
}

fn span(servers: Option<&Item>, name: &str) -> Range<usize> {
    servers.and_then(|servers| servers.get(name)?.span()).unwrap_or_default()
}

fn literal(mut value: Value) -> String {
    value.decor_mut().clear();
    value.to_string()
}

fn appended(text: &str, server: &Server<'_>) -> String {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut extended = text.to_owned();
    if !text.is_empty() {
        if !text.ends_with('\n') {
            extended.push_str(newline);
        }
        extended.push_str(newline);
    }
    let lines = [
        format!("[{}.{}]", server.servers, server.name),
        format!("command = {}", literal(server.command.into())),
        format!("args = {}", literal(Value::Array(server.array()))),
    ];
    for line in lines {
        extended.push_str(&line);
        extended.push_str(newline);
    }
    extended
}

/// Edits by way of the tree, for forms so rare that the line endings are put right afterwards.
fn with_tree(text: &str, server: &Server<'_>, change: impl Fn(&mut dyn TableLike)) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else { return text.to_owned() };
    if let Some(servers) = document.get_mut(server.servers).and_then(Item::as_table_like_mut) {
        change(servers);
    }
    let edited = document.to_string();
    if text.contains("\r\n") { edited.replace("\r\n", "\n").replace('\n', "\r\n") } else { edited }
}

/// Gathers where the text speaks of a key: its statement, or its header and all statements below.
fn collect(text: &str, table: &toml_edit::Table, key: &str, ranges: &mut Vec<Range<usize>>) {
    let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    match table.get(key) {
        Some(Item::Table(inner)) => {
            if !inner.is_dotted() && !inner.is_implicit() {
                ranges.extend(inner.span());
            }
            for (key, _) in inner {
                collect(text, inner, key, ranges);
            }
        }
        Some(Item::Value(value)) => {
            ranges.extend(value.span().map(|span| line_start(span.start)..span.end));
        }
        _ => {}
    }
}

/// Cuts a statement with its line, unless a comment shares the line; then the comment stays.
fn cut(text: &mut String, range: Range<usize>) {
    let blank = |c: char| c == ' ' || c == '\t';
    let start = text[..range.start].trim_end_matches(blank).len();
    let rest = text[range.end..].trim_start_matches(blank);
    let end = text.len() - rest.len();
    let newline = ["\r\n", "\n"].into_iter().find(|newline| rest.starts_with(newline));
    let end = end + newline.map_or(0, str::len);
    text.replace_range(start..end, "");
    let (before, after) = text.split_at(start);
    // The blank line that set our table apart has nothing to set apart any more.
    let gap = ["\r\n\r\n", "\n\n"].into_iter().find(|gap| before.ends_with(gap));
    if let Some(gap) = gap
        && (after.is_empty() || after.starts_with('\n') || after.starts_with("\r\n"))
    {
        text.replace_range(start - gap.len() / 2..start, "");
    }
}

#[cfg(test)]
#[path = "config_toml_tests.rs"]
mod tests;
