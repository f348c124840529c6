//! Moves and imports that are killed, or fail, at every step.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus, Stdio},
};

use cotenant_core::Code;
use cotenant_store::Location;
use tempfile::TempDir;

use crate::{
    content::fill,
    server,
    stage::{
        code, exported, failure, file, import, made, opened, place, project, relocate, rows, said,
        sign_on,
    },
};

/// What a process of its own shall do: `move` or `import`, from where, and to where, a line each.
const JOB: &str = "COTENANT_TEST_JOB";

/// Where a move can be interrupted: a point, and how often it is passed before.
const POINTS: [&str; 16] = [
    "gate.before",
    "txn.settled",
    "txn.after_commit",
    "move.copied",
    "arrive.checked",
    "create.before_commit",
    "move.arrived",
    "gate.before@2",
    "move.retiring",
    "txn.before_commit@2",
    "txn.after_commit@2",
    "move.retired",
    "gate.before@3",
    "txn.before_commit@3",
    "txn.after_commit@3",
    "move.opened",
];

/// Not a test by itself: the process that carries, and is killed.
#[test]
fn carrying_process() {
    let Ok(job) = std::env::var(JOB) else { return };
    let lines: Vec<&str> = job.lines().collect();
    let [what, from, to] = lines[..] else { panic!("{job}") };
    if what == "import" {
        import(&std::fs::read_to_string(from).unwrap(), &place(to)).unwrap();
    } else {
        relocate(&place(from), &place(to)).unwrap();
    }
}

fn carry(what: &str, from: &str, to: &Location, failpoint: &str, action: &str) -> ExitStatus {
    let (point, nth) = failpoint.split_once('@').unwrap_or((failpoint, "1"));
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::carrying_process"])
        .env(JOB, format!("{what}\n{from}\n{}", said(to)))
        .env("COTENANT_FAILPOINT", format!("{point}={action}@{nth}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

/// Interrupts moves at every point; after each one store is used at most, and a repeat finishes.
fn interrupt(action: &str, places: &mut dyn FnMut(usize) -> (Location, Location)) {
    let mut interrupted = 0;
    for (number, point) in POINTS.iter().enumerate() {
        let (from, to) = places(number);
        let what = format!("{point}={action} from {from} to {to}");
        let store = made(&from);
        fill(&store);
        drop(store);
        let before = exported(&from);
        let ended = carry("move", &said(&from), &to, point, action);
        if ended.success() {
            // A point that this way does not pass.
            assert!(failure(&to).is_none(), "{what}");
        } else {
            interrupted += 1;
            assert_eq!(ended.signal().is_some(), action == "kill", "{what}: {ended}");
        }
        let (old, new) = (failure(&from).is_none(), failure(&to).is_none());
        assert!(!(old && new), "{what}: both stores can be written");
        let after = if new { exported(&to) } else { String::new() };
        if new {
            assert!(rows(&before) == rows(&after)[..rows(&before).len()], "{what}: a part arrived");
        } else {
            let closed = [Some(Code::NotFound), Some(Code::StoreMissing)];
            assert!(closed.contains(&code(&to)), "{what}: {:?}", failure(&to));
            assert!(old || code(&from) == Some(Code::StoreForeign), "{what}");
        }
        relocate(&from, &to).unwrap_or_else(|error| panic!("{what}: repeated: {error:?}"));
        assert_eq!(code(&from), Some(Code::StoreForeign), "{what}");
        let after = exported(&to);
        let (old, new) = (rows(&before), rows(&after));
        assert!(new.iter().filter(|row| row.contains("store.moved")).count() == 1, "{what}");
        assert!(old.iter().all(|row| row.contains("\"session\"") || new.contains(row)), "{what}");
        sign_on(&opened(&to), "next", "agent");
    }
    assert!(interrupted >= POINTS.len() - 3, "only {interrupted} were interrupted");
}

fn places(scratch: &TempDir, name: &str, number: usize) -> Location {
    file(scratch, &format!("{name}-{number}"))
}

#[test]
fn b7_a_move_to_a_server_that_is_killed_anywhere_can_be_repeated() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    interrupt("kill", &mut |number| (places(&scratch, "from", number), project(&server)));
}

#[test]
fn b7_a_move_from_a_server_that_is_killed_anywhere_can_be_repeated() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    interrupt("kill", &mut |number| (project(&server), places(&scratch, "to", number)));
}

#[test]
fn b7_a_move_between_files_that_is_killed_anywhere_can_be_repeated() {
    let scratch = tempfile::tempdir().unwrap();
    interrupt("kill", &mut |number| {
        (places(&scratch, "from", number), places(&scratch, "to", number))
    });
}

#[test]
fn a_move_that_fails_anywhere_can_be_repeated() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    interrupt("eio", &mut |number| {
        let (one, other) = (places(&scratch, "place", number), project(&server));
        if number.is_multiple_of(2) { (one, other) } else { (other, one) }
    });
}

#[test]
fn a_move_back_that_is_killed_keeps_what_was_moved_away() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    for (number, point) in ["arrive.checked", "move.arrived", "move.retired"].iter().enumerate() {
        let (home, away) = (places(&scratch, "home", number), project(&server));
        fill(&made(&home));
        relocate(&home, &away).unwrap();
        let before = exported(&away);
        assert!(!carry("move", &said(&away), &home, point, "kill").success());
        assert!(failure(&away).is_none() || failure(&home).is_some(), "{point}");
        assert!(failure(&home).is_some(), "{point}: the half of it can be used");
        relocate(&away, &home).unwrap();
        assert!(rows(&before) == rows(&exported(&home))[..rows(&before).len()]);
    }
}

#[test]
fn an_import_that_is_killed_leaves_nothing() {
    let server = server!();
    let scratch = tempfile::tempdir().unwrap();
    let from = file(&scratch, "from");
    fill(&made(&from));
    let export = exported(&from);
    let written = scratch.path().join("a.jsonl");
    std::fs::write(&written, &export).unwrap();
    for (to, point) in [
        (file(&scratch, "to"), "arrive.checked"),
        (project(&server), "arrive.checked"),
        (project(&server), "create.before_commit"),
    ] {
        assert!(!carry("import", written.to_str().unwrap(), &to, point, "kill").success());
        assert_eq!(code(&to), Some(Code::NotFound));
        import(&export, &to).unwrap();
        assert!(exported(&to) == export);
    }
}
