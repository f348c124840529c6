-- Work and governance: tasks; offers, messages, barriers and progress; instructions and metrics.
-- Every table and index costs each new process about 4 microseconds; ARCHITECTURE.md justifies each.

-- Ids are drawn in the order of time: so those of one batch lie on one page, not on one for each session.
DROP INDEX request_id;
CREATE UNIQUE INDEX request_id ON request (id, actor);

-- Tasks. `needs` holds the ids of those that it needs, so that both directions are found; `due_tick`
-- is when the running attempt ends, a retry begins or a delay is over; `ready_tick` its place in the queue.
CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    ready_tick INTEGER NOT NULL,
    payload TEXT NOT NULL,
    needs TEXT NOT NULL,
    on_dep_fail TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    rescues INTEGER NOT NULL,
    visibility_ms INTEGER NOT NULL,
    due_tick INTEGER,
    not_before_ms INTEGER,
    dedupe_key TEXT,
    fence INTEGER,
    ended TEXT,
    session TEXT,
    result TEXT,
    reason TEXT,
    creator TEXT NOT NULL,
    trust TEXT NOT NULL,
    added_ms INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
) STRICT;

-- The next ready task of a queue, and how many stand where, without reading a task.
CREATE INDEX task_state ON task (state, queue, priority DESC, ready_tick, id);

-- What a session that goes was working on.
CREATE INDEX task_session ON task (session) WHERE state = 'running';

-- Who waits for a task that is over.
CREATE TABLE dependency (
    needs INTEGER NOT NULL,
    task INTEGER NOT NULL,
    PRIMARY KEY (needs, task)
) STRICT, WITHOUT ROWID;

-- How far pieces of work are: the last report on each subject.
CREATE TABLE progress (
    subject TEXT PRIMARY KEY,
    phase TEXT NOT NULL,
    percent INTEGER NOT NULL,
    message TEXT,
    session TEXT NOT NULL,
    name TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Offers, and drafts, which are notes of sessions to themselves. The key begins with the state: the few
-- that are open are one range.
CREATE TABLE offer (
    state TEXT NOT NULL,
    id INTEGER NOT NULL,
    giver TEXT NOT NULL,
    name TEXT NOT NULL,
    trust TEXT NOT NULL,
    addressee TEXT NOT NULL,
    to_session TEXT,
    payload TEXT NOT NULL,
    items TEXT NOT NULL,
    expires_tick INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    closed_by TEXT,
    PRIMARY KEY (state, id)
) STRICT, WITHOUT ROWID;

-- A row for each addressee. What it has not read is one range.
CREATE TABLE message (
    recipient TEXT NOT NULL,
    state TEXT NOT NULL,
    id INTEGER NOT NULL,
    sender TEXT NOT NULL,
    name TEXT NOT NULL,
    trust TEXT NOT NULL,
    addressee TEXT NOT NULL,
    text TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    expires_tick INTEGER NOT NULL,
    PRIMARY KEY (recipient, state, id)
) STRICT, WITHOUT ROWID;

-- A barrier, whose session is empty, and the parties that have arrived at it.
CREATE TABLE barrier (
    name TEXT NOT NULL,
    session TEXT NOT NULL,
    state TEXT NOT NULL,
    generation INTEGER NOT NULL,
    parties INTEGER NOT NULL,
    expires_tick INTEGER,
    why TEXT,
    PRIMARY KEY (name, session)
) STRICT, WITHOUT ROWID;

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
