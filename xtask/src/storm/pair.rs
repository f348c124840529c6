//! Two counters that every request raises together: if they differ, half a request was done.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::ask::Ask;
use super::lab::Member;
use super::worker::Request;

const SCOPE: &str = "pair";
const COUNTERS: [&str; 2] = ["one", "other"];

/// Adds one to both, or to none.
pub(crate) fn raise(member: &Member) -> Request {
    let add = |key: &str| json!({"update": {"scope": SCOPE, "key": key, "change": {"add": 1}}});
    Request::new("data.txn", json!({"ops": COUNTERS.map(add)})).by(member)
}

/// How often they were raised.
pub(crate) fn counters(store: &mut dyn Ask) -> Result<[usize; 2]> {
    let mut values = [0; 2];
    for (value, key) in values.iter_mut().zip(COUNTERS) {
        let answer = store.ask(&Request::new("data.get", json!({"scope": SCOPE, "key": key})))?;
        let found = &answer["data"]["value"];
        *value = match (found, answer["error"]["code"].as_str()) {
            (Value::Number(number), _) => usize::try_from(number.as_u64().unwrap_or(0))?,
            (_, Some("NOT_FOUND")) => 0,
            _ => bail!("reading `{key}`: {answer}"),
        };
    }
    Ok(values)
}
