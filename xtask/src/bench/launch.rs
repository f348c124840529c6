//! A whole process, from its start to its end.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::sample::Took;

/// How to start a process. Its environment is what is named here, and where programs are.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    input: Option<PathBuf>,
}

impl Launch {
    /// A program without arguments in a directory.
    pub(crate) fn new(program: &Path, directory: &Path) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: directory.to_owned(),
            input: None,
        }
    }

    /// With further arguments.
    pub(crate) fn arguments<T: Into<OsString>>(
        mut self,
        more: impl IntoIterator<Item = T>,
    ) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// With a variable.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With a file as standard input.
    pub(crate) fn input(mut self, file: &Path) -> Self {
        self.input = Some(file.to_owned());
        self
    }

    /// The command, for those who want its output.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.directory).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(match &self.input {
            Some(file) => File::open(file).with_context(|| format!("`{}`", file.display()))?.into(),
            None => Stdio::null(),
        });
        Ok(command)
    }

    /// Runs it to its end, which must be a success, and answers how long it took.
    pub(crate) fn time(&self) -> Result<Took> {
        let mut command = self.command()?;
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        let (start, used) = (Instant::now(), used_by_children()?);
        let status = command.status().with_context(|| self.words())?;
        let wall = start.elapsed();
        ensure!(status.success(), "`{}` ended with {status}", self.words());
        Ok(Took { wall, processor: used_by_children()?.saturating_sub(used) })
    }

    /// Runs it to its end, which must be a success, and answers what it printed.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self.command()?.output().with_context(|| self.words())?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        let (words, complaint) = (self.words(), complaint.trim());
        ensure!(output.status.success(), "`{words}` ended with {}: {complaint}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// As one would type it.
    fn words(&self) -> String {
        let words = self.arguments.iter().map(|word| word.to_string_lossy());
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// Processor time of all processes that were started here and have ended.
fn used_by_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}
