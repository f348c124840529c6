//! In which work tree and on which branch somebody works, for whoever takes the work over. Read from git's
//! files, without git.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cotenant_core::{
    claim::ItemKind,
    offer::{OfferItem, Place},
};

use super::resolve;
use crate::project::Project;

/// Where git keeps what it knows of linked worktrees, in the common directory.
const LINKED: &str = "worktrees";

impl Project {
    /// Where the work is that is handed over with these items, by somebody in a directory: in the tree that
    /// its paths belong to, else where the branch is checked out that is said, else around the directory.
    /// Nothing is known outside git.
    pub(crate) fn work(&self, said: &Place, items: &[OfferItem], directory: &Path) -> Place {
        let git_dirs = || self.git_dirs().into_iter();
        let found = if let Some(worktree) = &said.worktree {
            git_dirs().find(|dir| top_of(dir).is_some_and(|top| top == Path::new(worktree)))
        } else if let Some(tree) = tree_of_paths(items) {
            self.git_dir_of(tree.split_once('+').map(|(_, name)| name))
        } else if let Some(branch) = &said.branch {
            git_dirs().find(|dir| branch_of(dir).as_ref() == Some(branch))
        } else {
            self.git_dir_around(directory)
        };
        let Some(git_dir) = found else { return Place::default() };
        let worktree = top_of(&git_dir).and_then(|top| top.to_str().map(str::to_owned));
        Place { branch: branch_of(&git_dir), worktree }
    }

    /// The git directories of all work trees.
    fn git_dirs(&self) -> Vec<PathBuf> {
        let Some(common) = &self.common_dir else { return Vec::new() };
        let linked = fs::read_dir(common.join(LINKED)).into_iter().flatten().flatten();
        let main = (!self.is_bare()).then(|| common.clone());
        main.into_iter().chain(linked.map(|entry| entry.path())).collect()
    }

    /// The git directory of a tree by its name; the main one has none.
    fn git_dir_of(&self, name: Option<&str>) -> Option<PathBuf> {
        let common = self.common_dir.as_ref()?;
        match name {
            // The name is part of a claim: never let it lead out of the directory.
            Some(name) if name.starts_with('.') || name.contains('/') => None,
            Some(name) => Some(common.join(LINKED).join(name)),
            None => Some(common.clone()),
        }
    }

    fn git_dir_around(&self, directory: &Path) -> Option<PathBuf> {
        let (name, _) = self.place(&resolve(directory).ok()?)?;
        self.git_dir_of(name.as_deref())
    }
}

/// The tree that all paths among these items belong to, if there are any.
fn tree_of_paths(items: &[OfferItem]) -> Option<&str> {
    let trees: BTreeSet<&str> = items
        .iter()
        .filter_map(|item| match item {
            OfferItem::Claim(item) if item.kind == ItemKind::Path => item.tree.as_deref(),
            _ => None,
        })
        .collect();
    match trees.into_iter().collect::<Vec<_>>()[..] {
        [tree] => Some(tree),
        _ => None,
    }
}

/// The top of the work tree of a git directory.
fn top_of(git_dir: &Path) -> Option<PathBuf> {
    match fs::read_to_string(git_dir.join("gitdir")) {
        // It may be relative to the directory that says so.
        Ok(file) => fs::canonicalize(git_dir.join(file.trim_end()).parent()?).ok(),
        Err(_) if git_dir.file_name()? == ".git" => git_dir.parent().map(Path::to_path_buf),
        Err(_) => None,
    }
}

/// The branch that is checked out in the work tree of a git directory.
pub(crate) fn branch_of(git_dir: &Path) -> Option<String> {
    let head = fs::read_to_string(git_dir.join("HEAD")).ok()?;
    head.trim().strip_prefix("ref: refs/heads/").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use cotenant_core::claim::Item;

    use super::*;
    use crate::testing::{git, repository};

    fn path(tree: &str) -> OfferItem {
        let tree = Some(tree.to_owned());
        OfferItem::Claim(Item { kind: ItemKind::Path, name: "src".into(), tree })
    }

    #[test]
    fn the_work_is_where_its_paths_are_or_its_branch_or_who_hands_it_over() {
        let (_scratch, top) = repository();
        git(&top, &["checkout", "-q", "-B", "main"]);
        git(&top, &["worktree", "add", "-q", "-b", "feat/15", ".agents/one"]);
        let one = top.join(".agents/one");
        let project = Project::discover(&top, None).unwrap();
        let place = |branch: &str, top: &Path| Place {
            branch: Some(branch.to_owned()),
            worktree: top.to_str().map(str::to_owned),
        };
        let (main, linked) = (place("main", &top), place("feat/15", &one));
        let nothing = Place::default();
        assert_eq!(project.work(&nothing, &[], &top.join("src")), main);
        assert_eq!(project.work(&nothing, &[], &one.join("src")), linked);
        assert_eq!(project.work(&nothing, &[path("k3f9+one")], &top), linked);
        assert_eq!(project.work(&nothing, &[path("k3f9")], &one), main);
        assert_eq!(project.work(&nothing, &[path("k3f9"), path("k3f9+one")], &one), linked);
        let said = |branch: &str| Place { branch: Some(branch.into()), worktree: None };
        assert_eq!(project.work(&said("feat/15"), &[], &top), linked);
        assert_eq!(project.work(&said("gone"), &[], &top), nothing);
        let said = Place { worktree: linked.worktree.clone(), branch: None };
        assert_eq!(project.work(&said, &[], &top), linked);
        assert_eq!(project.work(&nothing, &[path("k3f9+../..")], &top), nothing);
        git(&one, &["checkout", "-q", "--detach"]);
        let detached = Place { branch: None, ..linked };
        assert_eq!(project.work(&nothing, &[], &one), detached);
    }

    #[test]
    fn outside_git_there_is_no_work_tree() {
        let scratch = tempfile::tempdir().unwrap();
        let project = Project::discover(scratch.path(), None).unwrap();
        assert_eq!(project.work(&Place::default(), &[], scratch.path()), Place::default());
    }
}
