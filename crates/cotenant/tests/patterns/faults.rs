//! Places where nothing can be written, and where programs are missing: each says what to do, and
//! changes nothing.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use crate::{
    TestEnv,
    crew::{crew, lines_at_once, place, the_log_is_whole},
    env::Ran,
};

/// The user that owns what nobody owns.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A refusal by the environment that says why and what to do.
#[track_caller]
fn refused(ran: &Ran, because: &str, hint: &str) {
    assert_eq!((ran.exit, ran.stdout.as_str()), (74, ""), "{ran:?}");
    assert!(ran.stderr.contains(because) && ran.stderr.contains(hint), "{ran:?}");
}

/// A file with a value of 300 KB, `big.json`.
fn big_value(env: &TestEnv) {
    fs::write(env.top().join("big.json"), format!("\"{}\"", "x".repeat(300_000))).unwrap();
}

#[test]
fn at_the_limit_of_the_size_of_files_nothing_is_changed() {
    let env = place();
    let _crew = crew(&env, 8);
    big_value(&env);
    let head = env.prints("event head");
    let line = |number: usize, limit: &str| {
        format!("{limit} cotenant data set s k{number} --file big.json --session s{number}")
    };
    // The first limit is met by the index of the log, the second by the log itself.
    for limit in ["ulimit -f 60;", "ulimit -f 200;"] {
        let limited: Vec<String> = (0..8).map(|number| line(number, limit)).collect();
        for ran in lines_at_once(&env, &limited) {
            refused(&ran, "nothing was changed", "hint: ");
        }
    }
    assert_eq!(env.prints("event head"), head);
    assert_eq!(env.prints("data list"), "no keys\n");
    // Nothing is left behind that would hinder those without the limit.
    let unlimited: Vec<String> = (0..8).map(|number| line(number, "")).collect();
    let ran = lines_at_once(&env, &unlimited);
    assert!(ran.iter().all(|ran| (ran.exit, ran.stderr.as_str()) == (0, "")), "{ran:?}");
    assert_eq!(env.json("data list")["data"]["entries"].as_array().unwrap().len(), 8);
    the_log_is_whole(&env);
}

#[test]
fn on_a_full_disk_nothing_is_changed() {
    let env = TestEnv::new();
    big_value(&env);
    let mounts = env.shell("mkdir full && unshare -m mount -t tmpfs -o size=2m none full");
    if mounts.exit != 0 {
        eprintln!("skipped: no small disk can be mounted here: {}", mounts.stderr.trim());
        return;
    }
    // The disk is there for the script alone, and gone with it.
    let script = "
        set -e
        mount -t tmpfs -o size=2m none full
        mkdir -m 700 full/store
        export COTENANT_STORE=full/store/store.db
        cotenant sign-on a >/dev/null
        cotenant data set s k 1 --session a
        dd if=/dev/zero of=full/filler bs=4k 2>/dev/null || :
        for i in 1 2 3 4 5 6 7 8; do
            (cotenant data set s k --file big.json --session a 2>err$i || echo exit $?) > out$i &
        done
        wait
        cat out? err?
        cotenant data get s k
        rm full/filler
        cotenant data set s k --file big.json --expect 2 --session a
        cotenant event verify
    ";
    fs::write(env.top().join("script"), script).unwrap();
    let ran = env.shell("unshare -m sh script");
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!((lines[0], &lines[1..9]), ("rev 2", &["exit 74"; 8][..]), "{ran:?}");
    assert_eq!(&lines[lines.len() - 3..], ["1", "rev 3", "ok, 3 events"]);
    let said = lines[9..lines.len() - 3].join("\n");
    assert_eq!(said.matches("error: the disk is full; nothing was changed").count(), 8, "{said}");
    assert_eq!(said.matches("hint: free some space and repeat").count(), 8, "{said}");
}

#[test]
fn a_store_that_may_only_be_read_is_read() {
    let env = TestEnv::new();
    // Modes do not bind root: another user owns the store then, and has the program at hand.
    let scratch = env.top().parent().unwrap();
    let place = scratch.join("place");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(scratch, Permissions::from_mode(0o755)).unwrap();
    let as_owner = if is_root() {
        std::os::unix::fs::chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_cotenant"));
        let link = place.join("cotenant");
        fs::hard_link(program, &link).or_else(|_| fs::copy(program, &link).map(drop)).unwrap();
        format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {}", link.display())
    } else {
        "cotenant".to_owned()
    };
    let store = place.join("store/store.db");
    let run = |arguments: &str| {
        let place = place.display();
        env.shell(&format!(
            "cd '{place}' && HOME='{place}' {as_owner} --store '{}' {arguments}",
            store.display()
        ))
    };
    for arguments in ["sign-on a", "data set s k 1 --session a"] {
        let ran = run(arguments);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{arguments}");
    }
    let directory = store.parent().unwrap();
    let mode = |of: &Path, mode| fs::set_permissions(of, Permissions::from_mode(mode)).unwrap();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            mode(&entry.path(), 0o400);
        }
    }
    mode(directory, 0o500);
    let writes = ["data set s k 2 --session a", "claim issue:1 --session a", "sign-on b"];
    for arguments in writes {
        refused(&run(arguments), "the store cannot be written", "hint: check the file's mode");
    }
    assert_eq!(run("data get s k").stdout, "1\n");
    assert_eq!(run("event verify").stdout, "ok, 2 events\n");
    assert_eq!(run("status").exit, 0);
    mode(directory, 0o700);
    for name in ["store.db", "store.db-wal", "store.db-shm", "gate", "signal"] {
        mode(&directory.join(name), 0o600);
    }
    assert_eq!(run("data set s k 2 --session a").stdout, "rev 3\n");
}

#[test]
fn without_git_and_without_an_agent_commands_work_or_say_what_to_do() {
    for git in [false, true] {
        let env = if git { TestEnv::new() } else { TestEnv::bare() };
        let programs = env.top().parent().unwrap().join("programs");
        fs::create_dir(&programs).unwrap();
        let which = |name: &str| {
            let found = env.shell(&format!("command -v {name}")).stdout;
            symlink(found.trim(), programs.join(name)).unwrap();
        };
        ["sh", "setsid", "cotenant"].into_iter().for_each(which);
        let env = env.with("PATH", programs.to_str().unwrap());
        assert_ne!(env.shell("git --version").exit, 0);
        let status = env.prints("status");
        assert!(status.starts_with("nobody has signed on in this project yet\n"), "{status}");
        let claim = env.cotenant("claim issue:1");
        assert_eq!(claim.exit, 64);
        assert!(claim.stderr.contains("hint: `cotenant sign-on NAME`"), "{claim:?}");
        let dry = env.cotenant("init --dry-run");
        assert_eq!(dry.exit, 0, "{dry:?}");
        assert!(dry.stdout.contains("\nnothing was written: --dry-run\n"), "{dry:?}");
        assert!(
            ![".claude", ".mcp.json", ".cotenant"]
                .iter()
                .any(|name| { env.top().join(name).exists() })
        );
        env.sign_on(&["a"]);
        env.prints("claim issue:1 --session a");
        let taken = env.cotenant("sign-on b; cotenant claim issue:1 path:src/a.rs --session b");
        assert_eq!(taken.exit, 73, "{taken:?}");
    }
}
