//! `cotenant status`.

use crate::TestEnv;

#[test]
fn an_empty_project_says_what_to_do() {
    let env = TestEnv::new();
    env.shows(
        "status",
        "
        nobody has signed on in this project yet
          there is no store at `TOP/.git/cotenant/store.db`
          `cotenant init` sets the project up for agents; `cotenant claim issue:1` signs you on
        ",
    );
    assert_eq!(env.json("status")["error"]["code"], "NOT_FOUND");
    env.sign_on(&["alice"]);
    env.prints("sign-off --session alice");
    env.shows(
        "status",
        "
        nobody is signed on; ever here: 1 session; stored: 0 keys
          `cotenant claim issue:1` signs you on; `cotenant session list --all` shows who was here
        ",
    );
}

#[test]
fn the_page_tells_who_is_here_on_what_holding_what() {
    let env = TestEnv::new();
    env.prints("sign-on alice --purpose 'issue 15: the parser' --kind claude");
    env.sign_on(&["bob"]);
    env.prints("claim issue:15 path:src --intent 'rewrite' --session alice");
    env.prints("claim issue:16 --advisory --session bob");
    env.prints("lease acquire deploy --session bob");
    env.prints("data set a k 1 --session bob");
    env.shows(
        "status --session alice",
        "
        SESSION  KIND  SINCE  HEARD OF  HOLDS  ON
        bob  agent  TIME ago  TIME ago  2  deploy, issue:16
        *  alice  claude  TIME ago  TIME ago  2  issue 15: the parser

        HELD  BY  STATE  FOR  ENDS  WHAT FOR
        deploy  bob  held  TIME  in TIME
        issue:15  alice  held  TIME  rewrite
        issue:16  bob  advisory  TIME
        path:src  alice  held  TIME  rewrite

        2 of 2 sessions live, 1 key, 7 events
        ",
    );
}

#[test]
fn a_session_whose_process_is_gone_is_marked() {
    let env = TestEnv::new();
    env.shell("sleep 1000 & cotenant sign-on alice --pid $!; kill -9 $!; wait");
    let page = env.prints("status");
    assert!(
        page.contains("its process is gone; `cotenant session reap` frees what it holds"),
        "{page}"
    );
    env.sign_on(&["bob"]);
    env.shows("session reap alice --session bob", "alice is lost (dead)");
}

#[test]
fn words_of_sessions_cannot_act_on_the_terminal() {
    let env = TestEnv::new();
    env.prints("sign-on alice --purpose \"$(printf 'red \\033[31m \\342\\200\\256 back')\"");
    let page = env.prints("status");
    assert!(page.contains("red [31m  back"), "{page:?}");
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'));
}
