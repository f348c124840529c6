//! Administration, interrupted at its failpoints: a backup is whole or absent, a restore has
//! happened or not, a migration likewise, and of many that migrate at once one does.

use std::process::ExitStatus;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use cotenant_store::SCHEMA;
use serde_json::{Value, json};

use super::lab::{Bench, Lab, Member};
use super::mixed::{NEXT_VERSION, schema_of};
use super::random::Random;
use super::report::Report;
use super::worker::{Request, Worker};

const SCOPE: &str = "admin";
const ACTIONS: [&str; 4] = ["kill", "panic", "eio", "enospc"];
/// Processes that migrate at once.
const MIGRATORS: usize = 6;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How often everything is tried.
    pub(crate) rounds: usize,
}

/// Interrupts administration.
pub(crate) fn run(bench: &Bench, seed: u64, size: Size) -> Report {
    let mut report = Report::begin("admin", seed);
    let outcome = storm(bench, seed, size, &mut report);
    report.end(outcome)
}

fn storm(bench: &Bench, seed: u64, size: Size, report: &mut Report) -> Result<()> {
    let mut counts = [0; 4];
    for round in 0..size.rounds {
        let mut random = Random::new(seed, round as u64);
        for action in ACTIONS {
            for point in ["backup.copied", "backup.verified"] {
                Stage::new(bench, &mut random)?.backup(point, action, report)?;
                counts[0] += 1;
            }
            Stage::new(bench, &mut random)?.restore(action, report)?;
            counts[1] += 1;
            for point in ["migrate.step(n)", "migrate.before_commit"] {
                Stage::new(bench, &mut random)?.migrate(point, action, report)?;
                counts[2] += 1;
            }
        }
        Stage::new(bench, &mut random)?.migrate_at_once(&mut random, report)?;
        counts[3] += 1;
    }
    report.fact("backups interrupted", counts[0]);
    report.fact("restores interrupted", counts[1]);
    report.fact("migrations interrupted", counts[2]);
    report.fact(&format!("migrations by {MIGRATORS} processes at once"), counts[3]);
    Ok(())
}

/// A store with one key.
struct Stage {
    lab: Lab,
    member: Member,
}

impl Stage {
    fn new(bench: &Bench, random: &mut Random) -> Result<Self> {
        let lab = Lab::new(bench, "admin")?;
        let member = lab.sign_on(1, random)?.pop().context("nobody signed on")?;
        let stage = Self { lab, member };
        let put = stage.put(1)?;
        ensure!(put["ok"] == true, "a put: {put}");
        Ok(stage)
    }

    fn ask(&self, request: &Request) -> Result<Value> {
        Worker::start(&self.lab, "worker", None)?.ask(request)
    }

    fn put(&self, value: i64) -> Result<Value> {
        let args = json!({"scope": SCOPE, "key": "k", "value": value});
        self.ask(&Request::new("data.put", args).by(&self.member))
    }

    fn value(&self) -> Result<Value> {
        let got = self.ask(&Request::new("data.get", json!({"scope": SCOPE, "key": "k"})))?;
        Ok(got["data"]["value"].clone())
    }

    /// Runs a command that a failpoint interrupts.
    fn interrupted(
        &self,
        arguments: &[&str],
        point: &str,
        action: &str,
        variables: &[(&str, &str)],
        report: &mut Report,
    ) -> Result<()> {
        let failpoint = format!("{point}={action}");
        let variables = [&[("COTENANT_FAILPOINT", failpoint.as_str())], variables].concat();
        let (status, said) = self.lab.call(arguments, &variables)?;
        report.expect(!status.success(), || format!("{failpoint} did not interrupt: {said}"));
        Ok(())
    }

    fn end(self, what: &str, report: &mut Report) -> Result<()> {
        let faults = self.lab.doctor()?;
        report.faults.extend(faults.into_iter().map(|fault| format!("{what}: {fault}")));
        if report.is_clean() {
            self.lab.clean();
        }
        Ok(())
    }

    fn backup(self, point: &str, action: &str, report: &mut Report) -> Result<()> {
        let what = format!("{point}={action}");
        let target = self.lab.file("backup.db");
        let path = target.to_str().context("a path that is not UTF-8")?;
        self.interrupted(&["backup", path], point, action, &[], report)?;
        report.expect(!target.exists(), || format!("{what} left half a backup"));
        let written = self.put(2)?;
        report.expect(written["ok"] == true, || format!("{what}, then a write: {written}"));
        let (status, said) = self.lab.call(&["backup", path], &[])?;
        report.expect(status.success(), || format!("{what}, then a backup: {said}"));
        let (schema, _) = schema_of(&target)?;
        report.expect(schema == SCHEMA, || format!("{what}, then a backup of schema {schema}"));
        let (status, said) = self.lab.call(&["backup", path], &[])?;
        let refused = !status.success() && said["error"]["code"] == "PATH_EXISTS";
        report.expect(refused, || format!("a backup to a file that exists: {said}"));
        self.end(&what, report)
    }

    fn restore(self, action: &str, report: &mut Report) -> Result<()> {
        let what = format!("restore.swapped={action}");
        let backup = self.lab.file("backup.db");
        let path = backup.to_str().context("a path that is not UTF-8")?;
        let (status, said) = self.lab.call(&["backup", path], &[])?;
        ensure!(status.success(), "a backup: {said}");
        self.put(2)?;
        let before = self.fence(&self.member)?;
        let restore = ["restore", path, "--yes"];
        self.interrupted(&restore, "restore.swapped", action, &[], report)?;
        let value = self.value()?;
        report.expect(value == 1 || value == 2, || format!("{what}: the key is {value}"));
        let (status, said) = self.lab.call(&restore, &[])?;
        report.expect(status.success(), || format!("{what}, then a restore: {said}"));
        let value = self.value()?;
        report.expect(value == 1, || format!("{what}, then a restore: the key is {value}"));
        let stale = self.put(3)?;
        let is_lost = stale["error"]["code"] == "SESSION_LOST";
        report.expect(is_lost, || format!("a session from before the restore: {stale}"));
        let member = self.lab.sign_on(1, &mut Random::new(1, 1))?.pop().context("nobody")?;
        let after = self.fence(&member)?;
        report.expect(after > before, || format!("{what}: fence {before}, then {after}"));
        self.end(&what, report)
    }

    /// The fence of a new grant.
    fn fence(&self, member: &Member) -> Result<i64> {
        let args = json!({"resource": "admin", "ttl_ms": 60_000});
        let granted = self.ask(&Request::new("lease.acquire", args).by(member))?;
        granted["data"]["fence"].as_i64().with_context(|| format!("a free lease: {granted}"))
    }

    fn migrate(self, point: &str, action: &str, report: &mut Report) -> Result<()> {
        let what = format!("{point}={action}");
        let migrate = ["doctor", "--migrate"];
        self.interrupted(&migrate, point, action, &[NEXT_VERSION], report)?;
        let written = self.put(2)?;
        report.expect(written["ok"] == true, || format!("{what}, then a write: {written}"));
        let (status, said) = self.lab.call(&migrate, &[NEXT_VERSION])?;
        report.expect(status.success(), || format!("{what}, then a migration: {said}"));
        self.is_migrated(&what, report)?;
        self.lab.clean();
        Ok(())
    }

    /// Many migrate at once, and some of them die of it.
    fn migrate_at_once(self, random: &mut Random, report: &mut Report) -> Result<()> {
        let points = ["migrate.step(n)=kill", "migrate.before_commit=kill", "none=kill"];
        let failpoints: Vec<&str> = (0..MIGRATORS).map(|_| *random.pick(&points)).collect();
        let called: Vec<Result<(ExitStatus, Value)>> = thread::scope(|scope| {
            let call = |failpoint: &'static str| {
                let lab = &self.lab;
                let variables = [NEXT_VERSION, ("COTENANT_FAILPOINT", failpoint)];
                scope.spawn(move || lab.call(&["doctor", "--migrate"], &variables))
            };
            let threads: Vec<_> = failpoints.iter().map(|failpoint| call(failpoint)).collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(|joined| joined.unwrap_or_else(|_| Err(anyhow!("panicked")))).collect()
        });
        for (called, failpoint) in called.into_iter().zip(failpoints) {
            let (status, said) = called?;
            let may_die = failpoint != "none=kill" && status.code().is_none();
            report.expect(status.success() || may_die, || format!("one of many: {said}"));
        }
        let (status, said) = self.lab.call(&["doctor", "--migrate"], &[NEXT_VERSION])?;
        report.expect(status.success(), || format!("after many migrations: {said}"));
        self.is_migrated("many at once", report)?;
        self.lab.clean();
        Ok(())
    }

    /// The store has the next schema, reached once, and the backup the one before.
    fn is_migrated(&self, what: &str, report: &mut Report) -> Result<()> {
        let (schema, migrations) = schema_of(&self.lab.store())?;
        let extra = migrations.matches("_extra:").count();
        report.expect((schema, extra) == (SCHEMA + 1, 1), || {
            format!("{what}: {schema} by {migrations}")
        });
        let backup = self.lab.store().with_extension(format!("schema-{SCHEMA}.db"));
        let (kept, _) = schema_of(&backup)?;
        report.expect(kept == SCHEMA, || format!("{what}: the backup has schema {kept}"));
        let refused = self.put(3)?;
        let is_newer = refused["error"]["code"] == "SCHEMA_NEWER";
        report.expect(is_newer, || format!("{what}, then an old program writes: {refused}"));
        Ok(())
    }
}
