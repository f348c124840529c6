//! A store behind `cotenant rpc`, as programs in Rust use it.

use std::{sync::mpsc::channel, thread};

use cotenant_client::Lines;
use cotenant_core::{
    Code,
    data::{Change, Get, Put, Update},
    event::{Head, sha256_hex},
    json::Json,
    lease::Acquire,
    name::SessionRef,
    session::SignOn,
    store::{Actor, Request, Store},
};

use crate::TestEnv;

fn start(env: &TestEnv) -> Lines {
    let token = |digest: &str| (digest == sha256_hex("token")).then(|| "token".to_owned());
    Lines::start(env.command("cotenant").arg("rpc"), Box::new(token)).unwrap()
}

fn sign_on(store: &dyn Store, name: &str) -> Actor {
    let digest = sha256_hex("token");
    let operation = SignOn { name: Some(name.into()), ..SignOn::new("agent", "ada", digest) };
    let signed = store.call(&operation, |request| request).unwrap().answer;
    Actor { session: SessionRef(signed.session.0), token_digest: signed.token_digest }
}

fn add(actor: &Actor, id: String) -> Request {
    let change = Change::Add(1);
    let update = Update { scope: "s".into(), key: "n".into(), change, keep: None };
    Request::new(update).by(actor.clone()).id(id)
}

fn acquire(actor: &Actor, wait_ms: Option<u64>) -> Request {
    let (resource, ttl_ms, slots) = ("r".into(), 3_600_000, None);
    let acquire = Acquire { resource, ttl_ms, slots, wait_ms, lock_delay_ms: None, note: None };
    Request::new(acquire).by(actor.clone())
}

#[test]
fn threads_share_a_process_and_each_has_its_own_answers() {
    const THREADS: usize = 16;
    let env = TestEnv::new();
    let lines = start(&env);
    let store: &dyn Store = &lines;
    let actor = sign_on(store, "a");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let actor = &actor;
            scope.spawn(move || {
                for number in 0..10 {
                    let key = format!("k{thread}");
                    let value = Json::of(&format!("{thread}.{number}"));
                    let (scope, expect) = ("own".to_owned(), None);
                    let get = Get { scope: scope.clone(), key: key.clone() };
                    let put = Put { scope, key, value, expect, ephemeral: false, ttl_ms: None };
                    store.one(Request::new(put.clone()).by(actor.clone())).unwrap();
                    let got = store.call(&get, |request| request).unwrap().answer;
                    assert_eq!(got.value, put.value);
                    store.one(add(actor, format!("{thread}.{number}"))).unwrap();
                }
            });
        }
    });
    let get = Get { scope: "s".into(), key: "n".into() };
    let count = store.call(&get, |request| request).unwrap().answer.value;
    assert_eq!(count.text(), (THREADS * 10).to_string());
}

#[test]
fn a_process_that_dies_is_told_to_all_who_wait() {
    let env = TestEnv::new();
    let lines = start(&env);
    let store: &dyn Store = &lines;
    let (a, b) = (sign_on(store, "a"), sign_on(store, "b"));
    store.one(acquire(&a, None)).unwrap();
    let (sender, waiting) = channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let request = acquire(&b, Some(3_600_000));
            sender.send(()).unwrap();
            assert_eq!(store.one(request).unwrap_err().code, Code::StoreIo);
        });
        waiting.recv().unwrap();
        let process = i32::try_from(lines.process_id()).unwrap();
        let process = nix::unistd::Pid::from_raw(process);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).unwrap();
    });
    let error = store.one(Request::new(Head {})).unwrap_err();
    assert_eq!(error.code, Code::StoreIo, "{error:?}");
    // Another one goes on.
    let lines = start(&env);
    let store: &dyn Store = &lines;
    store.one(Request::new(Head {})).unwrap();
}

#[test]
fn a_batch_that_fits_on_no_line_is_too_large() {
    let env = TestEnv::new();
    let lines = start(&env);
    let store: &dyn Store = &lines;
    let actor = sign_on(store, "a");
    let value = Json::of(&"x".repeat(1_000_000));
    let put = |number: u32| {
        let (scope, key, value) = ("s".into(), format!("k{number}"), value.clone());
        let put = Put { scope, key, value, expect: None, ephemeral: false, ttl_ms: None };
        Request::new(put).by(actor.clone())
    };
    let outcomes = store.submit((0..7).map(put).collect());
    assert_eq!(outcomes.len(), 7);
    assert!(outcomes.iter().all(|o| o.as_ref().is_err_and(|e| e.code == Code::TooLarge)));
    assert!(store.submit((0..5).map(put).collect()).iter().all(Result::is_ok));
    assert!(store.submit(Vec::new()).is_empty());
}
