//! The contract over `PostgreSQL`, and what is so on a server only.
#![allow(missing_docs)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// The shared server, or nothing more to test.
macro_rules! server {
    () => {
        match Server::shared() {
            Some(server) => server,
            None => return,
        }
    };
}

mod connection;
#[path = "../server/mod.rs"]
mod server;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cotenant_conformance::run_all;
use cotenant_core::{
    Code, Error, Result,
    claim::{Claim, Item, ItemKind, Mode},
    clock::Reading,
    data::{Change, Get, Update},
    event::{Append, Head, Read, Redact, Verify, sha256_hex},
    id::Seq,
    json::Json,
    name::SessionRef,
    session::SignOn,
    store::{Actor, Request, Store},
};
use cotenant_store::{
    Batching, IfMissing, LocalStore,
    postgres::Address,
    sql::{Clock, Sql},
};

use cotenant_testbed::Server;
use server::{PostgresBench, world::World};

fn sign_on(store: &dyn Store, name: &str, kind: &str) -> Actor {
    let sign_on =
        SignOn { name: Some(name.into()), ..SignOn::new(kind, "ada", sha256_hex("token")) };
    let signed = store.call(&sign_on, |request| request).unwrap().answer;
    Actor { session: SessionRef(signed.session.0), token_digest: sha256_hex("token") }
}

fn add(actor: &Actor, id: &str) -> Request {
    let (scope, key) = ("s".into(), "count".into());
    let update = Update { scope, key, change: Change::Add(1), keep: None };
    Request::new(update).by(actor.clone()).id(id)
}

fn count(store: &dyn Store) -> u64 {
    let get = Get { scope: "s".into(), key: "count".into() };
    store.call(&get, |request| request).unwrap().answer.value.text().parse().unwrap()
}

fn open(address: &Address) -> LocalStore {
    LocalStore::open_postgres(address, IfMissing::Create).unwrap()
}

fn refused(outcome: Result<impl Sized>, code: Code) -> Error {
    match outcome {
        Ok(_) => panic!("it must fail with {code}"),
        Err(error) => {
            assert_eq!(error.code, code, "{error:?}");
            error
        }
    }
}

#[test]
fn a_store_on_a_server_keeps_the_contract() {
    let server = server!();
    let report = run_all(&|| Box::new(PostgresBench::new(&server)));
    println!("{}", report.table());
    report.require();
}

#[test]
fn of_many_makers_one_makes_the_store() {
    let server = server!();
    let address = server::project(&server);
    refused(LocalStore::open_postgres(&address, IfMissing::Fail), Code::NotFound);
    let makers: Vec<_> = (0..16)
        .map(|number| {
            let address = address.clone();
            thread::spawn(move || {
                let store = open(&address);
                let actor = sign_on(&store, &format!("maker-{number}"), "agent");
                (&store as &dyn Store).one(add(&actor, "once")).unwrap();
            })
        })
        .collect();
    for maker in makers {
        maker.join().unwrap();
    }
    let store = LocalStore::open_postgres(&address, IfMissing::Fail).unwrap();
    let store: &dyn Store = &store;
    assert_eq!(count(store), 16);
    assert!(store.call(&Verify::default(), |request| request).unwrap().answer.ok);
}

/// The server's clock, counting transactions.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl Clock for Counting {
    fn reading(&self, sql: &mut dyn Sql) -> Result<Reading> {
        self.0.fetch_add(1, Ordering::SeqCst);
        sql.reading().ok_or_else(|| Error::internal("no clock"))
    }

    fn wall_ms(&self) -> i64 {
        1_800_000_000_000
    }
}

#[test]
fn threads_of_one_process_share_transactions() {
    const THREADS: usize = 16;
    const EACH: usize = 10;
    let server = server!();
    let (address, clock) = (server::project(&server), Counting::default());
    let writes = server::open(&address, &World::new(), clock.clone());
    let also = address.clone();
    let store =
        Arc::new(Batching::new(writes, move || LocalStore::open_postgres(&also, IfMissing::Fail)));
    let shared: &dyn Store = &*store;
    let actor = sign_on(shared, "a", "agent");
    // Somebody else has the writer's turn until all are queued.
    let mut other = server.client();
    let mut turn = other.transaction().unwrap();
    let lock = format!("SELECT 1 FROM \"cotenant_{}\".meta FOR UPDATE", address.project());
    turn.batch_execute(&lock).unwrap();
    let before = clock.0.load(Ordering::SeqCst);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let actor = &actor;
            scope.spawn(move || {
                for number in 0..EACH {
                    shared.one(add(actor, &format!("{thread}.{number}"))).unwrap();
                }
            });
        }
        while store.queued() < THREADS - 1 {
            thread::yield_now();
        }
        // A read waits for no writer.
        assert_eq!(shared.one(Request::new(Head {})).unwrap().seq, Seq(1));
        turn.rollback().unwrap();
    });
    let requests = u64::try_from(THREADS * EACH).unwrap();
    assert_eq!(count(shared), requests);
    let transactions = clock.0.load(Ordering::SeqCst) - before;
    assert!(transactions < requests, "{transactions} transactions for {requests} requests");
    assert!(shared.call(&Verify::default(), |request| request).unwrap().answer.ok);
    println!("{transactions} transactions for {requests} requests");
}

#[test]
fn of_many_writers_none_is_lost() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 50;
    let server = server!();
    let address = server::project(&server);
    let store = open(&address);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let address = address.clone();
            thread::spawn(move || {
                let store = open(&address);
                let store: &dyn Store = &store;
                let actor = sign_on(store, &format!("writer-{writer}"), "agent");
                for number in 0..WRITES {
                    store.one(add(&actor, &number.to_string())).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(count(&store), WRITERS * WRITES);
    let store: &dyn Store = &store;
    let verified = store.call(&Verify::default(), |request| request).unwrap().answer;
    assert!(verified.ok && verified.checked == WRITERS * (WRITES + 1), "{verified:?}");
}

#[test]
fn a_batch_sees_what_waits_to_be_written_and_not_what_was_read_before() {
    let server = server!();
    let store = open(&server::project(&server));
    let store: &dyn Store = &store;
    let (one, other) = (sign_on(store, "one", "agent"), sign_on(store, "other", "agent"));
    store.one(add(&one, "before")).unwrap();
    let take = |actor: &Actor, id: &str| {
        let item = Item { kind: ItemKind::Issue, name: "15".into(), tree: None };
        let claim = Claim {
            items: vec![item],
            mode: Mode::Exclusive,
            intent: None,
            ttl_ms: None,
            automatic: false,
            any: false,
        };
        Request { request_id: Some(id.into()), ..Request::new(claim).by(actor.clone()) }
    };
    // Both queries of the claim are asked before either claims; so are those of the counter.
    let batch = vec![take(&one, "first"), take(&other, "second"), add(&one, "a"), add(&other, "b")];
    let outcomes = store.submit(batch);
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    let second = outcomes[1].as_ref().map(|_| ());
    let second = second.expect_err("the second claim does not see the first");
    assert_eq!(second.code, Code::Claimed);
    assert_eq!(count(store), 3, "an update of the batch is lost");
    let repeated = store.submit(vec![add(&one, "c"), add(&one, "c")]);
    assert!(repeated[1].as_ref().unwrap().replayed, "a repeat in one batch is done twice");
    assert_eq!(count(store), 4);
    let verified = store.call(&Verify::default(), |request| request).unwrap().answer;
    assert!(verified.ok, "{verified:?}");
}

#[test]
fn projects_of_one_database_do_not_see_each_other() {
    let server = server!();
    let (one, other) = (open(&server::project(&server)), open(&server::project(&server)));
    let (one, other): (&dyn Store, &dyn Store) = (&one, &other);
    let actor = sign_on(one, "a", "agent");
    one.one(add(&actor, "1")).unwrap();
    let get = Get { scope: "s".into(), key: "count".into() };
    refused(other.call(&get, |request| request), Code::NotFound);
    refused(other.one(add(&actor, "1")), Code::Unauthenticated);
}

#[test]
fn a_schema_of_somebody_else_is_left_alone() {
    let server = server!();
    server
        .client()
        .batch_execute("CREATE SCHEMA \"cotenant_other\"; CREATE TABLE \"cotenant_other\".event ()")
        .unwrap();
    let address = server::address(&server, "postgres", "other");
    refused(LocalStore::open_postgres(&address, IfMissing::Create), Code::StoreForeign);
    refused(LocalStore::open_postgres(&address, IfMissing::Fail), Code::NotFound);
}

#[test]
fn a_role_that_owns_its_schema_needs_nothing_else() {
    let server = server!();
    let mut admin = server.client();
    admin.batch_execute("CREATE ROLE plain LOGIN").unwrap();
    let address = server::address(&server, "plain", "plain");
    let error =
        refused(LocalStore::open_postgres(&address, IfMissing::Create), Code::StoreReadonly);
    let needed = "CREATE SCHEMA \"cotenant_plain\" AUTHORIZATION \"plain\"";
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains(needed)), "{error:?}");
    admin.batch_execute(needed).unwrap();
    let store = open(&address);
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    store.one(add(&actor, "1")).unwrap();
    assert_eq!(count(store), 1);
}

/// A clock that may only take small steps, as that of a server.
#[derive(Clone)]
struct Stepping(World);

impl Clock for Stepping {
    fn reading(&self, sql: &mut dyn Sql) -> Result<Reading> {
        self.0.reading(sql)
    }

    fn wall_ms(&self) -> i64 {
        self.0.wall_ms()
    }

    fn step_max(&self) -> Option<u64> {
        Some(30_000)
    }
}

fn claim(name: &str) -> Claim {
    let item = Item { kind: ItemKind::Issue, name: name.into(), tree: None };
    let (mode, intent, ttl_ms) = (Mode::Exclusive, None, Some(60_000));
    Claim { items: vec![item], mode, intent, ttl_ms, automatic: false, any: false }
}

#[test]
fn refusals_alone_carry_a_clock_with_small_steps_to_an_expiry() {
    let server = server!();
    let (address, world) = (server::project(&server), World::new());
    let store = server::open(&address, &world, Stepping(world.clone()));
    let store: &dyn Store = &store;
    let (gone, other) = (sign_on(store, "gone", "agent"), sign_on(store, "other", "agent"));
    store.call(&claim("7"), |request| request.by(gone)).unwrap();
    let mut refusals = Vec::new();
    loop {
        // A jump of ten years, of which each write takes 30 s.
        cotenant_conformance::World::advance(&world, 10 * 365 * 24 * 3_600_000);
        match store.call(&claim("7"), |request| request.by(other.clone())) {
            Ok(_) => break,
            Err(error) => refusals.push(error.code),
        }
        assert_eq!(refusals[0], Code::Claimed, "one write took more than 30 s");
        assert!(refusals.len() < 10, "it never expires: {refusals:?}");
    }
    assert!(!refusals.is_empty(), "one write took more than 30 s");
}

#[test]
fn what_machines_share_has_other_bounds() {
    let server = server!();
    let store = open(&server::project(&server));
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    let short = Claim { ttl_ms: Some(59_999), ..claim("1") };
    let error = refused(store.call(&short, |r| r.by(actor.clone())), Code::Invalid);
    assert!(error.to_string().contains("between 60s and"), "{error}");
    store.call(&claim("1"), |request| request.by(actor)).unwrap();
}

#[test]
fn the_tick_follows_the_servers_clock() {
    let server = server!();
    let store = open(&server::project(&server));
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    let first = store.one(add(&actor, "1")).unwrap().tick.0;
    let until = Instant::now() + Duration::from_secs(30);
    while store.one(Request::new(Get { scope: "s".into(), key: "count".into() })).unwrap().tick.0
        < first + 20
    {
        assert!(Instant::now() < until, "the clock stands still");
    }
    let sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
    let now: i64 = server.client().query_one(sql, &[]).unwrap().get(0);
    let claimed = store.call(&claim("9"), |request| request.by(actor)).unwrap().answer;
    assert!(now.abs_diff(claimed.items[0].fence.0) < 60_000, "{claimed:?}");
}

fn read() -> Read {
    let (after, last, kind, scope, session, wait_ms) = (None, None, None, None, None, None);
    Read { after, last, kind, scope, session, limit: 100, wait_ms }
}

#[test]
fn who_waits_for_an_event_is_told() {
    let server = server!();
    let address = server::project(&server);
    let store = open(&address);
    let writer: &dyn Store = &store;
    let actor = sign_on(writer, "a", "agent");
    let head = writer.call(&cotenant_core::event::Head::default(), |r| r).unwrap().answer.cursor;
    let watching = thread::spawn({
        let address = address.clone();
        move || {
            let store = open(&address);
            let store: &dyn Store = &store;
            let read = Read { after: Some(head), wait_ms: Some(60_000), ..read() };
            store.call(&read, |request| request).unwrap().answer
        }
    });
    let until = Instant::now() + Duration::from_secs(30);
    let listening = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    while server.client().query(listening, &[]).unwrap().is_empty() {
        assert!(Instant::now() < until, "nobody listens");
    }
    writer.one(add(&actor, "1")).unwrap();
    let events = watching.join().unwrap().events;
    assert_eq!(events[0].kind, "data.updated");
}

#[test]
fn an_erased_payload_is_gone_from_the_tables_file() {
    const SECRET: &str = "hunter2-8b1f0c9d-on-a-server";
    let server = server!();
    let address = server::quiet_project(&server);
    let hurried = open(&address).busy_timeout(Duration::from_millis(50));
    let hurried: &dyn Store = &hurried;
    let actor = sign_on(hurried, "a", "human");
    let (kind, scope) = ("user.note".into(), "s".into());
    let append = Append { kind, scope, payload: Json::of(&serde_json::json!({"t": SECRET})) };
    let seq = hurried.call(&append, |request| request.by(actor.clone())).unwrap().answer.seq;
    let kept = || {
        let mut admin = server.quiet_client();
        admin.batch_execute("CHECKPOINT").unwrap();
        let table = format!("\"cotenant_{}\".event", address.project());
        let sql = format!("SELECT pg_relation_filepath('{table}')");
        let path: String = admin.query_one(&sql, &[]).unwrap().get(0);
        let bytes = fs::read(server.directory().join("data").join(path)).unwrap();
        bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    };
    assert!(kept(), "the test looks in the wrong place");
    let mut reader = server.quiet_client();
    let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class";
    reader.batch_execute(snapshot).unwrap();
    let redact = Redact { seq, reason: "secret".into() };
    refused(hurried.call(&redact, |request| request.by(actor.clone())), Code::Busy);
    // Others go on meanwhile.
    hurried.one(add(&actor, "1")).unwrap();
    assert!(kept(), "a reader still sees it");
    reader.batch_execute("COMMIT").unwrap();
    let store = open(&address);
    let store: &dyn Store = &store;
    store.one(add(&actor, "2")).unwrap();
    assert!(!kept(), "the secret is still there");
    assert!(store.call(&Verify::default(), |request| request).unwrap().answer.ok);
}

#[test]
fn an_encrypted_connection_trusts_only_whom_it_is_told_to() {
    let server = server!();
    let Some((authority, port)) = server.authority() else {
        println!("skipped: no openssl to make certificates with");
        return;
    };
    let address = |host: &str, parameters: &str| {
        let text = format!("postgres://postgres@{host}:{port}/postgres?project=secret{parameters}");
        Address::parse(&text, None).unwrap()
    };
    let ours = format!("&sslmode=verify-full&sslrootcert={}", authority.display());
    let store = open(&address("localhost", &ours));
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    store.one(add(&actor, "1")).unwrap();
    let sql = "SELECT 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE ssl AND application_name = 'cotenant'";
    assert!(!server.client().query(sql, &[]).unwrap().is_empty());
    // The authority is right, the name is not; then the name is right, the authority is not.
    let fail = |address: Address| {
        refused(LocalStore::open_postgres(&address, IfMissing::Fail), Code::StoreForeign)
    };
    fail(address("127.0.0.1", &ours));
    if fs::metadata("/etc/ssl/certs/ca-certificates.crt").is_ok() {
        fail(address("localhost", "&sslmode=require"));
    }
}
