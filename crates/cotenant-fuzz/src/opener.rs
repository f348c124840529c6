//! F14: opening a store whose files were damaged or written by somebody else.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Operation, Result,
    data::{Get, ListScopes, Put},
    event::{Head, Verify, sha256_hex},
    json::Json,
    lease::Acquire,
    name::SessionRef,
    session::SignOn,
    store::{Actor, Store},
};
use cotenant_store::{IfMissing, LocalStore, doctor::doctor, open_for_few};

use crate::{input::Input, token::Tokens};

/// The longest that may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a writer waits for its turn.
const BUSY: Duration = Duration::from_millis(20);
/// The files of a store, and the note beside a token.
const FILES: [&str; 7] =
    ["store.db", "store.db-wal", "store.db-shm", "gate", "signal", "combine-2", "tokens/note"];
/// The session that acts.
const NAME: &str = "a";

/// The files of a sound store, by name.
type Files = BTreeMap<&'static str, Vec<u8>>;

pub(crate) fn opener(bytes: &[u8]) {
    let begun = Instant::now();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let home = scratch.path().join("cotenant");
    let mut input = Input(bytes);
    let mut files = sound().clone();
    let name = FILES[input.below(FILES.len())];
    let is_locked = input.byte() == 1;
    match input.byte() % 4 {
        0 => drop(files.insert(name, input.rest().to_vec())),
        1 => drop(files.remove(name)),
        2 => files.entry(name).or_default().truncate(input.below(1 << 16)),
        _ => change(files.entry(name).or_default(), input),
    }
    write(&home, &files);
    let file = home.join("store.db");
    let gate = is_locked.then(|| File::open(home.join("gate")).ok()).flatten();
    if let Some(gate) = &gate {
        gate.lock().expect("nobody else has it");
    }
    note(&home, files.get("tokens/note"));
    try_it(&file, files.get("store.db"));
    drop(gate);
    for finding in doctor(&file.into(), true) {
        assert!(!finding.found.is_empty(), "{}", finding.check);
    }
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
}

/// Changes some bytes.
fn change(content: &mut [u8], mut input: Input<'_>) {
    while !input.0.is_empty() && !content.is_empty() {
        let place = input.below(content.len());
        content[place] ^= input.byte();
    }
}

/// A store as it is in use: some of it only in the log, its connection never closed.
fn sound() -> &'static Files {
    static FILES_OF: OnceLock<Files> = OnceLock::new();
    FILES_OF.get_or_init(|| {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let home = scratch.path().join("cotenant");
        let store = LocalStore::open(&home.join("store.db"), IfMissing::Create).expect("a store");
        let digest = sha256_hex("token");
        let sign_on = SignOn { name: Some(NAME.into()), ..SignOn::new("agent", "ada", digest) };
        call(&store, &sign_on, false).expect("a session");
        call(&store, &put(), true).expect("a value");
        call(&store, &acquire(), true).expect("a lease");
        let names = FILES.into_iter().filter(|name| *name != "tokens/note");
        let content = |name: &'static str| Some((name, fs::read(home.join(name)).ok()?));
        let mut files: Files = names.filter_map(content).collect();
        assert_eq!(files.len(), FILES.len() - 1, "the files of a store are {:?}", files.keys());
        files.insert("tokens/note", sha256_hex("token").into_bytes());
        files
    })
}

fn write(home: &Path, files: &Files) {
    let mut directories = DirBuilder::new();
    directories.recursive(true).mode(0o700);
    directories.create(home.join("tokens")).expect("directories");
    for (name, content) in files {
        let path = path_of(home, name);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
    }
}

fn path_of(home: &Path, name: &str) -> PathBuf {
    if name == "tokens/note" {
        return home.join("tokens").join(format!("{}.note", sha256_hex(NAME)));
    }
    home.join(name)
}

/// What a note says is who that name was, or nothing.
fn note(home: &Path, content: Option<&Vec<u8>>) {
    let tokens = Tokens::of(home);
    match tokens.noted(NAME) {
        Some(actor) => {
            assert_eq!(Some(actor.token_digest.as_bytes()), content.map(Vec::as_slice));
            assert!(!tokens.has(&actor.token_digest), "there is no such token");
        }
        None => assert_ne!(content, sound().get("tokens/note")),
    }
}

/// Opens the store as commands and as servers do, and works with it.
fn try_it(file: &Path, content: Option<&Vec<u8>>) {
    let few = open_for_few(file, IfMissing::Create, || Ok(BUSY));
    match few.and_then(|store| look_around(&store).map(|head| (store, head))) {
        Ok((store, head)) => change_it(&store, &head),
        Err(error) => {
            check_failure(&error);
            // What could not be read was not written either, nor made anew.
            let now = fs::read(file).ok();
            assert!(now.as_ref() == content, "the database was changed: {error:?}");
        }
    }
    match LocalStore::open(file, IfMissing::Fail) {
        Ok(store) => {
            let store = store.busy_timeout(BUSY);
            match look_around(&store) {
                Ok(head) => change_it(&store, &head),
                Err(error) => check_failure(&error),
            }
        }
        Err(error) => check_failure(&error),
    }
}

/// What can be seen of a store: where its log ends, and whether its chain holds.
struct Seen {
    seq: i64,
    is_sound: bool,
}

fn look_around(store: &dyn Store) -> Result<Seen> {
    let head = call(store, &Head {}, false)?;
    call(store, &ListScopes { pattern: "*".into(), after: None, limit: 10 }, false)?;
    call(store, &get(), false)?;
    let verified = call(store, &Verify::default(), false)?;
    assert!(verified.ok || verified.why.is_some(), "{verified:?}");
    Ok(Seen { seq: head.seq.0, is_sound: verified.ok })
}

/// Writes. What was acknowledged is there; a write does no further damage.
fn change_it(store: &dyn Store, before: &Seen) {
    let written = match call(store, &put(), true) {
        Ok(written) => written,
        Err(error) => return check_failure(&error),
    };
    assert!(written.rev.0 > before.seq, "{} after {}", written.rev, before.seq);
    match call(store, &get(), false) {
        Ok(entry) => assert_eq!((entry.value, entry.rev), (put().value, written.rev)),
        Err(error) => check_failure(&error),
    }
    match look_around(store) {
        Ok(after) => {
            assert!(after.seq >= written.rev.0, "{} after {}", after.seq, written.rev);
            assert!(after.is_sound || !before.is_sound, "a write broke the chain");
        }
        Err(error) => check_failure(&error),
    }
}

fn get() -> Get {
    Get { scope: "s".into(), key: "k".into() }
}

fn call<O: Operation>(store: &dyn Store, operation: &O, acts: bool) -> Result<O::Answer> {
    let session = SessionRef(NAME.into());
    let actor = Actor { session, token_digest: sha256_hex("token") };
    let answered =
        store.call(operation, |request| if acts { request.by(actor) } else { request })?;
    Ok(answered.answer)
}

fn put() -> Put {
    let (scope, key, value) = ("s".into(), "k".into(), Json::of(&"a value"));
    Put { scope, key, value, expect: None, ephemeral: false, ttl_ms: None }
}

fn acquire() -> Acquire {
    let (slots, wait_ms, lock_delay_ms, note) = (None, None, None, None);
    Acquire { resource: "r".into(), ttl_ms: 60_000, slots, wait_ms, lock_delay_ms, note }
}

/// Damage is told as what it is, never as a bug of ours.
fn check_failure(error: &Error) {
    let line = error.to_string();
    assert!(!line.is_empty(), "{error:?}");
    assert_ne!(error.code, Code::Internal, "{error:?}");
}
