//! The operation table: every operation once.
//!
//! An operation is a struct (its arguments), an answer type and, in `cotenant-store`, a function
//! over a transaction. Command line, MCP, `rpc` and the JSON schemas decode and list this table;
//! adding an operation touches its module and one line of `for_each_operation`.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{Error, Result, schema};

/// What an operation does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Looks at one snapshot; blocks nobody.
    Read,
    /// Changes state; acknowledged means durable.
    Write,
    /// Changes state that survives a process kill only, such as a heartbeat.
    Soft,
}

/// Whether an operation runs in a session's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorRule {
    /// Always.
    Required,
    /// If there is one.
    Optional,
}

/// The arguments of one operation.
pub trait Operation: Clone + Serialize + DeserializeOwned + JsonSchema + Into<Op> {
    /// The name on the wire, e.g. `lease.acquire`.
    const NAME: &'static str;
    /// What it does to the store.
    const EFFECT: Effect;
    /// Whether it needs an actor.
    const ACTOR: ActorRule;
    /// One sentence for help texts and tool lists.
    const SUMMARY: &'static str;
    /// What a success returns.
    type Answer: Serialize + DeserializeOwned + JsonSchema;

    /// Checks the arguments without looking at the store and brings them into their one form.
    fn check(&mut self) -> Result<()>;

    /// What it does to the store with these arguments.
    fn effect(&self) -> Effect {
        Self::EFFECT
    }

    /// How long the caller is willing to wait for the operation to become possible, in
    /// milliseconds.
    fn wait_ms(&self) -> Option<u64> {
        None
    }
}

/// One line of the table.
pub struct Entry {
    /// The name on the wire.
    pub name: &'static str,
    /// What it does to the store.
    pub effect: Effect,
    /// Whether it needs an actor.
    pub actor: ActorRule,
    /// One sentence.
    pub summary: &'static str,
    /// The JSON schema of the arguments.
    pub arguments: fn() -> Schema,
    /// The JSON schema of the answer.
    pub answer: fn() -> Schema,
}

/// Calls a macro with every operation: variant of [`Op`], then type.
#[macro_export]
macro_rules! for_each_operation {
    ($callback:ident) => {
        $callback! {
            SignOn: $crate::session::SignOn,
            Heartbeat: $crate::session::Heartbeat,
            ChangeNative: $crate::session::ChangeNative,
            SignOff: $crate::session::SignOff,
            Reap: $crate::session::Reap,
            ShowSession: $crate::session::ShowSession,
            ListSessions: $crate::session::ListSessions,
            Lineage: $crate::session::Lineage,
            Get: $crate::data::Get,
            List: $crate::data::List,
            Put: $crate::data::Put,
            Delete: $crate::data::Delete,
            DeleteScope: $crate::data::DeleteScope,
            Txn: $crate::data::Txn,
            Update: $crate::data::Update,
            ListScopes: $crate::data::ListScopes,
            Acquire: $crate::lease::Acquire,
            Renew: $crate::lease::Renew,
            Release: $crate::lease::Release,
            Check: $crate::lease::Check,
            Admit: $crate::lease::Admit,
            Break: $crate::lease::Break,
            ListLeases: $crate::lease::ListLeases,
            Claim: $crate::claim::Claim,
            Unclaim: $crate::claim::Unclaim,
            Who: $crate::claim::Who,
            Append: $crate::event::Append,
            Read: $crate::event::Read,
            Commit: $crate::event::Commit,
            Redact: $crate::event::Redact,
            Prune: $crate::event::Prune,
            Verify: $crate::event::Verify,
            Head: $crate::event::Head,
            ShowStatus: $crate::status::ShowStatus,
            ListLeftovers: $crate::retention::ListLeftovers,
            RemoveLeftovers: $crate::retention::RemoveLeftovers,
            AddTasks: $crate::task::AddTasks,
            NextTask: $crate::task::NextTask,
            ExtendTask: $crate::task::ExtendTask,
            FinishTask: $crate::task::FinishTask,
            FailTask: $crate::task::FailTask,
            ReleaseTask: $crate::task::ReleaseTask,
            CancelTask: $crate::task::CancelTask,
            RequeueTask: $crate::task::RequeueTask,
            ShowTask: $crate::task::view::ShowTask,
            ListTasks: $crate::task::view::ListTasks,
            GraphTasks: $crate::task::view::GraphTasks,
            SetProgress: $crate::progress::SetProgress,
            ShowProgress: $crate::progress::ShowProgress,
            Offer: $crate::offer::Offer,
            AcceptOffer: $crate::offer::AcceptOffer,
            DeclineOffer: $crate::offer::DeclineOffer,
            WithdrawOffer: $crate::offer::WithdrawOffer,
            ListOffers: $crate::offer::ListOffers,
            Draft: $crate::offer::Draft,
            SendMessage: $crate::message::SendMessage,
            Inbox: $crate::message::Inbox,
            ListMessages: $crate::message::ListMessages,
            Acknowledge: $crate::message::Acknowledge,
            Arrive: $crate::barrier::Arrive,
            AddInstruction: $crate::instruction::AddInstruction,
            ApproveInstruction: $crate::instruction::ApproveInstruction,
            RevokeInstruction: $crate::instruction::RevokeInstruction,
            ListInstructions: $crate::instruction::ListInstructions,
            Effective: $crate::instruction::Effective,
            ListConflicts: $crate::instruction::ListConflicts,
            ReportMetrics: $crate::metric::ReportMetrics,
            ShowMetrics: $crate::metric::ShowMetrics,
        }
    };
}

macro_rules! table {
    ($($variant:ident: $type:ty,)*) => {
        /// Any operation, as a value.
        #[derive(Clone, Debug)]
        pub enum Op {
            $(#[allow(missing_docs)] $variant($type),)*
        }

        $(impl From<$type> for Op {
            fn from(operation: $type) -> Self {
                Self::$variant(operation)
            }
        })*

        /// Every operation, in the order of the contract.
        pub const TABLE: &[Entry] = &[$(Entry {
            name: <$type as Operation>::NAME,
            effect: <$type as Operation>::EFFECT,
            actor: <$type as Operation>::ACTOR,
            summary: <$type as Operation>::SUMMARY,
            arguments: || schema::of::<$type>(SchemaSettings::default()),
            answer: || schema::of::<<$type as Operation>::Answer>(SchemaSettings::default()),
        }),*];

        impl Op {
            /// Reads an operation from its name and JSON arguments; unknown fields are refused.
            pub fn decode(name: &str, arguments: &RawValue) -> Result<Self> {
                match name {
                    $(<$type as Operation>::NAME => serde_json::from_str::<$type>(arguments.get())
                        .map(Self::$variant)
                        .map_err(|error| Error::unreadable(format_args!("arguments of `{name}`"), &error)),)*
                    _ => Err(unknown(name)),
                }
            }

            /// The name on the wire.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$type as Operation>::NAME),* }
            }

            /// The arguments as canonical JSON, for the digest that tells repeats from reuse.
            pub fn arguments(&self) -> String {
                match self {
                    $(Self::$variant(operation) => serde_json::to_string(operation)),*
                }
                .expect("operations have string keys and finite numbers only")
            }

            /// What it does to the store.
            pub fn effect(&self) -> Effect {
                match self { $(Self::$variant(operation) => operation.effect()),* }
            }

            /// Whether it needs an actor.
            pub fn actor_rule(&self) -> ActorRule {
                match self { $(Self::$variant(_) => <$type as Operation>::ACTOR),* }
            }

            /// Checks the arguments, as [`Operation::check`].
            pub fn check(&mut self) -> Result<()> {
                match self { $(Self::$variant(operation) => operation.check()),* }
            }

            /// How long the caller is willing to wait, as [`Operation::wait_ms`].
            pub fn wait_ms(&self) -> Option<u64> {
                match self { $(Self::$variant(operation) => operation.wait_ms()),* }
            }
        }
    };
}

for_each_operation!(table);

/// Names the nearest operation, for a message that helps.
fn unknown(name: &str) -> Error {
    let shown = crate::name::shown(name);
    let error = Error::invalid(format!("there is no operation `{shown}`"));
    let noun = name.split('.').next().unwrap_or_default();
    let near: Vec<&str> = TABLE
        .iter()
        .map(|entry| entry.name)
        .filter(|known| known.split('.').next() == Some(noun) || known.ends_with(name))
        .collect();
    if near.is_empty() {
        error.hint("`cotenant rpc --schema` lists the operations")
    } else {
        error.hint(format!("did you mean one of: {}", near.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_decode() {
        let mut names: Vec<&str> = TABLE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        let arguments = RawValue::from_string("{\"scope\":\"a\",\"key\":\"b\"}".into()).unwrap();
        assert_eq!(Op::decode("data.get", &arguments).unwrap().name(), "data.get");
    }

    #[test]
    fn unknown_fields_and_operations_are_refused() {
        let arguments = RawValue::from_string("{\"scope\":\"a\",\"kye\":\"b\"}".into()).unwrap();
        assert!(Op::decode("data.get", &arguments).is_err());
        assert!(Op::decode("data.gte", &arguments).unwrap_err().hint.unwrap().contains("data.get"));
    }

    /// A boolean schema makes Claude Code 2.1.197 drop every tool (measured).
    #[test]
    fn no_schema_is_a_bare_true() {
        fn walk(value: &serde_json::Value, path: &str) {
            if let serde_json::Value::Object(object) = value {
                if let Some(serde_json::Value::Object(properties)) = object.get("properties") {
                    for (name, schema) in properties {
                        assert!(schema.is_object(), "{path}.{name} is {schema}");
                    }
                }
                for (name, inner) in object {
                    walk(inner, &format!("{path}.{name}"));
                }
            }
        }
        for entry in TABLE {
            walk((entry.arguments)().as_value(), entry.name);
            walk((entry.answer)().as_value(), entry.name);
        }
    }
}
