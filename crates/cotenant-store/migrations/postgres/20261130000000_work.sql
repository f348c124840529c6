-- Work and governance: tasks; offers, messages, barriers and progress; instructions and metrics.
-- The same tables as in SQLite.

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
