//! Where a storm happens: one store in a scratch directory, and the processes that work on it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cotenant_testbed::Server;
use serde_json::{Value, json};

use super::random::Random;
use super::report::Report;
use super::worker::{Request, Worker};
use crate::engine::Engine;
use crate::process::{self, Output};
use crate::work::Work;

/// How long a session of a storm lives by itself. It has no process, so that it outlives the
/// processes that act for it.
const SESSION_MS: u64 = 24 * 3_600_000;
/// How long a command may take that is not a worker.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);

/// What storms are made with.
#[derive(Clone)]
pub(crate) struct Bench {
    /// The program with failpoints and planted bugs.
    pub(crate) binary: PathBuf,
    /// Where scratch directories and results go.
    pub(crate) folder: PathBuf,
    /// The planted bug that is switched on.
    pub(crate) mutant: Option<&'static str>,
    /// The server that the stores are on; they are files without one.
    pub(crate) server: Option<Arc<Server>>,
}

impl Bench {
    /// Builds the program.
    pub(crate) fn build(work: &Work) -> Result<Self> {
        let target = work.target.join("testing");
        let mut cargo = work.cargo(&["build", "--quiet", "--locked", "--package", "cotenant"]);
        cargo.args(["--features", "testing", "--target-dir"]).arg(&target);
        let status = cargo.status().context("cannot start cargo")?;
        ensure!(status.success(), "the program with failpoints does not build");
        let folder = work.target.join("storm");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            binary: target.join("debug").join("cotenant"),
            folder,
            mutant: None,
            server: None,
        })
    }

    /// The same over a database.
    pub(crate) fn on(self, engine: Engine) -> Result<Self> {
        Ok(Self { server: engine.server()?, ..self })
    }

    /// The same with a planted bug.
    pub(crate) fn with_mutant(&self, mutant: &'static str) -> Self {
        Self { mutant: Some(mutant), ..self.clone() }
    }
}

/// A session of a storm, with the secret that lets any process act for it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its token.
    pub(crate) token: String,
}

impl Member {
    /// The session with this number, with a secret of its own.
    pub(crate) fn drawn(index: usize, random: &mut Random) -> Self {
        let token = format!("{:016x}{:016x}", random.below(u64::MAX), random.below(u64::MAX));
        Self { name: format!("s{index}"), token }
    }
}

/// How fast time goes: a store that machines share grants nothing for less than a minute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long the leases last that shall expire.
    pub(crate) brief_ms: i64,
    /// How far the clock jumps at most.
    pub(crate) step: Duration,
}

/// What signs a session on.
pub(crate) fn sign_on_args(member: &Member) -> Value {
    json!({
        "kind": "agent", "name": member.name, "ttl_ms": SESSION_MS, "user": "storm",
        "token_digest": digest(&member.token),
    })
}

/// One store and what is needed to work on it.
#[derive(Clone)]
pub(crate) struct Lab {
    bench: Bench,
    directory: PathBuf,
    /// Variables of every worker, besides the usual ones.
    extra: Vec<(String, OsString)>,
    /// What a worker is started by, with its arguments.
    wrapper: Vec<OsString>,
    /// The store's address, if it is on a server.
    address: Option<String>,
}

impl Lab {
    /// A fresh scratch directory.
    pub(crate) fn new(bench: &Bench, name: &str) -> Result<Self> {
        let mutant = bench.mutant.map(|mutant| format!("-{mutant}")).unwrap_or_default();
        let directory =
            bench.folder.join("scratch").join(format!("{}-{name}{mutant}", std::process::id()));
        Self::at(bench, directory)
    }

    /// A fresh directory of this path.
    pub(crate) fn at(bench: &Bench, directory: PathBuf) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory.join("store"))?;
        let (extra, wrapper) = (Vec::new(), Vec::new());
        let address = bench.server.as_ref().map(|server| server.project());
        Ok(Self { bench: bench.clone(), directory, extra, wrapper, address })
    }

    /// The same store for workers with more variables.
    pub(crate) fn with(&self, variables: &[(&str, OsString)]) -> Self {
        let mut lab = self.clone();
        lab.extra.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        lab
    }

    /// The same store for workers that another program starts.
    pub(crate) fn under(&self, wrapper: &[OsString]) -> Self {
        Self { wrapper: wrapper.to_vec(), ..self.clone() }
    }

    /// A store at this address, with the same files besides.
    pub(crate) fn over(self, address: Option<String>) -> Self {
        Self { address, ..self }
    }

    /// The same store for workers whose clock runs ahead by what [`Self::set_clock`] says.
    pub(crate) fn with_clock(&self) -> Self {
        self.with(&[("COTENANT_CLOCK_AHEAD", self.file("clock").into())])
    }

    /// Sets how far the store's clock runs ahead.
    pub(crate) fn set_clock(&self, ahead_ms: i64) -> Result<()> {
        // Replaced at once, so that no process reads half a number.
        let draft = self.file("clock-draft");
        fs::write(&draft, ahead_ms.to_string())?;
        Ok(fs::rename(draft, self.file("clock"))?)
    }

    /// A file of this storm.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// How fast time goes in a history.
    pub(crate) fn pace(&self) -> Pace {
        match self.address {
            None => Pace { brief_ms: 5_000, step: Duration::from_secs(3) },
            Some(_) => Pace { brief_ms: 60_000, step: Duration::from_secs(12) },
        }
    }

    /// The database.
    pub(crate) fn store(&self) -> PathBuf {
        self.directory.join("store").join("store.db")
    }

    /// The database, unless it is on a server.
    pub(crate) fn file_of_store(&self) -> Option<PathBuf> {
        self.address.is_none().then(|| self.store())
    }

    /// A call of the program, knowing nothing but this store.
    fn command(&self) -> Command {
        self.dressed(Command::new(&self.bench.binary))
    }

    /// A program that knows nothing but this place.
    fn dressed(&self, mut command: Command) -> Command {
        command.current_dir(&self.directory).env_clear().env("HOME", &self.directory);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        match &self.address {
            Some(address) => command.env("COTENANT_STORE", address),
            None => command.env("COTENANT_STORE", self.store()),
        };
        command
    }

    /// A program in this place, with the variables of its workers.
    pub(crate) fn with_variables(&self, program: &OsStr) -> Command {
        let mut command = self.dressed(Command::new(program));
        command.envs(self.extra.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The program under test.
    pub(crate) fn binary(&self) -> &Path {
        &self.bench.binary
    }

    /// A call of a worker, which may have a planted bug and a strange clock.
    pub(crate) fn worker_command(&self, stage: &Path) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => self.command(),
            Some((program, arguments)) => {
                let mut command = self.dressed(Command::new(program));
                command.args(arguments).arg("--").arg(&self.bench.binary);
                command
            }
        };
        command.arg("rpc").env("COTENANT_STAGE", stage);
        command.envs(self.extra.iter().map(|(name, value)| (name, value)));
        if let Some(mutant) = self.bench.mutant {
            command.env("COTENANT_MUTANT", mutant);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Signs sessions on through one worker, which also makes the store.
    pub(crate) fn sign_on(&self, count: usize, random: &mut Random) -> Result<Vec<Member>> {
        let mut worker = Worker::start(self, "setup", None)?;
        let mut members = Vec::with_capacity(count);
        for index in 0..count {
            let member = Member::drawn(index, random);
            let request = Request::new("session.sign_on", sign_on_args(&member));
            let answer = worker.ask(&request)?;
            ensure!(answer["ok"] == true, "cannot sign on: {answer}");
            members.push(member);
        }
        Ok(members)
    }

    /// Runs a command to its end. Answers how it ended and its envelope; what is no envelope is
    /// answered as text.
    pub(crate) fn call(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<(ExitStatus, Value)> {
        let mut command = self.command();
        command.arg("--json").args(arguments).envs(variables.iter().copied());
        let Output { status, stdout, stderr } = process::run(&mut command, COMMAND_TIMEOUT)?;
        let envelope = serde_json::from_str(stdout.trim())
            .or_else(|_| serde_json::from_str(stderr.trim()))
            .unwrap_or_else(|_| json!(format!("{status}: {stdout}{stderr}")));
        Ok((status, envelope))
    }

    /// The end of a storm: the store is as it should be, and nothing is left behind of one that was clean.
    pub(crate) fn end(&self, report: &mut Report) -> Result<()> {
        report.faults.extend(self.doctor()?);
        if report.is_clean() {
            self.clean();
        }
        Ok(())
    }

    /// What `doctor --deep` finds wrong, with a program that is sound.
    pub(crate) fn doctor(&self) -> Result<Vec<String>> {
        self.doctor_with(&[])
    }

    /// The same with more variables.
    pub(crate) fn doctor_with(&self, variables: &[(&str, &str)]) -> Result<Vec<String>> {
        let (_, envelope) = self.call(&["doctor", "--deep"], variables)?;
        let findings = match &envelope["data"] {
            Value::Array(findings) => findings.clone(),
            _ => envelope["error"]["details"]["findings"].as_array().cloned().unwrap_or_default(),
        };
        if findings.is_empty() {
            bail!("doctor found nothing at all: {envelope}");
        }
        let bad = findings.iter().filter(|finding| finding["severity"] == "bad");
        Ok(bad
            .map(|finding| format!("doctor: {}: {}", finding["check"], finding["found"]))
            .collect())
    }

    /// Removes the scratch directory. It stays if a storm ends before this.
    pub(crate) fn clean(&self) {
        // What cannot be removed is in nobody's way.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What the store learns of a token.
pub(crate) fn digest(token: &str) -> String {
    use std::fmt::Write as _;

    use sha2::{Digest as _, Sha256};
    Sha256::digest(token.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
