//! Puts entries of ours into a JSON document, and takes them out.

use std::path::Path;

use jsonc_parser::cst::{CstArray, CstInputValue};
use serde_json::{Value, json};

use super::command::is_our_program;
use super::delete::delete;
use super::document::{Document, Step, steps};
use super::hooks::{self, Hook};
use super::{Entry, SettingsError};

/// Installs entries into a file's bytes. Entries that are there already stay as they are.
pub(super) fn install(
    path: &Path,
    bytes: Option<&[u8]>,
    entries: &[Entry],
) -> Result<Vec<u8>, SettingsError> {
    let mut document = Document::parse(path, bytes)?;
    for entry in entries {
        match entry {
            Entry::Hook { event, matcher, command, timeout } => {
                let (matcher, timeout) = (matcher.as_deref(), *timeout);
                hooks::install(&mut document, &Hook { event, matcher, command, timeout })?;
            }
            Entry::Listed { list, text } => install_text(&document, &borrowed(list), text)?,
            Entry::Server { servers, name, command, args } => {
                let fields = [
                    ("type", "stdio".into()),
                    ("command", command.as_str().into()),
                    ("args", borrowed(args).into()),
                ];
                install_server(&document, &borrowed(servers), name, &fields)?;
            }
        }
    }
    let events: Vec<&str> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Hook { event, .. } => Some(event.as_str()),
            _ => None,
        })
        .collect();
    if !events.is_empty() {
        hooks::remove_stale(&mut document, &events)?;
    }
    Ok(document.bytes())
}

fn install_text(document: &Document, keys: &[&str], text: &str) -> Result<(), SettingsError> {
    let list = document.require_array(keys)?;
    if position(&list, text).is_none() {
        list.append(text.into());
    }
    Ok(())
}

fn position(list: &CstArray, text: &str) -> Option<usize> {
    let listed = |value: Value| value.as_str() == Some(text);
    list.elements().iter().position(|node| node.to_serde_value().is_some_and(listed))
}

fn install_server(
    document: &Document,
    servers: &[&str],
    name: &str,
    fields: &[(&str, Value)],
) -> Result<(), SettingsError> {
    let keys: Vec<&str> = servers.iter().copied().chain([name]).collect();
    let Some(server) = document.find_object(&keys)? else {
        let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), input(value)));
        let fields = CstInputValue::Object(fields.collect());
        document.require_object(servers)?.append(name, fields);
        return Ok(());
    };
    let value = server.to_serde_value().unwrap_or_default();
    if !is_our_server(&value) && fields.iter().any(|(key, wanted)| value[key] != *wanted) {
        let node = document.find(&steps(&keys)).expect("the server was found above");
        return Err(document.name_taken(&node, keys.join(".")));
    }
    // Field by field: an `env` that somebody added stays. Some writers leave `type` out.
    for (key, wanted) in fields {
        match server.get(key) {
            Some(prop) if value[key] != *wanted => prop.set_value(input(wanted)),
            None if *key != "type" => {
                server.append(key, input(wanted));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A text or a list of texts, for the syntax tree.
fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Array(texts) => CstInputValue::Array(texts.iter().map(input).collect()),
        value => value.as_str().unwrap_or_default().into(),
    }
}

/// Tells whether a server, as JSON or TOML had it, is one of ours, under whatever path.
pub(super) fn is_our_server(server: &Value) -> bool {
    server["command"].as_str().is_some_and(is_our_program) && server["args"][0] == "mcp"
}

/// Removes entries from a file's bytes, and the lists and objects that are empty for it and that
/// `original`, the file before our first edit, did not have.
///
/// Hooks and servers go if they run us. A text goes only if it was not there before us.
pub(super) fn uninstall(
    path: &Path,
    bytes: &[u8],
    entries: &[Entry],
    original: Option<&Document>,
) -> Result<Document, SettingsError> {
    let mut document = Document::parse(path, Some(bytes))?;
    let commands: Vec<&str> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Hook { command, .. } => Some(command.as_str()),
            _ => None,
        })
        .collect();
    if !commands.is_empty() {
        hooks::remove_all(&mut document, &commands, original)?;
    }
    for entry in entries {
        match entry {
            Entry::Hook { .. } => {}
            Entry::Listed { list, text } => {
                remove_text(&mut document, &borrowed(list), text, original)?;
            }
            Entry::Server { servers, name, command, args } => {
                let written = json!({ "command": command, "args": args });
                remove_server(&mut document, &borrowed(servers), name, &written, original)?;
            }
        }
    }
    Ok(document)
}

fn remove_text(
    document: &mut Document,
    keys: &[&str],
    text: &str,
    original: Option<&Document>,
) -> Result<(), SettingsError> {
    let find = |document: &Document| -> Result<Option<usize>, SettingsError> {
        Ok(document.find_array(keys)?.and_then(|list| position(&list, text)))
    };
    // A list the original had in a form we refuse cannot have held the text.
    if original.is_some_and(|original| matches!(find(original), Ok(Some(_)))) {
        return Ok(());
    }
    if let Some(index) = find(document)? {
        let mut place = steps(keys);
        place.push(Step::Index(index));
        delete(document, &place)?;
        prune(document, keys, original)?;
    }
    Ok(())
}

fn remove_server(
    document: &mut Document,
    servers: &[&str],
    name: &str,
    written: &Value,
    original: Option<&Document>,
) -> Result<(), SettingsError> {
    let keys: Vec<&str> = servers.iter().copied().chain([name]).collect();
    let Some(value) = document.find_object(&keys)?.and_then(|server| server.to_serde_value())
    else {
        return Ok(());
    };
    let as_written = ["command", "args"].iter().all(|key| value[key] == written[key]);
    if as_written || is_our_server(&value) {
        delete(document, &steps(&keys))?;
        prune(document, servers, original)?;
    }
    Ok(())
}

/// Deletes what is empty behind some keys, from the inside out, as far as the original had none.
pub(super) fn prune(
    document: &mut Document,
    keys: &[&str],
    original: Option<&Document>,
) -> Result<(), SettingsError> {
    for depth in (1..=keys.len()).rev() {
        let place = steps(&keys[..depth]);
        let Some(node) = document.find(&place) else { continue };
        // The two brackets; anything more is a value or a comment, or a gap that says nothing.
        let empty = node
            .children()
            .iter()
            .all(|node| node.is_token() || node.is_whitespace() || node.is_newline());
        let had = original.is_some_and(|original| original.find(&place).is_some());
        if !empty || had {
            break;
        }
        delete(document, &place)?;
    }
    Ok(())
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
