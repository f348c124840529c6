//! Requests and outcomes as lines of JSON, for a store behind a pipe or a socket.
//!
//! A line asks for one operation, or for a batch: `{"id": …, "batch": [line, …]}`, answered by
//! `{"id": …, "batch": [envelope, …]}`. Stored values are kept byte for byte, also where they hold
//! line breaks, which a line cannot: then `args` is a string that holds the arguments' JSON, and an
//! envelope has the answer's text beside `data` as `exact`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, Value};

use crate::{
    Code, Error, Op, Result,
    error::ErrorBody,
    id::{Seq, Tick},
    json::VALUE_BYTES_MAX,
    store::{Envelope, Guard, Outcome, Reply, Request},
};

/// The longest line: a value of the largest size, escaped, and the rest of a request.
pub const LINE_BYTES_MAX: usize = 6 * VALUE_BYTES_MAX + 64 * 1024;

/// One request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What to do, e.g. `data.get`.
    pub op: String,
    /// With what: an object, or a string that holds its JSON. None when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Box<RawValue>>,
    /// In whose name.
    #[serde(default, skip_serializing_if = "Speaker::is_absent")]
    pub actor: Speaker,
    /// What must still be held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// A read waits for this head, on replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least_seq: Option<Seq>,
    /// What the answer is told by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
}

/// In whose name a line asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Speaker {
    /// It does not say: the session that the program runs for.
    #[default]
    Absent,
    /// `null`: nobody's.
    Nobody,
    /// A session's.
    Session(LineActor),
}

/// A session as a line names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineActor {
    /// The session, by id or live name.
    pub session: String,
    /// Its token; looked up by those who have it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Speaker {
    fn is_absent(&self) -> bool {
        *self == Self::Absent
    }
}

impl Serialize for Speaker {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Nobody => serializer.serialize_none(),
            Self::Session(actor) => actor.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Speaker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let actor = Option::<LineActor>::deserialize(deserializer)?;
        Ok(actor.map_or(Self::Nobody, Self::Session))
    }
}

impl Line {
    /// A request as a line; `token` finds a token by its digest. Whoever does not have it is refused
    /// by the store, as with any other wrong token.
    pub fn of(request: &Request, token: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let actor = request.actor.as_ref().map_or(Speaker::Nobody, |actor| {
            let digest = &actor.token_digest;
            let token = Some(token(digest).unwrap_or_else(|| digest.clone()));
            Speaker::Session(LineActor { session: actor.session.0.clone(), token })
        });
        let mut args = request.op.arguments();
        if breaks(&args) {
            args = Value::String(args).to_string();
        }
        let args = RawValue::from_string(args)
            .map_err(|error| Error::invalid("the arguments are no JSON").caused_by(error))?;
        Ok(Self {
            op: request.op.name().to_owned(),
            args: Some(args),
            actor,
            guards: request.guards.clone(),
            request_id: request.request_id.clone(),
            at_least_seq: request.at_least_seq,
            id: None,
        })
    }

    fn parse(text: &[u8]) -> Result<Self> {
        object(text, "a line is no request").map_err(|error| {
            error.hint("{\"op\":\"data.get\",\"args\":{\"scope\":\"a\",\"key\":\"b\"}}")
        })
    }

    /// The arguments' JSON.
    pub fn arguments(&self) -> Result<Box<RawValue>> {
        let text = match self.args.as_deref().map(RawValue::get) {
            None => "{}".to_owned(),
            Some(text) if text.starts_with('"') => serde_json::from_str(text)
                .map_err(|error| Error::unreadable("the arguments' text", &error))?,
            Some(text) => text.to_owned(),
        };
        RawValue::from_string(text).map_err(|error| Error::unreadable("arguments", &error))
    }

    /// The operation.
    pub fn operation(&self) -> Result<Op> {
        Op::decode(&self.op, &self.arguments()?)
    }
}

/// What a line asks for.
#[derive(Debug)]
pub enum Asked {
    /// One operation.
    One(Line),
    /// Several, as one batch. What is no request is answered in its place.
    Batch(Vec<Result<Line>>),
}

/// Reads a line: the id that its answer carries, also if it is otherwise wrong, and what it asks for.
pub fn parse(line: &[u8]) -> (Option<Value>, Result<Asked>) {
    #[derive(Deserialize)]
    struct Outline {
        id: Option<Value>,
        batch: Option<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Batch {
        #[serde(rename = "id")]
        _id: Option<Value>,
        batch: Vec<Box<RawValue>>,
    }
    let Ok(Outline { id, batch }) = object(line, "a line is no request") else {
        return (None, Line::parse(line).map(Asked::One));
    };
    if batch.is_none() {
        return (id, Line::parse(line).map(Asked::One));
    }
    let batch = object::<Batch>(line, "a line is no batch").map(|Batch { batch, .. }| {
        batch.iter().map(|line| Line::parse(line.get().as_bytes())).collect()
    });
    (id, batch.map(Asked::Batch))
}

/// Reads an object: a struct can be read from an array too.
fn object<'a, T: Deserialize<'a>>(text: &'a [u8], fault: &str) -> Result<T> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::invalid(format!("{fault}: it is no object")));
    }
    serde_json::from_slice(text).map_err(|error| Error::unreadable(fault, &error))
}

/// The line of one outcome.
pub fn answer_one(id: Option<&Value>, outcome: &Outcome) -> String {
    let envelope = Envelope::of(outcome).line();
    match id {
        // The envelope is an object with members, so one more fits in front.
        Some(id) => format!("{{\"id\":{id},{}", &envelope[1..]),
        None => envelope,
    }
}

/// The line of a batch's outcomes.
pub fn answer_batch(id: Option<&Value>, outcomes: &[Outcome]) -> String {
    let envelopes: Vec<String> =
        outcomes.iter().map(|outcome| Envelope::of(outcome).line()).collect();
    let id = id.map_or_else(String::new, |id| format!("\"id\":{id},"));
    format!("{{{id}\"batch\":[{}]}}", envelopes.join(","))
}

/// Requests as one line, without its end.
pub fn ask(
    id: u64,
    requests: &[Request],
    token: &dyn Fn(&str) -> Option<String>,
) -> Result<String> {
    #[derive(Serialize)]
    struct Batch {
        id: u64,
        batch: Vec<Line>,
    }
    let text = if let [request] = requests {
        let line = Line { id: Some(id.into()), ..Line::of(request, token)? };
        serde_json::to_string(&line)
    } else {
        let batch: Result<_> = requests.iter().map(|request| Line::of(request, token)).collect();
        serde_json::to_string(&Batch { id, batch: batch? })
    };
    let text =
        text.map_err(|error| Error::internal("a request cannot be written").caused_by(error))?;
    if text.len() >= LINE_BYTES_MAX {
        return Err(too_long());
    }
    Ok(text)
}

/// The failure of a line beyond [`LINE_BYTES_MAX`].
pub fn too_long() -> Error {
    Error::new(Code::TooLarge, format!("a line is longer than {LINE_BYTES_MAX} bytes"))
}

/// Reads the id and the outcomes of an answer; none if it is not one.
pub fn outcomes(line: &[u8]) -> Option<(u64, Vec<Outcome>)> {
    let mut given: Given = serde_json::from_slice(line).ok()?;
    let id = given.id?;
    let outcomes = match given.batch.take() {
        Some(batch) => batch.into_iter().map(Given::outcome).collect(),
        None => vec![given.outcome()],
    };
    Some((id, outcomes))
}

/// An envelope that was read, or a batch of them.
#[derive(Deserialize)]
struct Given {
    id: Option<u64>,
    batch: Option<Vec<Given>>,
    data: Option<Box<RawValue>>,
    exact: Option<String>,
    seq: Option<Seq>,
    tick: Option<Tick>,
    replayed: Option<bool>,
    error: Option<ErrorBody>,
}

impl Given {
    fn outcome(self) -> Outcome {
        if let Some(body) = self.error {
            return Err(body.into());
        }
        let data = match self.exact {
            Some(text) => RawValue::from_string(text).ok(),
            None => self.data,
        };
        let reply = data.zip(self.seq).zip(self.tick.zip(self.replayed));
        let ((data, seq), (tick, replayed)) =
            reply.ok_or_else(|| Error::internal("an envelope is incomplete"))?;
        Ok(Reply { data, seq, tick, replayed })
    }
}

/// Whether a JSON text does not fit on one line. Inside strings there are no line breaks.
pub(crate) fn breaks(json: &str) -> bool {
    json.contains(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::{Get, Put},
        event::sha256_hex,
        id::Fence,
        json::Json,
        name::SessionRef,
        store::Actor,
    };

    fn put(value: &str) -> Request {
        let (scope, key, value) = ("s".into(), "k".into(), Json::stored(value.into()));
        let put = Put { scope, key, value, expect: None, ephemeral: false, ttl_ms: None };
        let actor =
            Actor { session: SessionRef("a".into()), token_digest: sha256_hex("the token") };
        let mut request = Request::new(put).by(actor).id("r1");
        request.guards.push(Guard { resource: "x".into(), fence: Fence(7) });
        request.at_least_seq = Some(Seq(3));
        request
    }

    fn vault(digest: &str) -> Option<String> {
        (digest == sha256_hex("the token")).then(|| "the token".to_owned())
    }

    /// The only request of a line, as whoever carries it out reads it.
    fn read(line: &str) -> (Option<Value>, Line) {
        match parse(line.as_bytes()) {
            (id, Ok(Asked::One(line))) => (id, line),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        for value in ["1", "[1,\n2]", "[1,\r\n\t2]", "\"a\\nb\"", "\"\\ud800\""] {
            let sent = put(value);
            let text = ask(9, std::slice::from_ref(&sent), &vault).unwrap();
            assert!(!breaks(&text), "{text}");
            let (id, line) = read(&text);
            assert_eq!(id, Some(Value::from(9)));
            assert_eq!(line.operation().unwrap().arguments(), sent.op.arguments());
            let token = Some("the token".to_owned());
            assert_eq!(line.actor, Speaker::Session(LineActor { session: "a".into(), token }));
            assert_eq!((&line.guards, line.at_least_seq), (&sent.guards, sent.at_least_seq));
            assert_eq!(line.request_id, sent.request_id);
        }
    }

    #[test]
    fn who_does_not_say_is_not_nobody() {
        let actor = |text: &str| read(text).1.actor;
        assert_eq!(actor("{\"op\":\"event.head\"}"), Speaker::Absent);
        assert_eq!(actor("{\"op\":\"event.head\",\"actor\":null}"), Speaker::Nobody);
        let text = ask(1, &[Request::new(Get { scope: "s".into(), key: "k".into() })], &vault);
        assert_eq!(actor(&text.unwrap()), Speaker::Nobody);
    }

    #[test]
    fn a_token_that_is_not_known_opens_nothing() {
        let mut request = put("1");
        let digest = sha256_hex("another");
        request.actor.as_mut().unwrap().token_digest.clone_from(&digest);
        let line = Line::of(&request, &vault).unwrap();
        let Speaker::Session(LineActor { token: Some(token), .. }) = line.actor else { panic!() };
        assert_ne!(sha256_hex(&token), digest);
    }

    #[test]
    fn an_outcome_arrives_as_it_was_given() {
        for data in ["{\"a\":1}", "{\"value\":[1,\r\n2]}", "{\"a\":\"\u{2028}\"}"] {
            let reply = || Reply {
                data: RawValue::from_string(data.into()).unwrap(),
                seq: Seq(1),
                tick: Tick(2),
                replayed: true,
            };
            let failure = || Error::new(Code::Held, "held").detail("a", 1).hint("b").retry_after(3);
            let line = answer_one(Some(&Value::from(4)), &Ok(reply()));
            assert!(!breaks(&line), "{line}");
            let (id, got) = outcomes(line.as_bytes()).unwrap();
            let [Ok(got)] = &got[..] else { panic!("{got:?}") };
            assert_eq!((id, got.data.get(), got.seq, got.tick), (4, data, Seq(1), Tick(2)));
            assert!(got.replayed);
            let line = answer_batch(Some(&Value::from(5)), &[Err(failure()), Ok(reply())]);
            assert!(!breaks(&line), "{line}");
            let (id, got) = outcomes(line.as_bytes()).unwrap();
            let [Err(error), Ok(got)] = &got[..] else { panic!("{got:?}") };
            assert_eq!((id, got.data.get()), (5, data));
            assert_eq!(error.to_wire(), failure().to_wire());
        }
    }

    #[test]
    fn what_is_wrong_in_a_batch_is_told_in_its_place() {
        let text = "{\"id\":\"x\",\"batch\":[{\"op\":\"event.head\"},[\"event.head\"],{\"po\":1}]}";
        let (id, Ok(Asked::Batch(lines))) = parse(text.as_bytes()) else { panic!() };
        assert_eq!(id, Some(Value::from("x")));
        let told: Vec<bool> = lines.iter().map(Result::is_ok).collect();
        assert_eq!(told, [true, false, false]);
        for wrong in ["[\"event.head\"]", "{", "{\"batch\":1}", "{\"batch\":[],\"op\":\"x\"}"] {
            let (_, asked) = parse(wrong.as_bytes());
            assert_eq!(asked.unwrap_err().code, Code::Invalid, "{wrong}");
        }
        let (id, asked) = parse(b"{\"id\":3,\"op\":\"event.head\",\"what\":1}");
        assert_eq!((id, asked.is_err()), (Some(Value::from(3)), true));
    }
}
