//! What the projects of one database share.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use cotenant_core::{
    Code, Error, Operation,
    data::{Compare, Delete, Get, ListScopes, Put, Txn, Update, Write},
    event::{Append, Read},
    id::Rev,
    instruction::{
        AddInstruction, Effective, InstructionRef, ListConflicts, ListInstructions,
        RevokeInstruction, Scope,
    },
    name::SessionRef,
    session::{ListSessions, SignOff, SignOn, SignedOn},
    store::{Actor, Answered, Guard, Request, Store},
};
use cotenant_store::{
    IfMissing, LocalStore,
    postgres::{Address, Sharing},
};
use cotenant_testbed::Server;
use serde_json::json;

/// A server whose projects nobody else uses, or nothing more to test.
macro_rules! server {
    () => {
        match Server::own() {
            Some(server) => Arc::new(server),
            None => return,
        }
    };
}

/// A project, and a session in it.
struct Project {
    store: Box<dyn Store>,
    actor: Actor,
    kind: &'static str,
}

impl Project {
    fn new(address: &str, name: &str) -> Self {
        let address = Address::parse(address, None).unwrap();
        let own = LocalStore::open_postgres(&address, IfMissing::Create).unwrap();
        let store = Box::new(Sharing::new(own, &address, LocalStore::open_postgres));
        let mut project = Self {
            store,
            actor: Actor { session: SessionRef(String::new()), token_digest: String::new() },
            kind: "agent",
        };
        project.sign_on(name);
        project
    }

    fn sign_on(&mut self, name: &str) -> SignedOn {
        let digest = cotenant_core::event::sha256_hex(name);
        let sign_on = SignOn {
            name: Some(name.to_owned()),
            ..SignOn::new(self.kind, "test", digest.clone())
        };
        let signed = self.store.call(&sign_on, |request| request).unwrap().answer;
        self.actor = Actor { session: SessionRef(signed.session.0.clone()), token_digest: digest };
        signed
    }

    fn try_as<O: Operation>(
        &self,
        operation: &O,
        dress: impl FnOnce(Request) -> Request,
    ) -> Result<Answered<O::Answer>, Error> {
        self.store.call(operation, |request| dress(request.by(self.actor.clone())))
    }

    fn act<O: Operation>(&self, operation: &O) -> O::Answer {
        self.try_as(operation, |request| request).unwrap().answer
    }

    #[track_caller]
    fn refused<O: Operation>(&self, operation: &O, code: Code) -> Error {
        let Err(error) = self.try_as(operation, |request| request) else {
            panic!("done, though {code} was expected")
        };
        assert_eq!(error.code, code, "{error}");
        error
    }
}

fn put(scope: &str, key: &str, value: &str) -> Put {
    serde_json::from_value(json!({"scope": scope, "key": key, "value": value})).unwrap()
}

fn get(scope: &str, key: &str) -> Get {
    Get { scope: scope.to_owned(), key: key.to_owned() }
}

fn update(scope: &str, add: i64) -> Update {
    serde_json::from_value(json!({"scope": scope, "key": "count", "change": {"add": add}})).unwrap()
}

#[test]
fn what_one_project_shares_another_finds_with_its_writer() {
    let server = server!();
    let one = Project::new(&server.address("postgres", "one"), "alice");
    let other = Project::new(&server.address("postgres", "other"), "alice");
    assert_eq!(other.refused(&get("org", "style"), Code::NotFound).code, Code::NotFound);

    one.act(&put("org", "style", "short"));
    let found = other.act(&get("org", "style"));
    assert_eq!((found.value.text(), found.writer.as_str()), ("\"short\"", "one/alice"));
    other.act(&put("org/rust", "edition", "2024"));
    assert_eq!(one.act(&get("org/rust", "edition")).writer, "other/alice");
    one.act(&update("org", 5));
    other.act(&update("org", 5));
    assert_eq!(one.act(&get("org", "count")).value.text(), "10");

    // Everything else stays apart, names that look like it too.
    one.act(&put("organ", "k", "one"));
    other.refused(&get("organ", "k"), Code::NotFound);
    let scopes = |project: &Project, pattern: &str| {
        project.act(&ListScopes { pattern: pattern.to_owned(), after: None, limit: 100 }).scopes
    };
    assert_eq!(scopes(&one, "*"), ["organ"]);
    assert_eq!(scopes(&other, "org/*"), ["org/rust"]);

    // The log of what is shared says who.
    let append = json!({"kind": "user.note", "scope": "org", "payload": {"n": 1}});
    one.act(&serde_json::from_value::<Append>(append).unwrap());
    let read = json!({"scope": "org", "after": "start"});
    let events = other.act(&serde_json::from_value::<Read>(read).unwrap()).events;
    let notes: Vec<_> = events.iter().filter(|event| event.kind == "user.note").collect();
    assert_eq!(notes.len(), 1);

    // Each writer is one session of the shared project, however often it writes.
    let shared = Project::new(&server.address("postgres", "org"), "admin");
    let list: ListSessions = serde_json::from_value(json!({})).unwrap();
    let mut names: Vec<_> =
        shared.act(&list).sessions.into_iter().map(|session| session.name).collect();
    names.sort();
    assert_eq!(names, ["admin", "one/alice", "other/alice"]);
}

#[test]
fn what_cannot_be_promised_is_refused() {
    let server = server!();
    let mut one = Project::new(&server.address("postgres", "one"), "alice");
    one.act(&put("org", "k", "v"));
    let txn = Txn {
        compares: vec![Compare {
            scope: "org".into(),
            key: "k".into(),
            rev: None,
            ver: None,
            exists: Some(true),
        }],
        ops: vec![Write::Put(put("build", "k", "v"))],
    };
    assert!(one.refused(&txn, Code::Invalid).to_string().contains("both to `org` and to `build`"));
    one.act(&Txn { ops: vec![Write::Put(put("org/x", "k", "v"))], ..txn });
    one.refused(&Put { ephemeral: true, ..put("org", "e", "v") }, Code::Invalid);
    let guard = Guard { resource: "deploy".to_owned(), fence: "7".parse().unwrap() };
    let guarded = one.try_as(&put("org", "k", "w"), |request| request.guarded_by([guard]));
    assert_eq!(guarded.unwrap_err().code, Code::Invalid);
    assert_eq!(one.act(&get("org", "k")).value.text(), "\"v\"");

    // A repeat under the same id is done once.
    for _ in 0..2 {
        one.try_as(&update("org", 1), |request| request.id("again")).unwrap();
    }
    assert_eq!(one.act(&get("org", "count")).value.text(), "1");

    // Who is over in its project writes no more, whatever the shared project thinks.
    let before = one.actor.clone();
    one.act(&SignOff { outcome: None, note: None });
    one.refused(&put("org", "k", "w"), Code::SessionEnded);
    let stranger = Actor { token_digest: "0".repeat(64), ..before };
    one.actor = stranger;
    one.refused(&put("org", "k", "w"), Code::Unauthenticated);
    // Its next incarnation does.
    one.sign_on("alice");
    one.act(&Delete { scope: "org".into(), key: "k".into(), expect: None });
    one.refused(&get("org", "k"), Code::NotFound);
}

#[test]
fn a_role_without_rights_keeps_its_own() {
    let server = server!();
    server
        .client()
        .batch_execute(
            "CREATE ROLE narrow LOGIN; CREATE SCHEMA \"cotenant_narrow\" AUTHORIZATION narrow",
        )
        .unwrap();
    let narrow = Project::new(&server.address("narrow", "narrow"), "alice");
    narrow.act(&put("build", "k", "v"));
    let refused = narrow.refused(&put("org", "k", "v"), Code::StoreReadonly);
    assert!(refused.hint.unwrap().contains("cotenant_org"), "who must do what");
    assert_eq!(narrow.act(&get("build", "k")).value.text(), "\"v\"");

    // As docs/postgresql.md recommends: a role that the projects' roles are members of makes it.
    server
        .client()
        .batch_execute(
            "CREATE ROLE agents LOGIN; GRANT agents TO narrow; CREATE ROLE wide LOGIN; \
             GRANT agents TO wide; CREATE SCHEMA \"cotenant_wide\" AUTHORIZATION wide; \
             CREATE SCHEMA \"cotenant_org\" AUTHORIZATION agents",
        )
        .unwrap();
    let shared = Address::parse(&server.address("agents", "org"), None).unwrap();
    drop(LocalStore::open_postgres(&shared, IfMissing::Create).unwrap());
    narrow.act(&put("org", "k", "v"));
    let wide = Project::new(&server.address("wide", "wide"), "bob");
    wide.act(&update("org", 1));
    assert_eq!(wide.act(&get("org", "k")).writer, "narrow/alice");
}

#[test]
fn instructions_of_the_organisation_hold_in_every_project() {
    let server = server!();
    let person = |address: &str, name: &str| {
        let mut project = Project::new(&server.address("postgres", address), name);
        project.kind = "human";
        project.sign_on(&format!("{name}-person"));
        project
    };
    let (one, other) = (person("one", "ann"), person("other", "bob"));
    let keyed = |text: &str, scope: Scope| AddInstruction {
        scope,
        key: Some("style".into()),
        ..AddInstruction::new(text)
    };
    let texts = |project: &Project, path: Option<&str>| {
        let op = Effective { path: path.map(str::to_owned), since: None };
        let found = project.act(&op);
        let texts = found.rulings.iter().map(|it| it.instruction.text.clone());
        (texts.collect::<Vec<_>>(), found.head)
    };
    assert_eq!(texts(&one, None).0, [""; 0], "nobody has shared anything yet");
    let shared = one.act(&keyed("short functions", Scope::Org));
    assert!(shared.in_force);
    other.act(&keyed("long functions", Scope::Project));
    assert_eq!(texts(&one, Some("src")).0, ["short functions"]);
    assert_eq!(texts(&other, Some("src")).0, ["long functions"], "the narrower one wins");
    let (both, head) = texts(&other, None);
    assert_eq!(both, ["long functions", "short functions"]);
    assert_eq!(other.act(&ListConflicts {}).conflicts.len(), 1);
    // A change there is a change here.
    let since = Effective { path: None, since: Some(head) };
    assert!(other.act(&since).unchanged);
    let of_org = |id: Rev| InstructionRef(format!("org:{id}"));
    let next = AddInstruction {
        supersedes: Some(of_org(shared.id)),
        ..keyed("shorter functions", Scope::Org)
    };
    other.act(&next);
    assert!(!other.act(&since).unchanged);
    assert_eq!(texts(&one, None).0, ["shorter functions"]);
    let listed = ListInstructions { history: true, scope: Some(Scope::Org), after: None, limit: 9 };
    let listed = one.act(&listed).entries;
    assert_eq!((listed.len(), listed[1].name.as_str()), (2, "other/bob-person"));
    one.refused(&AddInstruction { scope: Scope::Project, ..next }, Code::Invalid);
    one.act(&RevokeInstruction { id: of_org(listed[1].id), reason: None });
    assert_eq!(texts(&other, None).0, ["long functions"]);
}
