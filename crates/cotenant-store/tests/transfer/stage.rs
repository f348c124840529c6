//! Places for stores, and what is done in them.

use std::path::Path;

use cotenant_core::{
    Code, Error, Op, Result,
    event::{Head, sha256_hex},
    name::SessionRef,
    session::SignOn,
    store::{Actor, Reply, Request, Store},
};
use cotenant_store::{IfMissing, LocalStore, Location, postgres::Address, transfer};
use cotenant_testbed::Server;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A place in a directory of its own, where no store is yet.
pub(crate) fn file(directory: &TempDir, name: &str) -> Location {
    let home = directory.path().canonicalize().unwrap().join(name);
    Location::File(home.join("store.db"))
}

/// A place on a server, where no store is yet.
pub(crate) fn project(server: &Server) -> Location {
    Location::Server(Box::new(Address::parse(&server.project(), None).unwrap()))
}

/// The text from which another process finds the place.
pub(crate) fn said(location: &Location) -> String {
    match location {
        Location::File(file) => file.display().to_string(),
        Location::Server(address) => address.text().to_owned(),
    }
}

/// The place that a text names.
pub(crate) fn place(said: &str) -> Location {
    if Address::is_one(said) {
        return Location::Server(Box::new(Address::parse(said, None).unwrap()));
    }
    Location::File(Path::new(said).to_path_buf())
}

pub(crate) fn made(location: &Location) -> LocalStore {
    LocalStore::open_at(location, IfMissing::Create).unwrap()
}

pub(crate) fn opened(location: &Location) -> LocalStore {
    LocalStore::open_at(location, IfMissing::Fail).unwrap()
}

/// How somebody fails who uses a store, or is about to.
pub(crate) fn failure(location: &Location) -> Option<Error> {
    let store = LocalStore::open_at(location, IfMissing::Fail);
    let used = store.and_then(|store| (&store as &dyn Store).call(&Head {}, |request| request));
    used.err()
}

pub(crate) fn code(location: &Location) -> Option<Code> {
    failure(location).map(|error| error.code)
}

pub(crate) fn sign_on(store: &dyn Store, name: &str, kind: &str) -> Actor {
    signed_on(store, SignOn { name: Some(name.into()), ..SignOn::new(kind, "ada", String::new()) })
}

pub(crate) fn signed_on(store: &dyn Store, operation: SignOn) -> Actor {
    let token_digest = sha256_hex(operation.name.as_deref().unwrap());
    let operation = SignOn { token_digest: token_digest.clone(), ..operation };
    let session = store.call(&operation, |request| request).unwrap().answer.session;
    Actor { session: SessionRef(session.0), token_digest }
}

pub(crate) fn request(actor: &Actor, name: &str, arguments: &Value) -> Request {
    let arguments = serde_json::value::to_raw_value(arguments).unwrap();
    Request::new(Op::decode(name, &arguments).unwrap()).by(actor.clone())
}

pub(crate) fn ask(
    store: &dyn Store,
    actor: &Actor,
    name: &str,
    arguments: &Value,
) -> Result<Reply> {
    store.one(request(actor, name, arguments))
}

pub(crate) fn does(store: &dyn Store, actor: &Actor, name: &str, arguments: &Value) -> Value {
    let reply =
        ask(store, actor, name, arguments).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(reply.data.get()).unwrap()
}

pub(crate) fn sign_off(store: &dyn Store, actor: &Actor) {
    does(store, actor, "session.sign_off", &json!({}));
}

/// A store as its export.
pub(crate) fn exported(location: &Location) -> String {
    let mut bytes = Vec::new();
    transfer::export(location, None, &mut bytes, &mut |_| {}).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The rows of an export, without its first and its last line.
pub(crate) fn rows(export: &str) -> Vec<&str> {
    let lines: Vec<&str> = export.lines().collect();
    lines[1..lines.len() - 1].to_vec()
}

pub(crate) fn relocate(from: &Location, to: &Location) -> Result<transfer::Moved> {
    transfer::relocate(from, to, &mut |_| {})
}

pub(crate) fn import(export: &str, to: &Location) -> Result<transfer::Imported> {
    transfer::import(&mut export.as_bytes(), to, false, &mut |_| {})
}
