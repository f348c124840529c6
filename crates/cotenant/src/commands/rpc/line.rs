//! Requests as lines of JSON.

use std::io::{BufRead, Read as _};

use cotenant_core::{Code, Error, Op, Result, id::Seq, json::VALUE_BYTES_MAX, store::Guard};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

/// The longest line: a value of the largest size, escaped, and the rest of a request.
const LINE_BYTES_MAX: usize = 6 * VALUE_BYTES_MAX + 64 * 1024;

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) op: String,
    #[serde(default = "no_arguments", deserialize_with = "arguments")]
    pub(crate) args: Box<RawValue>,
    #[serde(default)]
    pub(crate) actor: Option<LineActor>,
    #[serde(default)]
    pub(crate) guards: Vec<Guard>,
    #[serde(default)]
    pub(crate) request_id: Option<String>,
    #[serde(default)]
    pub(crate) at_least_seq: Option<Seq>,
    #[serde(default, rename = "id")]
    _id: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineActor {
    pub(crate) session: String,
    #[serde(default)]
    pub(crate) token: Option<String>,
}

fn no_arguments() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// Arguments, of which `null` means none.
fn arguments<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Box<RawValue>, D::Error> {
    let found = Option::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(found.unwrap_or_else(no_arguments))
}

impl Line {
    /// Reads a line.
    pub(crate) fn decode(line: &[u8]) -> Result<Self> {
        serde_json::from_slice(line).map_err(|error| {
            Error::unreadable("a line is no request", &error)
                .hint("{\"op\":\"data.get\",\"args\":{\"scope\":\"a\",\"key\":\"b\"}}")
        })
    }

    /// The operation that it asks for.
    pub(crate) fn operation(&self) -> Result<Op> {
        Op::decode(&self.op, &self.args)
    }
}

/// Reads a line; of one that is too long only the end is looked for.
pub(crate) fn read_line(input: &mut impl BufRead) -> Result<Option<Result<Vec<u8>>>> {
    let failed = |error: std::io::Error| {
        Error::new(Code::Invalid, format!("cannot read from stdin: {error}")).caused_by(error)
    };
    let mut line = Vec::new();
    let read = input.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
    if read.map_err(failed)? == 0 {
        return Ok(None);
    }
    if line.len() < LINE_BYTES_MAX || line.ends_with(b"\n") {
        return Ok(Some(Ok(line)));
    }
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        if read.map_err(failed)? == 0 || line.ends_with(b"\n") {
            return Ok(Some(Err(Error::new(
                Code::TooLarge,
                format!("a line is longer than {LINE_BYTES_MAX} bytes"),
            ))));
        }
    }
}

/// The id that the answer carries, also of a line that is otherwise wrong.
pub(crate) fn id_of(line: &[u8]) -> Option<Value> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: Option<Value>,
    }
    serde_json::from_slice::<OnlyId>(line).ok()?.id
}
