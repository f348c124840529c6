//! Claude Code's register of its running processes.
//!
//! `~/.claude/sessions/<pid>.json` names the conversation of a process, also after `/clear`, when
//! the environment is out of date. A file can outlive its process, so it counts only if it names
//! the start time that the kernel tells (measured with 2.1.197).

use std::{fs, path::Path};

use cotenant_core::process::ProcessIdentity;
use serde::Deserialize;
use serde_json::Value;

use crate::env;

/// The largest file that is read.
const BYTES_MAX: u64 = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    session_id: String,
    proc_start: Value,
}

/// The conversation of a process, if it is a running Claude Code.
pub(super) fn conversation(process: &ProcessIdentity) -> Option<String> {
    let directory = match env::path(env::CLAUDE_CONFIG) {
        Some(directory) => directory,
        None => env::path(env::HOME)?.join(".claude"),
    };
    conversation_in(&directory, process)
}

fn conversation_in(directory: &Path, process: &ProcessIdentity) -> Option<String> {
    let path = directory.join("sessions").join(format!("{}.json", process.pid));
    if fs::metadata(&path).ok()?.len() > BYTES_MAX {
        return None;
    }
    let entry: Entry = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let started = match entry.proc_start {
        Value::String(text) => text.parse().ok()?,
        Value::Number(number) => number.as_u64()?,
        _ => return None,
    };
    (started == process.started).then_some(entry.session_id).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(started: u64) -> ProcessIdentity {
        ProcessIdentity {
            host: "h".into(),
            boot: "b".into(),
            namespace: "n".into(),
            pid: 77,
            started,
        }
    }

    #[test]
    fn an_entry_counts_for_the_process_that_wrote_it() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = directory.path().join("sessions");
        fs::create_dir(&sessions).unwrap();
        let look = |started| conversation_in(directory.path(), &process(started));
        assert_eq!(look(9), None);
        let file = sessions.join("77.json");
        for start in ["\"9\"", "9"] {
            fs::write(&file, format!(r#"{{"pid":77,"sessionId":"s","procStart":{start},"x":[]}}"#))
                .unwrap();
            assert_eq!(look(9).as_deref(), Some("s"));
            assert_eq!(look(8), None);
        }
        fs::write(&file, "{\"sessionId\":").unwrap();
        assert_eq!(look(9), None);
    }
}
