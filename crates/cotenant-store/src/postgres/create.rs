//! Making a project's store on a server: one transaction under an advisory lock, so that of any number
//! of makers one makes it, and a crash leaves nothing.

use std::time::Duration;

use cotenant_core::{
    Code, Error, Result,
    clock::rfc3339,
    event::{hex, sha256_hex},
};
use postgres::{Client, GenericClient, IsolationLevel, SimpleQueryMessage, types::Type};

use super::{
    address::Address,
    engine::{CLOCK, Postgres, reading},
    error::{error, silent},
    line::Line,
};
use crate::{
    IfMissing, create::INSERT_META, meta::SCHEMA, migrate::KERNEL_POSTGRES, testing::failpoint,
    tx::random,
};

/// How long making a store may take, waiting for other makers included.
const CREATE: Duration = Duration::from_mins(1);
/// Asks the catalogue itself: what a session knows of names (`to_regclass`) may be older than the lock.
const HAS_META: &str = "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'meta') \
     THEN 1 ELSE 0 END";
const HAS_SCHEMA: &str =
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1) THEN 1 ELSE 0 END";

/// Connects to a project's store, which is made if that is wanted.
pub(crate) fn find(address: &Address, missing: IfMissing) -> Result<Postgres> {
    let (address, remarked) = address.with_remarks();
    let address = &address;
    let line = Line::open(address)?;
    let ask = |limit, job: fn(&mut Client, &Address) -> Result<bool>| {
        let own = address.clone();
        let answer = line.ask(limit, move |client| job(client, &own));
        answer.unwrap_or_else(|| Err(silent(&address.server())))
    };
    if !ask(address.answer(), has_store)? {
        match missing {
            IfMissing::Create => ask(CREATE, create)?,
            IfMissing::Fail => {
                return Err(Error::new(
                    Code::NotFound,
                    format!("there is no store at `{address}`"),
                )
                .detail("address", address.to_string())
                .hint("make one with `cotenant init`"));
            }
        };
    }
    Ok(Postgres::over(address.clone(), line, remarked))
}

fn has_store<C: GenericClient>(client: &mut C, address: &Address) -> Result<bool> {
    is(client, HAS_META, &address.schema())
}

fn is(client: &mut impl GenericClient, question: &str, name: &str) -> Result<bool> {
    let row = client.query_typed_one(question, &[(&name, Type::TEXT)]).map_err(error)?;
    row.try_get::<_, i32>(0).map(|answer| answer != 0).map_err(error)
}

/// Answers whether it made the store, and nobody else.
fn create(client: &mut Client, address: &Address) -> Result<bool> {
    let current = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
    let mut tx = current.start().map_err(error)?;
    let limits = "SET LOCAL lock_timeout TO '30s'; SET LOCAL statement_timeout TO '30s'; \
         SET LOCAL synchronous_commit TO on";
    tx.batch_execute(limits).map_err(error)?;
    let turn = format!("SELECT pg_advisory_xact_lock({})", lock_of(&address.schema())?);
    tx.batch_execute(&turn).map_err(error)?;
    if has_store(&mut tx, address)? {
        return tx.rollback().map(|()| false).map_err(error);
    }
    check_encoding(&mut tx)?;
    let schema = address.quoted();
    if !is(&mut tx, HAS_SCHEMA, &address.schema())? {
        let made = tx.batch_execute(&format!("CREATE SCHEMA {schema}")).map_err(error);
        made.map_err(|error| match error.code {
            Code::StoreReadonly => error.hint(format!(
                "let the owner of the database run: CREATE SCHEMA {schema} AUTHORIZATION \"{}\"",
                address.user()
            )),
            _ => error,
        })?;
    }
    tx.batch_execute(&format!("SET LOCAL search_path TO {schema}, pg_temp")).map_err(error)?;
    tx.batch_execute(KERNEL_POSTGRES.sql).map_err(error)?;
    let mut history = [0u8; 8];
    random(&mut history)?;
    let (history, none) = (hex(&history), [0u8; 32]);
    let clock = reading(&tx.simple_query(CLOCK).map_err(error)?)?;
    let (stamp, at) = (KERNEL_POSTGRES.stamp(), rfc3339(clock.value_ms));
    tx.execute_typed(
        INSERT_META,
        &[
            (&SCHEMA, Type::INT8),
            (&history, Type::TEXT),
            (&none.as_slice(), Type::BYTEA),
            (&clock.source, Type::TEXT),
            (&clock.value_ms, Type::INT8),
            (&stamp, Type::TEXT),
            (&at, Type::TEXT),
        ],
    )
    .map_err(error)?;
    failpoint("create.before_commit")?;
    tx.commit().map(|()| true).map_err(error)
}

/// The advisory lock of a schema's makers.
fn lock_of(schema: &str) -> Result<i64> {
    let digest = sha256_hex(&format!("cotenant create {schema}"));
    i64::from_str_radix(&digest[..15], 16)
        .map_err(|cause| Error::internal("a digest is no number").caused_by(cause))
}

/// Names and values are UTF-8, whatever language they are in.
fn check_encoding(client: &mut impl GenericClient) -> Result<()> {
    let answer = client.simple_query("SHOW server_encoding").map_err(error)?;
    let encoding = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    if encoding == Some("UTF8") {
        return Ok(());
    }
    let found = encoding.unwrap_or("none");
    Err(Error::new(Code::StoreForeign, format!("the database has the encoding {found}, not UTF8"))
        .hint("make another with `createdb --encoding=UTF8 --template=template0 NAME`"))
}
