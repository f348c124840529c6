-- Work and governance: tasks; offers, messages, barriers and progress; instructions and metrics.
-- Every table and index costs each new process about 4 microseconds; ARCHITECTURE.md justifies each.

-- The history of instructions. Only what became of an entry changes: its superseding, approval, revocation.
CREATE TABLE instruction (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    scope TEXT NOT NULL,
    key TEXT,
    alias TEXT,
    source TEXT,
    trust TEXT NOT NULL,
    session TEXT NOT NULL,
    name TEXT NOT NULL,
    user TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    supersedes INTEGER,
    superseded_by INTEGER,
    approved_by TEXT,
    revoked_by TEXT,
    reason TEXT
) STRICT;

-- What one source has reported of one session's conversation; JSON, for it is only read as a whole.
CREATE TABLE metric (
    session TEXT NOT NULL,
    native_id TEXT NOT NULL,
    model TEXT NOT NULL,
    source TEXT NOT NULL,
    kept TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (session, native_id, model, source)
) STRICT, WITHOUT ROWID;
