//! The tools, one struct each: its arguments, what it says of itself, what it does.

mod claim;
mod data;
mod event;
mod message;
mod session;
mod task;
mod work;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use cotenant_core::{
    Error, Result,
    clock::{check_duration, parse_duration},
    lease::WAIT_MAX_MS,
};
use rmcp::model::{JsonObject, MetaObject, ToolAnnotations};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    answer::{Output, Until},
    call::Call,
    schema::input_schema,
};

/// How often a call that waits looks without having been told of anything.
const LOOK: Duration = Duration::from_secs(10);

/// What a tool does to the store, for clients that ask before they call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Looks.
    Reads,
    /// Adds; a repetition adds again.
    Adds,
    /// Brings about a state; a repetition changes nothing.
    Sets,
    /// Takes something away for good.
    Destroys,
}

/// A tool: its arguments, and what becomes of them.
pub(crate) trait Tool: DeserializeOwned + JsonSchema {
    const NAME: &'static str;
    const ABOUT: &'static str;
    const MANNER: Manner;
    /// How many characters of an answer the client should show, where its own limit is too low.
    const SHOWN_MAX: Option<u32> = None;

    fn run(self, call: &Call<'_>) -> Result<Output>;
}

/// A tool, whatever its arguments.
pub(crate) struct Entry {
    name: &'static str,
    about: &'static str,
    manner: Manner,
    shown_max: Option<u32>,
    schema: fn() -> JsonObject,
    run: fn(&Call<'_>, &str) -> Result<Output>,
}

/// Every tool, in the order in which a session needs them.
pub(crate) const TABLE: &[Entry] = &[
    entry::<session::SignOn>(),
    entry::<session::Status>(),
    entry::<claim::Claim>(),
    entry::<claim::Unclaim>(),
    entry::<claim::Who>(),
    entry::<task::NextTask>(),
    entry::<task::FinishTask>(),
    entry::<task::AddTasksTool>(),
    entry::<data::StoreData>(),
    entry::<data::RetrieveData>(),
    entry::<data::UpdateData>(),
    entry::<data::DeleteData>(),
    entry::<data::ListScopes>(),
    entry::<data::DeleteScope>(),
    entry::<event::LogEvent>(),
    entry::<work::ReportProgress>(),
    entry::<work::HandOff>(),
    entry::<message::Send>(),
    entry::<message::Read>(),
    entry::<session::SignOff>(),
];

const fn entry<T: Tool>() -> Entry {
    Entry {
        name: T::NAME,
        about: T::ABOUT,
        manner: T::MANNER,
        shown_max: T::SHOWN_MAX,
        schema: input_schema::<T>,
        run: |call, arguments| {
            let tool: T = serde_json::from_str(arguments).map_err(|error| {
                Error::unreadable(format_args!("arguments of `{}`", T::NAME), &error)
            })?;
            tool.run(call)
        },
    }
}

/// The answer that there is nothing, unless the caller waits for an event of a kind.
fn or_wait(
    nothing: Value,
    wait: Option<&str>,
    event: &'static str,
    look_after: Duration,
) -> Result<Output> {
    let Some(wait) = wait else { return Ok(Output::Facts(nothing)) };
    let wait_ms = parse_duration(wait)?;
    check_duration("wait", wait_ms, 0, WAIT_MAX_MS)?;
    let until = Until { wait: Duration::from_millis(wait_ms), event, look_after };
    Ok(Output::NotYet { until, nothing })
}

/// Finds a tool.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

impl Entry {
    /// Reads the arguments and carries the call out.
    pub(crate) fn run(&self, call: &Call<'_>, arguments: &str) -> Result<Output> {
        (self.run)(call, arguments)
    }
}

/// The list as a client sees it.
pub(crate) fn list() -> Vec<rmcp::model::Tool> {
    static LIST: LazyLock<Vec<rmcp::model::Tool>> =
        LazyLock::new(|| TABLE.iter().map(describe).collect());
    LIST.clone()
}

fn describe(entry: &Entry) -> rmcp::model::Tool {
    let annotations = match entry.manner {
        Manner::Reads => ToolAnnotations::new().read_only(true),
        Manner::Adds => ToolAnnotations::new().destructive(false),
        Manner::Sets => ToolAnnotations::new().destructive(false).idempotent(true),
        Manner::Destroys => ToolAnnotations::new().idempotent(true),
    };
    let tool = rmcp::model::Tool::new(entry.name, entry.about, Arc::new((entry.schema)()))
        .with_annotations(annotations.open_world(false));
    match entry.shown_max {
        None => tool,
        Some(characters) => {
            let mut meta = MetaObject::default();
            meta.insert("anthropic/maxResultSizeChars".to_owned(), json!(characters));
            tool.with_meta(meta)
        }
    }
}
