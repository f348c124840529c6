//! F4: cursors and counts.

use cotenant_core::{
    event::Cursor,
    id::{Fence, MAX_INTEGER, is_id},
};

use crate::{check_refusal, input::texts};

pub(crate) fn cursors(bytes: &[u8]) {
    let [text] = texts(bytes);
    match text.parse::<Cursor>() {
        Ok(cursor) => {
            let written = cursor.to_string();
            assert_eq!(written.parse::<Cursor>().expect("a cursor"), cursor, "{text:?}");
            if let Cursor::At { history, seq, hash8 } = &cursor {
                assert!((0..=MAX_INTEGER).contains(&seq.0), "{seq}");
                assert!((1..=64).contains(&history.len()) && hash8.len() == 8, "{text:?}");
            }
        }
        Err(error) => {
            check_refusal(&error);
            assert!(error.hint.is_some(), "{error}");
        }
    }
    match text.parse::<Fence>() {
        Ok(fence) => {
            assert!((0..=MAX_INTEGER).contains(&fence.0), "{fence}");
            assert_eq!(fence.to_string().parse::<Fence>().expect("a fence"), fence);
        }
        Err(error) => check_refusal(&error),
    }
    assert!(!is_id(&text) || text.is_ascii());
}
