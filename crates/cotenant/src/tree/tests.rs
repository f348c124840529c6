use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;
use crate::testing::{git, repository};

fn project(directory: &Path) -> Project {
    let project = Project::discover(directory, None).unwrap();
    fs::create_dir_all(&project.own).unwrap();
    project
}

/// The tree without its random part, and the path in it.
fn place(project: &Project, path: &Path) -> Option<(String, String)> {
    let (tree, name) = project.tree_of(path).unwrap()?;
    Some((tree.token[CLONE_LENGTH..].to_owned(), name))
}

#[track_caller]
fn assert_place(project: &Project, path: &Path, tree: &str, name: &str) {
    assert_eq!(place(project, path), Some((tree.to_owned(), name.to_owned())));
}

#[test]
fn a_file_belongs_to_the_innermost_worktree() {
    let (_scratch, top) = repository();
    git(&top, &["worktree", "add", "-q", ".agents/one"]);
    let project = project(&top.join("src"));
    assert_place(&project, &top.join("src/a.rs"), "", "src/a.rs");
    assert_place(&project, Path::new("a.rs"), "", "src/a.rs");
    assert_place(&project, &top, "", ".");
    let inner = top.join(".agents/one/src/new/b.rs");
    assert_place(&project, &inner, "+one", "src/new/b.rs");
    let from_inner = self::project(&top.join(".agents/one"));
    assert_place(&from_inner, &top.join("src/a.rs"), "", "src/a.rs");
}

#[test]
fn what_is_not_in_a_work_tree_is_not_claimed() {
    let (_scratch, top) = repository();
    git(&top, &["init", "-q", "nested"]);
    git(&top.join("nested"), &["commit", "-q", "--allow-empty", "-m", "x"]);
    let project = project(&top);
    assert_eq!(place(&project, &top.join("../else.rs")), None);
    assert_eq!(place(&project, &top.join(".git/config")), None);
    assert_eq!(place(&project, &top.join("nested/a.rs")), None);
    assert!(project.path_item(Path::new("/etc/passwd")).is_err());
}

#[test]
fn a_submodules_files_belong_to_the_superproject() {
    let (_scratch, top) = repository();
    let (_other, library) = repository();
    let library = library.to_str().unwrap().to_owned();
    git(&top, &["-c", "protocol.file.allow=always", "submodule", "add", "-q", &library, "lib"]);
    assert_place(&project(&top), &top.join("lib/src/a.rs"), "", "lib/src/a.rs");
}

#[test]
fn links_are_followed_also_where_nothing_is_yet() {
    let (_scratch, top) = repository();
    symlink("src", top.join("link")).unwrap();
    symlink("src/later.rs", top.join("dangling")).unwrap();
    symlink("loop", top.join("loop")).unwrap();
    let project = project(&top);
    assert_place(&project, Path::new("link/new.rs"), "", "src/new.rs");
    assert_place(&project, Path::new("dangling"), "", "src/later.rs");
    assert_place(&project, Path::new("link/../b.rs"), "", "b.rs");
    assert_eq!(project.tree_of(Path::new("loop")).unwrap_err().code, Code::Invalid);
}

#[test]
fn a_bare_repository_has_trees_only_in_its_worktrees() {
    let (_scratch, top) = repository();
    git(&top, &["clone", "-q", "--bare", ".", "../bare.git"]);
    let bare = fs::canonicalize(top.join("../bare.git")).unwrap();
    git(&bare, &["worktree", "add", "-q", "../one"]);
    let project = project(&bare);
    assert_eq!(project.tree_of(Path::new("a.rs")).unwrap_err().code, Code::Invalid);
    let one = fs::canonicalize(bare.join("../one")).unwrap();
    assert_place(&project, &one.join("src/a.rs"), "+one", "src/a.rs");
}

#[test]
fn outside_git_the_tree_is_the_project() {
    let scratch = tempfile::tempdir().unwrap();
    let top = fs::canonicalize(scratch.path()).unwrap();
    let project = project(&top);
    assert_place(&project, Path::new("x/a.rs"), "", "x/a.rs");
    assert_eq!(place(&project, Path::new("../a.rs")), None);
    assert_eq!(place(&project, Path::new(".cotenant/store.db")), None);
}

#[test]
fn a_clone_has_one_id_however_many_draw_it() {
    let (_scratch, top) = repository();
    let project = project(&top);
    let token = || project.tree_of(Path::new("a")).unwrap().unwrap().0.token;
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(token)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0] && token.len() == CLONE_LENGTH));
    let files: Vec<_> = fs::read_dir(&project.own).unwrap().collect();
    assert_eq!(files.len(), 1);
}

#[test]
fn with_a_store_elsewhere_no_empty_store_directory_is_left() {
    let (_scratch, top) = repository();
    let project = Project::discover(&top, Some("/elsewhere/store.db")).unwrap();
    let before = project.tree_of(Path::new("a")).unwrap();
    assert!(!project.own.exists());
    fs::create_dir(&project.own).unwrap();
    assert_eq!(project.tree_of(Path::new("a")).unwrap(), before);
}
