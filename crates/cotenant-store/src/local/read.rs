//! Reads: each on one snapshot, which blocks no writer.

use std::time::{Duration, Instant};

use cotenant_core::{
    Code, Error, Op, Result,
    clock::Reading,
    event::{Cursor, Events, Read, Verify},
    id::{Seq, Tick},
    store::{Outcome, Reply, Request},
};

use super::{LocalStore, rehearsal::Snapshot};
use crate::{
    event,
    execute::{dispatch, raw},
    meta::{Intent, Meta},
    sql::Sql,
    tx::Verdict,
};

/// Events that one snapshot verifies.
const VERIFY_PAGE: i64 = 5_000;

impl LocalStore {
    /// The clock, read before the first statement takes the snapshot. Read behind it, a row that was
    /// renewed in between would be judged as expired, although it never was.
    pub(super) fn reading_before_snapshot(&self, sql: &mut dyn Sql) -> Result<Reading> {
        self.clock.reading(sql)
    }

    /// Carries out a read on one snapshot.
    pub(super) fn read(&self, request: &Request) -> Outcome {
        let mut reply = None;
        self.with_engine(|engine| {
            engine.read(&mut |sql| {
                let reading = self.reading_before_snapshot(sql)?;
                let mut meta = Meta::load(sql, Intent::Read)?;
                if let Some(wanted) = request.at_least_seq.filter(|wanted| wanted.0 > meta.seq) {
                    return Err(Error::new(
                        Code::Behind,
                        format!("event {wanted} is not there yet; the log ends at {}", meta.seq),
                    )
                    .detail("head", meta.seq)
                    .retry_after(100));
                }
                meta.tick = meta.tick_at(&reading, self.clock.step_max());
                let mut snapshot = Snapshot::of(sql);
                let mut tx = self.tx(&mut snapshot, meta, false);
                let data = match dispatch(&mut tx, &request.op)? {
                    Verdict::Done(data) => data,
                    Verdict::Wait { .. } | Verdict::Refused(_) => {
                        return Err(Error::internal("a read asked to wait"));
                    }
                };
                reply = Some(Reply { data, seq: tx.meta.head(), tick: tx.now, replayed: false });
                Ok(())
            })
        })?;
        reply.ok_or_else(|| Error::internal("a read gave no answer"))
    }

    /// Reads events, waiting for the first one if asked to.
    pub(super) fn read_events(&self, request: &Request, op: &Read) -> Outcome {
        let until = Instant::now() + Duration::from_millis(op.wait_ms.unwrap_or(0));
        let mut request = request.clone();
        loop {
            let seen = self.wake.value();
            let reply = self.read(&request)?;
            let events: Events = serde_json::from_str(reply.data.get())
                .map_err(|error| Error::internal("events cannot be read back").caused_by(error))?;
            if !events.events.is_empty() || (!events.more && Instant::now() >= until) {
                return Ok(reply);
            }
            if events.more && Instant::now() >= until && op.wait_ms.is_none() {
                return Ok(reply);
            }
            // Of the newest there was none: the first ones behind them are.
            let op = Read {
                after: Some(events.cursor),
                last: None,
                limit: op.last.unwrap_or(op.limit),
                ..op.clone()
            };
            request.op = Op::Read(op);
            if !events.more {
                self.wake.wait(seen, until);
            }
        }
    }

    /// Verifies the chain page by page, each on a snapshot of its own.
    pub(super) fn verify(&self, op: &Verify) -> Outcome {
        let kept = op.head.as_ref().map(|head| head.parse::<Cursor>()).transpose()?;
        let mut chain: Option<event::Chain> = None;
        loop {
            let mut verdict = None;
            let mut place = (Seq(0), Tick(0));
            self.with_engine(|engine| {
                engine.read(&mut |sql| {
                    let meta = Meta::load(sql, Intent::Read)?;
                    place = (meta.head(), meta.tick);
                    let chain =
                        chain.get_or_insert_with(|| event::Chain::begin(&meta, kept.clone()));
                    verdict = chain.step(sql, &meta, VERIFY_PAGE)?;
                    Ok(())
                })
            })?;
            if let Some(verdict) = verdict {
                return Ok(Reply {
                    data: raw(&verdict)?,
                    seq: place.0,
                    tick: place.1,
                    replayed: false,
                });
            }
        }
    }
}
