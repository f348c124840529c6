//! The command line itself: help, wrong usage, exit statuses.

use crate::TestEnv;

#[test]
fn a_wrong_command_line_exits_64_and_never_2() {
    let env = TestEnv::new();
    for wrong in [
        "",
        "clam issue:1",
        "claim",
        "claim issue:1 --bogus",
        "claim 15",
        "lease acquire x --ttl 5",
    ] {
        let ran = env.cotenant(wrong);
        assert_eq!((ran.exit, ran.stdout.as_str()), (64, ""), "{wrong}");
        assert!(!ran.stderr.is_empty());
    }
    env.shows(
        "claim isue:15",
        "
        error: invalid value 'isue:15' for '<ITEM>...': `isue:15` has an unknown kind; write issue:15, path:src/, branch:name or other:name

        For more information, try '--help'.
        [exit 64]
        ",
    );
}

#[test]
fn with_json_a_wrong_command_line_is_an_envelope_too() {
    let env = TestEnv::new();
    let ran = env.cotenant("claim --json --bogus");
    assert_eq!((ran.exit, ran.stderr.as_str()), (64, ""));
    let envelope: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(envelope["ok"], false);
    assert_eq!(envelope["error"]["code"], "INVALID");
    assert_eq!(envelope["error"]["message"], "unexpected argument '--bogus' found");
}

#[test]
fn every_command_explains_itself() {
    let env = TestEnv::new();
    let overview = env.prints("--help");
    let commands: Vec<&str> = overview
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"claim") && commands.contains(&"rpc"), "{overview}");
    for command in commands {
        let help = env.prints(&format!("{command} --help"));
        assert!(help.contains("Usage: cotenant"), "{help}");
    }
    assert!(env.prints("--version").starts_with("cotenant 0."));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let ran = env.shell("exec 3>&1; { cotenant event list; echo status $? >&3; } | true");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("status 0\n", ""));
}

#[test]
fn an_answer_that_cannot_be_written_is_told() {
    let env = TestEnv::new();
    env.sign_on(&["a"]);
    let ran = env.cotenant("event head > /dev/full");
    assert_eq!(ran.exit, 74);
    assert!(ran.stderr.starts_with("error: cannot write to stdout: "), "{}", ran.stderr);
}

#[test]
fn stores_of_later_versions_are_refused_with_words() {
    let env = TestEnv::new();
    env.shows(
        "--store https://host/db status",
        "
        error: stores at `https://` are not supported by this version
        hint: give a path, sqlite:PATH, or postgres://USER@HOST/DATABASE?project=NAME
        [exit 64]
        ",
    );
}

#[test]
fn completions_are_printed_and_answer_with_what_is_live() {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    env.prints("claim issue:15 --session alice");
    for shell in ["bash", "zsh", "fish"] {
        assert!(env.prints(&format!("completions {shell}")).contains("cotenant"), "{shell}");
    }
    let complete = |words: &str, index: usize| {
        let ran = env.shell(&format!(
            "_CLAP_IFS='\n' _CLAP_COMPLETE_INDEX={index} COMPLETE=bash cotenant -- cotenant {words}"
        ));
        assert_eq!(ran.exit, 0, "{}", ran.stderr);
        ran.stdout
    };
    assert!(complete("session show ''", 3).starts_with("alice\nbob\n--"));
    assert_eq!(complete("unclaim iss", 2).trim_end(), "issue:15");
    assert!(complete("cl", 1).contains("claim"));
}
