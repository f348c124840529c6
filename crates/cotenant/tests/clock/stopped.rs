//! A writer that is stopped with the lock in its hands.

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::TestEnv;

/// Continues a stopped process even if the test fails.
struct Stopped(Child);

impl Stopped {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stopped_writer_is_named_and_all_goes_on_when_it_does() {
    let env = TestEnv::new();
    env.sign_on(&["alice", "bob"]);
    let mut command = env.command("cotenant");
    command
        .args(["data", "set", "s", "alice", "1", "--session", "alice"])
        .env("COTENANT_FAILPOINT", "txn.begun=stop")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut stopped = Stopped(command.spawn().unwrap());
    let (_, status) = waitpid(Some(stopped.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");

    let env = env.with("COTENANT_BUSY_TIMEOUT", "100ms");
    let refused = env.cotenant("data set s bob 1 --session bob");
    let pid = stopped.pid().as_raw_pid();
    assert_eq!((refused.exit, refused.stdout.as_str()), (75, ""), "{refused:?}");
    assert!(refused.stderr.contains(&format!("`kill -CONT {pid}`")), "{refused:?}");
    let refused = env.json("data set s bob 1 --session bob");
    assert_eq!(refused["error"]["code"], "BUSY");
    assert_eq!(refused["error"]["details"]["holder_pid"], pid);
    // Reads go on, and see nothing of the write that is under way.
    assert_eq!(env.cotenant("data get s alice").exit, 66);

    kill_process(stopped.pid(), Signal::CONT).unwrap();
    assert!(stopped.0.wait().unwrap().success());
    assert_eq!(env.prints("data set s bob 1 --session bob"), "rev 4\n");
    assert_eq!(env.prints("data get s alice"), "1\n");
    assert_eq!(env.prints("event verify"), "ok, 4 events\n");
}
