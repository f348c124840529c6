//! Stored values: JSON, checked once, kept byte for byte.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::{Code, Error, Result};

/// The largest value in bytes unless configured otherwise.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// The deepest nesting of a value.
pub const DEPTH_MAX: usize = 64;

/// A JSON text, exactly as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Checks a text and keeps it: valid JSON, depth at most 64, no duplicate keys, no lone
    /// surrogates, at most [`VALUE_BYTES_MAX`] bytes.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let json = Self(text.into());
        json.check()?;
        Ok(json)
    }

    /// The JSON form of a Rust value.
    pub fn of(value: &impl Serialize) -> Self {
        Self(serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()))
    }

    /// A text that a store returned, where it was checked on the way in.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The JSON value `null`.
    pub fn null() -> Self {
        Self("null".to_owned())
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The parsed value.
    pub fn value(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.0).map_err(|error| Error::unreadable("not valid JSON", &error))
    }

    /// Checks the rules named at [`Json::parse`].
    pub fn check(&self) -> Result<()> {
        if self.0.len() > VALUE_BYTES_MAX {
            return Err(Error::new(
                Code::TooLarge,
                format!(
                    "the value has {} bytes; at most {VALUE_BYTES_MAX} are stored",
                    self.0.len()
                ),
            )
            .detail("bytes", self.0.len())
            .detail("bytes_max", VALUE_BYTES_MAX)
            .hint("store large content in a file or a git branch and its name here"));
        }
        let mut parser = serde_json::Deserializer::from_str(&self.0);
        Walk(0).deserialize(&mut parser).and_then(|()| parser.end()).map_err(|error| {
            Error::unreadable("the value is not valid JSON", &error)
                .hint("strings need double quotes: '\"text\"'")
        })
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.clone())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Box::<str>::from(raw).into_string()))
    }
}

impl JsonSchema for Json {
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// Never the boolean schema `true`: with it Claude Code 2.1.197 loses every tool (measured).
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"description": "any JSON value"})
    }
}

/// Walks a JSON text without building it, at the given depth.
struct Walk(usize);

impl Walk {
    fn deeper<E: de::Error>(&self) -> std::result::Result<Walk, E> {
        if self.0 >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Walk(self.0 + 1))
    }
}

impl<'de> de::DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        while items.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> std::result::Result<(), A::Error> {
        let mut keys = std::collections::HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !keys.insert(key.clone()) {
                return Err(de::Error::custom(format!("the key `{key}` occurs twice")));
            }
            entries.next_value_seed(self.deeper()?)?;
        }
        Ok(())
    }
}

use de::DeserializeSeed as _;

/// The members of an object, in order, their values as they were written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(
                self,
                mut entries: A,
            ) -> std::result::Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = entries.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Applies a JSON merge patch (RFC 7396) to a JSON text. Members that the patch does not name keep
/// their values byte for byte; a target that is no object counts as empty.
pub fn merge_patch(target: &str, patch: &str) -> Result<String> {
    let unreadable = |error: serde_json::Error| Error::unreadable("not valid JSON", &error);
    if !patch.trim_start().starts_with('{') {
        return Ok(patch.to_owned());
    }
    let Members(changes) = serde_json::from_str(patch).map_err(unreadable)?;
    let mut members = if target.trim_start().starts_with('{') {
        serde_json::from_str::<Members>(target).map_err(unreadable)?.0
    } else {
        Vec::new()
    };
    for (key, change) in changes {
        let at = members.iter().position(|(known, _)| *known == key);
        if change.get() == "null" {
            if let Some(at) = at {
                members.remove(at);
            }
            continue;
        }
        let old = at.map_or("null", |at| members[at].1.get());
        let new = RawValue::from_string(merge_patch(old, change.get())?).map_err(unreadable)?;
        match at {
            Some(at) => members[at].1 = new,
            None => members.push((key, new)),
        }
    }
    let mut text = String::from("{");
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(key).map_err(unreadable)?);
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_kept_byte_for_byte() {
        for text in ["1.0", " {\"b\" : 1, \"a\":2e3} ", "\"\\u00e9\"", "18446744073709551616"] {
            let json = Json::parse(text).unwrap();
            assert_eq!(json.text(), text);
        }
        let json: Json = serde_json::from_str("{\"b\" : 1.0, \"a\":2e3}").unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), "{\"b\" : 1.0, \"a\":2e3}");
    }

    #[test]
    fn ambiguous_values_are_refused() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        for bad in ["{\"a\":1,\"a\":2}", "\"\\ud800\"", "nope", "1 2", "", deep.as_str()] {
            assert_eq!(Json::parse(bad).unwrap_err().code, Code::Invalid, "{bad}");
        }
        let fits = format!("{}{}", "[".repeat(64), "]".repeat(64));
        Json::parse(fits).unwrap();
        let large = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX));
        assert_eq!(Json::parse(large).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn merge_patches_follow_the_rfc() {
        let merged = |target, patch| merge_patch(target, patch).unwrap();
        let target = r#"{"a": {"b": 1, "c": 2}, "d": 3}"#;
        let patch = r#"{"a": {"b": null, "e": [1]}, "d": {"x": null}}"#;
        assert_eq!(merged(target, patch), r#"{"a":{"c":2,"e":[1]},"d":{}}"#);
        assert_eq!(merged("[1]", r#"{"a":1}"#), r#"{"a":1}"#);
        assert_eq!(merged(r#"{"a":1}"#, "[2]"), "[2]");
    }

    #[test]
    fn a_merge_patch_leaves_what_it_does_not_name_byte_for_byte() {
        let target = r#"{"big":18446744073709551616,"one":1.0,"deep":{"n":1e2,"m":0}}"#;
        let merged = merge_patch(target, r#"{"deep":{"m":2}}"#).unwrap();
        assert_eq!(merged, r#"{"big":18446744073709551616,"one":1.0,"deep":{"n":1e2,"m":2}}"#);
    }

    proptest! {
        #[test]
        fn checking_never_panics(text in "\\PC{0,64}") {
            let _ = Json::parse(text);
        }
    }
}
