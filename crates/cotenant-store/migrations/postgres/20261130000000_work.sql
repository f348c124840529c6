-- Work and governance: tasks; offers, messages, barriers and progress; instructions and metrics.
-- The same tables as in SQLite.

-- Ids are drawn in the order of time: so those of one batch lie on one page, not on one for each session.
DROP INDEX request_id;
CREATE UNIQUE INDEX request_id ON request (id, actor);

-- Tasks. `needs` holds the ids of those that it needs, so that both directions are found; `due_tick`
-- is when the running attempt ends, a retry begins or a delay is over; `ready_tick` its place in the queue.
CREATE TABLE task (
    id BIGINT PRIMARY KEY,
    queue TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    ready_tick BIGINT NOT NULL,
    payload TEXT COLLATE "C" NOT NULL,
    needs TEXT COLLATE "C" NOT NULL,
    on_dep_fail TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    rescues BIGINT NOT NULL,
    visibility_ms BIGINT NOT NULL,
    due_tick BIGINT,
    not_before_ms BIGINT,
    dedupe_key TEXT COLLATE "C",
    fence BIGINT,
    ended TEXT COLLATE "C",
    session TEXT COLLATE "C",
    result TEXT COLLATE "C",
    reason TEXT COLLATE "C",
    creator TEXT COLLATE "C" NOT NULL,
    trust TEXT COLLATE "C" NOT NULL,
    added_ms BIGINT NOT NULL,
    since_ms BIGINT NOT NULL
);

-- The next ready task of a queue, and how many stand where, without reading a task.
CREATE INDEX task_state ON task (state, queue, priority DESC, ready_tick, id);

-- What a session that goes was working on.
CREATE INDEX task_session ON task (session) WHERE state = 'running';

-- Who waits for a task that is over.
CREATE TABLE dependency (
    needs BIGINT NOT NULL,
    task BIGINT NOT NULL,
    PRIMARY KEY (needs, task)
);

-- How far pieces of work are: the last report on each subject.
CREATE TABLE progress (
    subject TEXT COLLATE "C" PRIMARY KEY,
    phase TEXT COLLATE "C" NOT NULL,
    percent BIGINT NOT NULL,
    message TEXT COLLATE "C",
    session TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    tick BIGINT NOT NULL,
    seq BIGINT NOT NULL
);

-- Offers, and drafts, which are notes of sessions to themselves. The key begins with the state: the few
-- that are open are one range.
CREATE TABLE offer (
    state TEXT COLLATE "C" NOT NULL,
    id BIGINT NOT NULL,
    giver TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    trust TEXT COLLATE "C" NOT NULL,
    addressee TEXT COLLATE "C" NOT NULL,
    to_session TEXT COLLATE "C",
    payload TEXT COLLATE "C" NOT NULL,
    items TEXT COLLATE "C" NOT NULL,
    expires_tick BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    closed_by TEXT COLLATE "C",
    PRIMARY KEY (state, id)
);

-- A row for each addressee. What it has not read is one range.
CREATE TABLE message (
    recipient TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    id BIGINT NOT NULL,
    sender TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    trust TEXT COLLATE "C" NOT NULL,
    addressee TEXT COLLATE "C" NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    tick BIGINT NOT NULL,
    expires_tick BIGINT NOT NULL,
    PRIMARY KEY (recipient, state, id)
);

-- A barrier, whose session is empty, and the parties that have arrived at it.
CREATE TABLE barrier (
    name TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    parties BIGINT NOT NULL,
    expires_tick BIGINT,
    why TEXT COLLATE "C",
    PRIMARY KEY (name, session)
);

CREATE TABLE instruction (
    id BIGINT PRIMARY KEY,
    text TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C",
    alias TEXT COLLATE "C",
    source TEXT COLLATE "C",
    trust TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    "user" TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    supersedes BIGINT,
    superseded_by BIGINT,
    approved_by TEXT COLLATE "C",
    revoked_by TEXT COLLATE "C",
    reason TEXT COLLATE "C"
);

CREATE TABLE metric (
    session TEXT COLLATE "C" NOT NULL,
    native_id TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    kept TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (session, native_id, model, source)
);
