//! Who works on what.

use std::borrow::Cow;

use cotenant_core::{
    Error, Result,
    claim::{self, Holding, HoldingState, Mode, Unclaimed},
    clock::{in_words, parse_duration},
    lease::{Acquire, ListLeases, Release},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Call, Manner, Output, Tool};
use crate::mcp::answer::facts;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    /// issue:15, path:src/ (a file or directory), branch:fix-x, other:name; or one lock:NAME
    items: Vec<String>,
    /// What you are going to do with them; others see it
    intent: Option<String>,
    /// advisory tells others and keeps nobody out
    #[serde(default)]
    mode: Strength,
    /// Only one of them: the first that is free
    #[serde(default)]
    any: bool,
    /// E.g. 30m; as long as your session when absent. A lock needs one; claim it again to extend it
    ttl: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Strength {
    #[default]
    Exclusive,
    Advisory,
}

impl Tool for Claim {
    const NAME: &'static str = "claim";
    const ABOUT: &'static str = "Claim work before you start it: all items or none. CLAIMED names \
        who has it. Lasts until unclaim, sign_off or the end of your process. `overlaps` only \
        informs: advisory claims, and other worktrees.";
    const MANNER: Manner = Manner::Sets;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        if let Some(name) = self.items.iter().find_map(|item| lock(item)) {
            return acquire(call, &self, name);
        }
        let claimed = call.write(claim::Claim {
            items: call.items(&self.items)?,
            mode: match self.mode {
                Strength::Exclusive => Mode::Exclusive,
                Strength::Advisory => Mode::Advisory,
            },
            intent: self.intent,
            ttl_ms: self.ttl.as_deref().map(parse_duration).transpose()?,
            automatic: false,
            any: self.any,
        })?;
        let mut answer = Map::new();
        answer.insert("items".to_owned(), json!(claimed.items));
        if !claimed.overlaps.is_empty() {
            answer.insert("overlaps".to_owned(), claimed.overlaps.iter().map(facts).collect());
        }
        if !claimed.warnings.is_empty() {
            answer.insert("warnings".to_owned(), json!(claimed.warnings));
        }
        Ok(Output::Facts(Value::Object(answer)))
    }
}

/// The name of a lock: a lease, by the word of those who claim it or of those who hand it over.
pub(super) fn lock(item: &str) -> Option<&str> {
    item.strip_prefix("lock:").or_else(|| item.strip_prefix("lease:"))
}

/// An item by the word that tools answer with, where it is a lock.
pub(super) fn with_lock(item: &str) -> Cow<'_, str> {
    lock(item).map_or(Cow::Borrowed(item), |name| Cow::Owned(format!("lock:{name}")))
}

/// Takes a lock, or extends it.
fn acquire(call: &Call<'_>, asked: &Claim, name: &str) -> Result<Output> {
    if asked.items.len() > 1 || asked.any || asked.mode == Strength::Advisory {
        return Err(Error::invalid("a lock is claimed alone, by one session at a time")
            .hint("claim the other items in a call of their own"));
    }
    let Some(ttl) = &asked.ttl else {
        return Err(Error::invalid("a lock needs `ttl`")
            .hint("say how long you need it at most, e.g. \"10m\"; claim it again to extend it"));
    };
    let granted = call.write(Acquire {
        resource: name.to_owned(),
        ttl_ms: parse_duration(ttl)?,
        slots: None,
        wait_ms: None,
        lock_delay_ms: None,
        note: asked.intent.clone(),
    })?;
    let item = json!({
        "item": format!("lock:{}", granted.resource), "resource": granted.resource,
        "fence": granted.fence, "already_held": granted.already_held,
        "expires_in": in_words(granted.expires_in_ms),
    });
    Ok(Output::Facts(json!({"items": [item]})))
}

/// Gives a lock back; answers whether it was held.
fn release(call: &Call<'_>, name: &str) -> Result<bool> {
    let Some(actor) = call.find()? else { return Ok(false) };
    let is_ours = |held: &&Holding| {
        let names = [&held.session.0, &held.name];
        held.state == HoldingState::Held
            && held.resource == name
            && names.contains(&&actor.session.0)
    };
    let holdings = locks(call, name)?;
    let Some(held) = holdings.iter().find(is_ours) else { return Ok(false) };
    call.write(Release { resource: name.to_owned(), fence: held.fence })?;
    Ok(true)
}

/// Who holds locks that match, and who waits for them.
fn locks(call: &Call<'_>, pattern: &str) -> Result<Vec<Holding>> {
    Ok(call.read(&ListLeases { pattern: Some(pattern.to_owned()) })?.holdings)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unclaim {
    /// As they were claimed
    items: Vec<String>,
}

impl Tool for Unclaim {
    const NAME: &'static str = "unclaim";
    const ABOUT: &'static str = "Give claimed items back, so that others can take them.";
    const MANNER: Manner = Manner::Sets;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let (locks, items): (Vec<String>, Vec<String>) =
            self.items.into_iter().partition(|item| lock(item).is_some());
        let mut given = Unclaimed { released: Vec::new(), not_held: Vec::new() };
        if !items.is_empty() || locks.is_empty() {
            let items = call.items(&items)?;
            given = call.write(claim::Unclaim { items, all: false })?;
        }
        for item in locks {
            let held = lock(&item).map_or(Ok(false), |name| release(call, name))?;
            let item = with_lock(&item).into_owned();
            if held { &mut given.released } else { &mut given.not_held }.push(item);
        }
        Ok(Output::Facts(json!(given)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    /// issue:15, path:src/a.rs, lock:NAME, or a pattern such as issue:*; all claims when absent
    item: Option<String>,
}

impl Tool for Who {
    const NAME: &'static str = "who";
    const ABOUT: &'static str = "Who holds an item or waits for it, since when, what for.";
    const MANNER: Manner = Manner::Reads;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        if let Some(name) = self.item.as_deref().and_then(lock) {
            let holdings: Value = locks(call, name)?.iter().map(facts).collect();
            return Ok(Output::Facts(json!({ "holdings": holdings })));
        }
        let mut question = claim::Who::default();
        match self.item {
            Some(pattern) if pattern.contains('*') => question.pattern = Some(pattern),
            Some(item) => question.item = Some(call.item(&item)?),
            None => {}
        }
        let answer = call.read(&question)?;
        Ok(Output::Facts(
            json!({ "holdings": answer.holdings.iter().map(facts).collect::<Value>() }),
        ))
    }
}
