//! Leases: named rights with a TTL and a fencing token.
//!
//! The fence follows Kleppmann, "How to do distributed locking" (2016); the lock delay that keeps
//! a resource free after an involuntary end follows Burrows, "The Chubby lock service" (2006).
//!
//! # Invariants
//! - At most `slots` unexpired grants of a resource.
//! - Every new grant has a greater fence than all before it, over the whole store.
//! - A renewal keeps the fence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Operation, Result,
    claim::{Holding, Item, ItemKind},
    clock::{DAY, MINUTE, SECOND, check_duration},
    id::{Fence, check_count},
    name::{check_name, clean_optional_text, clean_text, shown},
    operation::{ActorRule, Effect},
};

/// How long a resource stays free after its holder was lost, unless given.
pub const LOCK_DELAY_MS: u64 = 5 * SECOND;
/// The most leases of a session.
pub const LEASES_MAX: i64 = 64;
/// The most waiting tickets of a session.
pub const TICKETS_MAX: i64 = 64;
/// The longest wait of one call.
pub const WAIT_MAX_MS: u64 = DAY;

/// What can be held: a lease by name, or a claimed item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A lease.
    Lease(String),
    /// A claim.
    Claim(Item),
}

impl Resource {
    /// Reads `NAME`, `claim/KIND/NAME`, `claim/path/TREE/NAME` or an item such as `issue:15`.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("claim/") {
            let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
            let kind = ItemKind::of(kind).ok_or_else(|| {
                Error::invalid(format!("`{}` names no kind of claim", shown(text)))
            })?;
            let (tree, name) = match kind {
                ItemKind::Path => {
                    name.split_once('/').map(|(t, n)| (Some(t), n)).ok_or_else(|| {
                        Error::invalid(format!("`{}` is not claim/path/TREE/NAME", shown(text)))
                    })?
                }
                _ => (None, name),
            };
            let mut item = Item { kind, name: name.to_owned(), tree: tree.map(str::to_owned) };
            item.check()?;
            return Ok(Self::Claim(item));
        }
        if let Some((kind, name)) = text.split_once(':')
            && let Some(kind) = ItemKind::of(kind)
        {
            let mut item = Item { kind, name: name.to_owned(), tree: None };
            item.check()?;
            return Ok(Self::Claim(item));
        }
        check_name("resource", text)?;
        Ok(Self::Lease(text.to_owned()))
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lease(name) => formatter.write_str(name),
            Self::Claim(Item { kind, name, tree: Some(tree) }) => {
                write!(formatter, "claim/{}/{tree}/{name}", kind.word())
            }
            Self::Claim(Item { kind, name, tree: None }) => {
                write!(formatter, "claim/{}/{name}", kind.word())
            }
        }
    }
}

fn check_resource(name: &str) -> Result<()> {
    check_name("resource", name)?;
    if name.starts_with("claim/") || name == "claim" {
        return Err(Error::invalid(format!(
            "resource `{name}` begins with `claim/`, which is reserved"
        ))
        .hint("claim items with `cotenant claim`"));
    }
    if crate::task::guarded(name).is_some() {
        return Err(Error::invalid(format!("resource `{name}` reads like a task"))
            .hint("take tasks with `cotenant task next`"));
    }
    if let Some((kind, _)) = name.split_once(':')
        && ItemKind::of(kind).is_some()
    {
        return Err(Error::invalid(format!("resource `{name}` reads like an item to claim")).hint(
            format!(
                "claim it with `cotenant claim {name}`, or write `{}`",
                name.replacen(':', "/", 1)
            ),
        ));
    }
    Ok(())
}

/// Takes the lease on a resource, or extends the actor's own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acquire {
    /// What to hold, e.g. `branch/main`.
    pub resource: String,
    /// How long to hold it without a renewal, 5 s to 24 h.
    pub ttl_ms: u64,
    /// How many sessions may hold it at once; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// How long to wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// How long it stays free after an involuntary end, up to 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_delay_ms: Option<u64>,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A granted lease.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Granted {
    /// What is held.
    pub resource: String,
    /// The fencing token of this grant.
    pub fence: Fence,
    /// How long it is held without a renewal.
    pub expires_in_ms: u64,
    /// Whether the actor held it before.
    pub already_held: bool,
}

impl Operation for Acquire {
    const NAME: &'static str = "lease.acquire";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Take a lease, or extend one you hold";
    type Answer = Granted;

    fn check(&mut self) -> Result<()> {
        check_resource(&self.resource)?;
        check_duration("ttl", self.ttl_ms, 5 * SECOND, DAY)?;
        if let Some(slots) = self.slots
            && !(1..=1_000).contains(&slots)
        {
            return Err(Error::invalid(format!("slots is {slots}; it must be between 1 and 1000")));
        }
        if let Some(wait) = self.wait_ms {
            check_duration("wait", wait, 0, WAIT_MAX_MS)?;
        }
        if let Some(delay) = self.lock_delay_ms {
            check_duration("lock delay", delay, 0, MINUTE)?;
        }
        clean_optional_text("note", self.note.as_mut())
    }

    fn wait_ms(&self) -> Option<u64> {
        self.wait_ms
    }
}

/// Extends a lease; the fence stays.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// What is held.
    pub resource: String,
    /// The fence of the grant.
    pub fence: Fence,
    /// The new TTL; as before when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// The answer of [`Renew`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Renewed {
    /// How long it is held without another renewal.
    pub expires_in_ms: u64,
}

impl Operation for Renew {
    const NAME: &'static str = "lease.renew";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Extend a lease you hold";
    type Answer = Renewed;

    fn check(&mut self) -> Result<()> {
        check_count("fence", self.fence.0)?;
        check_name("resource", &self.resource)?;
        self.ttl_ms.map_or(Ok(()), |ttl| check_duration("ttl", ttl, 5 * SECOND, DAY))
    }
}

/// Gives a lease back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// What is held.
    pub resource: String,
    /// The fence of the grant.
    pub fence: Fence,
}

/// The answer of [`Release`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Released {
    /// Whether it had been given back before.
    pub already: bool,
}

impl Operation for Release {
    const NAME: &'static str = "lease.release";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Give a lease back";
    type Answer = Released;

    fn check(&mut self) -> Result<()> {
        check_count("fence", self.fence.0)?;
        check_name("resource", &self.resource)
    }
}

/// Tells whether a fence is current; advice only, a guard is what protects.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What is held.
    pub resource: String,
    /// The fence in question.
    pub fence: Fence,
}

/// The answer of [`Check`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// Whether a current grant has this fence.
    pub valid: bool,
    /// For how long, without a renewal; absent when it lives as long as its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

impl Operation for Check {
    const NAME: &'static str = "lease.check";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Tell whether a fence is current (advice only)";
    type Answer = Checked;

    fn check(&mut self) -> Result<()> {
        check_count("fence", self.fence.0)?;
        check_name("resource", &self.resource)
    }
}

/// Lets a fence pass if no higher one has passed, for resources outside the store.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admit {
    /// The resource.
    pub resource: String,
    /// The fence that asks to pass.
    pub fence: Fence,
}

/// The answer of [`Admit`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Admitted {
    /// The highest fence that passed, now this one.
    pub highest: Fence,
}

impl Operation for Admit {
    const NAME: &'static str = "lease.admit";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Let a fence pass if no higher one has passed";
    type Answer = Admitted;

    fn check(&mut self) -> Result<()> {
        check_count("fence", self.fence.0)?;
        check_name("resource", &self.resource)
    }
}

/// Ends a grant against its holder's will; people only.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Break {
    /// A lease or a claimed item.
    pub resource: String,
    /// Why.
    pub reason: String,
}

/// The answer of [`Break`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Broken {
    /// Whose grants ended.
    pub holders: Vec<String>,
    /// When the resource is free.
    pub free_in_ms: u64,
}

impl Operation for Break {
    const NAME: &'static str = "lease.break";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "End a grant against its holder's will (people only)";
    type Answer = Broken;

    fn check(&mut self) -> Result<()> {
        Resource::parse(&self.resource)?;
        clean_text("reason", &mut self.reason)
    }
}

/// Lists leases.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListLeases {
    /// Only those that match; `*` matches any run of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// The answer of [`ListLeases`] and of `who`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Holdings {
    /// Who holds what, and who waits.
    pub holdings: Vec<Holding>,
}

impl Operation for ListLeases {
    const NAME: &'static str = "lease.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "List leases and who waits for them";
    type Answer = Holdings;

    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_reads_back_as_it_is_shown() {
        for text in ["branch/main", "claim/issue/15", "claim/path/k3f9+x/src/a.rs", "claim/other/x"]
        {
            assert_eq!(Resource::parse(text).unwrap().to_string(), text);
        }
        let item = Resource::parse("issue:15").unwrap();
        assert_eq!(item, Resource::parse("claim/issue/15").unwrap());
        assert!(Resource::parse("claim/path/src").is_err());
    }

    #[test]
    fn claims_are_not_taken_as_leases() {
        let mut acquire = Acquire {
            resource: "claim/issue/15".into(),
            ttl_ms: 10_000,
            slots: None,
            wait_ms: None,
            lock_delay_ms: None,
            note: None,
        };
        assert!(acquire.check().is_err());
        acquire.resource = "x".into();
        acquire.check().unwrap();
        acquire.ttl_ms = 1;
        assert!(acquire.check().is_err());
    }
}
