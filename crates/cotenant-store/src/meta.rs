//! The one row that orders everything: the schema gate, the head of the log, the clock, the fence.

use cotenant_core::{
    Code, Error, Result,
    clock::{Reading, Stand, advance},
    event::{Cursor, Hash, hex},
    id::{Fence, Seq, Tick},
};

use crate::{params, sql::Sql, testing::mutant, transfer::Gate};

/// The schema that this version writes.
pub const SCHEMA: i64 = 2;
/// Marks the database as ours, in `SQLite` as its application id: "ctnt".
pub(crate) const APPLICATION_ID: i32 = 0x6374_6e74;
const APP: &str = "cotenant";
/// A schema that no program knows: a store that needs it is closed, because it was moved away or has not
/// arrived yet.
const CLOSED: i64 = (1 << 53) - 1;
/// How many replaced sources are remembered, to notice two kernels on one file.
const SOURCES_MAX: usize = 64;

/// The schema that this program knows; tests add one to see a migration at work.
pub(crate) fn known_schema() -> i64 {
    SCHEMA + i64::from(crate::testing::extra_migration())
}

/// The row.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) history: String,
    pub(crate) seq: i64,
    pub(crate) hash: Hash,
    pub(crate) pruned_seq: i64,
    pub(crate) pruned_hash: Hash,
    pub(crate) tick: Tick,
    pub(crate) source: String,
    pub(crate) source_value: i64,
    pub(crate) sources_replaced: String,
    pub(crate) fence: i64,
    pub(crate) sessions: i64,
    pub(crate) erasing: i64,
    /// When the next timer rings, as it was when a writer read the row.
    pub(crate) next_timer: Option<Tick>,
    /// Whether nobody may read or write it, but for carrying it elsewhere.
    pub(crate) is_closed: bool,
}

macro_rules! meta_columns {
    () => {
        "app, schema, min_reader, min_writer, history, seq, hash, pruned_seq, pruned_hash, tick, \
         source, source_value, sources_replaced, fence, sessions, erasing"
    };
}

pub(crate) const SELECT_META: &str = concat!("SELECT ", meta_columns!(), " FROM meta WHERE id = 1");
/// A writer also wants to know when the next timer rings: to ask for the timers that ring now is a
/// statement more, which seldom finds one.
pub(crate) const SELECT_META_TIMER: &str =
    concat!("SELECT ", meta_columns!(), ", (SELECT MIN(tick) FROM timer) FROM meta WHERE id = 1");

const UPDATE_META: &str = "UPDATE meta SET seq = $1, hash = $2, pruned_seq = $3, pruned_hash = $4, \
     tick = $5, source = $6, source_value = $7, sources_replaced = $8, fence = $9, sessions = $10, \
     erasing = $11 WHERE id = 1";

const UPDATE_HISTORY: &str = "UPDATE meta SET history = $1 WHERE id = 1";
const UPDATE_GATE: &str = "UPDATE meta SET min_reader = $1, min_writer = $1 WHERE id = 1";

/// What a transaction wants to do, for the schema gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Read,
    Write,
    /// Only copy or check it: an older schema will do, and it may be closed.
    Inspect,
    /// Carry it elsewhere: it may be closed.
    Carry,
}

impl Meta {
    /// Reads the row and checks the schema gate.
    pub(crate) fn load(sql: &mut dyn Sql, intent: Intent) -> Result<Self> {
        let statement = if intent == Intent::Write { SELECT_META_TIMER } else { SELECT_META };
        let mut row = sql.rows(statement, &[])?.pop().ok_or_else(|| {
            Error::new(Code::StoreForeign, "the database has no store of cotenant in it")
        })?;
        if row.text()? != APP {
            return Err(Error::new(Code::StoreForeign, "the database belongs to another program"));
        }
        let (schema, min_reader, min_writer) = (row.int()?, row.int()?, row.int()?);
        let needed = if intent == Intent::Write { min_writer } else { min_reader };
        let is_closed = needed == CLOSED;
        let needed = match intent {
            Intent::Read | Intent::Write if is_closed => return Err(Gate::refusal(sql)),
            _ if is_closed => schema,
            _ => needed,
        };
        let known = known_schema();
        if needed > known && !crate::testing::mutant("no_schema_gate") {
            return Err(Error::new(
                Code::SchemaNewer,
                format!("the store has schema {schema}, which needs a newer cotenant; this one knows {known}"),
            )
            .detail("schema", schema)
            .detail("known", known)
            .hint("upgrade cotenant on this machine"));
        }
        if schema < known && intent != Intent::Inspect {
            return Err(Error::new(
                Code::SchemaOlder,
                format!("the store has schema {schema}; this cotenant needs {known}"),
            )
            .detail("schema", schema)
            .detail("known", known)
            .hint("run `cotenant doctor --migrate`, which makes a verified backup first"));
        }
        Ok(Self {
            history: row.text()?,
            seq: row.int()?,
            hash: row.hash()?,
            pruned_seq: row.int()?,
            pruned_hash: row.hash()?,
            tick: Tick(row.int()?),
            source: row.text()?,
            source_value: row.int()?,
            sources_replaced: row.text()?,
            fence: row.int()?,
            sessions: row.int()?,
            erasing: row.int()?,
            next_timer: if intent == Intent::Write { row.optional_int()?.map(Tick) } else { None },
            is_closed,
        })
    }

    /// Writes the row back.
    pub(crate) fn save(&self, sql: &mut dyn Sql) -> Result<()> {
        sql.later(
            UPDATE_META,
            params![
                self.seq,
                self.hash.as_slice(),
                self.pruned_seq,
                self.pruned_hash.as_slice(),
                self.tick.0,
                &self.source,
                self.source_value,
                &self.sources_replaced,
                self.fence,
                self.sessions,
                self.erasing,
            ],
        )
    }

    /// Begins a new history, as a restore does.
    pub(crate) fn save_history(&self, sql: &mut dyn Sql) -> Result<()> {
        sql.run(UPDATE_HISTORY, params![&self.history]).map(drop)
    }

    /// Opens or closes the store.
    pub(crate) fn save_gate(sql: &mut dyn Sql, is_closed: bool) -> Result<()> {
        let needed = if is_closed { CLOSED } else { SCHEMA };
        sql.run(UPDATE_GATE, params![needed]).map(drop)
    }

    /// Lets the clock go on from where it stands, on whatever machine this is.
    pub(crate) fn stand_at(&mut self, reading: Reading) {
        self.source = reading.source;
        self.source_value = reading.value_ms;
        self.sources_replaced.clear();
    }

    /// The tick at a reading, without storing it.
    pub(crate) fn tick_at(&self, reading: &Reading, step_max: Option<u64>) -> Tick {
        let step_max = step_max.filter(|_| !mutant("step_unbounded"));
        let stand =
            Stand { tick: self.tick, source: self.source.clone(), value_ms: self.source_value };
        advance(&stand, reading, step_max)
    }

    /// Whether the clock goes only a part of the way to a reading.
    pub(crate) fn is_cut(&self, reading: &Reading, step_max: Option<u64>) -> bool {
        step_max.is_some() && self.tick_at(reading, step_max) != self.tick_at(reading, None)
    }

    /// Moves the clock to a reading. Answers whether the source is new: a reboot, or a failover.
    pub(crate) fn advance(&mut self, reading: &Reading, step_max: Option<u64>) -> Result<bool> {
        self.tick = self.tick_at(reading, step_max);
        let replaced = self.source != reading.source;
        if replaced {
            if self.sources_replaced.split(' ').any(|source| source == reading.source) {
                return Err(Error::new(
                    Code::ClockDomain,
                    "two kernels use this store file, so that its clock would jump between them",
                )
                .hint("keep the store on one machine, or share one on a server: COTENANT_STORE=postgres://…"));
            }
            let mut sources: Vec<&str> = self.sources_replaced.split_whitespace().collect();
            sources.push(&self.source);
            let first = sources.len().saturating_sub(SOURCES_MAX);
            self.sources_replaced = sources[first..].join(" ");
            self.source.clone_from(&reading.source);
        }
        // A source that can jump may have jumped ahead: waiting until it is there again would stop the
        // tick for as long.
        self.source_value = if replaced || step_max.is_some() {
            reading.value_ms
        } else {
            self.source_value.max(reading.value_ms)
        };
        Ok(replaced)
    }

    /// Draws the next fence: greater than all before, and than those of an older copy of this
    /// store as long as the wall clock is right.
    pub(crate) fn next_fence(&mut self, wall_ms: i64) -> Fence {
        if mutant("fence_not_monotonic") {
            return Fence(self.fence.max(1));
        }
        self.fence = (self.fence + 1).max(wall_ms);
        Fence(self.fence)
    }

    /// The head of the log.
    pub(crate) fn head(&self) -> Seq {
        Seq(self.seq)
    }

    /// The cursor behind an event.
    pub(crate) fn cursor(&self, seq: i64, hash: &Hash) -> Cursor {
        Cursor::At { history: self.history.clone(), seq: Seq(seq), hash8: hex(&hash[..4]) }
    }
}
