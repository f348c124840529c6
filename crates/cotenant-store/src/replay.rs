//! What the log says that a key holds, for the doctor: its events, carried out again.

use cotenant_core::event::sha256_hex;
use serde_json::Value;

use crate::testing::mutant;

/// What the events of a key tell of its value.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    /// The value.
    Value(Value),
    /// The digest of a value that is too long for an event.
    Digest(String),
    /// Too little.
    Nothing,
}

impl Told {
    /// What is told after one more event with these facts.
    pub(crate) fn after(before: Option<&Self>, facts: &Value) -> Self {
        let before = before.filter(|_| facts["ver"] != 1);
        let added = |number: &Value| {
            let old = match before {
                None => 0,
                Some(before) => before.value()?.as_i64()?,
            };
            Some(Self::Value(old.checked_add(number.as_i64()?)?.into()))
        };
        let appended = |item: &Value| {
            let mut items = match before {
                None => Vec::new(),
                Some(before) => before.value()?.as_array()?.clone(),
            };
            items.push(item.get("value")?.clone());
            let keep = facts["keep"].as_u64().and_then(|keep| usize::try_from(keep).ok());
            let surplus = keep.map_or(0, |keep| items.len().saturating_sub(keep));
            items.drain(..surplus);
            Some(Self::Value(items.into()))
        };
        // What was before is not in the log any more.
        let is_cut_off = before.is_none() && facts["ver"] != 1;
        let told = if let Some(value) = facts.get("value") {
            Some(Self::Value(value.clone()))
        } else if let Some(digest) = facts["sha256"].as_str() {
            Some(Self::Digest(digest.to_owned()))
        } else if is_cut_off {
            None
        } else if let Some(number) = facts.get("add") {
            added(number)
        } else {
            facts.get("append").and_then(appended)
        };
        told.unwrap_or(Self::Nothing)
    }

    fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Whether a stored text can be the value.
    pub(crate) fn agrees_with(&self, text: &str) -> bool {
        if mutant("doctor_trusts_values") {
            return true;
        }
        match self {
            Self::Value(value) => serde_json::from_str::<Value>(text).is_ok_and(|it| it == *value),
            Self::Digest(digest) => sha256_hex(text) == *digest,
            Self::Nothing => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_follows_from_its_events() {
        let put = Told::after(None, &json!({"ver": 1, "value": [1]}));
        let one = Told::after(Some(&put), &json!({"ver": 2, "append": {"value": 2}, "keep": null}));
        let kept = Told::after(Some(&one), &json!({"ver": 3, "append": {"value": 3}, "keep": 2}));
        assert!(one.agrees_with("[1, 2]") && !one.agrees_with("[1,3]"));
        assert_eq!(kept, Told::Value(json!([2, 3])));
        let added = Told::after(None, &json!({"ver": 1, "add": 4}));
        assert_eq!(
            Told::after(Some(&added), &json!({"ver": 2, "add": -6})),
            Told::Value(json!(-2))
        );
    }

    #[test]
    fn what_the_log_does_not_tell_is_not_judged() {
        let merged = Told::after(None, &json!({"ver": 1, "merge": {"value": {}}}));
        let cut_off = Told::after(None, &json!({"ver": 7, "add": 1}));
        for told in [merged, cut_off] {
            assert!(told.agrees_with("5") && !told.agrees_with("5]"));
            assert_eq!(Told::after(Some(&told), &json!({"ver": 8, "add": 1})), Told::Nothing);
        }
        let long = Told::after(None, &json!({"ver": 1, "sha256": sha256_hex("\"x\""), "bytes": 3}));
        assert!(long.agrees_with("\"x\"") && !long.agrees_with("\"y\""));
    }
}
