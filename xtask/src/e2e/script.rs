//! The language in which a prompt says what the model answers.
//!
//! A script is the lines of a text that begin with a directive; other lines are ignored, so that a
//! prompt may also say something in words:
//!
//! | line | meaning |
//! |---|---|
//! | `@@say TEXT` | a step: a text, which ends the turn unless a tool is added |
//! | `@@tool NAME {json}` | a step: calls a tool |
//! | `@@+tool NAME {json}` | adds a call to the step before, to run in parallel |
//! | `@@wait FILE` | the next step is not answered before the file (absolute path) exists |
//! | `@@usage in=N out=N cache_read=N cache_write=N` | the next step's tokens; parts optional |
//!
//! The model has no memory: the step to play is the number of assistant messages that follow the
//! last text with directives. So a script goes on after tool results, hook feedback and prompts
//! without directives, and a prompt with directives starts a new one. A subagent is scripted by
//! directives in the prompt it is given.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The tool that the client offers while MCP servers are still connecting.
const WAIT_FOR_SERVERS: &str = "WaitForMcpServers";

/// One answer of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    /// What the answer consists of.
    pub(crate) blocks: Vec<Block>,
    /// The file the answer waits for.
    pub(crate) wait: Option<PathBuf>,
    /// The tokens the answer reports.
    pub(crate) usage: Usage,
}

/// One content block of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Block {
    /// Text for the user.
    Text(String),
    /// A call of a tool.
    Tool {
        /// The tool, e.g. `Bash` or `mcp__server__name`.
        name: String,
        /// Its arguments, a JSON object.
        input: Value,
    },
}

/// Token counts in the API's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Tokens sent and not cached.
    pub(crate) input: u64,
    /// Tokens answered.
    pub(crate) output: u64,
    /// Tokens read from the cache.
    pub(crate) cache_read: u64,
    /// Tokens written to the cache.
    pub(crate) cache_write: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { input: 10, output: 5, cache_read: 0, cache_write: 0 }
    }
}

impl Step {
    /// An answer of text alone.
    #[must_use]
    pub(crate) fn say(text: &str) -> Self {
        Self { blocks: vec![Block::Text(text.to_owned())], ..Self::default() }
    }

    /// Whether the client is asked to run something and come back.
    #[must_use]
    pub(crate) fn calls_tools(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Block::Tool { .. }))
    }
}

/// Chooses the step that answers a conversation: `ok` without a script, `done` after its end.
///
/// A tool of an MCP server that is not among the tools on offer may still be on its way. Then the
/// answer is to wait for the servers once, as the client suggests to a model. It is no step.
pub(crate) fn next(messages: &[Value], offered: &[&str]) -> Result<Step> {
    let scripted = messages.iter().enumerate().rev().find_map(|(index, message)| {
        let text = heard(message).into_iter().rfind(|text| has_directives(text))?;
        Some((index, text))
    });
    let Some((index, text)) = scripted else {
        return Ok(Step::say("ok"));
    };
    let turns = || messages.iter().skip(index).filter(|message| message["role"] == "assistant");
    let played = turns().filter(|turn| !is_waiting(turn)).count();
    let mut script = parse(text)?;
    if played >= script.len() {
        return Ok(Step::say("done"));
    }
    let step = script.swap_remove(played);
    let is_late = |block: &Block| {
        let Block::Tool { name, .. } = block else { return false };
        name.starts_with("mcp__") && !offered.contains(&name.as_str())
    };
    let has_waited = turns().next_back().is_some_and(is_waiting);
    if step.blocks.iter().any(is_late) && offered.contains(&WAIT_FOR_SERVERS) && !has_waited {
        let call = Block::Tool { name: WAIT_FOR_SERVERS.to_owned(), input: json!({}) };
        return Ok(Step { blocks: vec![call], ..Step::default() });
    }
    Ok(step)
}

/// Reads the steps out of a text.
pub(crate) fn parse(text: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut pending = Step::default();
    for line in text.lines().filter(|line| is_directive(line)) {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "@@say" => {
                pending.blocks.push(Block::Text(rest.to_owned()));
                steps.push(std::mem::take(&mut pending));
            }
            "@@tool" => {
                pending.blocks.push(tool(rest)?);
                steps.push(std::mem::take(&mut pending));
            }
            "@@+tool" => {
                let step = steps.last_mut().context("script: `@@+tool` has no step before it")?;
                step.blocks.push(tool(rest)?);
            }
            "@@wait" => {
                let file = PathBuf::from(rest.trim());
                if !file.is_absolute() {
                    bail!("script: `@@wait` needs an absolute path, not `{rest}`");
                }
                pending.wait = Some(file);
            }
            _ => pending.usage = usage(rest)?,
        }
    }
    if pending != Step::default() {
        pending.blocks.push(Block::Text("done".to_owned()));
        steps.push(pending);
    }
    Ok(steps)
}

/// The texts of a message that the model has not said itself, tool results left out.
///
/// The client tells a word in between in a message of role `system`.
fn heard(message: &Value) -> Vec<&str> {
    if message["role"] == "assistant" {
        return Vec::new();
    }
    match &message["content"] {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => Vec::new(),
    }
}

/// Whether a turn of the model was the one that waits for servers.
fn is_waiting(turn: &Value) -> bool {
    turn["content"][0]["name"] == WAIT_FOR_SERVERS
}

fn has_directives(text: &str) -> bool {
    text.lines().any(is_directive)
}

/// Knows the directives by name: the hunks of a diff begin with `@@` too.
fn is_directive(line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    matches!(name, "@@say" | "@@tool" | "@@+tool" | "@@wait" | "@@usage")
}

fn tool(rest: &str) -> Result<Block> {
    let (name, json) = rest.split_once(' ').unwrap_or((rest, "{}"));
    let input: Value =
        serde_json::from_str(json).with_context(|| format!("script: arguments of `{name}`"))?;
    if name.is_empty() || !input.is_object() {
        bail!("script: a tool needs a name and a JSON object, not `{rest}`");
    }
    Ok(Block::Tool { name: name.to_owned(), input })
}

fn usage(rest: &str) -> Result<Usage> {
    let mut usage = Usage::default();
    for part in rest.split_whitespace() {
        let (name, count) = part.split_once('=').with_context(|| format!("script: `{part}`"))?;
        let count = count.parse().with_context(|| format!("script: `{part}`"))?;
        match name {
            "in" => usage.input = count,
            "out" => usage.output = count,
            "cache_read" => usage.cache_read = count,
            "cache_write" => usage.cache_write = count,
            _ => bail!("script: no usage is called `{name}`"),
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Value {
        json!({"role": "user", "content": [{"type": "text", "text": text}]})
    }

    fn assistant() -> Value {
        json!({"role": "assistant", "content": [{"type": "text", "text": "x"}]})
    }

    fn bash(command: &str) -> Block {
        Block::Tool { name: "Bash".to_owned(), input: json!({"command": command}) }
    }

    #[test]
    fn a_prompt_without_directives_is_answered_ok() {
        assert_eq!(next(&[user("hello\n@@ -1,2 +1,3 @@")], &[]).unwrap(), Step::say("ok"));
    }

    #[test]
    fn steps_follow_the_assistant_turns() {
        let script = user("please\n@@tool Bash {\"command\":\"a\"}\n@@say hi");
        let result =
            json!({"role": "user", "content": [{"type": "tool_result", "content": "@@say no"}]});
        assert_eq!(next(std::slice::from_ref(&script), &[]).unwrap().blocks, [bash("a")]);
        let after = [script.clone(), assistant(), result.clone()];
        assert_eq!(next(&after, &[]).unwrap(), Step::say("hi"));
        let ended = [script, assistant(), result, assistant(), user("and?")];
        assert_eq!(next(&ended, &[]).unwrap(), Step::say("done"));
    }

    #[test]
    fn the_last_text_with_directives_counts() {
        let two = json!({"role": "user", "content": [
            {"type": "text", "text": "@@say one"},
            {"type": "text", "text": "@@say two"},
            {"type": "text", "text": "a reminder"},
        ]});
        assert_eq!(next(&[user("@@say zero"), assistant(), two], &[]).unwrap(), Step::say("two"));
    }

    #[test]
    fn a_late_tool_is_waited_for_once() {
        let name = |step: Step| match step.blocks.into_iter().next() {
            Some(Block::Tool { name, .. }) => name,
            _ => String::new(),
        };
        let waiting = json!({"role": "assistant", "content": [{"name": WAIT_FOR_SERVERS}]});
        let messages = [user("@@tool mcp__a__b {}\n@@say end"), waiting, assistant()];
        let offered = [WAIT_FOR_SERVERS];
        assert_eq!(name(next(&messages[..1], &["mcp__a__b"]).unwrap()), "mcp__a__b");
        assert_eq!(name(next(&messages[..1], &offered).unwrap()), WAIT_FOR_SERVERS);
        assert_eq!(name(next(&messages[..2], &offered).unwrap()), "mcp__a__b");
        assert_eq!(next(&messages, &offered).unwrap(), Step::say("end"));
    }

    #[test]
    fn a_plus_joins_the_step_before() {
        let steps =
            parse("@@tool Bash {\"command\":\"a\"}\n@@+tool Bash {\"command\":\"b\"}").unwrap();
        assert_eq!(steps, [Step { blocks: vec![bash("a"), bash("b")], ..Step::default() }]);
    }

    #[test]
    fn wait_and_usage_belong_to_the_next_step() {
        let steps =
            parse("@@say a\n@@wait /go\n@@usage in=1 cache_read=2\n@@say b\n@@wait /end").unwrap();
        let usage = Usage { input: 1, cache_read: 2, ..Usage::default() };
        let waits = |file: &str, step| Step { wait: Some(PathBuf::from(file)), ..step };
        let b = Step { usage, ..waits("/go", Step::say("b")) };
        assert_eq!(steps, [Step::say("a"), b, waits("/end", Step::say("done"))]);
    }

    #[test]
    fn a_bad_script_is_an_error() {
        for script in
            ["@@tool Bash {", "@@tool Bash []", "@@+tool Bash {}", "@@wait here", "@@usage x=1"]
        {
            assert!(parse(script).is_err(), "{script}");
        }
    }
}
