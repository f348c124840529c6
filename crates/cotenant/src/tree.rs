//! To which work tree of a project a file belongs.
//!
//! A file belongs to the innermost worktree that contains its resolved path, whatever the working
//! directory. The token of a tree outlives moves: the clone's random id, and for a linked worktree
//! the name git knows it by.

mod work;

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use cotenant_core::{Code, Error, Result, claim::Item, claim::ItemKind, name::normal_path};

pub(crate) use self::work::branch_of;
use crate::{
    project::{Project, repository_at, superproject},
    token::random,
};

/// How many symbolic links a path may lead over before it is taken for a loop.
const LINKS_MAX: usize = 40;
/// The length of a clone's id.
const CLONE_LENGTH: usize = 8;
/// The letters of a clone's id: none that can be mistaken for another.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A work tree of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// What claims call it: `<clone id>`, and `+<name>` for a linked worktree.
    pub(crate) token: String,
    /// Its top.
    pub(crate) root: PathBuf,
}

impl Project {
    /// The tree that a file or directory belongs to, and its path in it; none if it belongs to
    /// none. The file need not exist. A relative path begins at the directory that the project was
    /// found from. The store must be there, because the clone's id is kept beside it.
    pub(crate) fn tree_of(&self, path: &Path) -> Result<Option<(Tree, String)>> {
        let resolved = resolve(&self.start.join(path))?;
        let Some((name, root)) = self.place(&resolved) else {
            return if self.is_bare() {
                Err(Error::invalid("a bare repository has no work tree to claim paths in")
                    .hint("run the command in a worktree of it"))
            } else {
                Ok(None)
            };
        };
        let inside = resolved.strip_prefix(&root).unwrap_or(Path::new(""));
        let Some(inside) = inside.to_str() else {
            return Err(Error::invalid(format!("path `{}` is not UTF-8", resolved.display())));
        };
        let inside = if inside.is_empty() { "." } else { inside };
        let clone = self.clone_id()?;
        let token = name.map_or_else(|| clone.clone(), |name| format!("{clone}+{name}"));
        Ok(Some((Tree { token, root }, normal_path(inside)?)))
    }

    /// The item that a path is claimed as.
    pub(crate) fn path_item(&self, path: &Path) -> Result<Item> {
        match self.tree_of(path)? {
            Some((tree, name)) => {
                Ok(Item { kind: ItemKind::Path, name, tree: Some(tree.token) })
            }
            None => Err(Error::invalid(format!(
                "path `{}` belongs to no work tree of this project",
                cotenant_core::name::shown(&path.to_string_lossy())
            ))
            .hint("paths outside the project, in its git directory or in a nested repository are not claimed")),
        }
    }

    /// The innermost worktree around a resolved path: its name, if it is a linked one, and its
    /// top.
    fn place(&self, resolved: &Path) -> Option<(Option<String>, PathBuf)> {
        let Some(common) = &self.common_dir else {
            let inside = resolved.strip_prefix(&self.root).ok()?;
            return (!inside.starts_with(".cotenant")).then(|| (None, self.root.clone()));
        };
        for directory in resolved.ancestors() {
            let Some(repository) = repository_at(directory) else {
                continue;
            };
            if superproject(&repository.common_dir).as_ref() == Some(common) {
                continue;
            }
            let ours = repository.common_dir == *common;
            if !ours || resolved.starts_with(directory.join(".git")) {
                return None;
            }
            let inside = repository.git_dir.strip_prefix(common).ok()?;
            return match inside.to_str()? {
                "" if self.is_bare() => None,
                "" => Some((None, directory.to_path_buf())),
                inside => {
                    let name = inside.strip_prefix("worktrees/").unwrap_or(inside);
                    Some((Some(name.replace('/', "+")), directory.to_path_buf()))
                }
            };
        }
        None
    }

    /// Whether the repository itself has no work tree; linked ones it may have.
    fn is_bare(&self) -> bool {
        let Some(common) = &self.common_dir else {
            return false;
        };
        let config = fs::read_to_string(common.join("config")).unwrap_or_default();
        config.lines().any(|line| {
            let line: String = line.split_whitespace().collect();
            line.eq_ignore_ascii_case("bare=true")
        })
    }

    /// The id of this clone, drawn when it is first asked for.
    fn clone_id(&self) -> Result<String> {
        // With a store elsewhere the project's own directory may be missing, and must stay so:
        // a directory without its database counts as a lost store.
        let own = &self.own;
        let beside = own.with_extension("clone");
        for file in [own.join("clone"), beside.clone()] {
            if let Some(id) = read_clone(&file)? {
                return Ok(id);
            }
        }
        let file = if own.is_dir() { own.join("clone") } else { beside };
        create_clone(&file)
            .map_err(|error| {
                Error::new(Code::StoreIo, format!("cannot write `{}`: {error}", file.display()))
                    .caused_by(error)
            })
            .and_then(|()| {
                read_clone(&file)?.ok_or_else(|| Error::internal("the clone's id vanished"))
            })
    }
}

fn read_clone(file: &Path) -> Result<Option<String>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Not even text, which is no trouble of the disk.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => {
            return Err(Error::new(
                Code::StoreIo,
                format!("cannot read `{}`: {error}", file.display()),
            )
            .caused_by(error));
        }
    };
    let id = text.trim_end();
    if id.len() == CLONE_LENGTH && id.bytes().all(|byte| LETTERS.contains(&byte)) {
        return Ok(Some(id.to_owned()));
    }
    Err(Error::new(Code::StoreCorrupt, format!("`{}` holds no clone id", file.display()))
        .hint("restore the file, or remove it while nobody holds a path"))
}

/// Writes a fresh id under a name of its own and links it to its place, so that of several
/// processes one wins and nobody ever reads half an id.
fn create_clone(file: &Path) -> io::Result<()> {
    let random: [u8; CLONE_LENGTH] = random().map_err(io::Error::other)?;
    let id: String =
        random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let draft = file.with_extension(&id);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| writeln!(file, "{id}").and_then(|()| file.sync_all()))?;
    let linked = match fs::hard_link(&draft, file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    };
    fs::remove_file(&draft)?;
    linked
}

/// Follows symbolic links as far as the path exists; what does not exist yet stays as it is.
fn resolve(path: &Path) -> Result<PathBuf> {
    if let Ok(resolved) = fs::canonicalize(path) {
        return Ok(resolved);
    }
    let mut links = 0;
    follow(path, &mut links).ok_or_else(|| {
        Error::invalid(format!("path `{}` leads over too many links", path.display()))
    })
}

fn follow(path: &Path, links: &mut usize) -> Option<PathBuf> {
    let mut resolved = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => {
                let next = resolved.join(name);
                resolved = match fs::read_link(&next) {
                    Ok(target) => {
                        *links += 1;
                        if *links > LINKS_MAX {
                            return None;
                        }
                        follow(&resolved.join(target), links)?
                    }
                    Err(_) => next,
                };
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(resolved)
}

#[cfg(test)]
mod tests;
