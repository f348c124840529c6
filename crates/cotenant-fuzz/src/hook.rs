//! F7: what an agent tells a hook.

use cotenant_core::name::check_name;

use crate::payload::{Event, Payload};

/// The most files of one edit.
const FILES_MAX: usize = 64;

pub(crate) fn hook(bytes: &[u8]) {
    let plain = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let Some(payload) = Payload::decode(bytes) else {
        assert!(plain.is_none(), "{}", String::from_utf8_lossy(bytes));
        return;
    };
    let event = payload.event(Some("Stop"));
    assert!(event.is_none_or(|event| Event::of(event.name()) == Some(event)));
    if let Some(id) = payload.native_id() {
        check_name("native id", id).expect("an id is a name");
    }
    assert!(matches!(payload.kind(true), "claude" | "codex"));
    let files = payload.edited_files();
    assert!(files.len() <= FILES_MAX && files.iter().all(|file| !file.is_empty()), "{files:?}");
    assert!(payload.tool_name.is_some() || (files.is_empty() && !payload.is_our_tool()));
    // A plain reading agrees.
    let Some(serde_json::Value::Object(fields)) = plain else { return };
    let text = |name: &str| fields.get(name).and_then(|it| it.as_str()).filter(|it| !it.is_empty());
    assert_eq!(payload.session_id.as_deref(), text("session_id"));
    assert_eq!(payload.tool_name.as_deref(), text("tool_name"));
    assert_eq!(payload.cwd.as_deref(), text("cwd"));
}
