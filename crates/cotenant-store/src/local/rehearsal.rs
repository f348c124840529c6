//! Refusals do not queue: when the gate is taken, a request is first *rehearsed* on a snapshot. The
//! same code runs, and its first write ends the rehearsal. If it is refused before that, the snapshot is
//! its point of linearization and it never waits for a writer.

use cotenant_core::{
    Error, Result,
    store::{Outcome, Request},
};

use super::{LocalStore, Step, check::check};
use crate::{
    execute::{Executed, execute},
    meta::{Intent, Meta},
    sql::{Param, Row, Sql},
    testing::mutant,
};

impl LocalStore {
    /// Runs a request on a snapshot. Answers `None` if it needs to write.
    pub(super) fn rehearse(&self, request: &Request, wait_over: bool) -> Option<Step> {
        let mut step = None;
        let result = self.with_engine(|engine| {
            engine.read(&mut |sql| {
                let reading = self.reading_before_snapshot(sql)?;
                let mut meta = Meta::load(sql, Intent::Write)?;
                if reading.source != meta.source {
                    return Ok(());
                }
                meta.tick = meta.tick_at(&reading, self.clock.step_max());
                let mut snapshot = Snapshot::of(sql);
                let outcome = {
                    let mut tx = self.tx(&mut snapshot, meta, wait_over);
                    execute(&mut tx, request)
                };
                if !snapshot.wrote {
                    step = match outcome {
                        Ok(Executed::Replayed(reply)) if mutant("replays_take_no_turn") => {
                            Some(Step::Done(Ok(reply)))
                        }
                        Ok(Executed::Wait { retry_after_ms }) => {
                            Some(Step::Wait { retry_after_ms })
                        }
                        Ok(Executed::Refused(error)) | Err(error) => Some(Step::Done(Err(error))),
                        // The commit of a result that is remembered may have been killed in its flush: a
                        // turn makes it durable first.
                        Ok(Executed::Replayed(_) | Executed::Done(_)) => None,
                    };
                }
                Ok(())
            })
        });
        match result {
            Ok(()) => step,
            Err(_) => None,
        }
    }

    /// What becomes of a write that needs to write nothing, as things stand: mostly a refusal.
    pub(crate) fn rehearsed(&self, request: &Request) -> Option<Outcome> {
        match check(request.clone()) {
            Err(error) => Some(Err(error)),
            Ok(request) => match self.rehearse(&request, false)? {
                Step::Done(outcome) => Some(outcome),
                Step::Wait { .. } | Step::Unwanted => None,
            },
        }
    }
}

/// A snapshot that notices the first attempt to write.
pub(super) struct Snapshot<'a> {
    sql: &'a mut dyn Sql,
    wrote: bool,
}

impl<'a> Snapshot<'a> {
    /// Nothing was written yet.
    pub(super) fn of(sql: &'a mut dyn Sql) -> Self {
        Self { sql, wrote: false }
    }
}

impl Sql for Snapshot<'_> {
    fn run(&mut self, _: &'static str, _: &[Param<'_>]) -> Result<u64> {
        self.wrote = true;
        Err(Error::internal("a snapshot cannot be written"))
    }

    fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>> {
        self.sql.rows(sql, params)
    }

    fn written(&self) -> u64 {
        u64::from(self.wrote)
    }

    fn is_snapshot(&self) -> bool {
        true
    }
}
