//! A closed store: one that was moved away, or has not arrived yet.

use cotenant_core::{Code, Error, Result};

use crate::{meta::Meta, params, sql::Sql};

const SELECT_GATE: &str = "SELECT name FROM mark WHERE kind = 'gate'";
const INSERT_GATE: &str =
    "INSERT INTO mark (kind, name, value, seen_tick) VALUES ('gate', $1, $2, $3)";
const DELETE_GATE: &str = "DELETE FROM mark WHERE kind = 'gate'";

/// Which way a closed store goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was moved away.
    Away,
    /// It arrives.
    Here,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Here => "here",
        }
    }
}

/// Why a store is closed: a row of `mark`, whose name is the way, the digest of what is carried, and the
/// other place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(super) way: Way,
    /// The SHA-256 of the lines that are carried.
    pub(super) digest: String,
    /// Where it went, or where it comes from.
    pub(super) other: String,
}

impl Gate {
    /// Why a closed store is closed.
    pub(super) fn load(sql: &mut dyn Sql) -> Result<Option<Self>> {
        let Some(mut row) = sql.rows(SELECT_GATE, &[])?.pop() else { return Ok(None) };
        let text = row.text()?;
        let mut words = text.splitn(3, ' ');
        let way = match words.next() {
            Some("away") => Way::Away,
            Some("here") => Way::Here,
            _ => return Ok(None),
        };
        let mut word = || words.next().unwrap_or_default().to_owned();
        Ok(Some(Self { way, digest: word(), other: word() }))
    }

    /// Closes a store.
    pub(super) fn close(&self, sql: &mut dyn Sql, meta: &Meta) -> Result<()> {
        let name = [self.way.word(), &self.digest, &self.other].join(" ");
        sql.run(DELETE_GATE, &[])?;
        sql.run(INSERT_GATE, params![&name, meta.seq, meta.tick.0])?;
        Meta::save_gate(sql, true)
    }

    /// Opens a store.
    pub(super) fn open(sql: &mut dyn Sql) -> Result<()> {
        sql.run(DELETE_GATE, &[])?;
        Meta::save_gate(sql, false)
    }

    /// What somebody is told who reads or writes a closed store.
    pub(crate) fn refusal(sql: &mut dyn Sql) -> Error {
        match Self::load(sql) {
            Ok(Some(gate)) => gate.error(),
            Ok(None) => Error::new(Code::StoreCorrupt, "the store is closed and does not say why"),
            Err(error) => error,
        }
    }

    pub(super) fn error(&self) -> Error {
        let other = &self.other;
        match self.way {
            Way::Away => {
                Error::new(Code::StoreForeign, format!("the store was moved to `{other}`"))
                    .detail("moved_to", other)
                    .hint("set COTENANT_STORE to that address, with your user and password if it is on a server")
            }
            Way::Here => Error::new(
                Code::StoreMissing,
                format!("the store has not arrived here yet from `{other}`"),
            )
            .detail("arriving_from", other)
            .hint("wait for the `cotenant move` that is under way, or repeat it if it was interrupted"),
        }
    }
}
