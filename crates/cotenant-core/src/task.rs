//! Tasks: work to be done once, by whoever comes for it.
//!
//! A queue hands each ready task to one session at a time, as an *attempt* with a fence. An attempt
//! that is not finished in its time of visibility, or whose session is lost, ends by itself and the
//! task can be taken again; only the newest attempt can finish it. Delivery is at least once, the
//! effect at most once. The visibility timeout is that of Amazon SQS; the fence is that of
//! Kleppmann, "How to do distributed locking" (2016).
//!
//! # Invariants
//! - A task is in one state, and at most one attempt of it runs.
//! - An attempt is counted when it begins, so that a task that kills its workers ends.
//! - A task that waits for others is ready in the transaction that finishes the last of them.

mod attempt;
pub mod rule;
pub mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Code, Error, Operation, Result,
    clock::{DAY, MINUTE, SECOND, check_duration, parse_rfc3339},
    id::{TaskId, check_count},
    json::Json,
    name::{check_name, clean_optional_text},
    operation::{ActorRule, Effect},
};

pub use attempt::{
    ExtendTask, ExtendedTask, FailTask, FailedTask, FailureClass, FinishTask, FinishedTask, Next,
    NextTask, ReleaseTask, ReleasedTask, TakenTask,
};

/// The most tasks that one request adds.
pub const TASKS_MAX: usize = 1_000;
/// The most tasks that one task waits for.
pub const NEEDS_MAX: usize = 1_000;
/// The most dependencies that one request adds.
pub const EDGES_MAX: usize = 10_000;
/// The most bytes of all payloads of one request.
pub const PAYLOADS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most queues that one request asks.
pub const QUEUES_MAX: usize = 16;
/// The queue of a task that names none.
pub const QUEUE: &str = "default";
/// How often a task is tried unless it says.
pub const ATTEMPTS: u32 = 3;
/// The most tries that a task can ask for.
pub const ATTEMPTS_MAX: u32 = 100;
/// How long an attempt may take unless the task says.
pub const VISIBILITY_MS: u64 = 15 * MINUTE;
/// The highest priority; the lowest is its negative.
pub const PRIORITY_MAX: i64 = 1_000;
/// The longest delay.
pub const DELAY_MAX_MS: u64 = 365 * DAY;

/// Where a task stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits for other tasks.
    Blocked,
    /// It waits for its time.
    Delayed,
    /// Whoever comes next gets it.
    Ready,
    /// A session works on it.
    Running,
    /// It failed and waits for its retry.
    Failed,
    /// It was done.
    Done,
    /// It failed for good.
    Dead,
    /// Somebody called it off.
    Cancelled,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Delayed,
        Self::Ready,
        Self::Running,
        Self::Failed,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The word in the database and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Delayed => "delayed",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether nothing more happens by itself.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }
}

/// What becomes of a task when one that it needs is dead or cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDepFail {
    /// It waits until that one is queued again and done, or somebody calls it off.
    #[default]
    Block,
    /// It is cancelled too.
    Cancel,
    /// It runs all the same.
    Run,
}

impl OnDepFail {
    /// The word in the database and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Cancel => "cancel",
            Self::Run => "run",
        }
    }

    /// The policy of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Block, Self::Cancel, Self::Run].into_iter().find(|policy| policy.word() == word)
    }
}

/// A task to add.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a task: an object with `payload`")]
pub struct NewTask {
    /// What is to be done, for whoever takes it.
    pub payload: Json,
    /// Where it waits.
    #[serde(default = "default_queue")]
    pub queue: String,
    /// Higher ones first, −1000 to 1000.
    #[serde(default)]
    pub priority: i64,
    /// Tasks that must be over first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<TaskId>,
    /// As `needs`, of tasks of the same request: their places in it, from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_new: Vec<u32>,
    /// What happens if one of them fails for good.
    #[serde(default)]
    pub on_dep_fail: OnDepFail,
    /// How often it is tried, 1 to 100.
    #[serde(default = "default_attempts")]
    pub max_attempts: u32,
    /// How long an attempt may take without being extended, 5 s to 24 h.
    #[serde(default = "default_visibility")]
    pub visibility_ms: u64,
    /// Not before so long has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Not before this calendar time, e.g. `2026-12-01T09:30:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// If a task of the queue with this key is not over yet, nothing is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
}

fn default_queue() -> String {
    QUEUE.to_owned()
}

const fn default_attempts() -> u32 {
    ATTEMPTS
}

const fn default_visibility() -> u64 {
    VISIBILITY_MS
}

impl NewTask {
    /// A task of the default queue.
    pub fn new(payload: Json) -> Self {
        Self {
            payload,
            queue: default_queue(),
            priority: 0,
            needs: Vec::new(),
            needs_new: Vec::new(),
            on_dep_fail: OnDepFail::default(),
            max_attempts: ATTEMPTS,
            visibility_ms: VISIBILITY_MS,
            delay_ms: None,
            not_before: None,
            dedupe_key: None,
        }
    }

    fn check(&self, count: usize) -> Result<()> {
        self.payload.check()?;
        if self.payload.text().trim_start().starts_with('"')
            && self.payload.value()?.as_str().is_some_and(|text| text.trim().is_empty())
        {
            return Err(Error::invalid("a task without a text says nothing to whoever takes it")
                .hint("say what is to be done, e.g. `test server.py`"));
        }
        check_name("queue", &self.queue)?;
        if self.priority.abs() > PRIORITY_MAX {
            return Err(Error::invalid(format!(
                "priority is {}; it must be between -{PRIORITY_MAX} and {PRIORITY_MAX}",
                self.priority
            )));
        }
        self.needs.iter().try_for_each(|task| check_count("a task", task.0))?;
        if self.needs.len() + self.needs_new.len() > NEEDS_MAX {
            return Err(Error::new(
                Code::TooLarge,
                format!("a task needs at most {NEEDS_MAX} others"),
            )
            .hint("let it need one task that needs the others"));
        }
        if let Some(place) = self.needs_new.iter().find(|place| **place as usize >= count) {
            return Err(Error::invalid(format!(
                "`needs_new` names place {place}, but the request has {count} tasks, from 0"
            )));
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.max_attempts) {
            return Err(Error::invalid(format!(
                "max_attempts is {}; it must be between 1 and {ATTEMPTS_MAX}",
                self.max_attempts
            )));
        }
        check_duration("visibility", self.visibility_ms, 5 * SECOND, DAY)?;
        match (self.delay_ms, &self.not_before) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("`delay_ms` and `not_before` exclude each other"));
            }
            (Some(delay), None) => check_duration("delay", delay, 0, DELAY_MAX_MS)?,
            (None, Some(time)) => parse_rfc3339(time).map(drop)?,
            (None, None) => {}
        }
        self.dedupe_key.as_ref().map_or(Ok(()), |key| check_name("dedupe key", key))
    }
}

/// Adds tasks, all or none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddTasks {
    /// The tasks, at most 1,000.
    pub tasks: Vec<NewTask>,
}

/// One added task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddedTask {
    /// Its id.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// Whether it was there before, under the same dedupe key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deduplicated: bool,
}

/// The answer of [`AddTasks`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AddedTasks {
    /// The tasks, in the order of the request.
    pub tasks: Vec<AddedTask>,
}

impl Operation for AddTasks {
    const NAME: &'static str = "task.add";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Add tasks to queues, all or none";
    type Answer = AddedTasks;

    fn check(&mut self) -> Result<()> {
        let count = self.tasks.len();
        if count == 0 {
            return Err(Error::invalid("there is no task to add"));
        }
        let too_large = |what: String| Err(Error::new(Code::TooLarge, what).hint("send several"));
        if count > TASKS_MAX {
            return too_large(format!("{count} tasks; a request adds at most {TASKS_MAX}"));
        }
        self.tasks.iter().try_for_each(|task| task.check(count))?;
        let edges: usize =
            self.tasks.iter().map(|task| task.needs.len() + task.needs_new.len()).sum();
        if edges > EDGES_MAX {
            return too_large(format!("{edges} dependencies; a request adds at most {EDGES_MAX}"));
        }
        let bytes: usize = self.tasks.iter().map(|task| task.payload.text().len()).sum();
        if bytes > PAYLOADS_BYTES_MAX {
            return too_large(format!(
                "the payloads have {bytes} bytes; a request takes at most {PAYLOADS_BYTES_MAX}"
            ));
        }
        Ok(())
    }
}

/// How many tasks stand where; those that are done or cancelled are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCounts {
    /// Whoever comes next gets one.
    pub ready: u64,
    /// Sessions work on them.
    pub running: u64,
    /// They wait for others.
    pub blocked: u64,
    /// They wait for their time.
    pub delayed: u64,
    /// They wait for their retry.
    pub failed: u64,
    /// They failed for good.
    pub dead: u64,
}

impl TaskCounts {
    /// The count of a state, if it is kept.
    pub fn of(&mut self, state: TaskState) -> Option<&mut u64> {
        match state {
            TaskState::Ready => Some(&mut self.ready),
            TaskState::Running => Some(&mut self.running),
            TaskState::Blocked => Some(&mut self.blocked),
            TaskState::Delayed => Some(&mut self.delayed),
            TaskState::Failed => Some(&mut self.failed),
            TaskState::Dead => Some(&mut self.dead),
            TaskState::Done | TaskState::Cancelled => None,
        }
    }

    /// The counts that are not 0, in words.
    pub fn in_words(&self) -> String {
        let all = [
            (self.ready, "ready"),
            (self.running, "running"),
            (self.blocked, "blocked"),
            (self.delayed, "delayed"),
            (self.failed, "to be retried"),
            (self.dead, "dead"),
        ];
        let words: Vec<String> = all
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        words.join(", ")
    }
}

/// Calls a task off.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelTask {
    /// The task.
    pub task: TaskId,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of [`CancelTask`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CancelledTask {
    /// Whether it had been cancelled before.
    pub already: bool,
    /// How many tasks that needed it were cancelled with it.
    pub followed: u64,
}

impl Operation for CancelTask {
    const NAME: &'static str = "task.cancel";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Call a task off; whoever works on it learns when it extends";
    type Answer = CancelledTask;

    fn check(&mut self) -> Result<()> {
        check_count("task", self.task.0)?;
        clean_optional_text("reason", self.reason.as_mut())
    }
}

/// Queues a dead or cancelled task again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequeueTask {
    /// The task.
    pub task: TaskId,
}

/// The answer of [`RequeueTask`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RequeuedTask {
    /// Where the task stands.
    pub state: TaskState,
}

impl Operation for RequeueTask {
    const NAME: &'static str = "task.requeue";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Queue a dead or cancelled task again, from its first attempt";
    type Answer = RequeuedTask;

    fn check(&mut self) -> Result<()> {
        check_count("task", self.task.0)
    }
}

/// The task that a guard means by `task:N`: its running attempt.
pub fn guarded(resource: &str) -> Option<TaskId> {
    resource.strip_prefix("task:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(tasks: Vec<NewTask>) -> Result<()> {
        AddTasks { tasks }.check()
    }

    #[test]
    fn a_state_and_a_policy_are_read_back_from_their_word() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::of(state.word()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        for policy in [OnDepFail::Block, OnDepFail::Cancel, OnDepFail::Run] {
            assert_eq!(OnDepFail::of(policy.word()), Some(policy));
        }
        assert_eq!(TaskState::of("waiting"), None);
    }

    #[test]
    fn a_request_adds_neither_nothing_nor_too_much() {
        let task = || NewTask::new(Json::of(&"x"));
        assert_eq!(add(Vec::new()).unwrap_err().code, Code::Invalid);
        add(vec![task(); TASKS_MAX]).unwrap();
        assert_eq!(add(vec![task(); TASKS_MAX + 1]).unwrap_err().code, Code::TooLarge);
        let large = NewTask::new(Json::of(&"x".repeat(900_000)));
        assert_eq!(add(vec![large; 10]).unwrap_err().code, Code::TooLarge);
        let wide = NewTask { needs: (0..500).map(TaskId).collect(), ..task() };
        assert_eq!(add(vec![wide; 21]).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn a_task_without_details_is_read_with_the_usual_ones() {
        let read: NewTask = serde_json::from_str("{\"payload\":1}").unwrap();
        assert_eq!((&*read.queue, read.max_attempts), (QUEUE, ATTEMPTS));
        assert_eq!(read.visibility_ms, VISIBILITY_MS);
        assert!(serde_json::from_str::<NewTask>("{\"payload\":1,\"need\":[1]}").is_err());
    }
}
