//! Connections that break, servers that say nothing or crash, and transactions that do not end well.

use std::{
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Result,
    clock::Reading,
    data::Get,
    event::Verify,
    store::{Reply, Request, Store},
};
use cotenant_store::{
    IfMissing, LocalStore,
    postgres::Address,
    sql::{Clock, Sql},
};
use cotenant_testbed::Server;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    add, count, open, refused,
    server::{self, world::World},
    sign_on,
};

/// Ends every session of a project that waits or is idle.
fn cut(server: &Server, condition: &str) -> usize {
    let sql = format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
         WHERE application_name = 'cotenant' AND {condition}"
    );
    server.client().query(&sql, &[]).unwrap().len()
}

#[test]
fn a_connection_that_broke_while_idle_is_replaced_unseen() {
    let server = server!();
    let address = server::project(&server);
    server.client().batch_execute("CREATE ROLE idler LOGIN SUPERUSER").unwrap();
    let address = server::address(&server, "idler", address.project());
    let store = open(&address);
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    assert_eq!(cut(&server, "usename = 'idler'"), 1);
    store.one(add(&actor, "1")).unwrap();
    assert_eq!(cut(&server, "usename = 'idler'"), 1);
    assert_eq!(count(store), 1);
}

#[test]
fn a_request_whose_connection_broke_is_repeated_under_its_id() {
    let server = server!();
    let address = server::project(&server);
    server.client().batch_execute("CREATE ROLE waiter LOGIN SUPERUSER").unwrap();
    let address = server::address(&server, "waiter", address.project());
    let store = Arc::new(open(&address));
    let actor = sign_on(&*store, "a", "agent");
    let mut locker = server.client();
    let table = format!("\"cotenant_{}\".meta", address.project());
    locker.batch_execute(&format!("BEGIN; SELECT 1 FROM {table} FOR UPDATE")).unwrap();
    let waiting = thread::spawn({
        let (store, actor) = (Arc::clone(&store), actor.clone());
        move || {
            let store: &dyn Store = &*store;
            store.one(add(&actor, "1"))
        }
    });
    let until = Instant::now() + Duration::from_secs(4);
    while cut(&server, "usename = 'waiter' AND wait_event_type = 'Lock'") == 0 {
        assert!(Instant::now() < until, "nobody waits");
    }
    let outcome = waiting.join().unwrap();
    locker.batch_execute("ROLLBACK").unwrap();
    // What breaks while it waits for its turn has begun nothing: a new connection waits on.
    if let Err(error) = outcome {
        assert!(matches!(error.code, Code::StoreIo | Code::Busy), "{error:?}");
    }
    let store: &dyn Store = &*store;
    store.one(add(&actor, "1")).unwrap();
    assert_eq!(count(store), 1);
}

#[test]
fn a_writer_whose_turn_does_not_come_is_told_so() {
    let server = server!();
    let address = server::project(&server);
    let store = open(&address).busy_timeout(Duration::from_millis(50));
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    store.one(add(&actor, "1")).unwrap();
    let mut locker = server.client();
    let table = format!("\"cotenant_{}\".meta", address.project());
    locker.batch_execute(&format!("BEGIN; SELECT 1 FROM {table} FOR UPDATE")).unwrap();
    refused(store.one(add(&actor, "2")), Code::Busy);
    // What is known already is told in a turn only; a read needs none.
    refused(store.one(add(&actor, "1")), Code::Busy);
    assert_eq!(count(store), 1);
    locker.batch_execute("ROLLBACK").unwrap();
    assert!(store.one(add(&actor, "1")).unwrap().replayed);
    store.one(add(&actor, "2")).unwrap();
    assert_eq!(count(store), 2);
}

#[test]
fn a_server_that_stops_answering_is_given_up_soon() {
    let server = server!();
    let mut admin = server.client();
    admin.batch_execute("CREATE ROLE stalled LOGIN SUPERUSER").unwrap();
    let address = server::address(&server, "stalled", server::project(&server).project());
    let store = open(&address.answering_within(Duration::from_millis(300)));
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    let sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'stalled'";
    let pid = Pid::from_raw(admin.query_one(sql, &[]).unwrap().get(0));
    kill(pid, Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    let outcome = store.one(add(&actor, "1"));
    let took = began.elapsed();
    kill(pid, Signal::SIGCONT).unwrap();
    let error = refused(outcome, Code::StoreIo);
    assert!(error.to_string().contains("does not answer"), "{error}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    store.one(add(&actor, "1")).unwrap();
    assert_eq!(count(store), 1);
}

#[test]
fn a_server_that_does_not_answer_is_given_up_soon() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let address = |port: u16| {
        let text = format!("postgres://u@127.0.0.1:{port}/d?project=a");
        Address::parse(&text, None).unwrap()
    };
    let began = Instant::now();
    let error = refused(LocalStore::open_postgres(&address(port), IfMissing::Fail), Code::StoreIo);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    drop(silent);
    refused(LocalStore::open_postgres(&address(port), IfMissing::Fail), Code::StoreIo);
}

/// A clock that does something in the middle of a transaction, once.
struct Meddling {
    world: World,
    armed: Arc<AtomicBool>,
    act: fn(&mut dyn Sql) -> Result<()>,
}

impl Clock for Meddling {
    fn reading(&self, sql: &mut dyn Sql) -> Result<Reading> {
        if self.armed.swap(false, Ordering::SeqCst) {
            (self.act)(sql)?;
        }
        self.world.reading(sql)
    }

    fn wall_ms(&self) -> i64 {
        self.world.wall_ms()
    }
}

fn meddled(server: &Server, act: fn(&mut dyn Sql) -> Result<()>) -> (LocalStore, Arc<AtomicBool>) {
    let (world, armed) = (World::new(), Arc::new(AtomicBool::new(false)));
    let clock = Meddling { world: world.clone(), armed: Arc::clone(&armed), act };
    (server::open(&server::project(server), &world, clock), armed)
}

#[test]
fn a_connection_that_breaks_in_a_transaction_loses_nothing_and_does_nothing_twice() {
    let server = server!();
    let (store, armed) = meddled(&server, |sql| {
        sql.rows("SELECT CAST(pg_terminate_backend(pg_backend_pid()) AS TEXT)", &[]).map(drop)
    });
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    for number in 1..=3 {
        let id = number.to_string();
        armed.store(true, Ordering::SeqCst);
        refused(store.one(add(&actor, &id)), Code::StoreIo);
        assert!(!store.one(add(&actor, &id)).unwrap().replayed);
        assert!(store.one(add(&actor, &id)).unwrap().replayed);
        armed.store(true, Ordering::SeqCst);
        let get = Get { scope: "s".into(), key: "count".into() };
        refused(store.call(&get, |request| request), Code::StoreIo);
        assert_eq!(count(store), number);
    }
}

/// Sends a request until it is done, whatever happens to the server.
fn insist(store: &dyn Store, request: &Request) -> Reply {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        match store.one(request.clone()) {
            Ok(reply) => return reply,
            Err(error) => assert_eq!(error.code, Code::StoreIo, "{error:?}"),
        }
        assert!(Instant::now() < until, "the server does not come back");
    }
}

#[test]
fn a_server_that_crashes_loses_nothing_and_does_nothing_twice() {
    let Some(server) = Server::own() else { return };
    let address = server::project(&server);
    let store = open(&address);
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    let (written, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = thread::spawn({
        let (written, over) = (Arc::clone(&written), Arc::clone(&over));
        move || {
            let store = open(&address);
            while !over.load(Ordering::SeqCst) {
                let id = written.load(Ordering::SeqCst).to_string();
                insist(&store, &add(&actor, &id));
                written.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let go_on = || {
        let enough = written.load(Ordering::SeqCst) + 20;
        let until = Instant::now() + Duration::from_mins(1);
        while written.load(Ordering::SeqCst) < enough {
            assert!(Instant::now() < until && !writer.is_finished(), "the writer stands still");
            thread::yield_now();
        }
    };
    for _ in 0..3 {
        go_on();
        // A session that is killed takes the others with it: the server recovers from its log.
        let mut victim = server.client();
        let pid = victim.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        victim.simple_query("SELECT 1").unwrap_err();
        go_on();
    }
    over.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    insist(store, &Request::new(cotenant_core::event::Head::default()));
    assert_eq!(count(store), written.load(Ordering::SeqCst));
    assert!(store.call(&Verify::default(), |request| request).unwrap().answer.ok);
}

#[test]
fn a_panic_in_a_transaction_leaves_none_open() {
    let server = server!();
    let (store, armed) = meddled(&server, |_| panic!("on purpose"));
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    store.one(add(&actor, "1")).unwrap();
    armed.store(true, Ordering::SeqCst);
    let panicked = catch_unwind(AssertUnwindSafe(|| store.one(add(&actor, "2"))));
    panicked.unwrap_err();
    store.one(add(&actor, "2")).unwrap();
    assert_eq!(count(store), 2);
}

#[test]
fn a_statement_that_fails_is_never_taken_for_done() {
    let server = server!();
    let (store, armed) = meddled(&server, |sql| {
        sql.rows("SELECT 1 / 0", &[]).unwrap_err();
        Ok(())
    });
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    armed.store(true, Ordering::SeqCst);
    refused(store.one(add(&actor, "1")), Code::Internal);
    store.one(add(&actor, "1")).unwrap();
    assert_eq!(count(store), 1);
}

#[test]
fn every_write_has_its_limits() {
    let server = server!();
    let (store, armed) = meddled(&server, |sql| {
        let limits = "SELECT current_setting('statement_timeout') || ' ' || \
             current_setting('idle_in_transaction_session_timeout') || ' ' || \
             current_setting('lock_timeout') || ' ' || current_setting('synchronous_commit')";
        assert_eq!(sql.rows(limits, &[])?[0].text()?, "10s 5s 5s on");
        Ok(())
    });
    armed.store(true, Ordering::SeqCst);
    sign_on(&store, "a", "agent");
    assert!(!armed.load(Ordering::SeqCst));
}

/// The server has one code for a full queue of notifications, which harms nothing, and for what is too large.
#[test]
fn what_was_refused_in_the_round_trip_of_the_commit_was_not_done() {
    let server = server!();
    let address = server::project(&server);
    let store = open(&address);
    let store: &dyn Store = &store;
    let actor = sign_on(store, "a", "agent");
    let schema = address.quoted();
    let mut admin = server.client();
    let refuse = format!(
        "CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'too large' USING ERRCODE = '54000'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON {schema}.request \
         FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()"
    );
    admin.batch_execute(&refuse).unwrap();
    refused(store.one(add(&actor, "1").id("once")), Code::Internal);
    admin.batch_execute(&format!("DROP TRIGGER refuse ON {schema}.request")).unwrap();
    let done = store.one(add(&actor, "1").id("once")).unwrap();
    assert!(!done.replayed, "nothing is remembered of what was refused");
    assert_eq!(done.data.get(), store.one(add(&actor, "1").id("once")).unwrap().data.get());
}
