//! The page a person wants first, from one snapshot.
//!
//! It may be asked for in a store with very many sessions and tasks: what is shown is read, the rest is
//! counted.

use std::collections::BTreeSet;

use cotenant_core::{
    Result,
    claim::{Holding, HoldingState},
    id::SessionId,
    session::SessionView,
    status::{ShowStatus, Status, Waiting},
};

use crate::{
    barrier, data, handoff, holding, message, params, progress,
    session::{self, SessionRow},
    task,
    testing::mutant,
    tx::Tx,
};

/// Sessions shown unless asked otherwise.
const SESSIONS: u32 = 200;
/// Reports of progress shown.
const PROGRESS: i64 = 50;
/// Offers to one session shown.
const OFFERS: usize = 16;
/// Open offers, and barriers, shown to whoever asks for them.
const OPEN: usize = 50;
/// Keys are counted up to here: an exact count of very many would make the page slow.
const KEYS_COUNTED: i64 = 100_000;
/// The kinds of what can be held, in the order in which they are shown.
const KINDS: [&str; 5] = ["lease", "issue", "branch", "other", "path"];
/// What cools down belonged to sessions that are over.
const SELECT_COOLING: &str = "SELECT DISTINCT session FROM lease WHERE state = 'cooling'";

pub(crate) fn show(tx: &mut Tx<'_>, op: &ShowStatus) -> Result<Status> {
    let limit = op.limit.unwrap_or(SESSIONS);
    let (sessions, sessions_live) = session::live(tx, limit)?;
    let holdings = holdings(tx, &sessions, u64::from(limit) >= sessions_live)?;
    let session = op.session.as_ref();
    let session = session.map(|session| session::find(tx, &session.0)).transpose()?.flatten();
    let waiting = session.map(|session| waiting(tx, &session)).transpose()?;
    let (offers, barriers) = if op.open {
        (handoff::lines(tx, OPEN)?, barrier::filling(tx, OPEN)?)
    } else {
        (Vec::new(), Vec::new())
    };
    Ok(Status {
        sessions,
        sessions_live,
        holdings,
        sessions_ever: tx.meta.sessions as u64,
        keys: data::count(tx, KEYS_COUNTED)?,
        tasks: task::counts(tx)?,
        seq: tx.meta.head(),
        tick: tx.now,
        history: tx.meta.history.clone(),
        progress: progress::undone(tx, PROGRESS)?,
        offers,
        barriers,
        waiting,
    })
}

/// What the sessions that are shown hold and wait for, and what is cooling.
fn holdings(tx: &mut Tx<'_>, shown: &[SessionView], is_all: bool) -> Result<Vec<Holding>> {
    let is_all = is_all || mutant("status_shows_all_holdings");
    let mut holdings = Vec::new();
    // Where each statement is a round trip, a few that read more cost less than many that read little.
    if is_all || tx.sql.is_far() {
        for kind in KINDS {
            holdings.extend(holding::of_kind(tx, kind)?);
        }
    } else {
        holdings_of(tx, shown, &mut holdings)?;
    }
    if !is_all {
        let shown: BTreeSet<&SessionId> = shown.iter().map(|view| &view.session).collect();
        let is_shown =
            |it: &Holding| it.state == HoldingState::Cooling || shown.contains(&it.session);
        holdings.retain(is_shown);
    }
    Ok(holdings)
}

/// The same without a look at what others hold.
fn holdings_of(tx: &mut Tx<'_>, shown: &[SessionView], holdings: &mut Vec<Holding>) -> Result<()> {
    let mut sessions: BTreeSet<String> = shown.iter().map(|it| it.session.0.clone()).collect();
    for mut row in tx.sql.rows(SELECT_COOLING, params![])? {
        sessions.insert(row.text()?);
    }
    sessions.extend(session::expired(tx)?);
    for session in &sessions {
        if let Some(row) = session::find(tx, session)? {
            holdings.extend(holding::of_session(tx, &row)?);
        }
    }
    let kind = |it: &Holding| {
        let word = it.resource.split(':').next();
        KINDS.iter().position(|kind| Some(*kind) == word).unwrap_or_default()
    };
    let place = |it: &Holding| (kind(it), it.resource.clone(), it.tree.clone(), it.session.clone());
    holdings.sort_by_cached_key(place);
    Ok(())
}

/// What waits for a session.
fn waiting(tx: &mut Tx<'_>, session: &SessionRow) -> Result<Waiting> {
    Ok(Waiting {
        offers: handoff::open_for(tx, session, OFFERS)?,
        unread: message::unread(tx, &session.id)?,
        draft: handoff::draft_of(tx, &session.id)?,
    })
}
