//! One request at work: the transaction, the clock, the actor, and the log it appends to.

use crate::{bounds::Bounds, meta::Meta, params, session::SessionRow, sql::Sql, testing::mutant};
use cotenant_core::{
    Error, Result,
    clock::{DAY, MINUTE, SECOND, check_duration},
    event::{self, Header},
    id::{Fence, Seq, TaskId, Tick},
    json::Json,
    lease::LOCK_DELAY_MS,
    process::{Liveness, ProcessIdentity, Processes},
};

/// The version that events name as their writer.
pub(crate) const WRITER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What an operation works with.
pub(crate) struct Tx<'a> {
    pub(crate) sql: &'a mut dyn Sql,
    pub(crate) meta: Meta,
    pub(crate) now: Tick,
    pub(crate) wall_ms: i64,
    pub(crate) processes: &'a dyn Processes,
    /// Whether machines share the store, whose clock then moves in steps.
    pub(crate) is_shared: bool,
    /// The session in whose name the request runs.
    pub(crate) actor: Option<SessionRow>,
    /// Whether the caller's wait is over.
    pub(crate) wait_over: bool,
    /// Whether anything was settled, which is committed even if the request fails.
    pub(crate) settled: bool,
    /// The head of the log when the transaction began.
    pub(crate) begun_at: i64,
    /// What was settled by this request, to be settled again if its effects are undone.
    pub(crate) settlements: Vec<Settlement>,
    /// The newest session's id, once it was asked for.
    pub(crate) last_session: Option<String>,
    /// How much sessions have at most.
    pub(crate) bounds: Bounds,
    /// Events held back by the planted bug `event_outside_transaction`.
    pub(crate) late_events: Vec<EventRow>,
}

/// Something that was brought to its true state.
#[derive(Clone, Debug)]
pub(crate) enum Settlement {
    /// A session, by id.
    Session(String),
    /// A row of `lease`, by the id of its timer.
    Lease(String),
    /// A task.
    Task(TaskId),
}

/// An event's row.
pub(crate) struct EventRow {
    numbers: [i64; 2],
    texts: [String; 9],
    bytes: [Vec<u8>; 3],
}

/// How an operation went.
pub(crate) enum Verdict<T> {
    /// It was done.
    Done(T),
    /// It must wait; what it wrote (its ticket) stays. Asks again after so long at the latest.
    Wait { retry_after_ms: u64 },
    /// It was refused, but what it wrote stays.
    Refused(Error),
}

/// The shortest grant, and how long a resource stays free after a loss, where machines share the store.
const TTL_SHARED_MIN_MS: u64 = MINUTE;
const LOCK_DELAY_SHARED_MS: u64 = 15 * SECOND;

const INSERT_EVENT: &str = "INSERT INTO event (seq, at, tick, kind, scope, session, name, \"user\", trust, \
     payload, salt, payload_digest, hash, writer_version) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

const INSERT_TIMER: &str =
    "INSERT INTO timer (tick, kind, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

impl<'a> Tx<'a> {
    /// A transaction at the tick of its meta row, without an actor.
    pub(crate) fn new(
        sql: &'a mut dyn Sql,
        meta: Meta,
        wall_ms: i64,
        processes: &'a dyn Processes,
    ) -> Self {
        Self {
            sql,
            now: meta.tick,
            wall_ms,
            processes,
            is_shared: false,
            actor: None,
            wait_over: false,
            settled: false,
            begun_at: meta.seq,
            meta,
            settlements: Vec::new(),
            last_session: None,
            bounds: Bounds::default(),
            late_events: Vec::new(),
        }
    }
}

impl Tx<'_> {
    /// The actor; operations that need one run only with one.
    pub(crate) fn actor(&self) -> Result<&SessionRow> {
        self.actor.as_ref().ok_or_else(|| Error::internal("an operation ran without its actor"))
    }

    /// How far what the actor writes is trusted.
    pub(crate) fn trust(&self) -> &'static str {
        match &self.actor {
            Some(actor) if actor.kind == "human" => "human",
            Some(_) => "agent",
            None => "tool",
        }
    }

    /// Fails if a grant would be so short that one step of the clock could end it.
    pub(crate) fn check_ttl(&self, ttl_ms: u64) -> Result<()> {
        if !self.is_shared || mutant("short_grants_of_many") {
            return Ok(());
        }
        check_duration("ttl", ttl_ms, TTL_SHARED_MIN_MS, DAY)
            .map_err(|error| error.hint("the clock of a store that machines share moves in steps"))
    }

    /// How long a resource stays free after its holder was lost, unless given.
    pub(crate) fn lock_delay_ms(&self) -> u64 {
        if self.is_shared { LOCK_DELAY_SHARED_MS } else { LOCK_DELAY_MS }
    }

    /// Appends an event in the actor's name.
    pub(crate) fn event(&mut self, kind: &str, scope: &str, payload: &Json) -> Result<Seq> {
        let (session, name, user) = match &self.actor {
            Some(actor) => (actor.id.clone(), actor.name.clone(), actor.user.clone()),
            None => Default::default(),
        };
        let trust = self.trust();
        self.append(kind, scope, [&session, &name, &user, trust], payload.text())
    }

    /// Appends an event that nobody asked for, such as an expiry.
    pub(crate) fn event_of_store(
        &mut self,
        kind: &str,
        scope: &str,
        payload: &serde_json::Value,
    ) -> Result<Seq> {
        self.append(kind, scope, ["", "", "", "tool"], &payload.to_string())
    }

    fn append(&mut self, kind: &str, scope: &str, by: [&str; 4], payload: &str) -> Result<Seq> {
        crate::testing::failpoint("txn.events")?;
        let at = cotenant_core::clock::rfc3339(self.wall_ms);
        let [session, name, user, trust] = by;
        let mut salt = [0u8; 16];
        random(&mut salt)?;
        let seq = self.meta.seq + 1;
        let digest = event::payload_digest(&salt, payload);
        let header = Header {
            seq,
            at: &at,
            tick: self.now.0,
            kind,
            scope,
            session,
            name,
            user,
            trust,
            writer_version: WRITER_VERSION,
        };
        let hashed =
            if mutant("hash_without_trust") { Header { trust: "", ..header } } else { header };
        let hash = event::chain_hash(&self.meta.hash, &hashed, &digest);
        let row = EventRow {
            numbers: [seq, self.now.0],
            texts: [&at, kind, scope, session, name, user, trust, payload, WRITER_VERSION]
                .map(str::to_owned),
            bytes: [salt.to_vec(), digest.to_vec(), hash.to_vec()],
        };
        if mutant("event_outside_transaction") {
            self.late_events.push(row);
        } else {
            row.insert(self.sql)?;
        }
        self.meta.seq = seq;
        self.meta.hash = hash;
        Ok(Seq(seq))
    }

    /// The number that the next event will have.
    pub(crate) fn next_seq(&self) -> i64 {
        self.meta.seq + 1
    }

    /// Draws the next fence.
    pub(crate) fn fence(&mut self) -> Fence {
        self.meta.next_fence(self.wall_ms)
    }

    /// Asks to look at a row again at a tick.
    pub(crate) fn arm(&mut self, tick: Tick, kind: &str, id: &str) -> Result<()> {
        self.sql.later(INSERT_TIMER, params![tick.0, kind, id])
    }

    /// What can be said of a process from here.
    pub(crate) fn liveness(&self, process: Option<&ProcessIdentity>) -> Liveness {
        process.map_or(Liveness::Unverifiable, |process| self.processes.liveness(process))
    }

    /// Wall time of a tick in the past, for display.
    pub(crate) fn at(ms: i64) -> String {
        cotenant_core::clock::rfc3339(ms)
    }
}

impl EventRow {
    /// Writes the row.
    pub(crate) fn insert(&self, sql: &mut dyn Sql) -> Result<()> {
        let [seq, tick] = self.numbers;
        let [at, kind, scope, session, name, user, trust, payload, version] = &self.texts;
        let [salt, digest, hash] = &self.bytes;
        sql.later(
            INSERT_EVENT,
            params![
                seq,
                at,
                tick,
                kind,
                scope,
                session,
                name,
                user,
                trust,
                payload,
                salt.as_slice(),
                digest.as_slice(),
                hash.as_slice(),
                version,
            ],
        )
    }
}

/// Fills a buffer with random bytes of the operating system.
pub(crate) fn random(buffer: &mut [u8]) -> Result<()> {
    getrandom::fill(buffer).map_err(|cause| {
        Error::internal("the operating system gives no random bytes").caused_by(cause)
    })
}
