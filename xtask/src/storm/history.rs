//! What the driver saw: every operation, when it was asked for, when and what was answered.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// How the names of leases begin that expire during a history.
pub(crate) const BRIEF: &str = "brief";

/// One operation of a history.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The session in whose name it ran, by name.
    pub(crate) actor: String,
    /// What was asked for.
    pub(crate) op: String,
    /// With which arguments.
    pub(crate) args: Value,
    /// The resource that a guard named, and the fence.
    pub(crate) guard: Option<(String, i64)>,
    /// When, in ns since the history began.
    pub(crate) call: u64,
    /// When the answer came; never, if the process was killed.
    pub(crate) end: Option<u64>,
    /// When its process was dead, if it was killed.
    pub(crate) died: Option<u64>,
    /// The envelope that was answered.
    pub(crate) answer: Value,
}

/// How an operation went, as the driver knows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// Its process was killed before it said anything.
    Nothing,
    /// It was done.
    Done(&'a Value),
    /// It was refused, with code and details.
    Refused(&'a str, &'a Value),
}

impl Entry {
    /// How it went.
    pub(crate) fn said(&self) -> Said<'_> {
        match (self.end, self.answer["ok"].as_bool()) {
            (None, _) => Said::Nothing,
            (Some(_), Some(true)) => Said::Done(&self.answer["data"]),
            (Some(_), _) => Said::Refused(self.code(), &self.answer["error"]["details"]),
        }
    }

    /// The code of a refusal, else nothing.
    pub(crate) fn code(&self) -> &str {
        self.answer["error"]["code"].as_str().unwrap_or_default()
    }

    /// Whether it can change something.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.op.as_str(), "data.get" | "lease.check" | "who" | "event.read")
    }

    /// The object that it concerns. Guards are checked against the lease that they name, so a
    /// guarded write is an operation on that lease.
    pub(crate) fn object(&self) -> Object {
        let text = |name: &str| self.args[name].as_str().unwrap_or_default().to_owned();
        let lease = |resource: String| {
            let is_brief = resource.starts_with(BRIEF);
            if is_brief { Object::Brief(resource) } else { Object::Lease(resource) }
        };
        if let Some((resource, _)) = &self.guard {
            return lease(resource.clone());
        }
        match self.op.split_once('.').map_or(self.op.as_str(), |(noun, _)| noun) {
            "data" => Object::Data(format!("{} {}", text("scope"), text("key"))),
            "lease" => lease(text("resource")),
            "event" => Object::Log(text("scope")),
            _ => {
                let first = self.args["items"].get(0).unwrap_or(&self.args["item"]);
                Object::Items(first["kind"].as_str().unwrap_or_default().to_owned())
            }
        }
    }

    fn json(&self) -> Value {
        json!({
            "actor": self.actor, "op": self.op, "args": self.args, "guard": self.guard,
            "call": self.call, "end": self.end, "died": self.died, "answer": self.answer,
        })
    }

    fn of_json(json: &Value) -> Result<Self> {
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let guard = &json["guard"];
        let guard = guard[0].as_str().map(str::to_owned).zip(guard[1].as_i64());
        Ok(Self {
            actor: text("actor").context("no actor")?,
            op: text("op").context("no operation")?,
            args: json["args"].clone(),
            guard,
            call: json["call"].as_u64().context("no time")?,
            end: json["end"].as_u64(),
            died: json["died"].as_u64(),
            answer: json["answer"].clone(),
        })
    }
}

/// One line, as people read a history.
impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Duration::from_nanos;
        write!(formatter, "{:.1?}: {} {} {}", at(self.call), self.actor, self.op, self.args)?;
        if let Some((resource, fence)) = &self.guard {
            write!(formatter, " guarded by {resource}={fence}")?;
        }
        match (self.end, self.said()) {
            (Some(end), Said::Done(data)) => write!(formatter, "; {:.1?}: {data}", at(end)),
            (Some(end), Said::Refused(code, details)) => {
                write!(formatter, "; {:.1?}: {code} {details}", at(end))
            }
            _ => formatter.write_str("; killed"),
        }
    }
}

/// What is checked by itself; a history is linearizable if that of each object is (Herlihy and
/// Wing, "Linearizability", 1990).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    /// A key of a scope.
    Data(String),
    /// A lease that outlasts the history.
    Lease(String),
    /// A lease that expires in between.
    Brief(String),
    /// All items of a kind: they can be claimed together, and paths overlap.
    Items(String),
    /// The events of a scope.
    Log(String),
}

impl fmt::Display for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(name) => write!(formatter, "data {name}"),
            Self::Lease(name) | Self::Brief(name) => write!(formatter, "lease {name}"),
            Self::Items(kind) => write!(formatter, "claims {kind}"),
            Self::Log(scope) => write!(formatter, "events {scope}"),
        }
    }
}

/// A history as text, one operation a line.
pub(crate) fn write(history: &[Entry]) -> String {
    history.iter().fold(String::new(), |text, entry| text + &entry.json().to_string() + "\n")
}

/// Reads a history that was written.
pub(crate) fn read(text: &str) -> Result<Vec<Entry>> {
    text.lines().map(|line| Entry::of_json(&serde_json::from_str(line)?)).collect()
}
