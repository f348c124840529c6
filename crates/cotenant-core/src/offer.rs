//! Handoff: work that one session puts up and another takes over, and a session's note to itself.
//!
//! # Invariants
//! - What is offered stays its giver's until somebody accepts.
//! - An offer has one acceptor; what it holds gets new fences, and the giver's are void.
//! - An item is in one open offer at most.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Code, Error, Operation, Result,
    claim::{Holding, Item, ItemKind},
    clock::{DAY, MINUTE, check_duration},
    data::check_limit,
    id::{Fence, Seq, SessionId, TaskId, check_count},
    json::{Json, merge_patch},
    name::{Addressee, SessionRef, check_name, clean_optional_text, shown},
    operation::{ActorRule, Effect},
    task::{TakenTask, TaskState, guarded},
};

/// How long an offer stands unless said otherwise.
pub const OFFER_TTL_MS: u64 = DAY;
/// The longest that an offer or a message can last.
pub const TTL_MAX_MS: u64 = 30 * DAY;
/// The most items of an offer.
pub const ITEMS_MAX: usize = 64;
/// The most open offers of a session.
pub const OFFERS_MAX: usize = 64;
/// The largest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// The outcome of a session that ended with an open offer.
pub const HANDOFF_READY: &str = "handoff_ready";

/// Something that can be handed over. A further kind is a variant here, and what moves it an arm in
/// the store's `handoff/moving.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfferItem {
    /// A claim.
    Claim(Item),
    /// A lease, by its name.
    Lease(String),
    /// The running attempt at a task.
    Task(TaskId),
}

impl OfferItem {
    /// Checks the item and brings it into its one form.
    pub fn check(&mut self) -> Result<()> {
        match self {
            Self::Claim(item) => item.check(),
            Self::Lease(name) => check_name("lease", name),
            Self::Task(task) => check_count("task", task.0),
        }
    }
}

impl std::fmt::Display for OfferItem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Claim(item) => item.fmt(formatter),
            Self::Lease(name) => write!(formatter, "lease:{name}"),
            Self::Task(task) => write!(formatter, "task:{task}"),
        }
    }
}

impl std::str::FromStr for OfferItem {
    type Err = Error;

    /// Reads an item such as `issue:15`, `lease:NAME` or `task:42`. A path gets its tree later.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("lease", name)) if !name.is_empty() => Ok(Self::Lease(name.to_owned())),
            Some(("task", _)) => guarded(text).map(Self::Task).ok_or_else(|| {
                Error::invalid(format!("`{}` names no task", shown(text)))
                    .hint("tasks go by their numbers, e.g. task:42")
            }),
            Some((kind, _)) if ItemKind::of(kind).is_some() => text.parse().map(Self::Claim),
            _ => Err(Error::invalid(format!("`{}` cannot be handed over", shown(text)))
                .hint("write issue:15, path:src/, branch:name, other:name, lease:NAME or task:42")),
        }
    }
}

/// Where an offer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfferState {
    /// It can be accepted.
    Open,
    /// Somebody took it.
    Accepted,
    /// Whom it was for does not want it.
    Declined,
    /// Its giver took it back.
    Withdrawn,
    /// Nobody took it in time.
    Expired,
}

impl OfferState {
    /// The word in the database and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }

    /// The state of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Open, Self::Accepted, Self::Declined, Self::Withdrawn, Self::Expired]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

/// Checks what is handed over beside the items: a JSON object of moderate size.
fn check_payload(payload: &Json) -> Result<()> {
    if payload.text().len() > PAYLOAD_BYTES_MAX {
        return Err(Error::new(
            Code::TooLarge,
            format!(
                "the payload has {} bytes; at most {PAYLOAD_BYTES_MAX} are handed over",
                payload.text().len()
            ),
        )
        .hint("store large content in a file, a branch or a key, and its name here"));
    }
    payload.check()?;
    if payload.value()?.is_object() {
        return Ok(());
    }
    Err(Error::invalid("the payload is not a JSON object").hint(
        "its conventional fields are phase, next_steps and context {files_modified, tests_added, branch, worktree}",
    ))
}

/// Where the work is that a payload is about, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The branch that it is on: `context.branch`.
    pub branch: Option<String>,
    /// The top of the work tree that it is in, as its giver's machine names it: `context.worktree`.
    pub worktree: Option<String>,
}

impl Place {
    /// What a payload says.
    pub fn of(payload: &Json) -> Self {
        let said = payload.value().unwrap_or_default();
        let word = |name: &str| said["context"][name].as_str().map(str::to_owned);
        Self { branch: word("branch"), worktree: word("worktree") }
    }

    /// A payload that says this where it said nothing; all that it says stays as it was written. If its
    /// `context` is something else than an object, there is no place for it.
    pub fn filled_into(&self, payload: Option<Json>) -> Result<Option<Json>> {
        let said = payload.as_ref().map(Json::value).transpose()?.unwrap_or_default();
        let context = &said["context"];
        if !(context.is_null() || context.is_object()) || !(said.is_null() || said.is_object()) {
            return Ok(payload);
        }
        let known = [("branch", &self.branch), ("worktree", &self.worktree)];
        let missing: serde_json::Map<String, serde_json::Value> = known
            .into_iter()
            .filter(|(name, _)| context.get(name).is_none())
            .filter_map(|(name, word)| Some((name.to_owned(), word.clone()?.into())))
            .collect();
        if missing.is_empty() {
            return Ok(payload);
        }
        let text = payload.as_ref().map_or("{}", Json::text);
        let patch = serde_json::json!({"context": missing}).to_string();
        merge_patch(text, &patch).map(|text| Some(Json::stored(text)))
    }
}

/// An object with more members in front, which must not be among its own; its own text stays as it is.
pub fn with_members(object: &Json, members: &[(&str, serde_json::Value)]) -> Json {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let text = object.text().trim();
    let rest = text.strip_prefix('{').unwrap_or("}").trim_start();
    let comma = if members.is_empty() || rest.starts_with('}') { "" } else { "," };
    Json::stored(format!("{{{}{comma}{rest}", members.join(",")))
}

/// The refusal of an offer of nothing.
pub fn nothing() -> Error {
    Error::invalid("there is nothing to hand over").hint("name items, a payload, or both")
}

/// Puts work up for another session.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// For whom; everybody when absent.
    #[serde(default)]
    pub to: Addressee,
    /// What the next one should know: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
    /// What moves to whoever accepts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<OfferItem>,
    /// How long it stands, 1 min to 30 d; 24 h when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// The answer of [`Offer`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Offered {
    /// The number of the offer.
    pub offer: Seq,
    /// When it ends.
    pub expires_in_ms: u64,
}

impl Operation for Offer {
    const NAME: &'static str = "handoff.offer";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Put work up for another session to take over";
    type Answer = Offered;

    fn check(&mut self) -> Result<()> {
        self.to.check()?;
        if self.payload.is_none() && self.items.is_empty() {
            return Err(nothing());
        }
        if self.items.len() > ITEMS_MAX {
            return Err(Error::invalid(format!(
                "{} items; it takes at most {ITEMS_MAX}",
                self.items.len()
            )));
        }
        self.items.iter_mut().try_for_each(OfferItem::check)?;
        for (index, item) in self.items.iter().enumerate() {
            if self.items[..index].contains(item) {
                return Err(Error::invalid(format!("`{item}` is named twice")));
            }
        }
        self.payload.as_ref().map_or(Ok(()), check_payload)?;
        self.ttl_ms.map_or(Ok(()), |ttl| check_duration("ttl", ttl, MINUTE, TTL_MAX_MS))
    }
}

/// Takes an offer, with all that it holds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptOffer {
    /// The number of the offer.
    pub offer: Seq,
}

/// The answer of [`AcceptOffer`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedOffer {
    /// The number of the offer.
    pub offer: Seq,
    /// The session that gave it.
    pub from: SessionId,
    /// That session's name.
    pub from_name: String,
    /// How far that session is trusted.
    pub trust: String,
    /// What it wants the next one to know.
    pub payload: Json,
    /// What is the acceptor's now, with new fences.
    pub items: Vec<MovedItem>,
    /// What somebody else holds by now, and tasks that are over or cannot begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_moved: Vec<NotMoved>,
}

/// An item that moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedItem {
    /// The item, e.g. `issue:15`.
    pub item: String,
    /// The resource to guard by.
    pub resource: String,
    /// Its new fence.
    pub fence: Fence,
    /// Of a task: what is to be done, as whoever takes one is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TakenTask>,
}

/// An item that did not move.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NotMoved {
    /// The item, e.g. `issue:15`.
    pub item: String,
    /// Who is in the way.
    pub holders: Vec<Holding>,
    /// Of a task: how it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
}

impl Operation for AcceptOffer {
    const NAME: &'static str = "handoff.accept";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Take over what another session put up";
    type Answer = AcceptedOffer;

    fn check(&mut self) -> Result<()> {
        check_count("offer", self.offer.0)
    }
}

/// Says that the addressed session does not want an offer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclineOffer {
    /// The number of the offer.
    pub offer: Seq,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Takes an offer back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawOffer {
    /// The number of the offer.
    pub offer: Seq,
}

/// The answer of [`DeclineOffer`] and [`WithdrawOffer`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClosedOffer {
    /// The number of the offer.
    pub offer: Seq,
    /// Whether it was so before.
    pub already: bool,
}

impl Operation for DeclineOffer {
    const NAME: &'static str = "handoff.decline";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Give an offer that was made to you back to its giver";
    type Answer = ClosedOffer;

    fn check(&mut self) -> Result<()> {
        check_count("offer", self.offer.0)?;
        clean_optional_text("reason", self.reason.as_mut())
    }
}

impl Operation for WithdrawOffer {
    const NAME: &'static str = "handoff.withdraw";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Take an offer back";
    type Answer = ClosedOffer;

    fn check(&mut self) -> Result<()> {
        check_count("offer", self.offer.0)
    }
}

/// Lists offers, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListOffers {
    /// Also those that are closed.
    #[serde(default)]
    pub all: bool,
    /// Only those of this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<SessionRef>,
    /// Only those that this session may accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptor: Option<SessionRef>,
    /// Go on below this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// At most so many, 1 to 1,000.
    #[serde(default = "crate::data::default_limit")]
    pub limit: u32,
}

/// An offer as others see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OfferView {
    /// Its number.
    pub offer: Seq,
    /// Where it stands, computed for this moment.
    pub state: OfferState,
    /// The session that gave it.
    pub from: SessionId,
    /// That session's name.
    pub from_name: String,
    /// Whether that session still takes part.
    pub from_is_live: bool,
    /// How far the giver is trusted.
    pub trust: String,
    /// For whom.
    pub to: Addressee,
    /// What the giver wants the next one to know.
    pub payload: Json,
    /// What it holds.
    pub items: Vec<OfferItem>,
    /// Wall time of the offer.
    pub at: String,
    /// When it ends, while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// The name of the session that accepted, declined or withdrew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
}

/// An open offer in a line, without its payload.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OfferLine {
    /// Its number.
    pub offer: Seq,
    /// The name of the session that gave it.
    pub from_name: String,
    /// Whether that session still takes part.
    pub from_is_live: bool,
    /// For whom.
    pub to: Addressee,
    /// What it holds.
    pub items: Vec<OfferItem>,
    /// When it ends.
    pub expires_in_ms: u64,
}

/// The answer of [`ListOffers`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Offers {
    /// The offers.
    pub offers: Vec<OfferView>,
    /// Where to go on, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
}

impl Operation for ListOffers {
    const NAME: &'static str = "handoff.list";
    const EFFECT: Effect = Effect::Read;
    const ACTOR: ActorRule = ActorRule::Optional;
    const SUMMARY: &'static str = "List offers";
    type Answer = Offers;

    fn check(&mut self) -> Result<()> {
        for session in self.from.iter().chain(&self.acceptor) {
            session.check()?;
        }
        self.after.map_or(Ok(()), |after| check_count("after", after.0))?;
        check_limit(self.limit)
    }
}

/// Notes for the actor itself, or for its next incarnation, where its work stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// What to remember, over what was remembered before: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
}

/// The answer of [`Draft`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Drafted {
    /// The note, with what the session holds and how far it is.
    pub payload: Json,
}

impl Operation for Draft {
    const NAME: &'static str = "handoff.draft";
    const EFFECT: Effect = Effect::Write;
    const ACTOR: ActorRule = ActorRule::Required;
    const SUMMARY: &'static str = "Note for yourself where your work stands";
    type Answer = Drafted;

    fn check(&mut self) -> Result<()> {
        self.payload.as_ref().map_or(Ok(()), check_payload)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_come_in_front_and_the_rest_stays_as_it_was() {
        let object = Json::stored(r#" { "z" : 1.0, "a":[ ] } "#.into());
        let with = with_members(&object, &[("from", json!("x\"y")), ("n", json!(1))]);
        assert_eq!(with.text(), r#"{"from":"x\"y","n":1,"z" : 1.0, "a":[ ] }"#);
        let empty = Json::stored("{ }".into());
        assert_eq!(with_members(&empty, &[("a", json!(1))]).text(), r#"{"a":1}"#);
        assert_eq!(with_members(&empty, &[]).text(), "{}");
    }

    #[test]
    fn an_item_is_a_claim_a_lease_or_a_task() {
        let lease: OfferItem = "lease:deploy".parse().unwrap();
        assert_eq!(lease, OfferItem::Lease("deploy".into()));
        let claim: OfferItem = "issue:15".parse().unwrap();
        assert_eq!(claim.to_string(), "issue:15");
        let task: OfferItem = "task:42".parse().unwrap();
        assert_eq!(
            (task.to_string().as_str(), json!(task)),
            ("task:42", json!({"task": 42})),
            "{task:?}"
        );
        for bad in ["deploy", "lease:", "queue:1", "task:", "task:x", "task:1.5"] {
            assert!(bad.parse::<OfferItem>().is_err(), "{bad}");
        }
        assert!(OfferItem::Task(TaskId(-1)).check().is_err());
    }

    #[test]
    fn where_the_work_is_is_filled_in_where_nothing_is_said() {
        let place = Place { branch: Some("feat/15".into()), worktree: Some("/w".into()) };
        let filled = |payload: Option<&str>| {
            let payload = payload.map(|text| Json::stored(text.to_owned()));
            place.filled_into(payload).unwrap().expect("a payload").text().to_owned()
        };
        let both = r#"{"context":{"branch":"feat/15","worktree":"/w"}}"#;
        assert_eq!(filled(None), both);
        assert_eq!(Place::of(&Json::stored(both.to_owned())), place);
        assert_eq!(
            filled(Some(r#"{"n": 1.0, "context": {"branch": null, "x": 1e2}}"#)),
            r#"{"n":1.0,"context":{"branch":null,"x":1e2,"worktree":"/w"}}"#
        );
        for said in [
            r#"{"context": "in words"}"#,
            "[1]",
            r#"{ "context": {"branch": "b", "worktree": "/v"} }"#,
        ] {
            assert_eq!(filled(Some(said)), said, "as it was written");
        }
        assert!(Place::default().filled_into(None).unwrap().is_none());
        assert_eq!(Place::of(&Json::stored("{}".into())), Place::default());
    }
}
