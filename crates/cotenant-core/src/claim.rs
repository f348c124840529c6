//! Claims: leases on work items and paths that live as long as their session.
//!
//! # Invariants
//! - Two sessions never hold overlapping exclusive claims in one tree.
//! - A claim of several items takes all or none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Operation, Result,
    clock::{DAY, MINUTE, SECOND, check_duration},
    id::{Fence, SessionId},
    name::{SessionRef, check_name, clean_optional_text, normal_path, shown},
    operation::{ActorRule, Effect},
};

/// The most items of one call.
pub const ITEMS_MAX: usize = 64;
/// The most claims of a session, automatic ones apart.
pub const CLAIMS_MAX: i64 = 256;
/// The most automatic path claims of a session.
pub const AUTOMATIC_MAX: i64 = 4_096;
/// How long an automatic path claim lasts after the last edit.
pub const AUTOMATIC_MS: u64 = 15 * MINUTE;

/// What kind of thing is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// An issue or ticket.
    Issue,
    /// A file or directory of one tree.
    Path,
    /// A branch.
    Branch,
    /// Anything else that has a name.
    Other,
}

impl ItemKind {
    /// The word in the database, on the wire and before the colon.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Path => "path",
            Self::Branch => "branch",
            Self::Other => "other",
        }
    }

    /// The kind of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Issue, Self::Path, Self::Branch, Self::Other].into_iter().find(|k| k.word() == word)
    }
}

/// Something that can be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What kind of thing.
    pub kind: ItemKind,
    /// Its name; for a path, relative to the top of its tree.
    pub name: String,
    /// The tree of a path: the clone's id, and `+NAME` for a linked worktree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
}

impl Item {
    /// Checks the item and brings it into its one form.
    pub fn check(&mut self) -> Result<()> {
        if self.kind == ItemKind::Path {
            self.name = normal_path(&self.name)?;
            return match &self.tree {
                Some(tree) if tree.contains('/') => {
                    Err(Error::invalid(format!("tree `{}` has a `/`", shown(tree))))
                }
                Some(tree) => check_name("tree", tree),
                None => Err(Error::invalid(format!("path `{}` names no tree", self.name))
                    .hint("claim paths inside a git work tree, or name the tree")),
            };
        }
        if self.tree.is_some() {
            return Err(Error::invalid("only a path has a tree"));
        }
        check_name(self.kind.word(), &self.name)
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.kind.word(), self.name)
    }
}

impl std::str::FromStr for Item {
    type Err = Error;

    /// Reads `issue:15`, `path:src/`, `branch:x` or `other:name`. A path gets its tree later.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |fault: &str| {
            Error::invalid(format!("`{}` {fault}", shown(text)))
                .hint("write issue:15, path:src/, branch:name or other:name")
        };
        let (kind, name) = text.split_once(':').ok_or_else(|| wrong("is not KIND:NAME"))?;
        let kind = ItemKind::of(kind).ok_or_else(|| wrong("has an unknown kind"))?;
        if name.is_empty() {
            return Err(wrong("has no name"));
        }
        Ok(Self { kind, name: name.to_owned(), tree: None })
    }
}

/// How strong a claim is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Keeps other exclusive claims out.
    #[default]
    Exclusive,
    /// Tells others, keeps nobody out.
    Advisory,
}

impl Mode {
    /// The word in the database and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Advisory => "advisory",
        }
    }
}

/// Where a holding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldingState {
    /// Somebody holds it.
    Held,
    /// Its holder was lost; it is free after the lock delay.
    Cooling,
    /// Somebody waits for it.
    Waiting,
}

/// Who holds or waits for something, since when and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holding {
    /// The lease, or the item, e.g. `issue:15`.
    pub resource: String,
    /// The tree of a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// Where it stands.
    pub state: HoldingState,
    /// How strong a claim is.
    pub mode: Mode,
    /// The holder's id.
    pub session: SessionId,
    /// The holder's name.
    pub name: String,
    /// What the holder is.
    pub kind: String,
    /// The account of the person it works for.
    pub user: String,
    /// The fencing token; a ticket's place in the queue when waiting.
    pub fence: Fence,
    /// Wall time of the grant.
    pub since: String,
    /// How long ago the grant was.
    pub held_for_ms: u64,
    /// When it ends without a renewal, or is free when cooling; absent when it lives as long as
    /// its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// How long ago the holder was last heard of.
    pub heartbeat_age_ms: u64,
    /// Whether it was claimed by an edit rather than by a decision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// What for, in the holder's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the holder's session is for, in its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The holder's host, when it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The holder's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// Claims items, all or none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// What to claim, at most 64 items.
    pub items: Vec<Item>,
    /// How strong.
    #[serde(default)]
    pub mode: Mode,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// How long; as long as the session when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Made by an edit rather than by a decision: lasts 15 minutes after the last edit.
    #[serde(default)]
    pub automatic: bool,
    /// Only one of them: the first that is free, in the order given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any: bool,
}

/// One claimed item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimedItem {
    /// The item, e.g. `issue:15`.
    pub item: String,
    /// Its resource, for guards.
    pub resource: String,
    /// The fencing token.
    pub fence: Fence,
    /// Whether the actor held it before.
    pub already_held: bool,
}

/// The answer of [`Claim`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Claimed {
    /// The items with their fences.
    pub items: Vec<ClaimedItem>,
    /// What others hold that overlaps without excluding: advisory claims, other trees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlaps: Vec<Holding>,
    /// Claims that others keep by hand in plain data, and open offers of the items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Operation for Claim {
    const NAME: &'static str = "claim";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Claim issues, paths or branches, all or none";
    type Answer = Claimed;

    fn check(&mut self) -> Result<()> {
        check_items(&mut self.items)?;
        clean_optional_text("intent", self.intent.as_mut())?;
        if self.automatic && self.items.iter().any(|item| item.kind != ItemKind::Path) {
            return Err(Error::invalid("only paths are claimed automatically"));
        }
        if self.automatic && self.any {
            return Err(Error::invalid("`automatic` and `any` exclude each other"));
        }
        self.ttl_ms.map_or(Ok(()), |ttl| check_duration("ttl", ttl, 5 * SECOND, DAY))
    }
}

fn check_items(items: &mut [Item]) -> Result<()> {
    if items.is_empty() || items.len() > ITEMS_MAX {
        return Err(Error::invalid(format!("{} items; it takes 1 to {ITEMS_MAX}", items.len())));
    }
    items.iter_mut().try_for_each(Item::check)?;
    for (index, item) in items.iter().enumerate() {
        if items[..index].contains(item) {
            return Err(Error::invalid(format!("`{item}` is named twice")));
        }
    }
    Ok(())
}

/// Gives items back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unclaim {
    /// The items; with `all`, none.
    #[serde(default)]
    pub items: Vec<Item>,
    /// Everything the actor has claimed.
    #[serde(default)]
    pub all: bool,
}

/// The answer of [`Unclaim`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unclaimed {
    /// What was given back.
    pub released: Vec<String>,
    /// What the actor did not hold.
    pub not_held: Vec<String>,
}

impl Operation for Unclaim {
    const NAME: &'static str = "unclaim";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Give claimed items back";
    type Answer = Unclaimed;

    fn check(&mut self) -> Result<()> {
        if self.all {
            if self.items.is_empty() {
                return Ok(());
            }
            return Err(Error::invalid("`all` and items exclude each other"));
        }
        check_items(&mut self.items)
    }
}

/// Tells who holds and who waits for what; without an argument, all claims.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// Whatever overlaps this item; a path without a tree is looked up in every tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    /// Items that match, e.g. `issue:*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Only what this session holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRef>,
}

impl Operation for Who {
    const NAME: &'static str = "who";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "Tell who holds an item and who waits for it";
    type Answer = crate::lease::Holdings;

    fn check(&mut self) -> Result<()> {
        if let Some(item) = &mut self.item {
            if item.kind == ItemKind::Path && item.tree.is_none() {
                item.name = normal_path(&item.name)?;
            } else {
                item.check()?;
            }
        }
        self.session.as_ref().map_or(Ok(()), SessionRef::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_a_known_kind_and_a_name() {
        let item: Item = "issue:15".parse().unwrap();
        assert_eq!(item.to_string(), "issue:15");
        for bad in ["15", "isue:15", "issue:", ":15"] {
            assert!(bad.parse::<Item>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_needs_a_tree_to_be_claimed() {
        let mut item: Item = "path:./src//a.rs".parse().unwrap();
        assert!(item.check().is_err());
        item.tree = Some("k3f9".into());
        item.check().unwrap();
        assert_eq!(item.name, "src/a.rs");
    }
}
