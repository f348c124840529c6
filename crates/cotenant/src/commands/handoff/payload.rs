//! What the next one should know, from the command line and to the screen.

use std::{fs, path::Path};

use cotenant_core::{
    Error, Result,
    json::{Json, merge_patch},
    render::for_terminal,
};
use serde_json::{Map, Value, json};

use super::super::data::value;
use crate::output::Screen;

/// The conventional fields, and any others as JSON.
#[derive(clap::Args)]
pub(super) struct Fields {
    /// Where the work stands, e.g. `implementation_complete`
    #[arg(long, value_name = "WORD")]
    phase: Option<String>,
    /// What to do next; may be given several times
    #[arg(long = "next", value_name = "STEP")]
    next: Vec<String>,
    /// The branch that it is on
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// The top of the work tree that it is in
    #[arg(long, value_name = "DIRECTORY")]
    worktree: Option<String>,
    /// A file that was changed; may be given several times
    #[arg(long = "modified", value_name = "FILE")]
    modified: Vec<String>,
    /// A test that was added; may be given several times
    #[arg(long = "test", value_name = "FILE")]
    tests: Vec<String>,
    /// More as a JSON object; `-` reads it from stdin
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
}

impl Fields {
    /// Fails if something is said without a word.
    fn check(&self) -> Result<()> {
        let one = |name, word: &Option<String>| (name, word.iter().cloned().collect::<Vec<_>>());
        let said = [
            one("--phase", &self.phase),
            ("--next", self.next.clone()),
            one("--branch", &self.branch),
            one("--worktree", &self.worktree),
            ("--modified", self.modified.clone()),
            ("--test", self.tests.clone()),
        ];
        let blank = |words: &[String]| words.iter().any(|word| word.trim().is_empty());
        match said.into_iter().find(|(_, words)| blank(words)) {
            Some((name, _)) => Err(Error::invalid(format!("`{name}` is empty"))
                .hint("leave the option out, or say something")),
            None => Ok(()),
        }
    }

    /// The payload, if anything was said by somebody in a directory.
    pub(super) fn payload(&self, directory: &Path) -> Result<Option<Json>> {
        self.check()?;
        let worktree = self.worktree.as_deref().map(|said| top(directory, said)).transpose()?;
        let given = self.payload.as_deref().map(value::argument).transpose()?;
        let mut context = Map::new();
        let mut fields = Map::new();
        for (name, list) in [("files_modified", &self.modified), ("tests_added", &self.tests)] {
            if !list.is_empty() {
                context.insert(name.to_owned(), json!(list));
            }
        }
        for (name, word) in [("branch", &self.branch), ("worktree", &worktree)] {
            if let Some(word) = word {
                context.insert(name.to_owned(), json!(word));
            }
        }
        if let Some(phase) = &self.phase {
            fields.insert("phase".to_owned(), json!(phase));
        }
        if !self.next.is_empty() {
            fields.insert("next_steps".to_owned(), json!(self.next));
        }
        if !context.is_empty() {
            fields.insert("context".to_owned(), Value::Object(context));
        }
        Ok(match (given, fields.is_empty()) {
            (None, true) => None,
            (Some(given), true) => Some(given),
            (given, false) => {
                let base = given.as_ref().map_or("{}", Json::text);
                Some(Json::stored(merge_patch(base, &Value::Object(fields).to_string())?))
            }
        })
    }
}

/// A work tree as its path, whatever it was named from.
fn top(directory: &Path, said: &str) -> Result<String> {
    let found = fs::canonicalize(directory.join(said)).ok().filter(|found| found.is_dir());
    found.and_then(|found| found.to_str().map(str::to_owned)).ok_or_else(|| {
        Error::invalid(format!("`--worktree`: there is no directory `{}`", for_terminal(said)))
            .hint("`git worktree list` shows those of this repository")
    })
}

/// Prints a payload, a field a line; the fields of a field are indented.
pub(super) fn print(screen: &mut Screen, payload: &Json) {
    if let Ok(Value::Object(fields)) = payload.value() {
        print_fields(screen, &fields, "  ");
    }
}

fn print_fields(screen: &mut Screen, fields: &Map<String, Value>, indent: &str) {
    let deepest = indent.len() > 2;
    for (name, value) in fields {
        let name = for_terminal(name);
        match value {
            Value::Null => {}
            Value::Array(list) if list.is_empty() => {}
            Value::String(text) => screen.line(format!("{indent}{name}: {}", for_terminal(text))),
            Value::Array(list) if list.iter().all(Value::is_string) => {
                screen.line(format!("{indent}{name}:"));
                for text in list.iter().filter_map(Value::as_str) {
                    screen.line(format!("{indent}  - {}", for_terminal(text)));
                }
            }
            Value::Object(inner) if !deepest && !inner.is_empty() => {
                screen.line(format!("{indent}{name}:"));
                print_fields(screen, inner, "    ");
            }
            other => screen.line(format!("{indent}{name}: {}", for_terminal(&other.to_string()))),
        }
    }
}
