//! Who works on what.

use cotenant_core::{
    Result,
    claim::{self, Mode},
    clock::parse_duration,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Call, Manner, Output, Tool};
use crate::mcp::answer::facts;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    /// issue:15, path:src/ (a file or directory), branch:fix-x or other:name
    items: Vec<String>,
    /// What you are going to do with them; others see it
    intent: Option<String>,
    /// advisory tells others and keeps nobody out
    #[serde(default)]
    mode: Strength,
    /// Only one of them: the first that is free
    #[serde(default)]
    any: bool,
    /// E.g. 30m; as long as your session when absent
    ttl: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Strength {
    #[default]
    Exclusive,
    Advisory,
}

impl Tool for Claim {
    const NAME: &'static str = "claim";
    const ABOUT: &'static str = "Claim work before you start it: all items or none. CLAIMED names \
        who has it. Lasts until unclaim, sign_off or the end of your process. `overlaps` only \
        informs: advisory claims, and other worktrees.";
    const MANNER: Manner = Manner::Sets;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let claimed = call.write(claim::Claim {
            items: call.items(&self.items)?,
            mode: match self.mode {
                Strength::Exclusive => Mode::Exclusive,
                Strength::Advisory => Mode::Advisory,
            },
            intent: self.intent,
            ttl_ms: self.ttl.as_deref().map(parse_duration).transpose()?,
            automatic: false,
            any: self.any,
        })?;
        let mut answer = Map::new();
        answer.insert("items".to_owned(), json!(claimed.items));
        if !claimed.overlaps.is_empty() {
            answer.insert("overlaps".to_owned(), claimed.overlaps.iter().map(facts).collect());
        }
        if !claimed.warnings.is_empty() {
            answer.insert("warnings".to_owned(), json!(claimed.warnings));
        }
        Ok(Output::Facts(Value::Object(answer)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unclaim {
    /// As they were claimed
    items: Vec<String>,
}

impl Tool for Unclaim {
    const NAME: &'static str = "unclaim";
    const ABOUT: &'static str = "Give claimed items back, so that others can take them.";
    const MANNER: Manner = Manner::Sets;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let items = call.items(&self.items)?;
        Ok(Output::Facts(json!(call.write(claim::Unclaim { items, all: false })?)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    /// issue:15, path:src/a.rs, or a pattern such as issue:*; all claims when absent
    item: Option<String>,
}

impl Tool for Who {
    const NAME: &'static str = "who";
    const ABOUT: &'static str = "Who holds an item or waits for it, since when, what for.";
    const MANNER: Manner = Manner::Reads;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let mut question = claim::Who::default();
        match self.item {
            Some(pattern) if pattern.contains('*') => question.pattern = Some(pattern),
            Some(item) => question.item = Some(call.item(&item)?),
            None => {}
        }
        let answer = call.read(&question)?;
        Ok(Output::Facts(
            json!({ "holdings": answer.holdings.iter().map(facts).collect::<Value>() }),
        ))
    }
}
