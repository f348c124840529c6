-- Work and governance: tasks; offers, messages, barriers and progress; instructions and metrics.
-- The same tables as in SQLite.

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
