//! Pattern 4, progress as data: readers see each state whole, and none older than one seen before.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::crew::{Member, at_once, crew, place};

const WRITERS: usize = 4;
const STEPS: u64 = 25;

/// The message of one step: long, so that half of it would be noticed.
fn message(writer: &str, percent: u64) -> String {
    format!("{writer} is at {percent} %; ").repeat(500)
}

fn scopes() -> Vec<String> {
    let own = (0..WRITERS).map(|number| format!("issue:{}", 15 + number));
    own.chain(["project".to_owned()]).collect()
}

/// Takes a writer off the count even if it fails, so that the readers come to an end.
struct Writing<'a>(&'a AtomicUsize);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn write(number: usize, member: &mut Member) {
    for step in 1..=STEPS {
        let percent = step * 100 / STEPS;
        let value = json!({
            "percent": percent, "message": message(&member.name, percent), "updated_by": member.name
        });
        for scope in [format!("issue:{}", 15 + number), "project".to_owned()] {
            let args = json!({"scope": scope, "key": "progress", "value": value});
            member.does("data.put", &args);
        }
    }
}

/// What a reader saw last: of each scope the rev, of each scope and writer the percentage.
#[derive(Default)]
struct Seen {
    revs: std::collections::BTreeMap<String, u64>,
    percents: std::collections::BTreeMap<(String, String), u64>,
}

impl Seen {
    fn read(&mut self, member: &mut Member) {
        for scope in scopes() {
            let answer = member.asks("data.get", &json!({"scope": scope, "key": "progress"}));
            if answer["ok"] != true {
                assert_eq!(answer["error"]["code"], "NOT_FOUND");
                assert!(!self.revs.contains_key(&scope), "{scope} was there before");
                continue;
            }
            self.check(scope, &answer["data"]);
        }
    }

    fn check(&mut self, scope: String, data: &Value) {
        let rev = data["rev"].as_u64().unwrap();
        let percent = data["value"]["percent"].as_u64().unwrap();
        let writer = data["value"]["updated_by"].as_str().unwrap().to_owned();
        assert_eq!(data["value"]["message"], message(&writer, percent));
        assert_eq!(data["writer"], writer.as_str(), "{}", data["writer"]);
        let before = self.revs.insert(scope.clone(), rev);
        assert!(before <= Some(rev), "{scope}: rev {rev} after {before:?}");
        let before = self.percents.insert((scope, writer), percent);
        assert!(before <= Some(percent), "{percent} % after {before:?}");
    }
}

#[test]
fn readers_see_no_torn_and_no_older_progress() {
    let env = place();
    let mut crew = crew(&env, 2 * WRITERS);
    let writing = AtomicUsize::new(WRITERS);
    at_once(&mut crew, |number, member| {
        if number < WRITERS {
            let _writing = Writing(&writing);
            return write(number, member);
        }
        let mut seen = Seen::default();
        while writing.load(Ordering::SeqCst) > 0 {
            seen.read(member);
        }
        seen.read(member);
        for scope in scopes() {
            assert!(seen.percents.iter().any(|((of, _), percent)| *of == scope && *percent == 100));
        }
    });
}
