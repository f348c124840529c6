//! What the commands that carry a store share.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    time::{Duration, Instant},
};

use cotenant_core::{Code, Error, Result};
use cotenant_store::{
    Location,
    transfer::{Progress, Step},
};

use crate::{config, env, project::Project, token};

/// What is done sooner is not talked about.
const QUIET: Duration = Duration::from_secs(1);
/// How often the line is written anew.
const PAUSE: Duration = Duration::from_millis(200);

/// What the project is called, if it has a name.
pub(super) fn name(project: &Project) -> Result<Option<String>> {
    match &project.store {
        Location::Server(address) => Ok(Some(address.project().to_owned())),
        Location::File(_) => config::project_name(&project.root),
    }
}

/// A file without a name, for what comes from or goes to a pipe: whoever is at its other end may be slow,
/// and a snapshot must not wait.
pub(super) fn spool() -> Result<File> {
    let path = env::scratch_directory().join(format!("cotenant-{}", token::request_id()?));
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| failed(&format!("cannot make `{}`", path.display()), error))?;
    std::fs::remove_file(&path)
        .map_err(|error| failed(&format!("cannot remove `{}`", path.display()), error))?;
    Ok(file)
}

/// Goes back to the beginning.
pub(super) fn rewind(spool: &mut File) -> io::Result<()> {
    spool.rewind()
}

/// A failure of the machine.
pub(super) fn failed(what: &str, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull => Code::StoreFull,
        _ => Code::StoreIo,
    };
    Error::new(code, format!("{what}: {error}")).caused_by(error)
}

/// Shows a person at a terminal how far something is that takes long.
pub(super) struct Meter {
    began: Instant,
    shown: Option<Instant>,
    is_wanted: bool,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), shown: None, is_wanted: io::stderr().is_terminal() }
    }

    /// Shows how far a store is that is carried, if it is time.
    pub(super) fn show(&mut self, progress: Progress) {
        let Progress { done, rows, step } = progress;
        if rows == 0 {
            return;
        }
        let what = match step {
            Step::Checking => "checked",
            _ => "copied",
        };
        self.say(|| format!("{what} {done} of {rows} rows"));
    }

    /// Shows a text of our own, if it is time.
    pub(super) fn say(&mut self, text: impl FnOnce() -> String) {
        let is_early =
            self.began.elapsed() < QUIET || self.shown.is_some_and(|shown| shown.elapsed() < PAUSE);
        if !self.is_wanted || is_early {
            return;
        }
        let _ = write!(io::stderr(), "\r{}\u{1b}[K", text());
        self.shown = Some(Instant::now());
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// What follows, such as an error, begins on a clean line.
impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}
