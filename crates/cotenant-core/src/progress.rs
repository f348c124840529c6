//! Progress: how far a piece of work is, for everybody who wants to know.
//!
//! # Invariants
//! - A subject has one row; whoever sets it is told what was there.
//! - An item that a live session has claimed alone is reported on by that session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Operation, Result,
    data::check_limit,
    id::SessionId,
    name::{check_name, clean_optional_text},
    operation::{ActorRule, Effect},
};

/// Says how far a subject is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetProgress {
    /// What it is about, e.g. `issue:15`.
    pub subject: String,
    /// The step it is in, e.g. `testing`.
    pub phase: String,
    /// How much of it is done, 0 to 100.
    pub percent: u8,
    /// What is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer of [`SetProgress`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProgressSet {
    /// What it is about.
    pub subject: String,
    /// What was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Progress>,
}

/// How far a subject is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// What it is about.
    pub subject: String,
    /// The step it is in.
    pub phase: String,
    /// How much of it is done, 0 to 100.
    pub percent: u8,
    /// What is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Wall time of the report.
    pub updated_at: String,
    /// The name of the session that reported it.
    pub updated_by: String,
    /// The session that reported it.
    pub session: SessionId,
    /// How long ago that was.
    pub age_ms: u64,
}

impl Operation for SetProgress {
    const NAME: &'static str = "progress.set";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Say how far a piece of work is";
    type Answer = ProgressSet;

    fn check(&mut self) -> Result<()> {
        check_name("subject", &self.subject)?;
        check_name("phase", &self.phase)?;
        if self.percent > 100 {
            return Err(Error::invalid(format!(
                "percent is {}; it must be between 0 and 100",
                self.percent
            )));
        }
        clean_optional_text("message", self.message.as_mut())
    }
}

/// Shows how far subjects are, ordered by their names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowProgress {
    /// Only subjects that match, e.g. `issue:*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Go on behind this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many, 1 to 1,000.
    #[serde(default = "crate::data::default_limit")]
    pub limit: u32,
}

/// The answer of [`ShowProgress`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Progresses {
    /// How far each subject is.
    pub progress: Vec<Progress>,
    /// Where to go on, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Operation for ShowProgress {
    const NAME: &'static str = "progress.show";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Show how far pieces of work are";
    type Answer = Progresses;

    fn check(&mut self) -> Result<()> {
        check_limit(self.limit)
    }
}
