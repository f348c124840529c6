//! What waits for a session: offers, its note to itself, messages. What others wrote is framed.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::FileExt as _,
};

use cotenant_core::{
    Code, Error, Result,
    event::sha256_hex,
    json::Json,
    message::{Inbox, ListMessages, Message},
    name::{Addressee, SessionRef},
    offer::{OfferView, Place},
    render::{Part, counted, cut, for_agent},
    store::Request,
};

use super::{
    call::{Call, Once, is_over},
    member::Member,
    presence::{minute, word},
};
use crate::{context::decode, token};

/// The most offers that are shown.
const OFFERS_MAX: usize = 4;
/// How much of an offer's payload is shown, in bytes; whoever accepts gets all of it.
const PAYLOAD_BYTES_MAX: usize = 1_000;
/// How much of a session's own note is shown, in bytes.
const DRAFT_BYTES_MAX: usize = 3_000;
/// The most messages that are handed out at once, and how many bytes of text.
const MESSAGES_MAX: u32 = 12;
const TEXT_BYTES_MAX: u32 = 4_500;
/// What one answer tells at most, in bytes: of more the agent shows its model only the beginning.
const ANSWER_BYTES_MAX: usize = 9_800;
/// What the messages of one answer can take.
const MESSAGES_BYTES_MAX: usize = 6_200;
/// A request id is short.
const ID_BYTES_MAX: u64 = 128;

/// Parts as a text, framed anew each time.
fn framed(parts: &[Part]) -> Result<String> {
    if parts.is_empty() {
        return Ok(String::new());
    }
    let drawn = sha256_hex(&token::request_id()?);
    Ok(for_agent(parts, &drawn[..12]))
}

/// Offers that a session may accept.
pub(super) fn offers(offers: &[OfferView]) -> Result<String> {
    let mut parts = Vec::new();
    for offer in offers.iter().take(OFFERS_MAX) {
        let items: Vec<String> = offer.items.iter().map(|it| word(&it.to_string())).collect();
        let whom = match offer.to {
            Addressee::Session(_) => "this session",
            Addressee::Label(_) | Addressee::Everybody => "whoever takes it",
        };
        parts.push(Part::Fact(format!(
            "{} offers {whom} its work{}{}{}: `cotenant handoff accept {}` takes it over, with this payload.",
            word(&offer.from_name),
            if items.is_empty() { "" } else { " on " },
            items.join(", "),
            place(&Place::of(&offer.payload)),
            offer.offer,
        )));
        parts.push(Part::Quote {
            writer: offer.from_name.clone(),
            trust: offer.trust.clone(),
            text: shortened(offer.payload.text(), PAYLOAD_BYTES_MAX),
        });
    }
    if offers.len() > OFFERS_MAX {
        let more = counted((offers.len() - OFFERS_MAX) as u64, "more offer");
        parts.push(Part::Fact(format!("And {more}: `cotenant handoff list`.")));
    }
    framed(&parts)
}

/// Where the work is that is offered.
fn place(place: &Place) -> String {
    let branch = place.branch.as_ref().map(|branch| format!("branch {}", word(branch)));
    let worktree = place.worktree.as_ref().map(|top| format!("in {}", word(top)));
    let parts: Vec<String> = branch.into_iter().chain(worktree).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(" ")) }
}

/// What a session noted for itself.
pub(super) fn draft(name: &str, draft: &Json) -> Result<String> {
    framed(&[
        Part::Fact("Where this session's work stood, as it noted itself:".to_owned()),
        Part::Quote {
            writer: name.to_owned(),
            trust: "agent".to_owned(),
            text: shortened(draft.text(), DRAFT_BYTES_MAX),
        },
    ])
}

fn shortened(text: &str, bytes: usize) -> String {
    let short = cut(text, bytes);
    if short.len() < text.len() { format!("{short}…") } else { short.to_owned() }
}

fn messages(messages: &[Message], more: bool) -> Result<String> {
    let mut parts = Vec::new();
    for message in messages {
        let to = match &message.to {
            Addressee::Session(_) => "this session".to_owned(),
            Addressee::Label(label) => format!("label {}", word(label)),
            Addressee::Everybody => "everybody".to_owned(),
        };
        parts.push(Part::Fact(format!(
            "Message {} to {to}, sent {}:",
            message.message,
            minute(&message.at)
        )));
        parts.push(Part::Quote {
            writer: message.from_name.clone(),
            trust: message.trust.clone(),
            text: message.text.clone(),
        });
    }
    if more {
        parts.push(Part::Fact("There are more: `cotenant inbox` reads them.".to_owned()));
    }
    framed(&parts)
}

/// Whether a session has unread messages.
pub(super) fn has_unread(call: &Call<'_>, member: &Member) -> Result<bool> {
    let session = SessionRef(member.mark.session.0.clone());
    let look = ListMessages { session, all: false, after: None, limit: 1 };
    Ok(!call.ask(&look, None, Once::PerCall)?.messages.is_empty())
}

/// Messages on their way to an agent. Until they are [`Delivery::done`], a later hook hands the same ones
/// out again.
pub(super) struct Delivery {
    /// What to print.
    pub(super) text: String,
    /// Holds the id of the request that handed them out, and a lock that falls with this process.
    file: File,
}

impl Delivery {
    /// The agent has them, as far as a hook can tell: the last act of one.
    pub(super) fn done(self) {
        let _ = self.file.set_len(0);
    }
}

/// Hands the unread messages of a session out, and those that an earlier hook died with. `said` is how much
/// the answer holds already.
pub(super) fn deliver(
    call: &Call<'_>,
    member: &Member,
    unread: bool,
    said: usize,
) -> Result<Option<Delivery>> {
    let path = call.marks.handing(&member.mark.session);
    let is_pending = fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    let has_room = said + MESSAGES_BYTES_MAX <= ANSWER_BYTES_MAX;
    // What is shown to a subagent is not shown to the session.
    if !(unread || is_pending) || !has_room || call.payload.agent_id.is_some() {
        return Ok(None);
    }
    let Ok(Some(file)) = call.marks.hold(&path) else {
        // Another hook of the session is at it.
        return Ok(None);
    };
    let id = if let Some(id) = pending(&file) {
        id
    } else {
        let id = token::request_id()?;
        note(&file, &id)?;
        id
    };
    cotenant_store::testing::failpoint("handing.noted")?;
    let inbox = Inbox { limit: MESSAGES_MAX, bytes: Some(TEXT_BYTES_MAX), wait_ms: None };
    let request = Request::new(inbox).by(member.actor.clone()).id(id);
    let handed = match call.send(request).and_then(|reply| decode::<Inbox>(&reply)) {
        Ok(handed) => handed,
        Err(error) => {
            // Nothing was handed out, and never will be under this id.
            if is_over(&error) || error.code == Code::IdempotencyMismatch {
                let _ = file.set_len(0);
            }
            return Err(error);
        }
    };
    cotenant_store::testing::failpoint("handing.handed")?;
    if handed.messages.is_empty() {
        let _ = file.set_len(0);
        return Ok(None);
    }
    Ok(Some(Delivery { text: messages(&handed.messages, handed.more)?, file }))
}

/// The id of the request that a hook died with.
fn pending(file: &File) -> Option<String> {
    let mut text = String::new();
    file.take(ID_BYTES_MAX).read_to_string(&mut text).ok()?;
    let id = text.strip_suffix('\n')?;
    cotenant_core::name::check_name("request id", id).ok()?;
    Some(id.to_owned())
}

fn note(file: &File, id: &str) -> Result<()> {
    let noted = file.set_len(0).and_then(|()| file.write_all_at(format!("{id}\n").as_bytes(), 0));
    noted.map_err(|cause| {
        Error::new(Code::StoreIo, "a note beside the store cannot be written").caused_by(cause)
    })
}
