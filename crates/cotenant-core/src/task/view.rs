//! Looking at tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OnDepFail, TaskState};
use crate::{
    Error, Operation, Result,
    data::check_limit,
    id::{Fence, SessionId, TaskId, check_count},
    json::Json,
    name::{SessionRef, check_name},
    operation::{ActorRule, Effect},
    render,
};

/// The most nodes of a graph.
pub const NODES_MAX: u32 = 5_000;
/// How much of a payload says what a task is about.
const ABOUT_BYTES_MAX: usize = 80;

/// A task as others see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskView {
    /// Its id.
    pub task: TaskId,
    /// Where it waits.
    pub queue: String,
    /// Where it stands, computed for this moment.
    pub state: TaskState,
    /// Higher ones first.
    pub priority: i64,
    /// What is to be done.
    pub payload: Json,
    /// How many attempts began.
    pub attempts: u32,
    /// How many there can be.
    pub max_attempts: u32,
    /// How many of them ended by themselves: out of time, or their session was lost.
    pub rescues: u32,
    /// The tasks that must be over first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<TaskId>,
    /// What happens if one of them fails for good.
    pub on_dep_fail: OnDepFail,
    /// When the running attempt ends, or the task is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_in_ms: Option<u64>,
    /// The calendar time before which it does not begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// The fence of the newest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// The session of the newest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The name of that session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why the last attempt failed, or the task was called off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The key under which no second one is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    /// The session that added it.
    pub creator: String,
    /// How far that one is trusted.
    pub trust: String,
    /// Wall time when it was added.
    pub added: String,
    /// Wall time when it came to stand where it is stored to stand.
    pub since: String,
}

/// Shows one task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowTask {
    /// The task.
    pub task: TaskId,
}

/// The answer of [`ShowTask`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShownTask {
    /// The task.
    pub task: TaskView,
    /// What it waits for: those of its needs that are not over well.
    pub waits_for: Vec<TaskId>,
    /// The tasks that need it, at most 1,000.
    pub needed_by: Vec<TaskId>,
}

impl Operation for ShowTask {
    const NAME: &'static str = "task.show";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Show a task";
    type Answer = ShownTask;

    fn check(&mut self) -> Result<()> {
        check_count("task", self.task.0)
    }
}

/// Lists tasks, the oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListTasks {
    /// Only those of this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Only those in these states; all but done and cancelled ones when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<TaskState>,
    /// Only those whose newest attempt is this session's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRef>,
    /// Those behind this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TaskId>,
    /// At most so many.
    #[serde(default = "crate::data::default_limit")]
    pub limit: u32,
}

impl Default for ListTasks {
    fn default() -> Self {
        let limit = crate::data::default_limit();
        Self { queue: None, states: Vec::new(), session: None, after: None, limit }
    }
}

/// The answer of [`ListTasks`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tasks {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// Where to go on, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<TaskId>,
}

impl Operation for ListTasks {
    const NAME: &'static str = "task.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "List tasks";
    type Answer = Tasks;

    fn check(&mut self) -> Result<()> {
        if let Some(queue) = &self.queue {
            check_name("queue", queue)?;
        }
        if let Some(session) = &self.session {
            session.check()?;
        }
        self.after.map_or(Ok(()), |task| check_count("task", task.0))?;
        self.states.sort_unstable();
        self.states.dedup();
        check_limit(self.limit)
    }
}

/// Shows which tasks need which.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphTasks {
    /// Only this task, what it needs and what needs it, directly or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Only the tasks of this queue, and what they need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Also tasks that are done or cancelled.
    #[serde(default)]
    pub all: bool,
    /// At most so many tasks, up to 5,000.
    #[serde(default = "default_nodes")]
    pub limit: u32,
}

const fn default_nodes() -> u32 {
    500
}

impl Default for GraphTasks {
    fn default() -> Self {
        Self { task: None, queue: None, all: false, limit: default_nodes() }
    }
}

/// A task in a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GraphNode {
    /// The task.
    pub task: TaskId,
    /// Where it waits.
    pub queue: String,
    /// Where it stands.
    pub state: TaskState,
    /// The beginning of what is to be done, on one line.
    pub about: String,
}

/// A dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct GraphEdge {
    /// The task that waits.
    pub task: TaskId,
    /// The task that it needs.
    pub needs: TaskId,
}

/// The answer of [`GraphTasks`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskGraph {
    /// The tasks, in the order of their ids.
    pub nodes: Vec<GraphNode>,
    /// The dependencies between them.
    pub edges: Vec<GraphEdge>,
    /// Whether there are more tasks than were asked for.
    pub more: bool,
}

impl Operation for GraphTasks {
    const NAME: &'static str = "task.graph";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Show which tasks need which";
    type Answer = TaskGraph;

    fn check(&mut self) -> Result<()> {
        self.task.map_or(Ok(()), |task| check_count("task", task.0))?;
        if let Some(queue) = &self.queue {
            check_name("queue", queue)?;
            if self.task.is_some() {
                return Err(Error::invalid("`task` and `queue` exclude each other"));
            }
        }
        if (1..=NODES_MAX).contains(&self.limit) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "limit is {}; it must be between 1 and {NODES_MAX}",
            self.limit
        )))
    }
}

/// The beginning of what is to be done, on one line: the payload's title, if it has one.
pub fn about(payload: &Json) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(payload.text()).ok();
    let titled = value.as_ref().and_then(|value| {
        let titles = ["title", "name", "summary", "description"];
        value.as_str().or_else(|| titles.iter().find_map(|title| value.get(title)?.as_str()))
    });
    let text = render::plain(titled.unwrap_or_else(|| payload.text()));
    let short = render::cut(&text, ABOUT_BYTES_MAX);
    if short.len() < text.len() { format!("{short}…") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_says_what_it_is_about_in_a_line() {
        let about = |text: &str| super::about(&Json::stored(text.to_owned()));
        assert_eq!(about("\"write\\ntests\""), "write tests");
        assert_eq!(about("{\"id\":1,\"title\":\"lint\"}"), "lint");
        assert_eq!(about("{\"type\":\"test\"}"), "{\"type\":\"test\"}");
        assert!(about(&format!("\"{}\"", "é".repeat(100))).len() <= ABOUT_BYTES_MAX + 3);
    }
}
