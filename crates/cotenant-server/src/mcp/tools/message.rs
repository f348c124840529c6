//! Messages from session to session.

use cotenant_core::{
    Result,
    clock::in_words,
    id::Seq,
    message::{Acknowledge, Inbox, Message, SendMessage},
    render::Part,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Call, LOOK, Manner, Output, Tool, or_wait};

/// The most messages that an answer tells.
const MESSAGES_MAX: u32 = 16;
/// How much of their text: what is read must also be shown.
const BYTES_MAX: u32 = 8_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    /// A session, label:WORD or everybody
    to: String,
    text: String,
}

impl Tool for Send {
    const NAME: &'static str = "send_message";
    const ABOUT: &'static str = "Send a text, read in the receiver's current turn. `undelivered` \
        names whom it did not reach.";
    const MANNER: Manner = Manner::Adds;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let operation = SendMessage { to: self.to.parse()?, text: self.text, ttl_ms: None };
        Ok(Output::Facts(json!(call.write(operation)?)))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    /// Numbers of messages that you acted on: their senders are told
    #[serde(default)]
    ack: Vec<Seq>,
    /// If there is none, wait so long for one, e.g. 50s
    wait: Option<String>,
}

impl Tool for Read {
    const NAME: &'static str = "read_inbox";
    const ABOUT: &'static str = "Read what was sent to you, each once. Hooks show you most of it \
        before you ask.";
    const MANNER: Manner = Manner::Sets;

    fn run(self, call: &Call<'_>) -> Result<Output> {
        let mut answer = Map::new();
        if !self.ack.is_empty() {
            // A call that waits says it with every try.
            let done = call.write(Acknowledge { messages: self.ack })?;
            let mut acknowledged = [done.acknowledged, done.already].concat();
            acknowledged.sort_unstable();
            answer.insert("acknowledged".to_owned(), json!(acknowledged));
        }
        let handed =
            call.write(Inbox { limit: MESSAGES_MAX, bytes: Some(BYTES_MAX), wait_ms: None })?;
        let numbers: Vec<Seq> = handed.messages.iter().map(|message| message.message).collect();
        answer.insert("messages".to_owned(), json!(numbers));
        if handed.messages.is_empty() {
            return or_wait(Value::Object(answer), self.wait.as_deref(), "message.sent", LOOK);
        }
        let parts: Vec<Part> = handed.messages.iter().flat_map(parts).collect();
        answer.insert("text".to_owned(), json!(call.framed(&parts)?));
        if handed.more {
            answer.insert("more".to_owned(), json!(true));
        }
        Ok(Output::Facts(Value::Object(answer)))
    }
}

/// A message as a line of ours and a quotation.
fn parts(message: &Message) -> [Part; 2] {
    let when = in_words(message.age_ms);
    [
        Part::Fact(format!("message {}, {when} ago:", message.message)),
        Part::Quote {
            writer: message.from_name.clone(),
            trust: message.trust.clone(),
            text: message.text.clone(),
        },
    ]
}
