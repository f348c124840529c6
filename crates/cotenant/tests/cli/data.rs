//! `cotenant data` and `cotenant scope`.

use crate::TestEnv;

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.sign_on(&["a", "b"]);
    env.with("COTENANT_SESSION", "a")
}

#[test]
fn a_value_comes_back_byte_for_byte() {
    let env = env();
    assert_eq!(env.prints("data set build state '{\"b\" : 1.0,\"a\":[]}'"), "rev 3\n");
    assert_eq!(env.prints("data get build state"), "{\"b\" : 1.0,\"a\":[]}\n");
    env.prints("data set build note --string 'two\nlines \"quoted\"'");
    assert_eq!(env.prints("data get build note"), "\"two\\nlines \\\"quoted\\\"\"\n");
    assert_eq!(env.prints("data get build note --raw"), "two\nlines \"quoted\"\n");
    env.shell("printf '[1,2]\\n' | cotenant data set build list -");
    assert_eq!(env.prints("data get build list"), "[1,2]\n");
}

#[test]
fn plain_text_is_not_guessed_to_be_a_string() {
    env().shows(
        "data set build color green",
        "
        error: the value is not valid JSON: expected value at line 1 column 1
        hint: plain text goes with `--string TEXT`, or in quotes: '\"text\"'
        [exit 64]
        ",
    );
}

#[test]
fn reading_where_nothing_is_makes_nothing() {
    let env = TestEnv::new();
    env.shows(
        "data get build color",
        "
        error: there is no store at `TOP/.git/cotenant/store.db`
        hint: make one with `cotenant init`
        [exit 66]
        ",
    );
    assert!(!env.top().join(".git/cotenant").exists());
    env.sign_on(&["a"]);
    assert_eq!(env.cotenant("data get build color").exit, 66);
}

#[test]
fn a_write_expects_the_rev_it_was_told() {
    let env = env();
    env.prints("data set build lock true --expect 0");
    let ran = env.cotenant("data set build lock true --expect 0");
    assert_eq!(ran.exit, 65);
    let envelope = env.json("data set build lock true --expect 0");
    assert_eq!(envelope["error"]["code"], "REV_MISMATCH");
    assert_eq!(envelope["error"]["details"]["rev"], 3);
    env.prints("data set build lock false --expect 3");
}

#[test]
fn updates_tell_the_new_number_and_length() {
    let env = env();
    assert_eq!(env.prints("data update n count --add 5"), "5\n");
    assert_eq!(env.prints("data update n count --add -7"), "-2\n");
    assert_eq!(env.prints("data update n log --append '\"x\"'"), "1\n");
    assert_eq!(env.prints("data update n log --append 2 --keep 1"), "1\n");
    assert_eq!(env.prints("data get n log"), "[2]\n");
    env.prints("data update n state --merge '{\"a\":1,\"b\":2}'");
    env.prints("data update n state --merge '{\"b\":null}'");
    assert_eq!(env.prints("data get n state"), "{\"a\":1}\n");
    assert_eq!(env.cotenant("data update n state --add 1").exit, 64);
    assert_eq!(env.cotenant("data update n state").exit, 64);
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let env = env();
    env.prints("data set t k 1");
    let transaction = |rev: u32| {
        env.shell(&format!(
            "echo '{{\"compares\":[{{\"scope\":\"t\",\"key\":\"k\",\"rev\":{rev}}}],\"ops\":[\
             {{\"put\":{{\"scope\":\"t\",\"key\":\"x\",\"value\":7}}}},\
             {{\"delete\":{{\"scope\":\"t\",\"key\":\"k\"}}}}]}}' | cotenant data txn -"
        ))
    };
    assert_eq!(transaction(2).exit, 65);
    assert_eq!(env.cotenant("data get t x").exit, 66);
    let done = transaction(3);
    assert_eq!((done.exit, done.stdout.as_str()), (0, "rev 4\ndeleted\n"));
    assert_eq!(env.prints("data get t x"), "7\n");
}

#[test]
fn keys_and_scopes_are_listed_and_deleted_exactly() {
    let env = env();
    for scope in ["issue:1", "issue:15", "issue:1/notes"] {
        env.prints(&format!("data set {scope} owner --string a"));
    }
    env.shows(
        "data list issue:1",
        "
        SCOPE  KEY  REV  WRITER  WRITTEN  VALUE
        issue:1  owner  3  a  TIME ago  \"a\"
        ",
    );
    assert_eq!(
        env.json("data list issue: --prefix")["data"]["entries"].as_array().unwrap().len(),
        3
    );
    assert_eq!(env.prints("scope list"), "issue:1\nissue:1/notes\nissue:15\n");
    assert_eq!(env.prints("scope list 'issue:1*'").lines().count(), 3);
    assert_eq!(env.prints("scope delete issue:1"), "deleted 1 key\n");
    assert_eq!(env.prints("scope list"), "issue:1/notes\nissue:15\n");
    assert_eq!(env.prints("scope delete issue:1"), "there was nothing to delete\n");
    assert_eq!(env.cotenant("scope delete issue:1 --recursive --expect-count 5").exit, 65);
    assert_eq!(env.prints("scope delete issue:1 --recursive"), "deleted 1 key\n");
    assert_eq!(env.prints("data delete issue:15 owner"), "deleted\n");
    assert_eq!(env.prints("data delete issue:15 owner"), "there was none\n");
}

#[test]
fn conventional_keys_tell_what_operations_did() {
    let env = env();
    env.prints("claim issue:15");
    assert_eq!(env.prints("data get issue:15 claimed_by"), "\"a\"\n");
    assert_eq!(env.prints("data get session:a current_issue"), "15\n");
    assert_eq!(env.prints("scope list 'issue:*'"), "issue:15\n");
    let kept = "there was none\nit tells of a, who goes on\n";
    assert_eq!(env.prints("data delete issue:15 claimed_by"), kept);
    let kept = "there was nothing to delete\nit tells of a, who goes on\n";
    assert_eq!(env.prints("scope delete session:a"), kept);
    assert_eq!(env.prints("data get issue:15 claimed_by"), "\"a\"\n");
}

#[test]
fn pages_are_followed_to_the_end() {
    let env = env();
    let put = |n: u32| {
        format!(
            "{{\"op\":\"data.put\",\"args\":{{\"scope\":\"s{n:04}\",\"key\":\"k\",\"value\":{n}}}}}"
        )
    };
    let requests: Vec<String> = (0..1_205).map(put).collect();
    std::fs::write(env.top().join("requests"), requests.join("\n")).unwrap();
    assert_eq!(env.shell("cotenant rpc < requests | grep -c '\"ok\":true'").stdout, "1205\n");
    assert_eq!(env.prints("scope list").lines().count(), 1_205);
    assert_eq!(env.prints("data list").lines().count(), 1_206);
    let page = env.json("data list --limit 3");
    assert_eq!(page["data"]["entries"].as_array().unwrap().len(), 3);
    assert_eq!(page["data"]["next"], serde_json::json!(["s0002", "k"]));
}
