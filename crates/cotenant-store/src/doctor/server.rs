//! A store on a server: the server, the project's schema, who writes.

use super::{Finding, Severity, content, of_error};
use crate::{
    IfMissing, LocalStore,
    postgres::{self, Address},
};

/// A writer's transaction is open for some milliseconds; one that is open for so long is stuck.
const STUCK_SECONDS: i64 = 5;

/// Looks at a store.
pub(super) fn doctor(address: &Address, deep: bool) -> Vec<Finding> {
    let server = match postgres::ask(address) {
        Ok(server) => server,
        Err(error) => return vec![of_error("server", &error)],
    };
    let mut findings =
        vec![Finding::good("server", format!("PostgreSQL {} answers", server.version))];
    findings.push(writer(&server));
    let store = match LocalStore::open_postgres(address, IfMissing::Fail) {
        Ok(store) => store,
        Err(error) => {
            findings.push(of_error("store", &error));
            return findings;
        }
    };
    findings.push(Finding::good("store", address.to_string()));
    let hint = "restore a backup of the database; keep this one as evidence";
    findings.extend(content(&store, deep, hint));
    findings
}

/// Who writes just now.
fn writer(server: &postgres::Server) -> Finding {
    let Some(writer) = server.writers.iter().max_by_key(|writer| writer.seconds) else {
        return Finding::good("writer", "nobody holds the write lock");
    };
    let stuck = writer.seconds >= STUCK_SECONDS;
    let found = format!(
        "the server's process {} for a client at {} holds the write lock for {} s",
        writer.pid, writer.from, writer.seconds
    );
    Finding {
        check: "writer".into(),
        severity: if stuck { Severity::Bad } else { Severity::Note },
        found,
        hint: stuck.then(|| format!("end it with SELECT pg_terminate_backend({})", writer.pid)),
    }
}
