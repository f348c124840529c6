//! Attempts at a task: taking one, giving it more time, and the ways in which it ends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{QUEUES_MAX, TaskCounts, TaskState};
use crate::{
    Error, Operation, Result,
    clock::{DAY, SECOND, check_duration},
    id::{Fence, TaskId, check_count},
    json::Json,
    lease::WAIT_MAX_MS,
    name::{check_name, clean_text},
    operation::{ActorRule, Effect},
};

/// Takes the next ready task.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NextTask {
    /// From these queues; from any when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<String>,
    /// How long the attempt may take without being extended; as the task says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility_ms: Option<u64>,
    /// How long to wait for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// A task that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TakenTask {
    /// Its id.
    pub task: TaskId,
    /// The fencing token of this attempt, to finish it with.
    pub fence: Fence,
    /// Which attempt this is.
    pub attempt: u32,
    /// How many there can be.
    pub max_attempts: u32,
    /// How long it may take without being extended.
    pub visible_for_ms: u64,
    /// Where it waited.
    pub queue: String,
    /// Its priority.
    pub priority: i64,
    /// What is to be done.
    pub payload: Json,
    /// The session that added it.
    pub creator: String,
    /// How far that one is trusted.
    pub trust: String,
    /// Why the attempt before failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of [`NextTask`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Next {
    /// The task; absent when none is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TakenTask>,
    /// When none is ready, how the tasks of these queues stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<TaskCounts>,
}

impl Operation for NextTask {
    const NAME: &'static str = "task.next";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Take the next ready task";
    type Answer = Next;

    fn check(&mut self) -> Result<()> {
        if self.queues.len() > QUEUES_MAX {
            return Err(Error::invalid(format!("at most {QUEUES_MAX} queues at once")));
        }
        self.queues.iter().try_for_each(|queue| check_name("queue", queue))?;
        if let Some(visibility) = self.visibility_ms {
            check_duration("visibility", visibility, 5 * SECOND, DAY)?;
        }
        self.wait_ms.map_or(Ok(()), |wait| check_duration("wait", wait, 0, WAIT_MAX_MS))
    }

    fn wait_ms(&self) -> Option<u64> {
        self.wait_ms
    }
}

fn check_attempt(task: TaskId, fence: Fence) -> Result<()> {
    check_count("task", task.0)?;
    check_count("fence", fence.0)
}

/// Gives the running attempt more time, from now on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendTask {
    /// The task.
    pub task: TaskId,
    /// The fence of the attempt.
    pub fence: Fence,
    /// How long, 5 s to 24 h; as the task says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility_ms: Option<u64>,
}

/// The answer of [`ExtendTask`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExtendedTask {
    /// How long the attempt may take from now on.
    pub visible_for_ms: u64,
}

impl Operation for ExtendTask {
    const NAME: &'static str = "task.extend";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Give the running attempt of a task more time";
    type Answer = ExtendedTask;

    fn check(&mut self) -> Result<()> {
        check_attempt(self.task, self.fence)?;
        let visibility = self.visibility_ms;
        visibility.map_or(Ok(()), |ms| check_duration("visibility", ms, 5 * SECOND, DAY))
    }
}

/// Finishes a task: it is done, and what waited for it can begin.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishTask {
    /// The task.
    pub task: TaskId,
    /// The fence of the attempt.
    pub fence: Fence,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
}

/// The answer of [`FinishTask`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FinishedTask {
    /// Where the task stands.
    pub state: TaskState,
    /// Whether it had been finished so before.
    pub already: bool,
    /// How many tasks that waited for it are ready now.
    pub unblocked: u64,
}

impl Operation for FinishTask {
    const NAME: &'static str = "task.done";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Finish a task; what waited for it can begin";
    type Answer = FinishedTask;

    fn check(&mut self) -> Result<()> {
        check_attempt(self.task, self.fence)?;
        self.result.as_ref().map_or(Ok(()), Json::check)
    }
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// It can.
    #[default]
    Transient,
    /// It cannot.
    Permanent,
}

/// Says that an attempt failed: the task is retried later, or dead.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailTask {
    /// The task.
    pub task: TaskId,
    /// The fence of the attempt.
    pub fence: Fence,
    /// Why.
    pub reason: String,
    /// Whether trying again can help.
    #[serde(default)]
    pub class: FailureClass,
}

/// The answer of [`FailTask`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailedTask {
    /// Where the task stands.
    pub state: TaskState,
    /// Whether this had been said before.
    pub already: bool,
    /// When it is retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
}

impl Operation for FailTask {
    const NAME: &'static str = "task.fail";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Say that an attempt at a task failed";
    type Answer = FailedTask;

    fn check(&mut self) -> Result<()> {
        check_attempt(self.task, self.fence)?;
        clean_text("reason", &mut self.reason)
    }
}

/// Gives a task back untried.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTask {
    /// The task.
    pub task: TaskId,
    /// The fence of the attempt.
    pub fence: Fence,
}

/// The answer of [`ReleaseTask`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleasedTask {
    /// Whether it had been given back before.
    pub already: bool,
}

impl Operation for ReleaseTask {
    const NAME: &'static str = "task.release";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Give a task back; the attempt is not counted";
    type Answer = ReleasedTask;

    fn check(&mut self) -> Result<()> {
        check_attempt(self.task, self.fence)
    }
}
