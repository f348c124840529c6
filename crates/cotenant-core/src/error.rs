//! Everything that can go wrong, as a closed set.
//!
//! A [`Code`] says what the caller can do; the contract's section 14 is the table below. The same
//! [`Error`] travels over the command line, `rpc` and MCP without loss: `code` and the names in
//! `details` are stable, `message` is for people.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How much is shown of what a parser says.
const FAULT_CHARACTERS_MAX: usize = 400;

/// A result whose error is an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Declares the codes with their wire name, retryability, exit status and HTTP status.
macro_rules! codes {
    ($($variant:ident $name:literal $retryable:literal $exit:literal $http:literal $doc:literal;)*) => {
        /// The closed set of error codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $doc] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the contract.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The name on the wire, e.g. `FENCED`.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }

            /// Whether repeating the same request later can succeed.
            pub const fn retryable(self) -> bool {
                match self { $(Code::$variant => $retryable),* }
            }

            /// The exit status of a command that fails with this code.
            pub const fn exit(self) -> u8 {
                match self { $(Code::$variant => $exit),* }
            }

            /// The HTTP status of a response that carries this code.
            pub const fn http(self) -> u16 {
                match self { $(Code::$variant => $http),* }
            }

            /// What the code means, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $doc),* }
            }
        }
    };
}

codes! {
    Invalid "INVALID" false 64 400 "an argument is wrong";
    TooLarge "TOO_LARGE" false 64 413 "an argument or a batch is too large";
    TypeMismatch "TYPE_MISMATCH" false 64 400 "the stored value has another type";
    Unauthenticated "UNAUTHENTICATED" false 77 401 "the session's token is missing or wrong";
    Forbidden "FORBIDDEN" false 77 403 "the actor may not do this";
    Untrusted "UNTRUSTED" false 77 403 "the command is not trusted";
    NotFound "NOT_FOUND" false 66 404 "there is no such thing";
    Gone "GONE" false 66 410 "it was there and is no longer";
    SessionLost "SESSION_LOST" false 76 409 "the session was lost; sign on anew";
    SessionEnded "SESSION_ENDED" false 76 409 "the session has ended; sign on anew";
    Fenced "FENCED" false 76 409 "the fence is not that of a current grant; stop this work";
    Held "HELD" true 73 409 "another session holds the lease";
    Claimed "CLAIMED" true 73 409 "another session has claimed it";
    Cooling "COOLING" true 73 409 "its holder was lost; free after the lock delay";
    Offered "OFFERED" true 73 409 "it is part of an open offer";
    AgentBusy "AGENT_BUSY" true 73 409 "another live process has this name or conversation";
    WorktreeBusy "WORKTREE_BUSY" true 73 409 "the worktree is in use";
    BranchInUse "BRANCH_IN_USE" true 73 409 "the branch is checked out elsewhere";
    RevMismatch "REV_MISMATCH" false 65 409 "it was changed meanwhile; read it again";
    Cancelled "CANCELLED" false 65 409 "it was cancelled";
    SlotsMismatch "SLOTS_MISMATCH" false 65 409 "the live grants have another number of slots";
    NotOwner "NOT_OWNER" false 65 409 "the actor does not own it";
    NotDead "NOT_DEAD" false 65 409 "the session's process is alive or cannot be judged yet";
    LiveSessions "LIVE_SESSIONS" false 65 409 "sessions are live";
    PathExists "PATH_EXISTS" false 65 409 "the path exists";
    Deadlock "DEADLOCK" false 65 409 "waiting would close a cycle";
    Cycle "CYCLE" false 65 409 "the edge would close a cycle";
    Timeout "TIMEOUT" true 75 408 "the wait ended without effect";
    Busy "BUSY" true 75 503 "the store is busy; no effect";
    Behind "BEHIND" true 75 503 "this replica has not seen that event yet";
    Quota "QUOTA" true 75 429 "a limit per session is reached";
    IdempotencyMismatch "IDEMPOTENCY_MISMATCH" false 65 422 "the request id was used for another request";
    Compacted "COMPACTED" false 65 410 "the events after the cursor were pruned";
    HistoryChanged "HISTORY_CHANGED" false 65 409 "the cursor belongs to another history";
    CursorAhead "CURSOR_AHEAD" false 65 409 "the cursor is ahead of the log";
    CursorBehind "CURSOR_BEHIND" false 65 409 "the consumer's cursor is already further";
    Dirty "DIRTY" false 65 409 "the worktree holds work that is nowhere else";
    SalvageFailed "SALVAGE_FAILED" false 65 409 "the copy could not be verified; nothing was removed";
    GitFailed "GIT_FAILED" false 69 502 "a git command failed";
    SpawnFailed "SPAWN_FAILED" false 69 502 "a program could not be started";
    StoreFull "STORE_FULL" true 74 507 "the disk is full; no effect";
    StoreReadonly "STORE_READONLY" true 74 503 "the store cannot be written; no effect";
    StoreIo "STORE_IO" true 74 503 "reading or writing the store failed; no effect";
    StoreCorrupt "STORE_CORRUPT" false 74 503 "the store is damaged";
    StoreMissing "STORE_MISSING" false 74 503 "the store's directory is there, its database is not";
    StoreForeign "STORE_FOREIGN" false 74 503 "the files are not a store of this user";
    FsUnsupported "FS_UNSUPPORTED" false 74 503 "the file system cannot hold a store";
    ClockDomain "CLOCK_DOMAIN" false 74 503 "two kernels use one store file";
    SchemaNewer "SCHEMA_NEWER" true 69 426 "the store was written by a newer version";
    SchemaOlder "SCHEMA_OLDER" true 69 503 "the store must be migrated first";
    Internal "INTERNAL" false 70 500 "a bug; the transaction was rolled back";
}

impl std::fmt::Display for Code {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A refused or failed request.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller can do about it.
    pub code: Code,
    /// What went wrong, for people: lower case, no full stop.
    pub message: String,
    /// What to do, for people.
    pub hint: Option<String>,
    /// When repeating can first succeed, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
    /// Facts for programs; the names are stable per code.
    pub details: Map<String, Value>,
    /// The cause, if another library reported one.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a message and nothing else.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            retry_after_ms: None,
            details: Map::new(),
            cause: None,
        }
    }

    /// A wrong argument.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// What is not the JSON that it should be. The parser quotes what it read, of any length and with
    /// any character.
    pub fn unreadable(what: impl std::fmt::Display, cause: &serde_json::Error) -> Self {
        let fault = crate::name::shown_up_to(&cause.to_string(), FAULT_CHARACTERS_MAX);
        Self::invalid(format!("{what}: {fault}"))
    }

    /// A line of a file that is not the JSON that it should be. The parser knows of that line alone, and numbers
    /// by the names of their types.
    pub fn unreadable_line(number: usize, cause: &serde_json::Error) -> Self {
        let (fault, column) = (cause.to_string(), cause.column());
        let place = format!(" at line {} column {column}", cause.line());
        let fault = fault.strip_suffix(&place).unwrap_or(&fault);
        let fault = match fault.rsplit_once(", expected ") {
            Some((fault, "i64" | "u32" | "u64")) => format!("{fault}, expected a whole number"),
            _ => fault.to_owned(),
        };
        let fault = crate::name::shown_up_to(&fault, FAULT_CHARACTERS_MAX);
        Self::invalid(format!("line {number}, column {column}: {fault}"))
    }

    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a fact.
    pub fn detail(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.details.insert(name.to_owned(), value);
        self
    }

    /// Adds the time after which repeating can succeed.
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// Adds the cause.
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The form on the wire.
    pub fn to_wire(&self) -> ErrorBody {
        let mut details = self.details.clone();
        if let Some(hint) = &self.hint {
            details.insert("hint".to_owned(), Value::String(hint.clone()));
        }
        ErrorBody {
            code: self.code,
            message: self.message.clone(),
            retryable: self.code.retryable(),
            retry_after_ms: self.retry_after_ms,
            details,
        }
    }
}

/// The wire form of an [`Error`], as in the contract's section 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What the caller can do.
    pub code: Code,
    /// For people; may change.
    pub message: String,
    /// Whether repeating later can succeed.
    pub retryable: bool,
    /// When, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Facts for programs, and `hint` for people.
    pub details: Map<String, Value>,
}

impl From<ErrorBody> for Error {
    fn from(body: ErrorBody) -> Self {
        let mut details = body.details;
        let hint = match details.remove("hint") {
            Some(Value::String(hint)) => Some(hint),
            _ => None,
        };
        Self {
            code: body.code,
            message: body.message,
            hint,
            retry_after_ms: body.retry_after_ms,
            details,
            cause: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's table: rows of codes in backticks, then retryable, exit and HTTP statuses.
    #[test]
    fn codes_agree_with_the_contract() {
        let contract = include_str!("../../../docs/semantics.md");
        let section = contract.split("## 14.").nth(1).unwrap().split("## 15.").next().unwrap();
        let mut seen = Vec::new();
        for line in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let names: Vec<&str> =
                cells[1].split(", ").map(|name| name.trim_matches('`')).collect();
            let statuses: Vec<u16> =
                cells[4].split(", ").filter_map(|status| status.parse().ok()).collect();
            for (index, name) in names.iter().enumerate() {
                let code = *Code::ALL
                    .iter()
                    .find(|code| code.name() == *name)
                    .unwrap_or_else(|| panic!("{name} is missing"));
                seen.push(code);
                assert_eq!(code.exit().to_string(), cells[3], "{name}: exit");
                assert_eq!(
                    code.retryable(),
                    !cells[2].starts_with("no") && !cells[2].starts_with("see"),
                    "{name}"
                );
                if let Some(status) = statuses.get(index).or_else(|| statuses.last()) {
                    assert_eq!(code.http(), *status, "{name}: http");
                }
            }
        }
        seen.sort_unstable();
        let mut all = Code::ALL.to_vec();
        all.sort_unstable();
        assert_eq!(seen, all);
    }

    #[test]
    fn the_wire_form_loses_nothing() {
        let error =
            Error::new(Code::Held, "held").hint("wait").detail("holder", "a").retry_after(5);
        let text = serde_json::to_string(&error.to_wire()).unwrap();
        let body: ErrorBody = serde_json::from_str(&text).unwrap();
        let back = Error::from(body.clone());
        assert_eq!(back.to_wire(), body);
        assert_eq!(back.hint.as_deref(), Some("wait"));
    }
}
