//! Reads the files of other tools.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use cotenant_core::{
    Code, Error, Result,
    instruction::{AddInstruction, InstructionRef, Trust},
    json::Json,
    name::{TEXT_BYTES_MAX, check_name},
    render::cut,
};
use serde_json::{Map, Value};

use super::{CHECKPOINTS, HISTORY, Own, STATE};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The names under which the text of an instruction is found.
const TEXTS: [&str; 4] = ["text", "instruction", "content", "description"];

/// Something to import.
#[derive(Debug)]
pub(crate) enum Piece {
    /// An instruction, and whether it was in use.
    Instruction { add: Box<AddInstruction>, active: bool },
    /// A key.
    Key { scope: String, key: String, value: Json },
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    own: &'a Own,
    pub(crate) pieces: Vec<Piece>,
    /// How many instructions and keys this store has written itself.
    pub(crate) own_instructions: u64,
    pub(crate) own_keys: u64,
    /// What was not understood, or not taken.
    pub(crate) remarks: Vec<String>,
}

/// Reads a file, or the files of a directory that have a known name.
pub(crate) fn read<'a>(path: &Path, own: &'a Own) -> Result<Found<'a>> {
    let mut found = Found::of(own);
    if !path.is_dir() {
        let value = load(path)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !found.file(name, &value, session_of(path)) && !found.shape(name, &value) {
            return Err(Error::invalid(format!("`{}` has an unknown shape", path.display()))
                .hint("it must be an instruction history, a session's state or its checkpoints"));
        }
        return Ok(found);
    }
    let inner = path.join(".claude");
    let directory = if inner.is_dir() { inner } else { path.to_path_buf() };
    if directory.file_name().is_some_and(|name| name == "session-state") {
        found.scopes(&directory);
    } else {
        found.directory(&directory);
    }
    let is_own = found.own_instructions + found.own_keys > 0;
    if found.pieces.is_empty() && found.remarks.is_empty() && !is_own {
        return Err(Error::new(
            Code::NotFound,
            format!("nothing to import in `{}`", directory.display()),
        ));
    }
    Ok(found)
}

/// The directory of a session that a file is in.
fn session_of(path: &Path) -> Option<&str> {
    let directory = path.parent()?;
    let is_of_session = directory.parent()?.ends_with("sessions");
    directory.file_name()?.to_str().filter(|_| is_of_session)
}

fn load(path: &Path) -> Result<Value> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            Error::new(Code::NotFound, format!("there is no file `{}`", path.display()))
        }
        _ => Error::invalid(format!("cannot read `{}`", path.display())).caused_by(error),
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(Error::new(Code::TooLarge, format!("`{}` has {length} bytes", path.display())));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| {
        Error::unreadable(format_args!("`{}` is not valid JSON", path.display()), &error)
    })
}

/// The entries of a directory, by name.
fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let found = fs::read_dir(directory).into_iter().flatten().flatten();
    let named =
        found.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let mut all: Vec<_> = named.collect();
    all.sort();
    all
}

/// A name as a file has it: `%3A` is a colon.
fn decoded(stem: &str) -> String {
    let (mut text, mut rest) = (Vec::new(), stem.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *byte == b'%');
        let code = digits.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
        text.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(text).unwrap_or_else(|_| stem.to_owned())
}

impl<'a> Found<'a> {
    fn of(own: &'a Own) -> Self {
        Self { own, pieces: Vec::new(), own_instructions: 0, own_keys: 0, remarks: Vec::new() }
    }

    fn directory(&mut self, directory: &Path) {
        for (name, path) in entries(directory) {
            match name.as_str() {
                "session-state" if path.is_dir() => self.scopes(&path),
                "sessions" if path.is_dir() => {
                    for (session, path) in entries(&path) {
                        for (name, path) in entries(&path) {
                            self.load(&name, &path, Some(&session));
                        }
                    }
                }
                _ if path.is_dir() => {}
                _ if path.extension().is_some_and(|it| it == "json") => {
                    self.load(&name, &path, None);
                }
                _ => {}
            }
        }
    }

    fn load(&mut self, name: &str, path: &Path, session: Option<&str>) {
        match load(path) {
            Ok(value) if self.file(name, &value, session) => {}
            Ok(_) => self.remarks.push(format!("left alone: {}", path.display())),
            Err(error) => self.remarks.push(error.message),
        }
    }

    /// Takes a file in whose name is known.
    fn file(&mut self, name: &str, value: &Value, session: Option<&str>) -> bool {
        match name {
            "instruction-history.json" => self.history(value),
            "session-state.json" | "state.json" => self.figures(STATE, value, session),
            "token-checkpoints.json" | "checkpoints.json" => {
                self.figures(CHECKPOINTS, value, session)
            }
            _ => false,
        }
    }

    /// Takes a file in that says what it is.
    fn shape(&mut self, name: &str, value: &Value) -> bool {
        if value.get("checkpoints").is_some() {
            return self.figures(CHECKPOINTS, value, None);
        }
        if value.get("session_id").is_some() && value.get("instructions").is_none() {
            return self.figures(STATE, value, None);
        }
        let _ = name;
        self.history(value)
    }

    /// An instruction history.
    fn history(&mut self, value: &Value) -> bool {
        let list = value.as_array().or_else(|| value.get("instructions")?.as_array());
        let Some(list) = list else { return false };
        for (index, entry) in list.iter().enumerate() {
            self.instruction(index, entry);
        }
        let others =
            value.as_object().into_iter().flatten().filter(|(name, _)| *name != "instructions");
        let others: Map<String, Value> =
            others.map(|(name, it)| (name.clone(), it.clone())).collect();
        if !others.is_empty() {
            self.key(HISTORY, "file", &Value::Object(others));
        }
        true
    }

    fn instruction(&mut self, index: usize, entry: &Value) {
        let text =
            entry.as_str().or_else(|| TEXTS.iter().find_map(|name| entry.get(*name)?.as_str()));
        let id = entry.get("id").and_then(Value::as_str).map(str::to_owned);
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            self.remarks.push(format!("entry {index} has no text"));
            self.key(HISTORY, &format!("entry-{index}"), entry);
            return;
        };
        if text.len() > TEXT_BYTES_MAX {
            self.remarks
                .push(format!("entry {index} is longer than {TEXT_BYTES_MAX} bytes; kept as data"));
            self.key(HISTORY, &id.unwrap_or_else(|| format!("entry-{index}")), entry);
            return;
        }
        // Without an id of its own, what it says names it, so that importing it again adds nothing.
        let alias = id
            .unwrap_or_else(|| format!("legacy-{}", &cotenant_core::event::sha256_hex(text)[..16]));
        if self.own.has_written(&alias, text) {
            self.own_instructions += 1;
            return;
        }
        let field = |name: &str| entry.get(name).and_then(Value::as_str);
        let said = [
            ("source", "said by "),
            ("session_id", "session "),
            ("timestamp", "at "),
            ("created_at", "at "),
        ];
        let said = said.iter().filter_map(|(name, word)| Some(format!("{word}{}", field(name)?)));
        let said: Vec<String> =
            ["instruction-history.json".to_owned()].into_iter().chain(said).collect();
        let predecessor = field("supersedes").filter(|it| check_name("instruction", it).is_ok());
        let add = AddInstruction {
            alias: Some(alias.clone()),
            key: field("key").filter(|key| check_name("key", key).is_ok()).map(str::to_owned),
            source: Some(cut(&said.join("; "), 1_000).to_owned()),
            supersedes: predecessor.map(|it| InstructionRef(it.to_owned())),
            contest: predecessor.is_some(),
            // Whoever reads a file does not say what stands in it.
            trust: Some(Trust::External),
            ..AddInstruction::new(text)
        };
        let active = entry.get("active") != Some(&Value::Bool(false));
        self.pieces.push(Piece::Instruction { add: Box::new(add), active });
        if self.own.says(&alias, entry) {
            self.own_keys += u64::from(entry.is_object());
        } else if entry.is_object() {
            self.key(HISTORY, &alias, entry);
        }
    }

    /// A session's figures.
    fn figures(&mut self, scope: &str, value: &Value, session: Option<&str>) -> bool {
        if !value.is_object() {
            return false;
        }
        if session.is_some_and(|directory| self.own.is_session(directory)) {
            self.own_keys += 1;
            return true;
        }
        let imported = session.and_then(|directory| self.own.imported(directory));
        let named = imported.or_else(|| value.get("session_id").and_then(Value::as_str));
        self.key(scope, named.or(session).unwrap_or("unnamed"), value);
        true
    }

    /// Keys by scope.
    fn scopes(&mut self, directory: &Path) {
        for (name, path) in entries(directory) {
            if path.is_dir() {
                for (key, path) in entries(&path) {
                    match (key.strip_suffix(".json"), load(&path)) {
                        (Some(key), Ok(value)) => self.key(&decoded(&name), &decoded(key), &value),
                        _ => self.remarks.push(format!("left alone: {}", path.display())),
                    }
                }
                continue;
            }
            match (name.strip_suffix(".json"), load(&path)) {
                (Some(scope), Ok(Value::Object(keys))) => {
                    for (key, value) in &keys {
                        self.key(&decoded(scope), key, value);
                    }
                }
                _ => self.remarks.push(format!("left alone: {}", path.display())),
            }
        }
    }

    fn key(&mut self, scope: &str, key: &str, value: &Value) {
        let fits = check_name("scope", scope).and_then(|()| check_name("key", key));
        match fits.and_then(|()| Json::parse(value.to_string())) {
            Ok(value) => {
                self.pieces.push(Piece::Key {
                    scope: scope.to_owned(),
                    key: key.to_owned(),
                    value,
                });
            }
            Err(error) => self.remarks.push(error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_history_is_read_in_both_shapes() {
        let entry = json!({"id": "inst_001", "text": "MongoDB runs on port 27017", "source": "user",
            "session_id": "2025-10-07-001", "active": false, "persistence": "HIGH"});
        for value in [
            json!([entry, "just words"]),
            json!({"version": "1.0", "instructions": [entry, "just words"]}),
        ] {
            let own = Own::default();
            let mut found = Found::of(&own);
            assert!(found.history(&value));
            let Piece::Instruction { add, active } = &found.pieces[0] else { panic!("{found:?}") };
            assert_eq!(
                (add.alias.as_deref(), add.trust, *active),
                (Some("inst_001"), Some(Trust::External), false)
            );
            assert_eq!(
                add.source.as_deref(),
                Some("instruction-history.json; said by user; session 2025-10-07-001")
            );
            let Piece::Key { scope, key, value } = &found.pieces[1] else { panic!("{found:?}") };
            assert_eq!((scope.as_str(), key.as_str()), (HISTORY, "inst_001"));
            assert!(value.text().contains("\"persistence\":\"HIGH\""));
            assert!(found.remarks.is_empty());
        }
    }

    #[test]
    fn what_has_no_text_is_told_and_kept() {
        let own = Own::default();
        let mut found = Found::of(&own);
        assert!(found.history(&json!([{"id": "x"}, 7])));
        assert_eq!(found.remarks, ["entry 0 has no text", "entry 1 has no text"]);
        assert_eq!(found.pieces.len(), 2);
        assert!(!found.history(&json!({"instructions": 7})) && !found.history(&json!("x")));
    }

    #[test]
    fn names_of_files_are_names_of_scopes() {
        assert_eq!(decoded("issue%3A15"), "issue:15");
        assert_eq!(decoded("50%"), "50%");
        assert_eq!(decoded("%zz%41"), "%zzA");
    }
}
