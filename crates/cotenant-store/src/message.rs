//! Messages: from whom to whom, handed out once.
//!
//! # Invariants
//! - A message has one row for each addressee; its state only goes from unread to read to acknowledged.
//! - A message leaves `unread` in the transaction that hands it out. Who was killed before it saw the answer
//!   repeats the request under its id.

use std::collections::BTreeMap;

use cotenant_core::{
    Result,
    id::{Seq, SessionId, Tick},
    json::Json,
    message::{
        Acknowledge, Acknowledged, HandedOut, Inbox, ListMessages, MESSAGE_TTL_MS, Message,
        MessageState, Messages, SendMessage, Sent, UNREAD_MAX, Undelivered,
    },
    name::Addressee,
    session::State,
};
use serde_json::json;

use crate::{
    params,
    session::{self, SessionRow, WAITER_WRITES_EVERY_MS, settle_holder},
    sql::{Row, corrupt},
    testing::mutant,
    tx::{Tx, Verdict},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT recipient, state, id, sender, name, trust, addressee, text, at_ms, tick, \
             expires_tick FROM message WHERE ",
            $rest
        )
    };
}

const SELECT_UNREAD: &str =
    select!("recipient = $1 AND state = 'unread' AND id > $2 ORDER BY id LIMIT $3");
const SELECT_ALL: &str = select!("recipient = $1 AND id > $2 ORDER BY id LIMIT $3");
const SELECT_ONE: &str =
    select!("recipient = $1 AND state IN ('unread', 'read', 'acknowledged') AND id = $2");
const COUNT_UNREAD: &str = "SELECT COUNT(*) FROM message WHERE recipient = $1 \
     AND state = 'unread' AND expires_tick > $2";
const INSERT: &str = "INSERT INTO message (recipient, state, id, sender, name, trust, addressee, text, \
     at_ms, tick, expires_tick) VALUES ($1, 'unread', $2, $3, $4, $5, $6, $7, $8, $9, $10) \
     ON CONFLICT DO NOTHING";
const UPDATE_STATE: &str =
    "UPDATE message SET state = $1 WHERE recipient = $2 AND state = $3 AND id = $4";
const DELETE: &str = "DELETE FROM message WHERE recipient = $1 AND state = $2 AND id = $3";
const UPDATE_TEXT: &str = "UPDATE message SET text = $1 WHERE id = $2";
/// An answer that told a message; its beginning names the message.
const FORGET_TOLD: &str =
    "UPDATE request SET result = '{\"messages\":[],\"more\":false}' WHERE result LIKE $1";
/// What stands for a text that was erased.
const ERASED: &str = "[redacted]";

/// A row of `message`.
struct MessageRow {
    recipient: String,
    state: MessageState,
    id: i64,
    sender: String,
    name: String,
    trust: String,
    to: Addressee,
    text: String,
    at_ms: i64,
    tick: Tick,
    expires: Tick,
}

fn message(mut row: Row) -> Result<MessageRow> {
    let (recipient, word) = (row.text()?, row.text()?);
    let state = MessageState::of(&word)
        .ok_or_else(|| corrupt(format!("a message has the unknown state `{word}`")))?;
    let (id, sender, name, trust) = (row.int()?, row.text()?, row.text()?, row.text()?);
    let to = addressee(&row.text()?)?;
    Ok(MessageRow {
        recipient,
        state,
        id,
        sender,
        name,
        trust,
        to,
        text: row.text()?,
        at_ms: row.int()?,
        tick: Tick(row.int()?),
        expires: Tick(row.int()?),
    })
}

/// Reads an addressee as it is stored.
pub(crate) fn addressee(text: &str) -> Result<Addressee> {
    serde_json::from_str(text)
        .map_err(|cause| corrupt("an addressee cannot be read").caused_by(cause))
}

impl MessageRow {
    fn view(self, now: Tick) -> Message {
        Message {
            message: Seq(self.id),
            from: SessionId(self.sender),
            from_name: self.name,
            trust: self.trust,
            to: self.to,
            text: self.text,
            state: self.state,
            at: Tx::at(self.at_ms),
            age_ms: self.tick.age(now),
        }
    }

    fn timer_id(recipient: &str, id: i64) -> String {
        format!("{recipient}\n{id}")
    }
}

/// The addressee as others are shown it, with the id of the session that it is, if it is one.
pub(crate) fn resolve(tx: &mut Tx<'_>, to: &Addressee) -> Result<(Addressee, Option<SessionRow>)> {
    let Addressee::Session(reference) = to else { return Ok((to.clone(), None)) };
    let row = session::require(tx, reference)?;
    Ok((Addressee::Session(cotenant_core::name::SessionRef(row.name.clone())), Some(row)))
}

/// Whether a session has a label.
pub(crate) fn is_labelled(row: &SessionRow, label: &str) -> bool {
    let labels: Vec<String> = serde_json::from_str(&row.labels).unwrap_or_default();
    labels.iter().any(|it| it == label)
}

/// The scope under which events about an addressee are logged.
fn scope(to: &Addressee) -> String {
    match to {
        Addressee::Session(session) => format!("session:{}", session.0),
        to => to.to_string(),
    }
}

pub(crate) fn send(tx: &mut Tx<'_>, op: &SendMessage) -> Result<Sent> {
    let actor = tx.actor()?.clone();
    let (to, named) = resolve(tx, &op.to)?;
    let addressed = match named {
        Some(row) => vec![row],
        None => session::all_live(tx)?
            .into_iter()
            .rev()
            .filter(|row| row.id != actor.id)
            .filter(|row| match &to {
                Addressee::Label(label) => is_labelled(row, label),
                _ => true,
            })
            .collect(),
    };
    let (mut reached, mut undelivered) = (Vec::new(), Vec::new());
    for row in addressed {
        let row = settle_holder(tx, row)?;
        match refusal(tx, &row)? {
            None => reached.push(row),
            Some(reason) => undelivered.push(Undelivered {
                session: SessionId(row.id),
                name: row.name,
                reason: reason.to_owned(),
            }),
        }
    }
    let ttl_ms = op.ttl_ms.unwrap_or(MESSAGE_TTL_MS);
    let ids: Vec<&String> = reached.iter().map(|row| &row.id).collect();
    let facts = json!({"to": to, "text": op.text, "delivered": ids, "undelivered": undelivered, "ttl_ms": ttl_ms});
    let id = tx.event("message.sent", &scope(&to), &Json::of(&facts))?;
    if !undelivered.is_empty() {
        let facts = json!({"messages": [id], "from": actor.id, "sessions": undelivered});
        tx.event("message.undelivered", &format!("session:{}", actor.name), &Json::of(&facts))?;
    }
    let row = MessageRow {
        recipient: String::new(),
        state: MessageState::Unread,
        id: id.0,
        sender: actor.id,
        name: actor.name,
        trust: tx.trust().to_owned(),
        to,
        text: op.text.clone(),
        at_ms: tx.wall_ms,
        tick: tx.now,
        expires: tx.now.after(ttl_ms),
    };
    for recipient in &reached {
        insert(tx, &row, &recipient.id)?;
    }
    let delivered = reached.into_iter().map(|row| row.name).collect();
    Ok(Sent { message: id, delivered, undelivered })
}

/// Why a message cannot be put into a session's inbox.
fn refusal(tx: &mut Tx<'_>, row: &SessionRow) -> Result<Option<&'static str>> {
    if mutant("messages_to_the_dead") {
        return Ok(None);
    }
    Ok(match row.state {
        State::Lost => Some("lost"),
        State::Ended => Some("ended"),
        State::Active | State::Silent => {
            (unread(tx, &row.id)? >= UNREAD_MAX as u64).then_some("full")
        }
    })
}

fn insert(tx: &mut Tx<'_>, row: &MessageRow, recipient: &str) -> Result<()> {
    let to = Json::of(&row.to);
    tx.sql.run(
        INSERT,
        params![
            recipient,
            row.id,
            &row.sender,
            &row.name,
            &row.trust,
            to.text(),
            &row.text,
            row.at_ms,
            row.tick.0,
            row.expires.0,
        ],
    )?;
    tx.arm(row.expires, "message", &MessageRow::timer_id(recipient, row.id))
}

/// How many messages a session has not read.
pub(crate) fn unread(tx: &mut Tx<'_>, session: &str) -> Result<u64> {
    let now = tx.now.0;
    let count = tx.sql.rows(COUNT_UNREAD, params![session, now])?.pop();
    Ok(count.map_or(Ok(0), |mut row| row.int())? as u64)
}

/// So many of the oldest unread messages of a session that are still worth reading.
fn unread_rows(tx: &mut Tx<'_>, session: &str, most: usize) -> Result<Vec<MessageRow>> {
    let mut found = Vec::new();
    let mut last = 0;
    while found.len() < most {
        let page = (most - found.len()) as i64;
        let rows = tx.sql.rows(SELECT_UNREAD, params![session, last, page])?;
        let more = rows.len() as i64 == page;
        for row in rows {
            let row = message(row)?;
            last = row.id;
            if tx.now < row.expires {
                found.push(row);
            }
        }
        if !more {
            break;
        }
    }
    Ok(found)
}

pub(crate) fn inbox(tx: &mut Tx<'_>, op: &Inbox) -> Result<Verdict<HandedOut>> {
    let actor = tx.actor()?.clone();
    let limit = op.limit as usize;
    let mut rows = unread_rows(tx, &actor.id, limit + 1)?;
    let mut room = op.bytes.map_or(usize::MAX, |bytes| bytes as usize);
    let fit = rows.iter().take_while(|row| {
        let fits = row.text.len() <= room;
        room = room.saturating_sub(row.text.len());
        fits
    });
    let fit = fit.count().clamp(1, limit);
    let more = rows.len() > fit;
    rows.truncate(fit);
    if rows.is_empty() {
        return Ok(match op.wait_ms {
            Some(wait) if wait > 0 && !tx.wait_over => {
                Verdict::Wait { retry_after_ms: WAITER_WRITES_EVERY_MS }
            }
            _ => Verdict::Done(HandedOut { messages: Vec::new(), more: false }),
        });
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let facts = json!({"messages": ids});
    tx.event("message.read", &format!("session:{}", actor.name), &Json::of(&facts))?;
    let now = tx.now;
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        if !mutant("message_handed_out_twice") {
            set_state(tx, &row, MessageState::Read)?;
        }
        messages.push(MessageRow { state: MessageState::Read, ..row }.view(now));
    }
    Ok(Verdict::Done(HandedOut { messages, more }))
}

fn set_state(tx: &mut Tx<'_>, row: &MessageRow, state: MessageState) -> Result<()> {
    let values = params![state.word(), &row.recipient, row.state.word(), row.id];
    tx.sql.run(UPDATE_STATE, values).map(drop)
}

pub(crate) fn list(tx: &mut Tx<'_>, op: &ListMessages) -> Result<Messages> {
    let session = session::require(tx, &op.session)?.id;
    let select = if op.all { SELECT_ALL } else { SELECT_UNREAD };
    let limit = op.limit as usize;
    let mut last = op.after.unwrap_or_default().0;
    let (now, page) = (tx.now, i64::from(op.limit) + 1);
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let rows = tx.sql.rows(select, params![&session, last, page])?;
        let full = rows.len() as i64 == page;
        for row in rows {
            let row = message(row)?;
            last = row.id;
            if now >= row.expires {
                continue;
            }
            if messages.len() == limit {
                let next = messages.last().map(|last| last.message);
                return Ok(Messages { messages, next });
            }
            messages.push(row.view(now));
        }
        if !full {
            return Ok(Messages { messages, next: None });
        }
    }
}

pub(crate) fn acknowledge(tx: &mut Tx<'_>, op: &Acknowledge) -> Result<Acknowledged> {
    let actor = tx.actor()?.clone();
    let (mut acknowledged, mut already, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    let mut told: BTreeMap<(String, String), Vec<Seq>> = BTreeMap::new();
    for id in &op.messages {
        let row = tx.sql.rows(SELECT_ONE, params![&actor.id, id.0])?.pop();
        let now = tx.now;
        match row.map(message).transpose()?.filter(|row| now < row.expires) {
            None => unknown.push(*id),
            Some(row) if row.state == MessageState::Acknowledged => already.push(*id),
            Some(row) => {
                set_state(tx, &row, MessageState::Acknowledged)?;
                told.entry((row.name, row.sender)).or_default().push(*id);
                acknowledged.push(*id);
            }
        }
    }
    for ((name, sender), ids) in told {
        let facts =
            json!({"messages": ids, "from": sender, "session": actor.id, "name": actor.name});
        tx.event("message.acknowledged", &format!("session:{name}"), &Json::of(&facts))?;
    }
    Ok(Acknowledged { acknowledged, already, unknown })
}

/// A session is over: the senders of what it has not read are told.
pub(crate) fn on_over(tx: &mut Tx<'_>, row: &SessionRow, reason: &str) -> Result<()> {
    let mut by_sender: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
    for unread in unread_rows(tx, &row.id, usize::try_from(UNREAD_MAX).unwrap_or_default())? {
        by_sender.entry((unread.name, unread.sender)).or_default().push(unread.id);
    }
    for ((name, sender), ids) in by_sender {
        undelivered(tx, &name, &sender, &ids, row, reason)?;
    }
    Ok(())
}

fn undelivered(
    tx: &mut Tx<'_>,
    name: &str,
    sender: &str,
    ids: &[i64],
    recipient: &SessionRow,
    reason: &str,
) -> Result<()> {
    let session = json!({"session": recipient.id, "name": recipient.name, "reason": reason});
    let facts = json!({"messages": ids, "from": sender, "sessions": [session]});
    tx.event_of_store("message.undelivered", &format!("session:{name}"), &facts).map(drop)
}

/// The next incarnation reads what its earlier one has not.
pub(crate) fn pass_on(tx: &mut Tx<'_>, from: &SessionRow, to: &SessionRow) -> Result<()> {
    if mutant("heirs_get_no_messages") {
        return Ok(());
    }
    for row in unread_rows(tx, &from.id, usize::try_from(UNREAD_MAX).unwrap_or_default())? {
        tx.sql.run(DELETE, params![&row.recipient, row.state.word(), row.id])?;
        insert(tx, &row, &to.id)?;
    }
    Ok(())
}

/// What a timer of a message does when it rings: the message is gone, and its sender is told if it was
/// never read.
pub(crate) fn on_timer(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let (recipient, id) = id.split_once('\n').unwrap_or((id, ""));
    let Ok(id) = id.parse::<i64>() else { return Ok(()) };
    let found = tx.sql.rows(SELECT_ONE, params![recipient, id])?.pop();
    let Some(row) = found.map(message).transpose()? else { return Ok(()) };
    if tx.now < row.expires {
        return tx.arm(row.expires, "message", &MessageRow::timer_id(recipient, id));
    }
    tx.settled = true;
    tx.sql.run(DELETE, params![&row.recipient, row.state.word(), row.id])?;
    // Of a session that is over the sender was told when it went.
    if row.state == MessageState::Unread
        && let Some(session) = session::find(tx, recipient)?
        && session.state.is_live()
    {
        undelivered(tx, &row.name, &row.sender, &[row.id], &session, "expired")?;
    }
    Ok(())
}

/// Erases the text of a message, wherever it is kept beside the log.
pub(crate) fn erase(tx: &mut Tx<'_>, id: Seq) -> Result<()> {
    tx.sql.run(UPDATE_TEXT, params![ERASED, id.0])?;
    let told = format!("%{{\"message\":{id},\"from\":%");
    tx.sql.run(FORGET_TOLD, params![&told]).map(drop)
}

/// An outcome with its answer as JSON.
pub(crate) fn verdict<T: serde::Serialize>(
    verdict: Verdict<T>,
) -> Result<Verdict<Box<serde_json::value::RawValue>>> {
    Ok(match verdict {
        Verdict::Done(answer) => Verdict::Done(crate::execute::raw(&answer)?),
        Verdict::Wait { retry_after_ms } => Verdict::Wait { retry_after_ms },
        Verdict::Refused(error) => Verdict::Refused(error),
    })
}
