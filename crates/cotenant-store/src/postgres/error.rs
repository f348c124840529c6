//! The one place where the server's errors become ours.

use cotenant_core::{Code, Error};
use tokio_postgres::error::{Severity, SqlState};

/// Whether the connection is gone, or about to be.
pub(super) fn is_lost(cause: &tokio_postgres::Error) -> bool {
    match cause.as_db_error() {
        Some(failure) => {
            matches!(failure.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
        }
        None => true,
    }
}

/// The error of a server that does not answer.
pub(super) fn unreachable(server: &str) -> Error {
    Error::new(Code::StoreIo, format!("the PostgreSQL server at `{server}` cannot be reached"))
        .detail("server", server)
        .hint("check that it runs, that the address is right and that the network is up")
}

/// The error of a server that says nothing more.
pub(super) fn silent(server: &str) -> Error {
    Error::new(Code::StoreIo, format!("the PostgreSQL server at `{server}` does not answer"))
        .detail("server", server)
        .hint("check that it runs and can be reached; under the same request id a repeat takes effect once")
}

/// The refusal of a text that the server cannot keep.
pub(super) fn no_nul() -> Error {
    Error::invalid("PostgreSQL does not keep a text with the character U+0000 in it")
}

/// One of the server's errors as ours.
pub(super) fn error(cause: tokio_postgres::Error) -> Error {
    let made = match cause.as_db_error() {
        Some(failure) => of_server(failure.code(), failure.message()),
        None => Error::new(Code::StoreIo, "the connection to the PostgreSQL server broke")
            .hint("repeat the request; under the same request id it takes effect once"),
    };
    made.caused_by(cause)
}

fn of_server(state: &SqlState, text: &str) -> Error {
    match state.code() {
        "40001" | "40P01" | "55P03" => {
            Error::new(Code::Busy, "another process is writing to the store").hint("try again")
        }
        "57014" => {
            Error::new(Code::Busy, "the PostgreSQL server took too long; nothing was changed")
                .hint("try again; look at what else the server does")
        }
        "53300" => Error::new(Code::Busy, "the PostgreSQL server has no connection left")
            .hint("try again; raise `max_connections`, or use a pooler"),
        "53100" => Error::new(Code::StoreFull, "the server's disk is full; nothing was changed")
            .hint("free some space on the server and repeat"),
        "25006" => {
            Error::new(Code::StoreReadonly, "the PostgreSQL server only reads; nothing was changed")
                .hint("name the primary server in the address")
        }
        "42501" => Error::new(Code::StoreReadonly, format!("the role may not do this: {text}"))
            .hint("the role must own the project's schema"),
        "28000" | "28P01" => {
            Error::new(Code::Forbidden, format!("the PostgreSQL server refuses us: {text}"))
                .hint("check the user and the password in the address")
        }
        "3D000" => Error::new(Code::StoreMissing, format!("there is no such database: {text}"))
            .hint("make it with `createdb NAME`"),
        "42P01" | "42703" | "3F000" | "42P07" => Error::new(
            Code::StoreForeign,
            format!("the project's schema is not a store of cotenant: {text}"),
        )
        .hint("name another project"),
        "22021" | "22P05" => no_nul(),
        "XX001" | "XX002" => {
            Error::new(Code::StoreCorrupt, format!("the store is damaged: {text}"))
                .hint("restore a backup of the database")
        }
        // The server went down, is coming up, ended the session, or has no memory or no disk.
        code if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || code == "25P03" =>
        {
            Error::new(Code::StoreIo, format!("the PostgreSQL server failed: {text}"))
                .hint("repeat the request; under the same request id it takes effect once")
        }
        _ => Error::internal(format!("the database refused a statement: {text}")),
    }
    .detail("sqlstate", state.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_becomes_what_the_caller_can_do() {
        let code = |state: &str| of_server(&SqlState::from_code(state), "text").code;
        for state in ["40001", "40P01", "55P03", "57014", "53300"] {
            assert_eq!(code(state), Code::Busy, "{state}");
        }
        for state in ["57P01", "57P02", "57P03", "08006", "58030", "53200", "25P03"] {
            assert_eq!(code(state), Code::StoreIo, "{state}");
        }
        assert_eq!(code("53100"), Code::StoreFull);
        assert_eq!(code("25006"), Code::StoreReadonly);
        assert_eq!(code("42501"), Code::StoreReadonly);
        assert_eq!(code("42P01"), Code::StoreForeign);
        assert_eq!(code("28P01"), Code::Forbidden);
        assert_eq!(code("3D000"), Code::StoreMissing);
        assert_eq!(code("XX001"), Code::StoreCorrupt);
        assert_eq!(code("42601"), Code::Internal);
    }
}
