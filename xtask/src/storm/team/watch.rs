//! A watcher: `cotenant event watch` on a machine of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::lab::{Bench, Lab};
use super::super::worker::PATIENCE;
use super::user::machine;
use crate::process::Group;

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// How many events.
    pub(super) events: i64,
    /// How many were left out.
    pub(super) missed: i64,
    last: i64,
}

/// A watcher.
pub(super) struct Watcher {
    seqs: Receiver<i64>,
    seen: Seen,
    _group: Group,
    _lab: Lab,
}

impl Watcher {
    /// Starts to watch, from the first event on.
    pub(super) fn start(bench: &Bench, number: usize, address: &str) -> Result<Self> {
        let lab = machine(bench, &format!("watcher-{number}"), address)?;
        let mut command = lab.with_variables(lab.binary().as_os_str());
        command.args(["--json", "event", "watch", "--after", "start"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command)?;
        let output = group.child().stdout.take().context("a watcher without stdout")?;
        Ok(Self { seqs: listen(output), seen: Seen::default(), _group: group, _lab: lab })
    }

    /// What it has seen when it has seen an event, or all before it.
    pub(super) fn up_to(&mut self, seq: i64) -> Result<Seen> {
        while self.seen.last < seq {
            let Ok(next) = self.seqs.recv_timeout(PATIENCE) else {
                bail!("a watcher got to {} of {seq}", self.seen.last);
            };
            self.seen.missed += (next - self.seen.last - 1).abs();
            self.seen.events += 1;
            self.seen.last = next;
        }
        Ok(self.seen)
    }
}

/// The numbers of the events in what it prints.
fn listen(output: ChildStdout) -> Receiver<i64> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            let Ok(envelope) = serde_json::from_str::<Value>(&line) else { return };
            for event in envelope["data"]["events"].as_array().into_iter().flatten() {
                if sender.send(event["seq"].as_i64().unwrap_or_default()).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}
