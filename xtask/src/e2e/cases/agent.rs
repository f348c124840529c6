//! A client at work, and what its model was told in a turn.

use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::e2e::claude::UNATTENDED;
use crate::e2e::recorded::{Recorded, ToolResult};
use crate::e2e::stage::{Stage, TURN};
use crate::e2e::stream::Stream;
use crate::process::wait_until;

/// How a text about who else is here begins.
const PRESENCE: &str = "cotenant: this session is ";

/// A client that takes prompts until it is closed or killed.
pub(super) struct Agent<'a> {
    stage: &'a Stage,
    stream: Stream<'a>,
}

/// A turn that goes on.
#[derive(Debug)]
pub(super) struct Begun {
    /// How many requests had been recorded before it.
    mark: usize,
}

/// What passed between a client and its model from a prompt to its result.
#[derive(Debug)]
pub(super) struct Turn {
    /// The client's id of the conversation.
    pub(super) native: String,
    result: Value,
    first: Recorded,
    last: Recorded,
}

impl<'a> Agent<'a> {
    /// Starts a client in a folder.
    pub(super) fn start(stage: &'a Stage, folder: &Path, arguments: &[&str]) -> Result<Self> {
        let arguments = [arguments, &UNATTENDED].concat();
        Ok(Self { stage, stream: stage.claude_in(folder).stream(&arguments)? })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.stream.pid()
    }

    /// Sends a prompt and waits for the end of its turn.
    pub(super) fn ask(&mut self, prompt: &str) -> Result<Turn> {
        let begun = self.begin(prompt)?;
        self.end(&begun)
    }

    /// Sends a prompt and leaves the client at work.
    pub(super) fn begin(&mut self, prompt: &str) -> Result<Begun> {
        let begun = Begun { mark: self.stage.api.count() };
        self.stream.send_user(prompt)?;
        Ok(begun)
    }

    /// Waits for the end of a turn.
    pub(super) fn end(&mut self, begun: &Begun) -> Result<Turn> {
        let result = self.stream.wait_result(TURN)?;
        ensure!(result["is_error"] == false, "{result}");
        Turn::new(self.stage, begun.mark, result)
    }

    /// Starts the conversation anew.
    pub(super) fn clear(&mut self) -> Result<String> {
        self.stream.clear()
    }

    /// Has the conversation so far replaced by a summary.
    pub(super) fn compact(&mut self) -> Result<()> {
        self.stream.compact()
    }

    /// Kills the client, once its conversation can be resumed.
    pub(super) fn kill9(&mut self) -> Result<()> {
        let session = self.stream.session()?;
        wait_until("transcript", TURN, || Ok(self.stage.home.transcript(&session)))?;
        let status = self.stream.kill9()?;
        ensure!(!status.success(), "the client had ended: {status}");
        Ok(())
    }

    /// Ends the input and waits for the client to end.
    pub(super) fn close(self) -> Result<ExitStatus> {
        self.stream.close()
    }
}

impl Turn {
    /// Collects what was recorded since a mark.
    pub(super) fn new(stage: &Stage, mark: usize, result: Value) -> Result<Self> {
        let native = result["session_id"].as_str().context("no session")?.to_owned();
        let requests = stage.api.requests().into_iter().skip(mark);
        let is_ours = |request: &Recorded| {
            request.session.as_ref() == Some(&native)
                && request.agent.is_none()
                && request.is_turn()
        };
        let ours: Vec<Recorded> = requests.filter(is_ours).collect();
        let (Some(first), Some(last)) = (ours.first().cloned(), ours.last().cloned()) else {
            anyhow::bail!("the model was not asked: {result}");
        };
        Ok(Self { native, result, first, last })
    }

    /// The results of the tools that were called, as the model read them.
    pub(super) fn results(&self) -> Vec<ToolResult> {
        let before = self.first.tool_results().len();
        self.last.tool_results().split_off(before)
    }

    /// The result of the last tool, which must not have failed.
    pub(super) fn answer(&self) -> Result<String> {
        let results = self.results();
        let last = results.last().context("no tool was called")?;
        ensure!(!last.is_error, "{}", last.text);
        Ok(last.text.clone())
    }

    /// The result of the last tool, which must have been refused, and listed so by the client.
    pub(super) fn refusal(&self, tool: &str) -> Result<String> {
        let results = self.results();
        let last = results.last().context("no tool was called")?;
        ensure!(last.is_error, "`{tool}` was not refused: {}", last.text);
        let denied = &self.result["permission_denials"];
        ensure!(denied[0]["tool_name"] == tool, "{tool} is not listed as refused: {denied}");
        Ok(last.text.clone())
    }

    /// What the model was told last about who else is here.
    pub(super) fn presence(&self) -> Result<String> {
        let texts = self.last.context_texts();
        let found = texts.into_iter().rfind(|text| text.contains(PRESENCE));
        let found = found.context("the model was not told who else is here")?;
        let at = found.rfind(PRESENCE).unwrap_or_default();
        Ok(found[at..].to_owned())
    }

    /// How often a text stands in all that the model was sent last.
    pub(super) fn count(&self, text: &str) -> usize {
        self.last.body.to_string().matches(text).count()
    }

    /// Whether a text stands anywhere in what the model reads.
    pub(super) fn mentions(&self, text: &str) -> bool {
        self.last.mentions(text)
    }
}
