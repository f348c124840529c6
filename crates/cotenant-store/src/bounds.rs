//! How much sessions have: counted, and what they have at most, remembered from one transaction of a
//! process to the next.
//!
//! What a session may hold is limited, and to count what it has costs as much as a grant. Whoever carries out
//! the requests of many counts once and adds up what it grants.
//!
//! # Invariants
//! - A session holds no more than its bound. Every grant is an event, so a bound holds while the log ends where
//!   this process left it, and no longer. Tickets are none, and bounds say nothing of them.
//! - What was rolled back bounds nothing: it may have counted after a deletion that did not take place.

use std::collections::HashMap;

use cotenant_core::Result;

use crate::{holding::LeaseState, params, sql::Query, testing::mutant, tx::Tx};

/// Of entries of an index alone: most sessions have fewer rows than they may have of any kind.
const COUNT_ROWS: &str = "SELECT COUNT(*) FROM lease WHERE session = $1";
const COUNT_LEASES: &str =
    "SELECT COUNT(*) FROM lease WHERE session = $1 AND kind = 'lease' AND state = $2";
const COUNT_CLAIMS: &str = "SELECT COUNT(*) FROM lease WHERE session = $1 AND kind <> 'lease' \
     AND state = 'held' AND automatic = $2";
/// More sessions are not remembered.
const SESSIONS_MAX: usize = 4_096;

/// The most rows of `lease` that sessions can have, but for tickets of other processes.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// The end of the log with which they hold.
    end: Vec<u8>,
    rows: HashMap<String, i64>,
}

impl Bounds {
    /// What still holds when the log ends like this.
    pub(crate) fn when_at(mut self, end: &[u8]) -> Self {
        if self.end != end && !mutant("bounds_outlive_others") {
            self.rows.clear();
        }
        self
    }

    /// What holds after a commit, with the end of the log that it made.
    pub(crate) fn after(mut self, end: &[u8]) -> Self {
        self.end.clear();
        self.end.extend_from_slice(end);
        self
    }

    /// Whether a session is known to have at most so many rows.
    pub(crate) fn has_at_most(&self, session: &str, rows: i64) -> bool {
        self.rows.get(session).is_some_and(|most| *most <= rows)
    }

    /// A session's rows were counted.
    pub(crate) fn counted(&mut self, session: &str, rows: i64) {
        if self.rows.len() >= SESSIONS_MAX {
            self.rows.clear();
        }
        self.rows.insert(session.to_owned(), rows);
    }

    /// A session may have got one row more.
    pub(crate) fn added(&mut self, session: &str) {
        if let Some(most) = self.rows.get_mut(session) {
            *most += 1;
        }
    }
}

/// The query for whether a session has at most so many rows, unless that is known.
pub(crate) fn foreseen_count(session: &str, rows: i64, bounds: &Bounds) -> Option<Query> {
    let known = bounds.has_at_most(session, rows);
    (!known).then(|| Query::new(COUNT_ROWS, params![session]))
}

/// Whether all rows of a session together are so few that no limit can be reached.
pub(crate) fn has_at_most(tx: &mut Tx<'_>, session: &str, rows: i64) -> Result<bool> {
    if tx.bounds.has_at_most(session, rows) {
        return Ok(true);
    }
    let count = tx.sql.rows(COUNT_ROWS, params![session])?.pop();
    let count = count.map_or(Ok(0), |mut row| row.int())?;
    tx.bounds.counted(session, count);
    Ok(count <= rows)
}

/// How many leases or tickets a session has.
pub(crate) fn count_leases(tx: &mut Tx<'_>, session: &str, state: LeaseState) -> Result<i64> {
    tx.sql
        .rows(COUNT_LEASES, params![session, state.word()])?
        .pop()
        .map_or(Ok(0), |mut row| row.int())
}

/// How many claims a session has.
pub(crate) fn count_claims(tx: &mut Tx<'_>, session: &str, automatic: bool) -> Result<i64> {
    tx.sql
        .rows(COUNT_CLAIMS, params![session, i64::from(automatic)])?
        .pop()
        .map_or(Ok(0), |mut row| row.int())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_grows_with_what_is_granted_and_ends_with_what_others_append() {
        let mut bounds = Bounds::default().when_at(b"one");
        assert!(!bounds.has_at_most("a", 9));
        bounds.counted("a", 8);
        bounds.added("a");
        bounds.added("b");
        assert!(bounds.has_at_most("a", 9) && !bounds.has_at_most("a", 8));
        assert!(!bounds.has_at_most("b", 9));
        let bounds = bounds.after(b"two").when_at(b"two");
        assert!(bounds.has_at_most("a", 9));
        assert!(!bounds.when_at(b"three").has_at_most("a", 9));
    }
}
