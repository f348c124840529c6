//! What a case is given: a project, a home, a model and a client, all of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::e2e::api::Api;
use crate::e2e::claude::Claude;
use crate::e2e::home::ClaudeHome;

/// How long a turn may take on a busy machine.
pub(crate) const TURN: Duration = Duration::from_mins(3);

/// What a case shows, and how: it fails, or shows it.
pub(crate) type Case = (&'static str, fn(&Stage) -> Result<()>);

/// The programs that cases run.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The client of the case.
    pub(crate) client: PathBuf,
    /// The client whose MCP handshake is `initialize`.
    pub(crate) handshake: PathBuf,
    /// The client that tries the stateless `server/discover` first.
    pub(crate) stateless: PathBuf,
    /// The program under test.
    pub(crate) cotenant: PathBuf,
    /// The marketplace with its plugin.
    pub(crate) plugin: PathBuf,
}

/// The surroundings of one case.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) api: Api,
    pub(crate) home: ClaudeHome,
    pub(crate) programs: Programs,
    pub(crate) project: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Stage {
    /// Makes a stage in an absent folder. `cotenant` is in its `PATH`.
    pub(crate) fn new(dir: &Path, programs: &Programs) -> Result<Self> {
        let (project, bin) = (dir.join("project"), dir.join("bin"));
        fs::create_dir_all(&project)?;
        fs::create_dir(&bin)?;
        symlink(&programs.cotenant, bin.join("cotenant"))?;
        let api = Api::start(Some(&dir.join("requests.jsonl")))?;
        let mut home = ClaudeHome::new(&dir.join("home"), &api, &[&project])?;
        home.prepend_path(&bin.canonicalize()?)?;
        fs::write(project.join("a.txt"), "hello\n")?;
        Ok(Self {
            api,
            home,
            programs: programs.clone(),
            project: project.canonicalize()?,
            dir: dir.canonicalize()?,
        })
    }

    /// Fails if the client spoke to anything but the scripted model.
    pub(crate) fn require_no_strays(&self) -> Result<()> {
        let strays = self.api.strays();
        ensure!(strays.is_empty(), "something else was asked for: {}", strays.join(", "));
        Ok(())
    }

    /// The client, in the project.
    pub(crate) fn claude(&self) -> Claude<'_> {
        self.claude_in(&self.project)
    }

    /// The client, in another folder.
    pub(crate) fn claude_in(&self, folder: &Path) -> Claude<'_> {
        Claude::new(&self.programs.client, &self.home, folder)
    }
}
