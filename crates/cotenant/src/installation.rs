//! What `init` and `uninit` share: whose settings they change, how agents start this program, and
//! the record by which the one undoes the other.
//!
//! Each work tree has a record of its own, beside the store that all of them share: undoing one
//! installation leaves the others alone. The record of an installation for all projects is among
//! the user's own files.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use cotenant_core::{Code, Error, Result, event::sha256_hex};

use crate::{
    context::Context,
    env,
    project::Project,
    settings::{
        self, Agent, FileChange, Inputs, Installation, Plan, Program, Record, Removal, Scope,
        SettingsError,
    },
};

/// The name of this program, as agents call it.
const NAME: &str = "cotenant";
const RECORD: &str = "init.json";

/// An installation: whose, and started how.
pub(crate) struct Site {
    scope: Scope,
    project_dir: PathBuf,
    home: PathBuf,
    claude_config_dir: Option<PathBuf>,
    codex_home: Option<PathBuf>,
    /// This program.
    program: PathBuf,
    /// Whether agents find it by its name.
    on_path: bool,
    record_file: PathBuf,
}

impl Site {
    /// The installation that a command is about.
    pub(crate) fn find(context: &Context, scope: Scope) -> Result<Self> {
        let project = context.project()?;
        let home = env::path(env::HOME).filter(|home| home.is_absolute()).ok_or_else(|| {
            Error::invalid("there is no home directory").hint("set HOME to yours")
        })?;
        let program = env::program().and_then(fs::canonicalize).map_err(|error| {
            Error::invalid(format!("this program has no path: {error}"))
                .hint("it was moved or replaced since it was started; run it again")
                .caused_by(error)
        })?;
        let record_file = match scope {
            Scope::Global => state_directory(&home).join(RECORD),
            Scope::Project => project_record(project),
        };
        Ok(Self {
            scope,
            project_dir: project.root.clone(),
            claude_config_dir: env::path(env::CLAUDE_CONFIG),
            codex_home: env::path(env::CODEX_HOME),
            on_path: env::find_program(NAME).is_some_and(|found| found == program),
            home,
            program,
            record_file,
        })
    }

    /// Whose settings it is about.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// The program, unless agents find it by its name.
    pub(crate) fn program_off_path(&self) -> Option<&Path> {
        (!self.on_path).then_some(self.program.as_path())
    }

    /// A path as people like to read it: from the project's directory where it is below that.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let path = match (path.strip_prefix(&self.project_dir), path.strip_prefix(&self.home)) {
            (Ok(below), _) if self.scope == Scope::Project => below.display().to_string(),
            (_, Ok(below)) => format!("~/{}", below.display()),
            _ => path.display().to_string(),
        };
        cotenant_core::render::for_terminal(&path)
    }

    /// Whether Codex is used here.
    pub(crate) fn has_codex(&self) -> bool {
        match self.scope {
            Scope::Project => self.project_dir.join(".codex").is_dir(),
            Scope::Global => {
                self.codex_home.clone().unwrap_or_else(|| self.home.join(".codex")).is_dir()
            }
        }
    }

    /// Whether an agent has everything from its user's settings already.
    pub(crate) fn is_installed_for_all(&self, agent: Agent) -> bool {
        let programs = [Program::OnPath, Program::At(self.program.clone())];
        programs.into_iter().any(|program| {
            let plan = Plan::new(&self.inputs(Scope::Global, program, &[agent]));
            let changes =
                plan.and_then(|plan| settings::apply(&plan, &settings::read(&plan.paths())?));
            changes.is_ok_and(|changes| changes.is_empty())
        })
    }

    /// Prepares an installation for some agents. Writes nothing.
    pub(crate) fn prepare(&self, agents: &[Agent]) -> Result<Prepared> {
        let (plan, other) = self.plans(agents)?;
        let saved = self.load()?;
        let record = saved.as_ref().map(|saved| &saved.record);
        let paths = settings::paths(&plan, other.as_ref(), record);
        let current = settings::read(&paths)?;
        let installation = settings::install(&plan, other.as_ref(), record, &current)?;
        Ok(Prepared { installation, saved: saved.map(|saved| saved.bytes) })
    }

    /// Saves the record and makes the changes. If they fail, the earlier record comes back.
    pub(crate) fn write(&self, prepared: &Prepared) -> Result<()> {
        let Installation { changes, record, dirs } = &prepared.installation;
        if changes.is_empty() {
            return Ok(());
        }
        let save = FileChange {
            path: self.record_file.clone(),
            before: prepared.saved.clone(),
            after: Some(record.to_bytes()),
            private: true,
        };
        settings::write_atomic(&save)?;
        match settings::write_all(changes) {
            Ok(()) => {}
            // Some files keep the new content, and only the new record knows them.
            Err(error @ SettingsError::NotRolledBack { .. }) => return Err(error.into()),
            Err(error) => {
                let undo = FileChange { before: save.after, after: save.before, ..save };
                // A record of an edit that was not made does no harm.
                let _ = settings::write_atomic(&undo);
                return Err(error.into());
            }
        }
        settings::remove_dirs(dirs)?;
        Ok(())
    }

    /// Finds out what to take out. Writes nothing.
    pub(crate) fn prepare_removal(&self) -> Result<PreparedRemoval> {
        let saved = self.load()?;
        let known = saved.as_ref().map_or_else(Record::default, |saved| saved.record.clone());
        let paths: Vec<PathBuf> = known.files.keys().cloned().collect();
        let mut removal = settings::remove(&known, &settings::read(&paths)?)?;
        let mut unread = Vec::new();
        // Entries that came otherwise, e.g. with somebody else's commit.
        let mut assumed = self.assumed()?;
        assumed.files.retain(|path, _| !known.files.contains_key(path));
        for (path, file) in assumed.files {
            let mut record = Record::default();
            record.files.insert(path.clone(), file);
            let found = settings::read(std::slice::from_ref(&path));
            match found.and_then(|found| settings::remove(&record, &found)) {
                Ok(found) => {
                    removal.changes.extend(found.changes);
                    removal.outcomes.extend(found.outcomes);
                }
                // Nothing says that it holds anything of ours, so it does not stop the rest.
                Err(error) => unread.push((path, error)),
            }
        }
        Ok(PreparedRemoval { removal, unread, saved: saved.map(|saved| saved.bytes) })
    }

    /// Makes the changes of a removal and forgets the record.
    pub(crate) fn remove(&self, prepared: &PreparedRemoval) -> Result<()> {
        settings::write_all(&prepared.removal.changes)?;
        settings::remove_dirs(&prepared.removal.dirs)?;
        if prepared.saved.is_some() {
            let forget = FileChange {
                path: self.record_file.clone(),
                before: prepared.saved.clone(),
                after: None,
                private: true,
            };
            settings::write_atomic(&forget)?;
        }
        Ok(())
    }

    fn inputs(&self, scope: Scope, program: Program, agents: &[Agent]) -> Inputs {
        Inputs {
            program,
            project_dir: self.project_dir.clone(),
            home: self.home.clone(),
            claude_config_dir: self.claude_config_dir.clone(),
            codex_home: self.codex_home.clone(),
            scope,
            agents: agents.to_vec(),
        }
    }

    /// The plan for the way that agents start this program, and that for the other way.
    fn plans(&self, agents: &[Agent]) -> Result<(Plan, Option<Plan>)> {
        let at = Program::At(self.program.clone());
        let (this, other) =
            if self.on_path { (Program::OnPath, at) } else { (at, Program::OnPath) };
        let plan = Plan::new(&self.inputs(self.scope, this, agents))?;
        // Codex knows one way only, which must not hide those of Claude.
        let other = Plan::new(&self.inputs(self.scope, other.clone(), agents))
            .or_else(|_| Plan::new(&self.inputs(self.scope, other, &[Agent::Claude])));
        Ok((plan, other.ok()))
    }

    /// A record of everything that could be here, for all agents, started in all ways.
    fn assumed(&self) -> Result<Record> {
        let at = Program::At(self.program.clone());
        let mut all = Plan::new(&self.inputs(self.scope, at, &[Agent::Claude]))?;
        let agents = [Agent::Claude, Agent::Codex];
        for file in Plan::new(&self.inputs(self.scope, Program::OnPath, &agents))?.files {
            match all.files.iter_mut().find(|known| known.path == file.path) {
                Some(known) => known.entries.extend(file.entries),
                None => all.files.push(file),
            }
        }
        Ok(Record::assumed(&all))
    }

    fn load(&self) -> Result<Option<Saved>> {
        let found = settings::read(std::slice::from_ref(&self.record_file))?;
        let Some(bytes) = found.bytes(&self.record_file) else { return Ok(None) };
        let record = Record::from_bytes(bytes).map_err(|error| {
            let error = Error::from(error);
            let hint = error.hint.clone().unwrap_or_default();
            let file = self.record_file.display().to_string();
            error.hint(format!("{hint}; it is `{file}`")).detail("path", file)
        })?;
        Ok(Some(Saved { bytes: bytes.to_vec(), record }))
    }
}

/// A record as it lies on disk.
struct Saved {
    bytes: Vec<u8>,
    record: Record,
}

/// An installation that can be written.
#[derive(Default)]
pub(crate) struct Prepared {
    installation: Installation,
    saved: Option<Vec<u8>>,
}

impl Prepared {
    /// What would change.
    pub(crate) fn changes(&self) -> &[FileChange] {
        &self.installation.changes
    }
}

/// A removal that can be carried out.
pub(crate) struct PreparedRemoval {
    /// What would change, and what becomes of each file.
    pub(crate) removal: Removal,
    /// The files that may hold something of ours and cannot be read.
    pub(crate) unread: Vec<(PathBuf, SettingsError)>,
    saved: Option<Vec<u8>>,
}

/// Where a project's record lies: `init.json` beside the store, and another name where more than
/// one directory has its record there.
fn project_record(project: &Project) -> PathBuf {
    let directory = if project.store.file().is_some() { &project.home } else { &project.own };
    let alone = project.git_dir == project.common_dir && *directory == project.own;
    if alone {
        return directory.join(RECORD);
    }
    let digest = sha256_hex(&project.root.to_string_lossy());
    directory.join(format!("init-{}.json", &digest[..16]))
}

fn state_directory(home: &Path) -> PathBuf {
    // The specification says to ignore other paths than absolute ones.
    let state = env::path(env::XDG_STATE_HOME).filter(|path| path.is_absolute());
    state.unwrap_or_else(|| home.join(".local/state")).join(NAME)
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        let code = match &error {
            SettingsError::RecordVersion { .. } => Code::SchemaNewer,
            SettingsError::ChangedMeanwhile { .. } => Code::RevMismatch,
            SettingsError::NotRolledBack { .. } => Code::StoreIo,
            SettingsError::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::StoreFull,
                ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Code::StoreReadonly,
                _ => Code::StoreIo,
            },
            _ => Code::Invalid,
        };
        let mut told = Self::new(code, error.to_string()).hint(error.hint());
        if let Some((path, line, column)) = error.position() {
            told = told.detail("path", path).detail("line", line).detail("column", column);
        }
        told.caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use cotenant_store::Location;

    use super::*;

    fn site(directory: &Path) -> Site {
        Site {
            scope: Scope::Project,
            project_dir: directory.join("project"),
            home: directory.join("home"),
            claude_config_dir: None,
            codex_home: None,
            program: "/opt/cotenant".into(),
            on_path: true,
            record_file: directory.join("store/init.json"),
        }
    }

    /// A file that was not there when the changes were prepared stops the last of them.
    fn refused(site: &Site, agents: &[Agent]) -> Error {
        let prepared = site.prepare(agents).unwrap();
        let last = prepared.changes().last().unwrap().path.clone();
        fs::create_dir_all(last.parent().unwrap()).unwrap();
        fs::write(&last, "{}").unwrap();
        site.write(&prepared).unwrap_err()
    }

    #[test]
    fn a_failed_write_leaves_the_record_of_before() {
        let scratch = tempfile::tempdir().unwrap();
        let site = site(scratch.path());
        assert_eq!(refused(&site, &[Agent::Claude]).code, Code::RevMismatch);
        assert!(!site.record_file.exists());
        assert!(!site.project_dir.join(".mcp.json").exists());

        site.write(&site.prepare(&[Agent::Claude]).unwrap()).unwrap();
        let before = fs::read(&site.record_file).unwrap();
        assert_eq!(refused(&site, &[Agent::Codex]).code, Code::RevMismatch);
        assert_eq!(fs::read(&site.record_file).unwrap(), before);
        assert!(!site.project_dir.join(".codex/hooks.json").exists());
    }

    #[test]
    fn each_place_has_a_record_of_its_own() {
        let project = |git_dir: &str, root: &str, store: &str| {
            let store = Location::File(store.into());
            project_record(&Project {
                common_dir: Some("/p/.git".into()),
                git_dir: Some(git_dir.into()),
                root: root.into(),
                own: "/p/.git/cotenant".into(),
                home: store.file().and_then(Path::parent).unwrap().into(),
                store,
                start: root.into(),
            })
        };
        let store = "/p/.git/cotenant/store.db";
        let main = project("/p/.git", "/p", store);
        assert_eq!(main, Path::new("/p/.git/cotenant/init.json"));
        let linked = project("/p/.git/worktrees/w", "/w", store);
        let shared = project("/p/.git", "/p", "/s/store.db");
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(linked.parent(), main.parent());
        assert_eq!(shared.parent(), Some(Path::new("/s")));
        for path in [&linked, &shared] {
            assert!(
                name(path).starts_with("init-") && name(path).len() == 26,
                "{}",
                path.display()
            );
        }
        assert_ne!(name(&linked), name(&shared));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let error = Error::from(SettingsError::Parse {
            path: "/p/a.json".into(),
            line: 3,
            column: 7,
            message: "no".to_owned(),
        });
        assert_eq!(error.code, Code::Invalid);
        assert_eq!(error.details["line"], 3);
        let full = std::io::Error::from(ErrorKind::StorageFull);
        let error = SettingsError::Io { action: "write", path: "/p".into(), source: full };
        assert_eq!(Error::from(error).code, Code::StoreFull);
    }
}
