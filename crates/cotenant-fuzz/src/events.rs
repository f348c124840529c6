//! F17: what the hash of an event covers, and events as JSON.

use cotenant_core::event::{Event, Hash, Header, chain_hash, hex, payload_digest};

use crate::input::{Input, texts};

pub(crate) fn events(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (seq, tick) = (input.number().cast_signed(), input.number().cast_signed());
    let choice = usize::from(input.byte());
    let rest = input.rest();
    let fields: [String; 8] = texts(rest);
    let [before, digest] = [payload_digest(b"before", &fields[0]), payload_digest(b"", &fields[1])];
    let of = |seq, tick, fields: &[String; 8]| hash(&before, seq, tick, fields, &digest);
    let hashed = of(seq, tick, &fields);
    assert_eq!(hashed, of(seq, tick, &fields.clone()));
    // Nothing can be changed without another hash.
    assert_ne!(hashed, of(seq ^ 1, tick, &fields));
    assert_ne!(hashed, of(seq, tick ^ 1, &fields));
    assert_ne!(hashed, hash(&digest, seq, tick, &fields, &before));
    let mut changed = fields.clone();
    changed[choice % 8].push('x');
    assert_ne!(hashed, of(seq, tick, &changed));
    // Nor moved from one field into the next, as it could without their lengths.
    let mut moved = fields.clone();
    if let Some(last) = moved[choice % 7].pop() {
        moved[choice % 7 + 1].insert(0, last);
        assert_ne!(hashed, of(seq, tick, &moved));
    }
    let (salt, payload) = rest.split_at(rest.len() / 2);
    let payload = String::from_utf8_lossy(payload);
    assert_ne!(payload_digest(salt, &payload), payload_digest(salt, &format!("{payload} ")));
    read(rest);
}

fn hash(before: &Hash, seq: i64, tick: i64, fields: &[String; 8], digest: &Hash) -> String {
    let [at, kind, scope, session, name, user, trust, writer_version] = fields;
    let header = Header { seq, at, tick, kind, scope, session, name, user, trust, writer_version };
    hex(&chain_hash(before, &header, digest))
}

/// An event that can be read is written as it was meant.
fn read(bytes: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(bytes) else { return };
    let written = serde_json::to_string(&event).expect("an event has string keys only");
    let again: Event = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(again, event);
}
