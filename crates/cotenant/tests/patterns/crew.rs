//! Sessions that are processes: each signs on as itself and answers requests as long as it lives.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::Barrier,
    thread,
};

use serde_json::{Value, json};

use crate::{TestEnv, env::Ran};

/// A place for many at once. The gate is not fair: of 64 writers that never pause, on a busy machine,
/// one can wait for longer than the 5 s of the default.
pub(crate) fn place() -> TestEnv {
    TestEnv::new().with("COTENANT_BUSY_TIMEOUT", "10m")
}

/// A session and the process that it lives with.
pub(crate) struct Member {
    /// The session's name.
    pub(crate) name: String,
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Member {
    fn spawn(env: &TestEnv, name: &str) -> Self {
        let line =
            "cotenant sign-on \"$0\" --pid $$ >/dev/null && exec cotenant rpc --session \"$0\"";
        let mut command = env.command("sh");
        command.args(["-c", line, name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { name: name.to_owned(), process, requests, answers }
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a request and answers the envelope.
    #[track_caller]
    pub(crate) fn asks(&mut self, op: &str, args: &Value) -> Value {
        writeln!(self.requests, "{}", json!({"op": op, "args": args})).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{op} {args}: {error}: {line}"))
    }

    /// Sends a request that must succeed and answers its data.
    #[track_caller]
    pub(crate) fn does(&mut self, op: &str, args: &Value) -> Value {
        let mut envelope = self.asks(op, args);
        assert_eq!(envelope["ok"], true, "{} {op} {args}: {envelope}", self.name);
        envelope["data"].take()
    }

    /// Tries to claim an issue.
    #[track_caller]
    pub(crate) fn claims(&mut self, issue: &str) -> Value {
        self.asks("claim", &json!({"items": [{"kind": "issue", "name": issue}]}))
    }

    /// Kills the process, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // One that was killed already is no concern.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts as many sessions, all at once, named `s0`, `s1` and so on.
pub(crate) fn crew(env: &TestEnv, size: usize) -> Vec<Member> {
    let mut crew: Vec<Member> =
        (0..size).map(|number| Member::spawn(env, &format!("s{number}"))).collect();
    for member in &mut crew {
        member.does("session.heartbeat", &json!({}));
    }
    crew
}

/// Lets all members do something at the same time, and answers what each did.
pub(crate) fn at_once<T: Send>(
    crew: &mut [Member],
    work: impl Fn(usize, &mut Member) -> T + Sync,
) -> Vec<T> {
    let (start, work) = (&Barrier::new(crew.len()), &work);
    thread::scope(|scope| {
        let member = |(number, member)| {
            scope.spawn(move || {
                start.wait();
                work(number, member)
            })
        };
        let threads: Vec<_> = crew.iter_mut().enumerate().map(member).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Runs shell lines at the same time and answers how each ended.
pub(crate) fn lines_at_once(env: &TestEnv, lines: &[String]) -> Vec<Ran> {
    let start = &Barrier::new(lines.len());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for line in lines {
            threads.push(scope.spawn(move || {
                start.wait();
                env.shell(line)
            }));
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The log is whole, and as many events long as its last number says.
#[track_caller]
pub(crate) fn the_log_is_whole(env: &TestEnv) {
    let head = env.json("event head")["data"]["seq"].as_u64().unwrap();
    assert_eq!(env.prints("event verify"), format!("ok, {head} events\n"));
}
