//! Making a project's store on a server: one transaction under an advisory lock, so that of any number
//! of makers one makes it, and a crash leaves nothing.

use cotenant_core::{
    Code, Error, Result,
    clock::rfc3339,
    event::{hex, sha256_hex},
};
use tokio_postgres::types::Type;

use super::{
    address::Address,
    client::Client,
    engine::{Postgres, Statements},
    error::{error, silent},
    line::Line,
};
use crate::{IfMissing, create::INSERT_META, meta::SCHEMA, migrate, params, sql::Sql, tx::random};

/// Asks the catalogue itself: what a session knows of names (`to_regclass`) may be older than the lock.
const HAS_META: &str = "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'meta') \
     THEN 1 ELSE 0 END";
const HAS_SCHEMA: &str =
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1) THEN 1 ELSE 0 END";
const LOCK_META: &str = "SELECT 1 FROM meta WHERE id = 1 FOR UPDATE";
/// Empties a store that is replaced, but for the row of `meta`.
pub(crate) const EMPTY: &str = "TRUNCATE session, alias, edge, data, lease, mark, event, request, timer, task, dependency, \
     progress, offer, message, barrier, instruction, metric";
/// Lets the numbers of requests go on behind those that were written, and tells the planner what is there.
pub(crate) const AFTER_FILLING: [&str; 2] = [
    "SELECT setval(pg_get_serial_sequence('request', 'number'), \
     COALESCE((SELECT MAX(number) FROM request), 0) + 1, false)",
    "ANALYZE session, alias, edge, data, lease, mark, event, request, timer, task, dependency, \
     progress, offer, message, barrier, instruction, metric",
];
const ENCODING: &str = "SELECT current_setting('server_encoding')";

/// Connects to a project's store, which is made if that is wanted.
pub(crate) fn find(address: &Address, missing: IfMissing) -> Result<Postgres> {
    let (address, remarked) = address.with_remarks();
    let address = &address;
    let line = Line::open(address)?;
    let own = address.clone();
    let found = line.ask(address.answer(), move |client| has_store(client, &own));
    let found = found.unwrap_or_else(|| Err(silent(&address.server())))?;
    let mut engine = Postgres::over(address.clone(), line, remarked);
    if found {
        return Ok(engine);
    }
    match missing {
        IfMissing::Create => make_over(&mut engine, address, &mut |_, _| Ok(()))?,
        IfMissing::Fail => {
            return Err(Error::new(Code::NotFound, format!("there is no store at `{address}`"))
                .detail("address", address.to_string())
                .hint("make one with `cotenant init`"));
        }
    }
    Ok(engine)
}

fn has_store(client: &mut Client, address: &Address) -> Result<bool> {
    let rows = client.query(&(HAS_META, vec![(&address.schema(), Type::TEXT)])).map_err(error)?;
    let answer = rows.first().map(|row| row.try_get::<_, i32>(0)).transpose().map_err(error)?;
    Ok(answer.is_some_and(|answer| answer != 0))
}

/// Connects to a server and makes the project's store in one transaction, with the rows that a body
/// writes; the body is told whether the store is new.
pub(crate) fn make(
    address: &Address,
    body: &mut dyn FnMut(&mut dyn Sql, bool) -> Result<()>,
) -> Result<()> {
    let (address, remarked) = address.with_remarks();
    let line = Line::open(&address)?;
    make_over(&mut Postgres::over(address.clone(), line, remarked), &address, body)
}

fn make_over(
    engine: &mut Postgres,
    address: &Address,
    body: &mut dyn FnMut(&mut dyn Sql, bool) -> Result<()>,
) -> Result<()> {
    engine.make(lock_of(&address.schema())?, &mut |statements| {
        let is_new = !is(statements, HAS_META, &address.schema())?;
        if is_new {
            make_tables(statements, address)?;
        } else {
            statements.batch(in_schema(address))?;
            statements.rows(LOCK_META, &[])?;
        }
        body(statements, is_new)
    })
}

fn is(sql: &mut dyn Sql, question: &'static str, name: &str) -> Result<bool> {
    let row = sql.rows(question, params![name])?.pop();
    Ok(row.map_or(Ok(0), |mut row| row.int())? != 0)
}

fn in_schema(address: &Address) -> String {
    format!("SET LOCAL search_path TO {}, pg_temp", address.quoted())
}

/// Makes the schema, unless somebody made it for us, its tables and the row of `meta`.
fn make_tables(statements: &mut Statements<'_>, address: &Address) -> Result<()> {
    check_encoding(statements)?;
    let schema = address.quoted();
    if !is(statements, HAS_SCHEMA, &address.schema())? {
        let made = statements.batch(format!("CREATE SCHEMA {schema}"));
        made.map_err(|error| match error.code {
            Code::StoreReadonly => error.hint(format!(
                "let the owner of the database run: CREATE SCHEMA {schema} AUTHORIZATION \"{}\"",
                address.user()
            )),
            _ => error,
        })?;
    }
    let (tables, stamps) = migrate::whole(|step| step.postgres);
    statements.batch(format!("{}; {tables}", in_schema(address)))?;
    let mut history = [0u8; 8];
    random(&mut history)?;
    let clock = statements.reading();
    let clock = clock.ok_or_else(|| Error::internal("the server does not tell the time"))?;
    statements.run(
        INSERT_META,
        params![
            SCHEMA,
            &hex(&history),
            [0u8; 32].as_slice(),
            &clock.source,
            clock.value_ms,
            &stamps,
            &rfc3339(clock.value_ms),
        ],
    )?;
    Ok(())
}

/// The advisory lock of a schema's makers.
fn lock_of(schema: &str) -> Result<i64> {
    let digest = sha256_hex(&format!("cotenant create {schema}"));
    i64::from_str_radix(&digest[..15], 16)
        .map_err(|cause| Error::internal("a digest is no number").caused_by(cause))
}

/// Names and values are UTF-8, whatever language they are in.
fn check_encoding(sql: &mut dyn Sql) -> Result<()> {
    let found =
        sql.rows(ENCODING, &[])?.pop().map_or_else(|| Ok("none".into()), |mut row| row.text())?;
    if found == "UTF8" {
        return Ok(());
    }
    Err(Error::new(Code::StoreForeign, format!("the database has the encoding {found}, not UTF8"))
        .hint("make another with `createdb --encoding=UTF8 --template=template0 NAME`"))
}
