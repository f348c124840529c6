-- Work and governance: tasks; offers, messages, barriers and progress; instructions and metrics.
-- Every table and index costs each new process about 4 microseconds; ARCHITECTURE.md justifies each.

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
