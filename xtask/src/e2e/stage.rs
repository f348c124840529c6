//! What a case is given: a project, a home, a model and a client, all of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cotenant_testbed::Server;

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
pub(crate) struct Stage {
    pub(crate) api: Api,
    pub(crate) home: ClaudeHome,
    pub(crate) programs: Programs,
    pub(crate) project: PathBuf,
    pub(crate) dir: PathBuf,
    /// The server that the store is on, and its address there.
    server: Option<(Arc<Server>, String)>,
}

impl Stage {
    /// Makes a stage in an absent folder. `cotenant` is in its `PATH`; its store is on a server, or
    /// the project's own.
    pub(crate) fn new(
        dir: &Path,
        programs: &Programs,
        server: Option<&Arc<Server>>,
    ) -> Result<Self> {
        let (project, bin) = (dir.join("project"), dir.join("bin"));
        fs::create_dir_all(&project)?;
        fs::create_dir(&bin)?;
        symlink(&programs.cotenant, bin.join("cotenant"))?;
        let api = Api::start(Some(&dir.join("requests.jsonl")))?;
        let mut home = ClaudeHome::new(&dir.join("home"), &api, &[&project])?;
        home.prepend_path(&bin.canonicalize()?)?;
        let server = server.map(|server| (Arc::clone(server), server.project()));
        if let Some((_, address)) = &server {
            home.set_env("COTENANT_STORE", address);
        }
        fs::write(project.join("a.txt"), "hello\n")?;
        Ok(Self {
            api,
            home,
            programs: programs.clone(),
            project: project.canonicalize()?,
            dir: dir.canonicalize()?,
            server,
        })
    }

    /// Makes the store unusable, as a hand in the wrong place would. What is returned tells whether it
    /// still is as it was left.
    pub(crate) fn break_store(&self) -> Result<Box<dyn Fn() -> Result<bool> + '_>> {
        let Some((server, address)) = &self.server else {
            let file = self.project.join(".git/cotenant/store.db");
            let words = "this was a database";
            fs::write(&file, words).with_context(|| file.display().to_string())?;
            return Ok(Box::new(move || Ok(fs::read_to_string(&file)? == words)));
        };
        let project = address.rsplit_once("project=").context("an address without a project")?.1;
        let schema = format!("\"cotenant_{project}\"");
        server.client().batch_execute(&format!("ALTER TABLE {schema}.meta RENAME TO other"))?;
        Ok(Box::new(move || {
            let ask = format!("SELECT 1 FROM {schema}.other");
            Ok(server.client().simple_query(&ask).is_ok())
        }))
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
