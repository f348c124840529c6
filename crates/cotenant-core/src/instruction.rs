//! Instructions: an append-only history of what people want, shared by all sessions.
//!
//! # Invariants
//! - An entry's text never changes; it is superseded or revoked, and stays in the history.
//! - Concurrent additions are all kept, each with its author.
//! - Only what a person wrote or approved is in force.
//! - Of what is in force under one key, exactly one entry wins at a place, and it can be told why.

mod precedence;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use precedence::{conflicts, rule};

use crate::{
    Error, Operation, Result,
    data::{check_limit, default_limit},
    id::{Rev, SessionId, check_count},
    name::{check_name, clean_optional_text, clean_text, normal_path, paths_overlap, shown},
    operation::{ActorRule, Effect},
};

/// The most entries that one question after what is in force answers.
pub const EFFECTIVE_MAX: usize = 1_000;

/// How far a text is trusted; derived text takes the least of its inputs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// It comes from outside: a file, a page, an issue.
    External,
    /// A program made it.
    Tool,
    /// An agent wrote it.
    Agent,
    /// A person wrote it.
    Human,
}

impl Trust {
    /// The word in the database and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Human => "human",
        }
    }

    /// The trust of a word; the least of all for a word that is unknown.
    pub fn of(word: &str) -> Self {
        let all = [Self::Human, Self::Agent, Self::Tool, Self::External];
        all.into_iter().find(|trust| trust.word() == word).unwrap_or(Self::External)
    }
}

/// Where an instruction holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Scope {
    /// Everywhere.
    Org,
    /// In this project.
    Project,
    /// In a file or below a directory of it.
    Path(String),
}

impl Scope {
    /// Whether it holds at a path; at no path in particular everything may.
    pub fn holds_at(&self, path: Option<&str>) -> bool {
        match (self, path) {
            (Self::Path(scope), Some(path)) => {
                scope == path
                    || scope == "."
                    || path.strip_prefix(scope.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
            _ => true,
        }
    }

    /// Whether two scopes have a place in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(one), Self::Path(other)) => paths_overlap(one, other),
            _ => true,
        }
    }

    /// How narrow it is: a path over the project over the organisation, a longer path over a shorter one.
    fn narrowness(&self) -> (u8, usize) {
        match self {
            Self::Org => (0, 0),
            Self::Project => (1, 0),
            Self::Path(path) if path == "." => (2, 0),
            Self::Path(path) => (2, path.split('/').count()),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Org => formatter.write_str("org"),
            Self::Project => formatter.write_str("project"),
            Self::Path(path) => write!(formatter, "path:{path}"),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "org" => Ok(Self::Org),
            "project" => Ok(Self::Project),
            _ => match text.strip_prefix("path:") {
                Some(path) => normal_path(path).map(Self::Path),
                None => Err(Error::invalid(format!("there is no scope `{}`", shown(text)))
                    .hint("write project, org or path:DIRECTORY")),
            },
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// Where an instruction holds unless said.
const fn project() -> Scope {
    Scope::Project
}

/// What a reference to an instruction of the organisation begins with.
const OF_ORG: &str = "org:";

/// An instruction, named by its number or by an alias such as `inst_019`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct InstructionRef(pub String);

impl InstructionRef {
    /// Whether it names one of the organisation, as `org:12` does. On a server those have numbers of their own.
    pub fn is_of_org(&self) -> bool {
        self.0.starts_with(OF_ORG)
    }

    /// The alias, if it is no number.
    pub fn alias(&self) -> &str {
        self.0.strip_prefix(OF_ORG).unwrap_or(&self.0)
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<Rev> {
        let name = self.alias();
        let digits = name.strip_prefix('#').unwrap_or(name);
        digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn check(&self) -> Result<()> {
        check_name("instruction", &self.0)
    }
}

/// Checks an alias: a name that is not taken for a number.
fn check_alias(alias: &str) -> Result<()> {
    check_name("alias", alias)?;
    if alias.starts_with('#')
        || alias.starts_with(OF_ORG)
        || alias.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(Error::invalid(format!("alias `{}` reads like a number", shown(alias))));
    }
    Ok(())
}

/// Adds an instruction to the history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddInstruction {
    /// What is wanted, up to 4 KiB.
    pub text: String,
    /// Where it holds: `project`, `org` or `path:DIRECTORY`.
    #[serde(default = "project")]
    pub scope: Scope,
    /// What it is about; of those with one key, one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where it comes from, e.g. a file or what a person said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The entry that it takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<InstructionRef>,
    /// Also if that was superseded already: both successors stand, as a conflict.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contest: bool,
    /// A name of its own, e.g. the id that another tool gave it. Adding the same again adds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// How far the text is trusted, if less than who adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

impl AddInstruction {
    /// One for the project, with nothing else said.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            scope: Scope::Project,
            key: None,
            source: None,
            supersedes: None,
            contest: false,
            alias: None,
            trust: None,
        }
    }
}

/// The answer of [`AddInstruction`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstructionAdded {
    /// Its number, which is that of its event.
    pub id: Rev,
    /// How far it is trusted.
    pub trust: Trust,
    /// Whether it is in force, or awaits a person's approval.
    pub in_force: bool,
    /// Whether it was there already, under its alias.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub already: bool,
}

impl Operation for AddInstruction {
    const NAME: &'static str = "instruction.add";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str =
        "Add an instruction to the history, or one that supersedes another";
    type Answer = InstructionAdded;

    fn check(&mut self) -> Result<()> {
        clean_text("text", &mut self.text)?;
        if self.text.trim().is_empty() {
            return Err(Error::invalid("an instruction without words"));
        }
        clean_optional_text("source", self.source.as_mut())?;
        self.key.as_ref().map_or(Ok(()), |key| check_name("key", key))?;
        self.alias.as_ref().map_or(Ok(()), |alias| check_alias(alias))?;
        if self.contest && self.supersedes.is_none() {
            return Err(Error::invalid("`contest` goes with `supersedes` only"));
        }
        self.supersedes.as_ref().map_or(Ok(()), InstructionRef::check)
    }
}

/// Puts an entry in force that no person wrote; people only.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveInstruction {
    /// The entry, by number or alias.
    pub id: InstructionRef,
}

/// The answer of [`ApproveInstruction`] and [`RevokeInstruction`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstructionRuled {
    /// The entry.
    pub id: Rev,
    /// Whether it was so before.
    pub already: bool,
}

impl Operation for ApproveInstruction {
    const NAME: &'static str = "instruction.approve";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Put an instruction in force that no person wrote";
    type Answer = InstructionRuled;

    fn check(&mut self) -> Result<()> {
        self.id.check()
    }
}

/// Takes an entry out of force for good; people only.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeInstruction {
    /// The entry, by number or alias.
    pub id: InstructionRef,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Operation for RevokeInstruction {
    const NAME: &'static str = "instruction.revoke";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Take an instruction out of force for good";
    type Answer = InstructionRuled;

    fn check(&mut self) -> Result<()> {
        clean_optional_text("reason", self.reason.as_mut())?;
        self.id.check()
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A person wrote or approved it.
    InForce,
    /// It awaits a person's approval.
    Proposed,
    /// Another took its place.
    Superseded,
    /// A person took it out of force.
    Revoked,
}

/// An entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instruction {
    /// Its number, which is that of its event.
    pub id: Rev,
    /// What is wanted.
    pub text: String,
    /// Where it holds.
    pub scope: Scope,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name that it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How far it is trusted.
    pub trust: Trust,
    /// Where it stands.
    pub standing: Standing,
    /// The session that added it.
    pub session: SessionId,
    /// The name of that session.
    pub name: String,
    /// The account that the session worked for.
    pub user: String,
    /// Wall time.
    pub at: String,
    /// The entry that it took the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Rev>,
    /// The entry that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<Rev>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Who revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Instruction {
    /// How people name it: `12`, or `org:12` if it is of the organisation.
    pub fn reference(&self) -> String {
        reference(&self.scope, self.id)
    }

    /// Who wrote the text: a person by the account, an agent by its name, and what came from elsewhere by its
    /// source, since whoever brought it did not write it.
    pub fn writer(&self) -> &str {
        match self.trust {
            Trust::Human => &self.user,
            Trust::Agent => &self.name,
            Trust::Tool | Trust::External => self.source.as_deref().unwrap_or(&self.name),
        }
    }

    /// Whether it is neither superseded nor revoked.
    pub fn is_live(&self) -> bool {
        matches!(self.standing, Standing::InForce | Standing::Proposed)
    }
}

/// How people name an entry of a scope.
fn reference(scope: &Scope, id: Rev) -> String {
    let of = if *scope == Scope::Org { OF_ORG } else { "" };
    format!("{of}{id}")
}

/// Lists the history.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListInstructions {
    /// Also what was superseded or revoked.
    #[serde(default)]
    pub history: bool,
    /// Only of this scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Go on behind this entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Rev>,
    /// At most so many, 1 to 1,000.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

/// The answer of [`ListInstructions`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Instructions {
    /// The entries, the oldest first.
    pub entries: Vec<Instruction>,
    /// Where to go on, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Rev>,
}

impl Operation for ListInstructions {
    const NAME: &'static str = "instruction.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str =
        "List instructions with who gave them, when, and what became of them";
    type Answer = Instructions;

    fn check(&mut self) -> Result<()> {
        self.after.map_or(Ok(()), |rev| check_count("after", rev.0))?;
        check_limit(self.limit)
    }
}

/// Tells what is in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Effective {
    /// Only what holds for this file or directory, each key decided; else everything, decided per scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Nothing, if nothing has changed since this answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Rev>,
}

/// An instruction in force, and what it wins over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ruling {
    /// The instruction.
    pub instruction: Instruction,
    /// Those of the same key that it wins over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<Beaten>,
}

/// An instruction that another one wins over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Beaten {
    /// The entry.
    pub id: Rev,
    /// Where it holds.
    pub scope: Scope,
    /// Why the other one wins.
    pub why: Why,
}

impl Beaten {
    /// How people name it.
    pub fn reference(&self) -> String {
        reference(&self.scope, self.id)
    }
}

/// Why one instruction wins over another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A person wrote it; the other was only approved.
    HumanOverApproved,
    /// It is in force; the other awaits approval.
    InForceOverProposed,
    /// It holds for a narrower place: a path over the project over the organisation.
    Narrower,
    /// It is newer.
    Newer,
}

impl Why {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::HumanOverApproved => "a person wrote it, the other was approved",
            Self::InForceOverProposed => "it is in force, the other awaits approval",
            Self::Narrower => "it holds for a narrower place",
            Self::Newer => "it is newer",
        }
    }
}

/// The answer of [`Effective`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InForce {
    /// The newest change of any instruction; ask for what is new `since` it.
    pub head: Rev,
    /// Whether nothing has changed since the given answer.
    pub unchanged: bool,
    /// What is in force.
    pub rulings: Vec<Ruling>,
    /// How many entries await a person's approval.
    pub proposed: u64,
}

impl Operation for Effective {
    const NAME: &'static str = "instruction.effective";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str =
        "Tell which instructions are in force, and which one wins over which, and why";
    type Answer = InForce;

    fn check(&mut self) -> Result<()> {
        if let Some(path) = &mut self.path {
            *path = normal_path(path)?;
        }
        self.since.map_or(Ok(()), |rev| check_count("since", rev.0))
    }
}

/// Lists entries that contradict each other.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConflicts {}

/// What entries have in common that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The same key, with different texts.
    Key(String),
    /// The same predecessor.
    Superseded(Rev),
}

/// Live entries that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conflict {
    /// What they have in common.
    pub about: About,
    /// They, the one that wins first.
    pub entries: Vec<Instruction>,
    /// Why the first wins over the second.
    pub why: Why,
}

/// The answer of [`ListConflicts`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Conflicts {
    /// They.
    pub conflicts: Vec<Conflict>,
}

impl Operation for ListConflicts {
    const NAME: &'static str = "instruction.conflicts";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "List instructions that contradict each other";
    type Answer = Conflicts;

    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_number_or_a_name() {
        let number = |text: &str| InstructionRef(text.into()).number().map(|rev| rev.0);
        assert_eq!(
            (number("12"), number("#12"), number("inst_019"), number("+1")),
            (Some(12), Some(12), None, None)
        );
        assert!(
            check_alias("12").is_err()
                && check_alias("#a").is_err()
                && check_alias("inst_019").is_ok()
        );
    }
}
