//! What an agent's transcript says that its session has used.
//!
//! Claude Code appends a row of JSON for each part of a message. It is read from where the last hook stopped;
//! what was counted so far is kept beside the store (`measure`), so that losing it costs one more reading.
//!
//! Measured: one answer is several rows with one `message.id` and one usage; a failed request is a row of
//! the model `<synthetic>` without usage; a subagent's rows are in files of their own; behind a
//! `compact_boundary` the context begins anew. Rows of other types, and unknown ones, are skipped.
//!
//! A conversation that was rewound, or is gone on with twice, has branches: rows name their parents. What an
//! abandoned branch has used stays used. The context is that of the branch that was written last: of its newest
//! answer or, until there is one, as it was where the prompt goes on.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_core::{
    event::sha256_hex,
    metric::{Numbers, names},
    pressure::RECENT_CALLS,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many ids of messages, of calls without result, and of prompts are remembered.
const RECENT: usize = 64;
/// How many attachments are remembered: those that may stand before the next prompt.
const ATTACHED: usize = 16;
/// How much of a row's id tells it from others.
const ROW_ID_LETTERS: usize = 18;
/// How many files are told apart.
const FILES_MAX: usize = 1_024;
/// How many pairs of tool and kind of failure are told apart.
const KINDS_MAX: usize = 40;
/// No answer has more tokens of a kind.
const TOKENS_MAX: i64 = 1_000_000_000;
/// The model of rows that no model wrote.
const SYNTHETIC: &str = "<synthetic>";

/// What has been counted of one transcript.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tally {
    /// Tokens by model.
    pub(crate) tokens: BTreeMap<String, Numbers>,
    /// Everything else that only grows.
    pub(crate) counters: Numbers,
    /// Tokens in the context now.
    pub(crate) context: i64,
    /// The model that answered last.
    pub(crate) model: String,
    /// Messages that were counted, the newest last.
    pub(super) messages: Vec<String>,
    /// Calls without a result yet: id and tool.
    pub(super) calls: Vec<(String, String)>,
    /// Whether the last calls failed, the newest last.
    pub(super) outcomes: Vec<bool>,
    /// The rows that prompts followed, each with the tokens that were in the context then.
    pub(super) turns: Vec<(String, i64)>,
    /// Attachments, each with the row that it hangs on.
    pub(super) attached: Vec<(String, String)>,
    /// Short digests of the files that were edited.
    pub(super) files: BTreeSet<String>,
}

impl Tally {
    /// Takes in whole rows of a session; those of its subagents are left out.
    pub(crate) fn read(&mut self, rows: &str) {
        self.rows(rows, false);
    }

    /// Takes in whole rows of a subagent.
    pub(crate) fn read_sidechain(&mut self, rows: &str) {
        self.rows(rows, true);
    }

    fn rows(&mut self, rows: &str, sidechain: bool) {
        let rows = rows.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for row in rows.filter(|row| (row["isSidechain"] == true) == sidechain) {
            self.row(&row);
        }
    }

    /// How many files were edited.
    pub(crate) fn files(&self) -> i64 {
        self.files.len() as i64
    }

    /// How many of the last calls failed.
    pub(crate) fn recent_errors(&self) -> i64 {
        self.outcomes.iter().filter(|failed| **failed).count() as i64
    }

    fn row(&mut self, row: &Value) {
        match row["type"].as_str() {
            Some("assistant") => self.answer(&row["message"]),
            Some("user") => self.heard(row),
            Some("attachment") => {
                let on = self.follows(row);
                remember(&mut self.attached, (row_id(&row["uuid"]), on));
                let old = self.attached.len().saturating_sub(ATTACHED);
                self.attached.drain(..old);
            }
            Some("system") if row["subtype"] == "compact_boundary" => {
                // What is left is known with the next answer.
                self.context = 0;
                self.count(names::COMPACTIONS, 1);
            }
            _ => {}
        }
    }

    fn answer(&mut self, message: &Value) {
        let model = message["model"].as_str().unwrap_or_default();
        if model == SYNTHETIC {
            return;
        }
        for block in message["content"].as_array().into_iter().flatten() {
            if block["type"] == "tool_use" {
                self.called(block);
            }
        }
        let Some(id) = message["id"].as_str() else { return };
        if self.messages.iter().any(|known| known == id) {
            return;
        }
        remember(&mut self.messages, id.to_owned());
        self.count(names::MESSAGES, 1);
        let tokens = |name: &str| message["usage"][name].as_i64().unwrap_or(0).clamp(0, TOKENS_MAX);
        let (input, output) = (tokens("input_tokens"), tokens("output_tokens"));
        let written = tokens("cache_creation_input_tokens");
        let read = tokens("cache_read_input_tokens");
        let of_model = self.tokens.entry(model.to_owned()).or_default();
        for (name, number) in [
            (names::TOKENS_INPUT, input),
            (names::TOKENS_OUTPUT, output),
            (names::TOKENS_CACHE_WRITE, written),
            (names::TOKENS_CACHE_READ, read),
        ] {
            let sum = of_model.entry(name.to_owned()).or_default();
            *sum = sum.saturating_add(number);
        }
        self.context = input + written + read;
        model.clone_into(&mut self.model);
    }

    fn called(&mut self, block: &Value) {
        let (Some(id), Some(tool)) = (block["id"].as_str(), block["name"].as_str()) else { return };
        if self.calls.iter().any(|(known, _)| known == id) {
            return;
        }
        self.count(names::TOOL_CALLS, 1);
        if matches!(tool, "Edit" | "Write" | "MultiEdit" | "NotebookEdit") {
            let input = &block["input"];
            let file = input["file_path"].as_str().or_else(|| input["notebook_path"].as_str());
            if let Some(file) = file.filter(|_| self.files.len() < FILES_MAX) {
                self.files.insert(sha256_hex(file)[..12].to_owned());
            }
        }
        remember(&mut self.calls, (id.to_owned(), tool.to_owned()));
    }

    fn heard(&mut self, row: &Value) {
        let content = &row["message"]["content"];
        let blocks = || content.as_array().into_iter().flatten();
        let mut results = false;
        for block in blocks().filter(|block| block["type"] == "tool_result") {
            results = true;
            self.result(block);
        }
        // What the client writes about its own commands is no message.
        let said = text(content);
        let of_client =
            ["<command-name>", "<local-command-"].iter().any(|tag| said.starts_with(tag));
        let ours = row["isMeta"] == true || row["isCompactSummary"] == true || of_client;
        if !results && !ours && (content.is_string() || blocks().next().is_some()) {
            self.count(names::MESSAGES, 1);
            self.prompted(row);
        }
    }

    /// The row that one follows; attachments, of which a rewound prompt has others, are passed over.
    fn follows(&self, row: &Value) -> String {
        let parent = row_id(&row["parentUuid"]);
        let attached = self.attached.iter().rfind(|(id, _)| *id == parent);
        attached.map_or(parent, |(_, on)| on.clone())
    }

    /// Where a prompt follows a row that another one has followed, the conversation was rewound to it.
    fn prompted(&mut self, row: &Value) {
        let on = self.follows(row);
        match self.turns.iter().rfind(|(id, _)| *id == on) {
            Some((_, context)) => self.context = *context,
            None => remember(&mut self.turns, (on, self.context)),
        }
    }

    fn result(&mut self, block: &Value) {
        let id = block["tool_use_id"].as_str().unwrap_or_default();
        let Some(at) = self.calls.iter().position(|(known, _)| known == id) else { return };
        let (_, tool) = self.calls.remove(at);
        let failed = block["is_error"] == true;
        self.outcomes.push(failed);
        while self.outcomes.len() as i64 > RECENT_CALLS {
            self.outcomes.remove(0);
        }
        if failed {
            self.failed(&tool, kind(&text(&block["content"])));
        }
    }

    /// Counts a failure of a tool.
    pub(crate) fn failed(&mut self, tool: &str, kind: &str) {
        self.count(names::ERRORS, 1);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let tool: String = tool.chars().filter(|c| plain(*c)).take(60).collect();
        let known = self.counters.keys().filter(|name| name.starts_with("errors/")).count();
        let name = format!("errors/{tool}/{kind}");
        if !tool.is_empty() && (known < KINDS_MAX || self.counters.contains_key(&name)) {
            self.count(&name, 1);
        } else {
            self.count("errors/other/other", 1);
        }
    }

    /// Counts a call of a tool, as its hook reports it.
    pub(crate) fn count(&mut self, name: &str, by: i64) {
        *self.counters.entry(name.to_owned()).or_default() += by;
    }
}

/// A row's id; none for the first row.
fn row_id(id: &Value) -> String {
    id.as_str().unwrap_or_default().chars().take(ROW_ID_LETTERS).collect()
}

fn remember<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= RECENT {
        list.remove(0);
    }
    list.push(item);
}

/// The text of a result.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> =
                blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// How a tool failed, from what it says.
pub(crate) fn kind(text: &str) -> &'static str {
    let text = text.get(..400).unwrap_or(text);
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if text.starts_with("Exit code") {
        "exit"
    } else if has(&["timed out", "timeout"]) {
        "timeout"
    } else if has(&[
        "doesn't want to",
        "denied",
        "not allowed",
        "permission",
        "blocked",
        "hook error",
    ]) {
        "denied"
    } else if has(&["interrupted", "aborted", "cancelled"]) {
        "interrupted"
    } else if has(&["does not exist", "not found", "No such"]) {
        "missing"
    } else if has(&[
        "tool_use_error",
        "InputValidationError",
        "has not been read",
        "to replace not found",
    ]) {
        "input"
    } else {
        "other"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> String {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/transcript");
        std::fs::read_to_string(format!("{directory}/{name}")).unwrap()
    }

    fn tally(name: &str) -> Tally {
        let mut tally = Tally::default();
        tally.read(&fixture(name));
        tally
    }

    #[test]
    fn an_answer_of_several_rows_counts_once() {
        let tally = tally("session-then-compact.jsonl");
        let rows = fixture("session-then-compact.jsonl");
        let ids: BTreeSet<String> = rows
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|row| row["type"] == "assistant" && row["message"]["model"] != SYNTHETIC)
            .map(|row| row["message"]["id"].as_str().unwrap().to_owned())
            .collect();
        let output: i64 = tally.tokens.values().map(|it| it[names::TOKENS_OUTPUT]).sum();
        assert!(ids.len() > 2 && tally.counters[names::MESSAGES] > ids.len() as i64);
        assert!(output > 0 && tally.counters[names::ERRORS] >= 1, "{tally:?}");
        assert_eq!(tally.counters["errors/Bash/exit"], 1, "{tally:?}");
    }

    #[test]
    fn reading_in_parts_is_reading_at_once() {
        for name in ["session-then-compact.jsonl", "session-with-subagent.jsonl", "api-error.jsonl"]
        {
            let text = fixture(name);
            let mut parts = Tally::default();
            for line in text.lines() {
                parts.read(line);
                let kept = serde_json::to_string(&parts).unwrap();
                parts = serde_json::from_str(&kept).unwrap();
            }
            assert_eq!(parts, tally(name), "{name}");
        }
    }

    #[test]
    fn a_compaction_begins_the_context_anew() {
        let mut tally = Tally::default();
        let answer = |id: &str, tokens: i64| {
            format!(
                r#"{{"type":"assistant","message":{{"id":"{id}","model":"m","content":[],"usage":{{"input_tokens":{tokens},"output_tokens":5}}}}}}"#
            )
        };
        tally.read(&answer("1", 90_000));
        assert_eq!(tally.context, 90_000);
        tally.read(r#"{"type":"system","subtype":"compact_boundary","compactMetadata":{"preTokens":90000}}"#);
        assert_eq!((tally.context, tally.counters[names::COMPACTIONS]), (0, 1));
        tally.read(&answer("2", 4_000));
        assert_eq!(tally.context, 4_000);
        assert_eq!(tally.tokens["m"][names::TOKENS_INPUT], 94_000);
    }

    /// Rows as they were recorded, under other ids and parents.
    fn recorded(row: &str, id: &str, parent: &str) -> String {
        let text = fixture("session-then-compact.jsonl");
        let found = text.lines().find(|line| line.contains(&format!("\"uuid\": \"{row}")));
        let mut row: Value = serde_json::from_str(found.expect("it was recorded")).unwrap();
        row["uuid"] = id.into();
        row["parentUuid"] = parent.into();
        if row["type"] == "assistant" {
            row["message"]["id"] = id.into();
            row["message"]["usage"]["cache_read_input_tokens"] = 90_000.into();
        }
        format!("{row}\n")
    }

    #[test]
    fn the_context_is_that_of_the_branch_written_last_and_tokens_are_of_all() {
        const LAST: &str = "f4d6f0ca";
        let text = fixture("session-then-compact.jsonl");
        let before: Vec<&str> =
            text.lines().take_while(|line| !line.contains("last-prompt")).collect();
        let last = before.last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let last = last.unwrap()["uuid"].as_str().unwrap().to_owned();
        assert!(last.starts_with(LAST));
        let mut tally = Tally::default();
        tally.read(&before.join("\n"));
        let (context, messages) = (tally.context, tally.counters[names::MESSAGES]);
        assert_eq!(context, 4 + 12_800 + 300);
        let read = |tally: &Tally| -> i64 {
            tally.tokens.values().map(|it| it[names::TOKENS_CACHE_READ]).sum()
        };
        let used = read(&tally);
        // A hook's attachment, a prompt behind it, its answer.
        let turn = |name: &str, answered: bool| {
            let ids = ["a", "p", "m"].map(|part| format!("{name}-{part}"));
            let mut rows = recorded("afaa29bd", &ids[0], &last);
            rows += &recorded("592d5541", &ids[1], &ids[0]);
            if answered {
                rows += &recorded(LAST, &ids[2], &ids[1]);
            }
            rows
        };
        tally.read(&turn("first", true));
        assert_eq!((tally.context, read(&tally)), (90_304, used + 90_000));
        tally.read(&turn("second", false));
        assert_eq!(tally.context, context, "it was rewound to before the first");
        assert_eq!(read(&tally), used + 90_000, "what was spent is spent");
        tally.read(&recorded(LAST, "second-m", "second-p"));
        assert_eq!((tally.context, read(&tally)), (90_304, used + 180_000));
        assert_eq!(tally.counters[names::MESSAGES], messages + 4);
        // To the very beginning.
        tally.read(&recorded("592d5541", "third-p", &before_prompt(&text)));
        assert_eq!(tally.context, 0);
    }

    /// The row that the first prompt of a transcript follows.
    fn before_prompt(text: &str) -> String {
        let rows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let first = rows.into_iter().find(|row| row["type"] == "user").unwrap();
        first["parentUuid"].as_str().unwrap().to_owned()
    }

    #[test]
    fn failures_and_subagents_are_no_answers() {
        let failed = tally("api-error.jsonl");
        assert_eq!((failed.tokens.len(), failed.counters[names::MESSAGES]), (0, 1));
        let mut subagent = Tally::default();
        subagent.read(&fixture("subagent.jsonl"));
        assert_eq!(subagent, Tally::default());
        let parent = tally("session-with-subagent.jsonl");
        assert_eq!(parent.counters[names::MESSAGES], 3);
        assert_eq!(parent.context, 3 + 104 + 20_525);
    }

    #[test]
    fn garbage_is_skipped() {
        let mut tally = Tally::default();
        tally.read("{\n[]\nnull\n{\"type\":7}\n{\"type\":\"assistant\",\"message\":[]}\n{\"type\":\"user\"}");
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn the_last_ten_calls_are_looked_at() {
        let mut tally = Tally::default();
        for index in 0..14 {
            let failed = index % 2 == 0;
            tally.read(&format!(
                "{{\"type\":\"assistant\",\"message\":{{\"id\":\"m{index}\",\"model\":\"m\",\"content\":[{{\"type\":\"tool_use\",\"id\":\"t{index}\",\"name\":\"Edit\",\"input\":{{\"file_path\":\"f{}\"}}}}]}}}}\n\
                 {{\"type\":\"user\",\"message\":{{\"content\":[{{\"type\":\"tool_result\",\"tool_use_id\":\"t{index}\",\"is_error\":{failed},\"content\":\"File does not exist\"}}]}}}}",
                index % 3
            ));
        }
        assert_eq!((tally.recent_errors(), tally.files()), (5, 3));
        assert_eq!(tally.counters["errors/Edit/missing"], 7);
        assert_eq!(tally.counters[names::TOOL_CALLS], 14);
    }
}
