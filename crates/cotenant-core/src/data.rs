//! Shared data: values under a scope and a key, each write with a revision.
//!
//! # Invariants
//! - `rev` is the number of the event that last wrote the key; it never repeats.
//! - `ver` counts the writes of a key since it was last absent.
//! - No update is lost: [`Update`] reads and writes in one transaction.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Code, Error, Operation, Result,
    clock::{DAY, SECOND, check_duration},
    id::{Rev, check_count},
    json::Json,
    name::check_name,
    operation::{ActorRule, Effect},
    store::BATCH_MAX,
};

/// The largest page of a list.
pub const PAGE_MAX: u32 = 1_000;
/// The most keys that one deletion of a scope takes.
pub const DELETE_MAX: usize = 10_000;

/// The page size when none is given.
pub const fn default_limit() -> u32 {
    100
}

/// Checks a page size.
pub fn check_limit(limit: u32) -> Result<()> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Error::invalid(format!("limit is {limit}; it must be between 1 and {PAGE_MAX}")))
}

fn check_place(scope: &str, key: &str) -> Result<()> {
    check_name("scope", scope)?;
    check_name("key", key)
}

fn check_expected(rev: Option<Rev>) -> Result<()> {
    rev.map_or(Ok(()), |rev| check_count("rev", rev.0))
}

/// Reads one key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// The scope, e.g. `issue:15`.
    pub scope: String,
    /// The key in it.
    pub key: String,
}

/// A stored value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The scope.
    pub scope: String,
    /// The key in it.
    pub key: String,
    /// The value, byte for byte as it was stored.
    pub value: Json,
    /// The event that last wrote it.
    pub rev: Rev,
    /// How often it was written since it was last absent.
    pub ver: i64,
    /// The name of the session that wrote it.
    pub writer: String,
    /// How far the writer is trusted.
    pub trust: String,
    /// Wall time of the write.
    pub at: String,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// Whether it goes with the session that wrote it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// Whether nobody stored it: an operation answers for it, and its rev is 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub projected: bool,
}

impl Operation for Get {
    const NAME: &'static str = "data.get";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Read one key";
    type Answer = Entry;

    fn check(&mut self) -> Result<()> {
        check_place(&self.scope, &self.key)
    }
}

/// Lists keys with their values, ordered by scope and key, byte by byte.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only scopes that begin so.
    #[serde(default)]
    pub scope: String,
    /// Only keys that begin so.
    #[serde(default)]
    pub key: String,
    /// Go on behind this scope and key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<(String, String)>,
    /// At most so many, 1 to 1,000.
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// Only exactly this scope, instead of all that begin so.
    #[serde(default)]
    pub exact: bool,
}

/// The answer of [`List`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entries {
    /// The keys.
    pub entries: Vec<Entry>,
    /// Where to go on, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<(String, String)>,
}

impl Operation for List {
    const NAME: &'static str = "data.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "List keys with their values";
    type Answer = Entries;

    fn check(&mut self) -> Result<()> {
        check_limit(self.limit)
    }
}

/// Stores a value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// The scope.
    pub scope: String,
    /// The key in it.
    pub key: String,
    /// The value.
    pub value: Json,
    /// Only if the key has this rev; 0 means "only if it does not exist".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Rev>,
    /// Delete it together with the session.
    #[serde(default)]
    pub ephemeral: bool,
    /// Delete it after so long, 1 s to 365 d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// The answer of a write.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// The event of the write.
    pub rev: Rev,
    /// How often the key was written since it was last absent.
    pub ver: i64,
    /// The rev that was overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrote: Option<Rev>,
}

impl Operation for Put {
    const NAME: &'static str = "data.put";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Store a value";
    type Answer = Written;

    fn check(&mut self) -> Result<()> {
        check_place(&self.scope, &self.key)?;
        check_expected(self.expect)?;
        self.value.check()?;
        self.ttl_ms.map_or(Ok(()), |ttl| check_duration("ttl", ttl, SECOND, 365 * DAY))
    }
}

/// Deletes a key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The scope.
    pub scope: String,
    /// The key in it.
    pub key: String,
    /// Only if the key has this rev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Rev>,
}

/// The answer of [`Delete`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// Whether there was anything.
    pub existed: bool,
    /// Who holds what the key tells of, when nobody stored it: that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
}

impl Operation for Delete {
    const NAME: &'static str = "data.delete";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Delete a key";
    type Answer = Deleted;

    fn check(&mut self) -> Result<()> {
        check_expected(self.expect)?;
        check_place(&self.scope, &self.key)
    }
}

/// Deletes all keys of exactly one scope; `issue:1` is not `issue:15`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteScope {
    /// The scope.
    pub scope: String,
    /// Also the scopes below it, after a `/`.
    #[serde(default)]
    pub recursive: bool,
    /// Only if it holds so many keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_count: Option<u64>,
}

/// The answer of [`DeleteScope`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeletedScope {
    /// How many keys were deleted.
    pub deleted: u64,
    /// Who holds what the scope tells of beside what was stored: that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
}

impl Operation for DeleteScope {
    const NAME: &'static str = "scope.delete";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Delete all keys of exactly one scope";
    type Answer = DeletedScope;

    fn check(&mut self) -> Result<()> {
        check_name("scope", &self.scope)
    }
}

/// A condition of [`Txn`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// The scope.
    pub scope: String,
    /// The key in it.
    pub key: String,
    /// It has this rev; 0 means that it does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<Rev>,
    /// It has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ver: Option<i64>,
    /// It exists, or does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
}

/// A write of [`Txn`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Write {
    /// Store a value.
    Put(Put),
    /// Delete a key.
    Delete(Delete),
    /// Change a value.
    Update(Update),
}

/// Does all writes if all conditions hold, else none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Txn {
    /// The conditions.
    #[serde(default)]
    pub compares: Vec<Compare>,
    /// The writes.
    pub ops: Vec<Write>,
}

/// The answer of one write of a [`Txn`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteAnswer {
    /// Of a put.
    Put(Written),
    /// Of a deletion.
    Delete(Deleted),
    /// Of an update.
    Update(Updated),
}

/// The answer of [`Txn`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TxnDone {
    /// One answer a write, in order.
    pub results: Vec<WriteAnswer>,
}

impl Operation for Txn {
    const NAME: &'static str = "data.txn";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Do several writes if all conditions hold, else none";
    type Answer = TxnDone;

    fn check(&mut self) -> Result<()> {
        if self.ops.len() + self.compares.len() > BATCH_MAX {
            return Err(Error::new(
                Code::TooLarge,
                format!("more than {BATCH_MAX} conditions and writes in one transaction"),
            ));
        }
        if self.ops.is_empty() {
            return Err(Error::invalid("a transaction without a write"));
        }
        for compare in &self.compares {
            check_place(&compare.scope, &compare.key)?;
            check_expected(compare.rev)?;
            compare.ver.map_or(Ok(()), |ver| check_count("ver", ver))?;
            if compare.rev.is_none() && compare.ver.is_none() && compare.exists.is_none() {
                return Err(Error::invalid("a condition names none of `rev`, `ver`, `exists`"));
            }
        }
        self.ops.iter_mut().try_for_each(|op| match op {
            Write::Put(put) => put.check(),
            Write::Delete(delete) => delete.check(),
            Write::Update(update) => update.check(),
        })
    }
}

/// How [`Update`] changes a value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Add to a whole number; an absent key counts as 0.
    Add(i64),
    /// Append to an array; an absent key counts as empty.
    Append(Json),
    /// Apply a JSON merge patch (RFC 7396); an absent key counts as `{}`.
    Merge(Json),
}

/// Changes a value inside one transaction, so that no update is lost.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The scope.
    pub scope: String,
    /// The key in it.
    pub key: String,
    /// The change.
    pub change: Change,
    /// Keep only so many of the newest items when appending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

/// The answer of [`Update`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Updated {
    /// The event of the write.
    pub rev: Rev,
    /// How often the key was written since it was last absent.
    pub ver: i64,
    /// The new number, after an addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// The new length, after an append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
}

impl Operation for Update {
    const NAME: &'static str = "data.update";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str =
        "Add to, append to or merge into a value without losing an update";
    type Answer = Updated;

    fn check(&mut self) -> Result<()> {
        check_place(&self.scope, &self.key)?;
        if self.keep.is_some() && !matches!(self.change, Change::Append(_)) {
            return Err(Error::invalid("`keep` goes with an append only"));
        }
        if self.keep == Some(0) {
            return Err(Error::invalid("`keep` must be at least 1"));
        }
        match &self.change {
            Change::Add(number) if number.unsigned_abs() > crate::id::MAX_INTEGER as u64 => {
                Err(Error::invalid("the number to add is beyond 2^53-1"))
            }
            Change::Add(_) => Ok(()),
            Change::Append(value) => value.check(),
            Change::Merge(value) => {
                value.check()?;
                if value.text().trim_start().starts_with('{') {
                    return Ok(());
                }
                Err(Error::invalid("a merge patch must be a JSON object"))
            }
        }
    }
}

/// Lists the scopes that hold at least one key. A pattern that begins with `session:`, `issue:` or
/// `locks:` also finds those of live sessions, their claims and leases.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListScopes {
    /// `*` matches any run of characters anywhere; nothing else is special.
    #[serde(default = "every_scope")]
    pub pattern: String,
    /// Go on behind this scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many, 1 to 1,000.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

fn every_scope() -> String {
    "*".to_owned()
}

/// The answer of [`ListScopes`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Scopes {
    /// The scopes, ordered byte by byte.
    pub scopes: Vec<String>,
    /// Where to go on, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Operation for ListScopes {
    const NAME: &'static str = "scope.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "List the scopes that hold at least one key";
    type Answer = Scopes;

    fn check(&mut self) -> Result<()> {
        if self.pattern.is_empty() || self.pattern.len() > crate::name::NAME_BYTES_MAX {
            return Err(Error::invalid("the pattern must have 1 to 256 bytes"));
        }
        check_limit(self.limit)
    }
}

/// Whether a pattern matches a text; `*` stands for any run of characters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or_default())
    else {
        return rest.is_empty();
    };
    let middle = parts.collect::<Vec<_>>();
    for part in &middle[..middle.len() - 1] {
        match rest.find(part) {
            Some(index) => rest = &rest[index + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// The part of a pattern before its first `*`.
pub fn glob_prefix(pattern: &str) -> &str {
    pattern.split('*').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_star_is_special() {
        for (pattern, text, expected) in [
            ("issue:*", "issue:15", true),
            ("issue:*", "issues", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abcb", false),
            ("a?c", "abc", false),
            ("[a]", "a", false),
            ("aa*aa", "aaa", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn globs_agree_with_a_plain_matcher(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            fn plain(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.first(), text.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => plain(&pattern[1..], text) || (!text.is_empty() && plain(pattern, &text[1..])),
                    (Some(p), Some(t)) => p == t && plain(&pattern[1..], &text[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(glob(&pattern, &text), plain(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
