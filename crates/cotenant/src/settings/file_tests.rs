use super::*;

fn change(path: &Path, before: Option<&str>, after: Option<&str>) -> FileChange {
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let (before, after) = (bytes(before), bytes(after));
    FileChange { path: path.to_owned(), before, after, private: false }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn reading_tells_bytes_and_missing_directories() {
    let dir = tempfile::tempdir().unwrap();
    let (there, absent) = (dir.path().join("a.json"), dir.path().join("x/y/b.json"));
    fs::write(&there, b"\xff{}").unwrap();
    let snapshot = read(&[there.clone(), absent.clone()]).unwrap();
    assert_eq!(snapshot.bytes(&there), Some(b"\xff{}".as_slice()));
    assert!(snapshot.missing_dirs(&there).is_empty());
    assert_eq!(snapshot.bytes(&absent), None);
    assert_eq!(snapshot.missing_dirs(&absent), [dir.path().join("x"), dir.path().join("x/y")]);
}

#[test]
fn a_file_is_created_replaced_and_deleted_without_leftovers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/a.json");
    write_atomic(&change(&path, None, Some("one"))).unwrap();
    write_atomic(&change(&path, Some("one"), Some("two"))).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(path.parent().unwrap()), ["a.json"]);
    write_atomic(&change(&path, Some("two"), None)).unwrap();
    assert!(names(path.parent().unwrap()).is_empty());
}

#[test]
fn a_file_that_changed_meanwhile_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    fs::write(&path, "theirs").unwrap();
    for stale in [
        change(&path, Some("as read"), Some("ours")),
        change(&path, None, Some("ours")),
        change(&path, Some("as read"), None),
    ] {
        let error = write_atomic(&stale).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` changed since it was read", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(names(dir.path()), ["a.json"]);
    }
    let gone = change(&dir.path().join("gone"), Some("as read"), Some("ours"));
    assert!(matches!(write_atomic(&gone), Err(SettingsError::ChangedMeanwhile { .. })));
    assert_eq!(names(dir.path()), ["a.json"]);
}

#[test]
fn a_file_that_appears_at_the_last_moment_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (path, temporary) = (dir.path().join("a.json"), dir.path().join("tmp"));
    fs::write(&path, "theirs").unwrap();
    fs::write(&temporary, "ours").unwrap();
    let result = publish(&temporary, &path, &change(&path, None, Some("ours")));
    assert!(matches!(result, Err(SettingsError::ChangedMeanwhile { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
}

#[test]
fn a_leftover_of_a_crash_is_not_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let leftover = dir.path().join(format!(".a.json.cotenant-{}-0", std::process::id()));
    fs::write(&leftover, "half").unwrap();
    write_atomic(&change(&path, None, Some("whole"))).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    assert_eq!(fs::read(&leftover).unwrap(), b"half");
}

#[test]
fn a_directory_in_place_of_the_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = read(&[dir.path().to_owned()]).unwrap_err();
    assert!(matches!(error, SettingsError::NotAFile { .. }), "{error}");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn permissions_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        for wanted in [0o600, 0o640, 0o755] {
            fs::write(&path, "one").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
            write_atomic(&change(&path, Some("one"), Some("two"))).unwrap();
            assert_eq!(mode(&path), wanted);
        }
    }

    #[test]
    fn a_private_file_is_created_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let (private, shared) = (dir.path().join("private"), dir.path().join("shared"));
        let secret = FileChange { private: true, ..change(&private, None, Some("x")) };
        write_atomic(&secret).unwrap();
        write_atomic(&change(&shared, None, Some("x"))).unwrap();
        assert_eq!(mode(&private), 0o600);
        // The umask of whoever runs the tests may take away more than it usually does.
        assert_eq!(mode(&shared) | 0o044, 0o644);
    }

    #[test]
    fn the_target_of_a_link_is_changed_and_the_link_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("dotfiles")).unwrap();
        let target = dir.path().join("dotfiles/real.json");
        let (middle, link) = (dir.path().join("middle"), dir.path().join("link"));
        fs::write(&target, "one").unwrap();
        symlink("dotfiles/real.json", &middle).unwrap();
        symlink(&middle, &link).unwrap();
        assert_eq!(
            read(std::slice::from_ref(&link)).unwrap().bytes(&link),
            Some(b"one".as_slice())
        );
        write_atomic(&change(&link, Some("one"), Some("two"))).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::symlink_metadata(&middle).unwrap().is_symlink());
    }

    #[test]
    fn links_that_lead_nowhere_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (dangling, circle) = (dir.path().join("dangling"), dir.path().join("circle"));
        symlink("/nonexistent/x.json", &dangling).unwrap();
        symlink("circle", &circle).unwrap();
        for link in [dangling, circle] {
            assert!(matches!(
                read(std::slice::from_ref(&link)),
                Err(SettingsError::DanglingLink { .. })
            ));
            let result = write_atomic(&change(&link, None, Some("x")));
            assert!(matches!(result, Err(SettingsError::DanglingLink { .. })));
        }
    }
}
