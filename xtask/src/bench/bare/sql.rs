//! The statements of `cotenant-store` that storing a value and claiming an issue run, in its
//! words.
//!
//! They mirror `meta.rs`, `local.rs`, `tx.rs`, `session.rs`, `data.rs` and `holding.rs` there. A
//! test below fails when one of them is no longer in those files; a run also compares how many
//! rows both contenders left in each table.

macro_rules! session_columns {
    () => {
        "s.id, s.name, s.name_given, s.kind, s.native_id, s.state, s.user, s.purpose, s.labels, s.ns, \
         s.token_digest, s.process, s.ttl_ms, s.expires_tick, s.heartbeat_tick, s.heartbeat_ms, \
         s.since_ms, s.parent, s.relation, s.outcome, s.reason"
    };
}
macro_rules! lease_columns {
    () => {
        "l.kind, l.name, l.tree, l.session, l.state, l.fence, l.slots, l.mode, l.automatic, l.ttl_ms, \
         l.expires_tick, l.lock_delay_ms, l.since_tick, l.since_ms, l.note"
    };
}

macro_rules! meta_columns {
    () => {
        "app, schema, min_reader, min_writer, history, seq, hash, pruned_seq, pruned_hash, tick, \
         source, source_value, sources_replaced, fence, sessions, erasing"
    };
}

pub(super) const SELECT_META_TIMER: &str =
    concat!("SELECT ", meta_columns!(), ", (SELECT MIN(tick) FROM timer) FROM meta WHERE id = 1");
pub(super) const UPDATE_META: &str = "UPDATE meta SET seq = $1, hash = $2, pruned_seq = $3, pruned_hash = $4, \
     tick = $5, source = $6, source_value = $7, sources_replaced = $8, fence = $9, sessions = $10, \
     erasing = $11 WHERE id = 1";
pub(super) const SELECT_BY_ID: &str =
    concat!("SELECT ", session_columns!(), " FROM session s WHERE s.id = $1");
pub(super) const UPDATE_TOUCH: &str = "UPDATE session SET state = 'active', expires_tick = $1 + ttl_ms, \
     heartbeat_tick = $1, heartbeat_ms = $2 WHERE id IN ($3)";
pub(super) const SELECT_REQUEST: &str =
    "SELECT digest, result, seq, tick FROM request WHERE actor = $1 AND id = $2";
pub(super) const INSERT_REQUEST: &str = "INSERT INTO request (actor, id, digest, result, seq, tick) \
     VALUES ($1, $2, $3, $4, $5, $6)";
pub(super) const FORGET_REQUESTS: &str = "DELETE FROM request WHERE tick < $1 AND number IN \
     (SELECT number FROM request WHERE number <= (SELECT MAX(number) FROM request) - $2 \
     ORDER BY number LIMIT 1024)";
pub(super) const INSERT_EVENT: &str = "INSERT INTO event (seq, at, tick, kind, scope, session, name, \"user\", trust, \
     payload, salt, payload_digest, hash, writer_version) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
pub(super) const SELECT_ONE: &str = "SELECT scope, key, value, rev, ver, writer, trust, at_ms, owner, expires_tick \
     FROM data WHERE scope = $1 AND key = $2";
pub(super) const INSERT: &str = "INSERT INTO data (value, rev, ver, writer, trust, at_ms, owner, expires_tick, \
     scope, key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
pub(super) const UPDATE: &str = "UPDATE data SET value = $1, rev = $2, ver = $3, writer = $4, trust = $5, \
     at_ms = $6, owner = $7, expires_tick = $8 WHERE scope = $9 AND key = $10";
pub(super) const SELECT_NAMED: &str = concat!(
    "SELECT ",
    lease_columns!(),
    " FROM lease l WHERE ",
    "l.kind = $1 AND l.name = $2 AND l.state <> 'released' ORDER BY l.tree, l.session"
);
pub(super) const COUNT_ROWS: &str = "SELECT COUNT(*) FROM lease WHERE session = $1";
pub(super) const INSERT_LEASE: &str = "INSERT INTO lease (state, fence, slots, mode, automatic, ttl_ms, \
     expires_tick, lock_delay_ms, since_tick, since_ms, note, kind, name, tree, session) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING";

/// Not the store's: which tables there are.
pub(super) const SELECT_TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A text without the line breaks that Rust allows inside its literals.
    fn flat(text: &str) -> String {
        text.split_whitespace().filter(|word| *word != "\\").collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_statement_is_one_of_the_store() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/cotenant-store/src");
        let source: String = fs::read_dir(folder)
            .unwrap()
            .filter_map(|file| fs::read_to_string(file.unwrap().path()).ok())
            .map(|text| flat(&text.replace("\\\"", "\"")))
            .collect();
        let whole = [
            UPDATE_META,
            UPDATE_TOUCH,
            SELECT_REQUEST,
            INSERT_REQUEST,
            FORGET_REQUESTS,
            INSERT_EVENT,
            SELECT_ONE,
            INSERT,
            UPDATE,
            COUNT_ROWS,
            INSERT_LEASE,
        ];
        // What the store puts together from parts.
        let parts = [
            meta_columns!(),
            ", (SELECT MIN(tick) FROM timer) FROM meta WHERE id = 1",
            session_columns!(),
            lease_columns!(),
            "FROM session s WHERE s.id = $1",
            "FROM lease l WHERE",
            "l.kind = $1 AND l.name = $2 AND l.state <> 'released' ORDER BY l.tree, l.session",
        ];
        for text in whole.into_iter().chain(parts) {
            assert!(source.contains(&flat(text)), "not in the store: {text}");
        }
    }
}
