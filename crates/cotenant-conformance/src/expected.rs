//! Which operation fails with which codes, from the contract.

use cotenant_core::Code::{
    self, AgentBusy, Busy, Cancelled, Claimed, ClockDomain, Compacted, Cooling, CursorAhead,
    CursorBehind, Cycle, Deadlock, Fenced, Forbidden, FsUnsupported, Gone, Held, HistoryChanged,
    IdempotencyMismatch, Invalid, NotDead, NotFound, NotOwner, Offered, Quota, RevMismatch,
    SchemaNewer, SchemaOlder, SessionEnded, SessionLost, SlotsMismatch, StoreCorrupt, StoreForeign,
    StoreFull, StoreIo, StoreMissing, StoreReadonly, Timeout, TooLarge, TypeMismatch,
    Unauthenticated,
};

/// The codes that any operation can fail with and that no request can provoke.
pub const ENVIRONMENT: &[Code] = &[
    Busy,
    StoreFull,
    StoreReadonly,
    StoreIo,
    StoreCorrupt,
    StoreMissing,
    StoreForeign,
    FsUnsupported,
    ClockDomain,
    SchemaNewer,
    SchemaOlder,
];

/// Every operation with the codes that a request can provoke, in the order of the table.
///
/// A mutation fails with `UNAUTHENTICATED`, `IDEMPOTENCY_MISMATCH`, `SESSION_LOST`,
/// `SESSION_ENDED` and `FENCED` by the steps of section 1. Two differ: signing off again is no
/// error, and signing on needs no live session.
#[rustfmt::skip]
pub const EXPECTED: &[(&str, &[Code])] = &[
    ("session.sign_on", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, NotFound, AgentBusy, Quota]),
    ("session.heartbeat", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("session.native", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, AgentBusy]),
    ("session.sign_off", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, Fenced]),
    ("session.reap", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, NotFound, NotDead]),
    ("session.show", &[Invalid, NotFound]),
    ("session.list", &[Invalid]),
    ("session.lineage", &[Invalid, NotFound]),
    ("data.get", &[Invalid, NotFound]),
    ("data.list", &[Invalid]),
    ("data.put", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, RevMismatch]),
    ("data.delete", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, RevMismatch]),
    ("scope.delete", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, RevMismatch]),
    ("data.txn", &[Invalid, TooLarge, TypeMismatch, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, RevMismatch]),
    ("data.update", &[Invalid, TooLarge, TypeMismatch, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("scope.list", &[Invalid]),
    ("lease.acquire", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Quota, Fenced, SlotsMismatch, Cooling, Held, Deadlock, Timeout]),
    ("lease.renew", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("lease.release", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("lease.check", &[Invalid]),
    ("lease.admit", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("lease.break", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, NotFound]),
    ("lease.list", &[]),
    ("claim", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Quota, Fenced, Claimed, Cooling]),
    ("unclaim", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("who", &[Invalid]),
    ("event.append", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced]),
    ("event.read", &[Invalid, Compacted, HistoryChanged, CursorAhead]),
    ("event.commit", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, Compacted, HistoryChanged, CursorAhead, CursorBehind]),
    ("event.redact", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, NotFound]),
    ("event.prune", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, CursorBehind]),
    ("event.verify", &[Invalid]),
    ("event.head", &[]),
    ("status", &[Invalid]),
    ("gc.list", &[Invalid]),
    ("gc.remove", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced]),
    ("task.add", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, NotFound, Cycle]),
    ("task.next", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("task.extend", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, NotFound, Cancelled]),
    ("task.done", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, NotFound, Cancelled]),
    ("task.fail", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, NotFound, Cancelled]),
    ("task.release", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, NotFound, Cancelled]),
    ("task.cancel", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, NotFound, RevMismatch]),
    ("task.requeue", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, NotFound, RevMismatch]),
    ("task.show", &[Invalid, NotFound]),
    ("task.list", &[Invalid, NotFound]),
    ("task.graph", &[Invalid, NotFound]),
    ("progress.set", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, Claimed]),
    ("progress.show", &[Invalid]),
    ("handoff.offer", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Quota, Fenced, NotFound, NotOwner, Offered]),
    ("handoff.accept", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Quota, Fenced, NotFound, Gone]),
    ("handoff.decline", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, NotFound, Gone]),
    ("handoff.withdraw", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, NotFound, Gone]),
    ("handoff.list", &[Invalid, NotFound]),
    ("handoff.draft", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("message.send", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, NotFound]),
    ("message.inbox", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("message.list", &[Invalid, NotFound]),
    ("message.ack", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced]),
    ("barrier.arrive", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Fenced, SlotsMismatch, Cancelled, Timeout]),
    ("instruction.add", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, NotFound, Gone, RevMismatch]),
    ("instruction.approve", &[Invalid, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, NotFound, Gone, RevMismatch]),
    ("instruction.revoke", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Forbidden, Fenced, NotFound]),
    ("instruction.list", &[Invalid]),
    ("instruction.effective", &[Invalid]),
    ("instruction.conflicts", &[]),
    ("metrics.report", &[Invalid, TooLarge, Unauthenticated, IdempotencyMismatch, SessionLost, SessionEnded, Quota, Fenced]),
    ("metrics.show", &[Invalid, NotFound]),
];

#[cfg(test)]
mod tests {
    use cotenant_core::operation::TABLE;

    use super::*;

    #[test]
    fn every_operation_of_the_table_is_declared() {
        let declared: Vec<&str> = EXPECTED.iter().map(|(name, _)| *name).collect();
        let table: Vec<&str> = TABLE.iter().map(|entry| entry.name).collect();
        assert_eq!(declared, table);
    }

    #[test]
    fn no_code_is_declared_twice() {
        for (name, codes) in EXPECTED {
            let mut sorted = codes.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), codes.len(), "{name}");
            assert!(codes.iter().all(|code| !ENVIRONMENT.contains(code)), "{name}");
        }
    }
}
