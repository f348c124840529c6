-- The kernel: sessions, lineage, data, leases and claims, events.
-- Every table and index costs each new process about 4 microseconds; ARCHITECTURE.md justifies each.

-- One row: the gate (app, schema, min_reader, min_writer), the head of the log, the clock.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    app TEXT NOT NULL,
    schema INTEGER NOT NULL,
    min_reader INTEGER NOT NULL,
    min_writer INTEGER NOT NULL,
    history TEXT NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    pruned_seq INTEGER NOT NULL,
    pruned_hash BLOB NOT NULL,
    tick INTEGER NOT NULL,
    source TEXT NOT NULL,
    source_value INTEGER NOT NULL,
    sources_replaced TEXT NOT NULL,
    fence INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    erasing INTEGER NOT NULL,
    migrations TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE session (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    name_given INTEGER NOT NULL,
    kind TEXT NOT NULL,
    native_id TEXT,
    state TEXT NOT NULL,
    user TEXT NOT NULL,
    purpose TEXT,
    labels TEXT NOT NULL,
    ns TEXT NOT NULL,
    token_digest TEXT NOT NULL,
    process TEXT,
    ttl_ms INTEGER NOT NULL,
    expires_tick INTEGER NOT NULL,
    heartbeat_tick INTEGER NOT NULL,
    heartbeat_ms INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    parent TEXT,
    relation TEXT,
    outcome TEXT,
    reason TEXT
) STRICT, WITHOUT ROWID;

-- The newest session of a name, a conversation or a process.
CREATE TABLE alias (
    key TEXT PRIMARY KEY,
    session TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE edge (
    child TEXT NOT NULL,
    parent TEXT NOT NULL,
    relation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    purpose TEXT,
    PRIMARY KEY (child, parent, relation)
) STRICT, WITHOUT ROWID;

CREATE INDEX edge_parent ON edge (parent);

CREATE TABLE data (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    rev INTEGER NOT NULL,
    ver INTEGER NOT NULL,
    writer TEXT NOT NULL,
    trust TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    owner TEXT,
    expires_tick INTEGER,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

-- Ephemeral keys, found when their session goes.
CREATE INDEX data_owner ON data (owner) WHERE owner IS NOT NULL;

-- Grants, claims, cooling resources and waiting tickets. A ticket's fence is its place in the queue.
CREATE TABLE lease (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    tree TEXT NOT NULL,
    session TEXT NOT NULL,
    state TEXT NOT NULL,
    fence INTEGER NOT NULL,
    slots INTEGER NOT NULL,
    mode TEXT NOT NULL,
    automatic INTEGER NOT NULL,
    ttl_ms INTEGER,
    expires_tick INTEGER,
    lock_delay_ms INTEGER NOT NULL,
    since_tick INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    note TEXT,
    PRIMARY KEY (kind, name, tree, session)
) STRICT, WITHOUT ROWID;

CREATE INDEX lease_session ON lease (session);

-- High-water marks: the highest fence admitted for a resource, how far a consumer has read.
CREATE TABLE mark (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    seen_tick INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    tick INTEGER NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    session TEXT NOT NULL,
    name TEXT NOT NULL,
    user TEXT NOT NULL,
    trust TEXT NOT NULL,
    payload TEXT,
    salt BLOB,
    payload_digest BLOB NOT NULL,
    hash BLOB NOT NULL,
    writer_version TEXT NOT NULL
) STRICT;

-- Remembered results; `number` gives the order in which they may be forgotten.
CREATE TABLE request (
    number INTEGER PRIMARY KEY,
    actor TEXT NOT NULL,
    id TEXT NOT NULL,
    digest TEXT NOT NULL,
    result TEXT NOT NULL,
    seq INTEGER NOT NULL,
    tick INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX request_id ON request (actor, id);

-- When to look at a row again. A timer may ring early: the row itself says whether it has expired.
CREATE TABLE timer (
    tick INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (tick, kind, id)
) STRICT, WITHOUT ROWID;
