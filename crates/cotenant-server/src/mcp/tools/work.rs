//! How far work is, and work that changes hands.

use std::borrow::Cow;

use cotenant_core::{
    Error, Result,
    clock::{in_words, parse_duration},
    id::Seq,
    json::Json,
    name::{Addressee, SessionRef},
    offer::{
        AcceptOffer, DeclineOffer, Draft, ListOffers, MovedItem, Offer, OfferItem, OfferView,
        Place, WithdrawOffer, nothing,
    },
    progress::{Progress, SetProgress},
    render::Part,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Call, Manner, Output, Tool,
    claim::{lock, with_lock},
};
use crate::mcp::answer::{facts, short};

/// The most offers that an answer lists.
const OFFERS_MAX: u32 = 20;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportProgress {
    /// What it is about, e.g. issue:15
    subject: String,
    /// A word, e.g. testing
    phase: String,
    #[schemars(range(max = 100))]
    percent: u8,
    message: Option<String>,
}

impl Tool for ReportProgress {
    const NAME: &'static str = "report_progress";
    const ABOUT: &'static str = "Tell the others how far you are. `status` shows it.";
    const MANNER: Manner = Manner::Sets;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let set = call.write(SetProgress {
            subject: self.subject,
            phase: self.phase,
            percent: self.percent,
            message: self.message,
        })?;
        let before = set.before.as_ref().map(progress_facts);
        Ok(Output::Facts(json!({"subject": set.subject, "before": before})))
    }
}

/// A report as facts.
pub(super) fn progress_facts(progress: &Progress) -> Value {
    let mut facts = json!({
        "subject": progress.subject, "phase": progress.phase, "percent": progress.percent,
        "by": progress.updated_by, "at": progress.updated_at,
    });
    if let Some(message) = &progress.message {
        facts["message"] = json!(short(message));
    }
    facts
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    Offer,
    Accept,
    Decline,
    Withdraw,
    List,
    Draft,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HandOff {
    /// draft notes for yourself, e.g. `next_steps`; you get it back after a compaction
    action: Action,
    /// What to accept, decline or withdraw
    offer: Option<Seq>,
    /// What moves, e.g. issue:15, lock:deploy, task:42
    #[serde(default)]
    items: Vec<String>,
    /// A session, label:WORD or everybody
    to: Option<String>,
    /// An object: `phase`, `next_steps`, `context` {`files_modified`, `tests_added`, `branch`, `worktree`}, more
    payload: Option<Json>,
    /// How long it stands, e.g. 2h; 24h when absent
    ttl: Option<String>,
}

impl Tool for HandOff {
    const NAME: &'static str = "hand_off";
    const ABOUT: &'static str = "Hand work over, or take it over. An offer stays yours until one \
        accepts, also after sign_off; accepting moves its items to you with new fences.";
    const MANNER: Manner = Manner::Adds;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let number = || {
            self.offer.ok_or_else(|| {
                Error::invalid("`offer` is missing").hint("action `list` shows their numbers")
            })
        };
        match self.action {
            Action::Offer => offer(call, self),
            Action::Accept => accept(call, number()?),
            Action::Decline => {
                let done = call.write(DeclineOffer { offer: number()?, reason: None })?;
                Ok(Output::Facts(json!(done)))
            }
            Action::Withdraw => {
                Ok(Output::Facts(json!(call.write(WithdrawOffer { offer: number()? })?)))
            }
            Action::List => list(call),
            Action::Draft => {
                let drafted = call.write(Draft { payload: self.payload })?;
                let mut draft = json!(drafted.payload);
                if let Some(Value::Array(holds)) = draft.get_mut("holds") {
                    for held in holds {
                        if let Value::String(item) = held {
                            *item = with_lock(item).into_owned();
                        }
                    }
                }
                Ok(Output::Facts(json!({"draft": draft})))
            }
        }
    }
}

fn offer(call: &Call<'_>, asked: HandOff) -> Result<Output> {
    let place = |text: &String| match lease_named(text).parse()? {
        OfferItem::Claim(_) => call.item(text).map(OfferItem::Claim),
        other @ (OfferItem::Lease(_) | OfferItem::Task(_)) => Ok(other),
    };
    let items: Vec<OfferItem> = asked.items.iter().map(place).collect::<Result<_>>()?;
    if items.is_empty() && asked.payload.is_none() {
        return Err(nothing());
    }
    let said = asked.payload.as_ref().map(Place::of).unwrap_or_default();
    let operation = Offer {
        to: asked.to.as_deref().map_or(Ok(Addressee::Everybody), str::parse)?,
        payload: call.host.work(&said, &items)?.filled_into(asked.payload)?,
        items,
        ttl_ms: asked.ttl.as_deref().map(parse_duration).transpose()?,
    };
    let offered = call.write(operation).map_err(about_lock)?;
    let ends = in_words(offered.expires_in_ms);
    Ok(Output::Facts(json!({"offer": offered.offer, "stands_for": ends})))
}

/// A refusal about an item, which it names as offers do.
fn about_lock(mut error: Error) -> Error {
    if let Some(Value::String(item)) = error.details.get_mut("item")
        && lock(item).is_some()
    {
        let word = with_lock(item).into_owned();
        error.message = error.message.replace(&format!("`{item}`"), &format!("`{word}`"));
        *item = word;
    }
    error
}

/// A lock by the word that offers have for it.
fn lease_named(item: &str) -> Cow<'_, str> {
    lock(item).map_or(Cow::Borrowed(item), |name| Cow::Owned(format!("lease:{name}")))
}

fn accept(call: &Call<'_>, offer: Seq) -> Result<Output> {
    let accepted = call.write(AcceptOffer { offer })?;
    let mut answer = Map::new();
    answer.insert("offer".to_owned(), json!(accepted.offer));
    answer.insert("from".to_owned(), json!(accepted.from_name));
    answer.insert("items".to_owned(), accepted.items.iter().map(moved_facts).collect());
    if !accepted.not_moved.is_empty() {
        let left = accepted.not_moved.iter().map(|left| {
            let holders: Value = left.holders.iter().map(facts).collect();
            let item = with_lock(&left.item);
            match left.state {
                Some(state) => json!({"item": item, "state": state, "holders": holders}),
                None => json!({"item": item, "holders": holders}),
            }
        });
        answer.insert("not_moved".to_owned(), left.collect());
    }
    let payload = Part::Quote {
        writer: accepted.from_name,
        trust: accepted.trust,
        text: accepted.payload.text().to_owned(),
    };
    let mut parts = vec![payload];
    for task in accepted.items.into_iter().filter_map(|moved| moved.task) {
        let id = task.task;
        parts.push(Part::Fact(format!("task {id}, which `cotenant task show {id}` shows whole:")));
        let text = task.payload.text().to_owned();
        parts.push(Part::Quote { writer: task.creator, trust: task.trust, text });
    }
    answer.insert("payload".to_owned(), json!(call.framed(&parts)?));
    Ok(Output::Facts(Value::Object(answer)))
}

/// An item that moved as facts; what is to be done is framed.
fn moved_facts(moved: &MovedItem) -> Value {
    let item = with_lock(&moved.item);
    let mut facts = json!({"item": item, "resource": moved.resource, "fence": moved.fence});
    if let Some(task) = &moved.task {
        facts["task"] = json!(task.task);
        facts["attempt"] = json!(task.attempt);
        facts["max_attempts"] = json!(task.max_attempts);
        facts["time"] = json!(in_words(task.visible_for_ms));
        if let Some(reason) = &task.reason {
            facts["failed_before"] = json!(short(reason));
        }
    }
    facts
}

fn list(call: &Call<'_>) -> Result<Output> {
    let acceptor = call.find()?.map(|actor| SessionRef(actor.session.0));
    let operation = ListOffers { all: false, from: None, acceptor, after: None, limit: OFFERS_MAX };
    let found = call.read(&operation)?;
    let offers: Value = found.offers.iter().map(offer_facts).collect();
    let payloads: Vec<Part> = found
        .offers
        .iter()
        .flat_map(|offer| {
            let quote = Part::Quote {
                writer: offer.from_name.clone(),
                trust: offer.trust.clone(),
                text: offer.payload.text().to_owned(),
            };
            [Part::Fact(format!("offer {}:", offer.offer)), quote]
        })
        .collect();
    let payloads = if payloads.is_empty() { String::new() } else { call.framed(&payloads)? };
    Ok(Output::Facts(json!({"offers": offers, "payloads": payloads})))
}

/// An offer as facts.
pub(super) fn offer_facts(offer: &OfferView) -> Value {
    let item = |item: &OfferItem| with_lock(&item.to_string()).into_owned();
    let items: Vec<String> = offer.items.iter().map(item).collect();
    json!({
        "offer": offer.offer, "from": offer.from_name, "to": offer.to.to_string(), "items": items,
        "ends_in": in_words(offer.expires_in_ms.unwrap_or_default()),
    })
}
