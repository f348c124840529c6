//! Finds the project of a directory, without running git.
//!
//! A project is a git common directory, so that all its worktrees share one store. Submodules
//! belong to their superproject. Outside git a project is the directory that holds `.cotenant/`,
//! found upwards.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use cotenant_core::{Code, Error, Result};
use cotenant_store::Location;

use crate::address;

/// The directory of the store, in the git common directory.
const IN_GIT: &str = "cotenant";
/// The directory of the store outside git.
const OUTSIDE_GIT: &str = ".cotenant";
/// The store's file in that directory.
const STORE_FILE: &str = "store.db";

/// Where a directory belongs.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    /// The git directory that all worktrees share; none outside git.
    pub(crate) common_dir: Option<PathBuf>,
    /// The git directory of this worktree.
    pub(crate) git_dir: Option<PathBuf>,
    /// The top of the work tree; of a bare repository its own directory; outside git the directory
    /// that holds `.cotenant/`, or the directory itself if nothing is there yet.
    pub(crate) root: PathBuf,
    /// The directory of cotenant's own files of this project, whichever store is used.
    pub(crate) own: PathBuf,
    /// Where its store is.
    pub(crate) store: Location,
    /// The directory of what this user keeps beside the store.
    pub(crate) home: PathBuf,
    /// The directory that it was found from, resolved.
    pub(crate) start: PathBuf,
}

impl Project {
    /// Finds the project that a directory belongs to. `store` overrides where its store is.
    pub(crate) fn discover(directory: &Path, store: Option<&str>) -> Result<Self> {
        let start = fs::canonicalize(directory).map_err(|error| {
            Error::invalid(format!("cannot enter `{}`: {error}", directory.display()))
                .caused_by(error)
        })?;
        let place = if let Some(repository) = find_repository(&start) {
            Found {
                own: repository.common_dir.join(IN_GIT),
                common_dir: Some(repository.common_dir),
                git_dir: Some(repository.git_dir),
                root: repository.root,
            }
        } else {
            let root = start.ancestors().find(|above| above.join(OUTSIDE_GIT).is_dir());
            let root = root.unwrap_or(&start).to_path_buf();
            Found { own: root.join(OUTSIDE_GIT), common_dir: None, git_dir: None, root }
        };
        let Found { own, common_dir, git_dir, root } = place;
        let noted = if store.is_some() { None } else { address::noted(&own)? };
        let store = match store.or(noted.as_deref()) {
            Some(said) => address::location(said, &start, &root)?,
            None => Location::File(own.join(STORE_FILE)),
        };
        let home = address::home(&store, &own);
        Ok(Self { common_dir, git_dir, root, own, store, home, start })
    }

    /// The file of its store, which a store on a server does not have.
    pub(crate) fn file(&self) -> Result<&Path> {
        self.store.file().ok_or_else(|| {
            Error::invalid(format!("the store is on a server: {}", self.store))
                .hint("`cotenant export FILE` copies it; the server's own tools, such as `pg_dump`, back it up")
        })
    }

    /// Whether somebody made the project a store, or took part in one, so that hooks act.
    pub(crate) fn is_prepared(&self) -> bool {
        match self.store {
            Location::File(_) => self.home.is_dir(),
            Location::Server(_) => self.own.is_dir(),
        }
    }

    /// Makes the directory of what is kept beside a store on a server; a store in a file has one.
    pub(crate) fn make_home(&self) -> Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.home);
        made.map_err(|error| {
            Error::new(
                Code::StoreIo,
                format!("cannot make the directory `{}`: {error}", self.home.display()),
            )
            .caused_by(error)
        })
    }
}
/// What is found upwards of a directory.
struct Found {
    own: PathBuf,
    common_dir: Option<PathBuf>,
    git_dir: Option<PathBuf>,
    root: PathBuf,
}

/// A repository as one of its worktrees sees it.
pub(crate) struct Repository {
    pub(crate) common_dir: PathBuf,
    pub(crate) git_dir: PathBuf,
    pub(crate) root: PathBuf,
}

/// The repository whose work tree, or whose git directory, a resolved directory is in. The
/// submodules on the way are passed over.
fn find_repository(start: &Path) -> Option<Repository> {
    for directory in start.ancestors() {
        if let Some(repository) = repository_at(directory)
            && superproject(&repository.common_dir).is_none()
        {
            return Some(repository);
        }
        if is_git_dir(directory) {
            return Some(from_inside(directory));
        }
    }
    // Inside a submodule's own worktree, which no superproject is above.
    start.ancestors().find_map(|directory| {
        let repository = repository_at(directory)?;
        let common_dir = superproject(&repository.common_dir)?;
        Some(Repository { common_dir, ..repository })
    })
}

/// The repository whose work tree has its top at a directory.
pub(crate) fn repository_at(directory: &Path) -> Option<Repository> {
    let entry = directory.join(".git");
    let git_dir = match fs::metadata(&entry).ok()? {
        entry if entry.is_file() => linked(directory, &directory.join(".git"))?,
        _ => fs::canonicalize(entry).ok()?,
    };
    if !git_dir.join("HEAD").is_file() {
        return None;
    }
    Some(Repository { common_dir: common_dir(&git_dir)?, git_dir, root: directory.to_path_buf() })
}

/// Reads the file `.git` of a linked worktree or submodule: `gitdir: PATH`.
fn linked(directory: &Path, file: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    let path = text.strip_prefix("gitdir:")?.trim();
    fs::canonicalize(directory.join(path)).ok()
}

/// The git directory that all worktrees of one share.
fn common_dir(git_dir: &Path) -> Option<PathBuf> {
    match fs::read_to_string(git_dir.join("commondir")) {
        Ok(path) => fs::canonicalize(git_dir.join(path.trim())).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(git_dir.to_path_buf()),
        Err(_) => None,
    }
}

/// The common directory of the superproject, if a git directory is that of a submodule:
/// `<superproject's git directory>/modules/<name>`, and so on for submodules of submodules.
pub(crate) fn superproject(git_dir: &Path) -> Option<PathBuf> {
    let outermost = git_dir
        .ancestors()
        .skip(1)
        .filter(|above| above.file_name().is_some_and(|name| name == "modules"))
        .filter_map(Path::parent)
        .filter(|above| above.join("HEAD").is_file())
        .last()?;
    common_dir(outermost)
}

/// Whether a directory is itself a git directory: bare, or `.git` seen from inside.
fn is_git_dir(directory: &Path) -> bool {
    directory.join("HEAD").is_file()
        && (directory.join("commondir").is_file()
            || (directory.join("objects").is_dir() && directory.join("refs").is_dir()))
}

fn from_inside(git_dir: &Path) -> Repository {
    let common_dir = superproject(git_dir)
        .or_else(|| common_dir(git_dir))
        .unwrap_or_else(|| git_dir.to_path_buf());
    let root = match common_dir.file_name() {
        Some(name) if name == ".git" => common_dir.parent().unwrap_or(&common_dir),
        _ => &common_dir,
    };
    Repository { root: root.to_path_buf(), git_dir: git_dir.to_path_buf(), common_dir }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{git, repository};

    fn discover(directory: &Path) -> Project {
        Project::discover(directory, None).unwrap()
    }

    #[test]
    fn all_worktrees_share_one_store() {
        let (_scratch, top) = repository();
        git(&top, &["worktree", "add", "-q", "../other"]);
        let main = discover(&top.join("src"));
        let other = discover(&top.join("../other/src"));
        assert_eq!(main.root, top);
        assert_eq!(main.store.file().unwrap(), top.join(".git/cotenant/store.db"));
        assert_eq!(other.store.file(), main.store.file());
        assert_eq!(other.common_dir, main.common_dir);
        assert_eq!(other.git_dir.unwrap(), top.join(".git/worktrees/other"));
        assert_eq!(other.root, fs::canonicalize(top.join("../other")).unwrap());
    }

    #[test]
    fn a_submodule_belongs_to_its_superproject() {
        let (_scratch, top) = repository();
        let (_other, library) = repository();
        let library = library.to_str().unwrap().to_owned();
        git(&top, &["-c", "protocol.file.allow=always", "submodule", "add", "-q", &library, "lib"]);
        let project = discover(&top.join("lib/src"));
        assert_eq!(project.root, top);
        assert_eq!(project.store.file().unwrap(), top.join(".git/cotenant/store.db"));
    }

    #[test]
    fn a_nested_repository_is_a_project_of_its_own() {
        let (_scratch, top) = repository();
        git(&top, &["init", "-q", "nested"]);
        let project = discover(&top.join("nested"));
        assert_eq!(project.store.file().unwrap(), top.join("nested/.git/cotenant/store.db"));
    }

    #[test]
    fn a_bare_repository_and_the_inside_of_git_are_found() {
        let (_scratch, top) = repository();
        assert_eq!(discover(&top.join(".git/refs")).root, top);
        git(&top, &["clone", "-q", "--bare", ".", "../bare.git"]);
        let bare = fs::canonicalize(top.join("../bare.git")).unwrap();
        let project = discover(&bare.join("refs"));
        assert_eq!(project.root, bare);
        assert_eq!(project.store.file().unwrap(), bare.join("cotenant/store.db"));
    }

    #[test]
    fn outside_git_the_nearest_directory_above_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(scratch.path()).unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        assert_eq!(discover(&top.join("a/b")).root, top.join("a/b"));
        fs::create_dir(top.join("a/.cotenant")).unwrap();
        let project = discover(&top.join("a/b"));
        assert_eq!(project.root, top.join("a"));
        assert_eq!(project.store.file().unwrap(), top.join("a/.cotenant/store.db"));
        assert_eq!(project.common_dir, None);
    }
}
