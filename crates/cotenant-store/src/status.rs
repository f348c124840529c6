//! The page a person wants first, from one snapshot.

use cotenant_core::{
    Result,
    status::{ShowStatus, Status, Waiting},
};

use crate::{
    barrier, data, handoff, holding, message, progress,
    session::{self, SessionRow},
    task,
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

pub(crate) fn show(tx: &mut Tx<'_>, op: &ShowStatus) -> Result<Status> {
    let (sessions, sessions_live) = session::live(tx, op.limit.unwrap_or(SESSIONS))?;
    let mut holdings = Vec::new();
    for kind in ["lease", "issue", "branch", "other", "path"] {
        holdings.extend(holding::of_kind(tx, kind)?);
    }
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

/// What waits for a session.
fn waiting(tx: &mut Tx<'_>, session: &SessionRow) -> Result<Waiting> {
    Ok(Waiting {
        offers: handoff::open_for(tx, session, OFFERS)?,
        unread: message::unread(tx, &session.id)?,
        draft: handoff::draft_of(tx, &session.id)?,
    })
}
