//! One `init` from beginning to end, on top of what an earlier one left.

use std::path::{Path, PathBuf};

use super::{Entry, FileChange, FileState, Plan, Record, SettingsError, Snapshot, apply, remove};

/// What an `init` comes to. Nothing is on disk yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installation {
    /// The files to write, or to delete where an earlier `init` had them written.
    pub(crate) changes: Vec<FileChange>,
    /// The record to save before them.
    pub(crate) record: Record,
    /// The directories to delete afterwards if they are empty, innermost first.
    pub(crate) dirs: Vec<PathBuf>,
}

/// Installs a plan on top of what an earlier `init` left.
///
/// `other` is the plan for the other way to start us. If the earlier `init` followed that one, its
/// entries go first: they may lie in files that this plan does not know, and each agent would call
/// us twice.
pub(crate) fn install(
    plan: &Plan,
    other: Option<&Plan>,
    earlier: Option<&Record>,
    current: &Snapshot,
) -> Result<Installation, SettingsError> {
    let switched = other.zip(earlier).filter(|(other, earlier)| follows(earlier, other, plan));
    let Some((other, earlier)) = switched else {
        let changes = apply(plan, current)?;
        let record = Record::update(earlier, plan, current, &changes);
        return Ok(Installation { changes, record, dirs: Vec::new() });
    };
    let (mut leaving, mut staying) = (earlier.clone(), earlier.clone());
    let concerned = |path: &Path| planned(plan, path).or(planned(other, path)).is_some();
    leaving.files.retain(|path, _| concerned(path));
    staying.files.retain(|path, _| !concerned(path));

    let removal = remove(&leaving, current)?;
    let mut cleared = current.clone();
    for change in removal.changes {
        // A directory that the earlier `init` made is one that this `init` makes, if it stays.
        let missing_dirs = leaving.files[&change.path].created_dirs.clone();
        cleared.insert(change.path, FileState { bytes: change.after, missing_dirs });
    }
    let added = apply(plan, &cleared)?;
    let record = Record::update(Some(&staying), plan, &cleared, &added);
    let mut changes = Vec::new();
    for path in leaving.files.keys().chain(added.iter().map(|change| &change.path)) {
        let added = added.iter().find(|change| change.path == *path);
        let before = current.bytes(path);
        let after = match added {
            Some(change) => change.after.as_deref(),
            None => cleared.bytes(path),
        };
        if before != after && !changes.iter().any(|change: &FileChange| change.path == *path) {
            changes.push(FileChange {
                path: path.clone(),
                before: before.map(<[u8]>::to_vec),
                after: after.map(<[u8]>::to_vec),
                private: added.is_some_and(|change| change.private),
            });
        }
    }
    Ok(Installation { changes, record, dirs: removal.dirs })
}

/// Lists every file to read before installing.
pub(crate) fn paths(plan: &Plan, other: Option<&Plan>, earlier: Option<&Record>) -> Vec<PathBuf> {
    let mut paths = plan.paths();
    // A file of the other plan counts only where an earlier `init` wrote it.
    let (other, earlier) = (other.into_iter(), earlier);
    let files = other.flat_map(|other| &other.files).map(|file| file.path.clone());
    paths
        .extend(files.filter(|path| earlier.is_some_and(|record| record.files.contains_key(path))));
    paths.sort();
    paths.dedup();
    paths
}

/// Whether an earlier `init` installed something where `other` has it and `plan` does not.
fn follows(earlier: &Record, other: &Plan, plan: &Plan) -> bool {
    earlier.files.iter().any(|(path, file)| {
        let here = planned(plan, path).unwrap_or_default();
        let there = planned(other, path).unwrap_or_default();
        let among = |entry: &Entry, all: &[Entry]| all.iter().any(|one| same_place(one, entry));
        file.entries.iter().any(|entry| among(entry, there) && !among(entry, here))
    })
}

fn planned<'a>(plan: &'a Plan, path: &Path) -> Option<&'a [Entry]> {
    let file = plan.files.iter().find(|file| file.path == path)?;
    Some(&file.entries)
}

/// Whether two entries are the same one, however they start us.
fn same_place(one: &Entry, other: &Entry) -> bool {
    match (one, other) {
        (Entry::Hook { event, .. }, Entry::Hook { event: other, .. }) => event == other,
        (
            Entry::Server { servers, name, .. },
            Entry::Server { servers: other_servers, name: other_name, .. },
        ) => servers == other_servers && name == other_name,
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Agent, Inputs, Outcome, Program, Scope};
    use super::*;

    const SHARED: &str = "/p/.claude/settings.json";
    const OWN: &str = "/p/.claude/settings.local.json";
    const SERVERS: &str = "/p/.mcp.json";
    const STATE: &str = "/h/.claude.json";

    fn plan(program: Program, agents: &[Agent]) -> Plan {
        let inputs = Inputs {
            program,
            project_dir: "/p".into(),
            home: "/h".into(),
            claude_config_dir: None,
            codex_home: None,
            scope: Scope::Project,
            agents: agents.to_vec(),
        };
        Plan::new(&inputs).unwrap()
    }

    fn on_path() -> Plan {
        plan(Program::OnPath, &[Agent::Claude])
    }

    fn at() -> Plan {
        plan(Program::At("/opt/cotenant".into()), &[Agent::Claude])
    }

    /// The disk after changes were written.
    fn written(mut disk: Snapshot, changes: &[FileChange]) -> Snapshot {
        for change in changes {
            assert_eq!(disk.bytes(&change.path), change.before.as_deref());
            let state = FileState { bytes: change.after.clone(), missing_dirs: Vec::new() };
            disk.insert(change.path.clone(), state);
        }
        disk
    }

    fn disk(files: &[(&str, &str)]) -> Snapshot {
        let mut disk = Snapshot::default();
        for path in [SHARED, OWN, SERVERS, STATE] {
            let bytes = files.iter().find(|(name, _)| *name == path);
            let bytes = bytes.map(|(_, text)| text.as_bytes().to_vec());
            let below = path.starts_with("/p/.claude/")
                && files.iter().all(|(name, _)| !name.starts_with("/p/.claude/"));
            let missing_dirs = if below { vec!["/p/.claude".into()] } else { Vec::new() };
            disk.insert(path.into(), FileState { bytes, missing_dirs });
        }
        disk
    }

    fn text<'a>(disk: &'a Snapshot, path: &str) -> Option<&'a str> {
        disk.bytes(Path::new(path)).map(|bytes| str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn another_way_to_start_us_takes_the_first_one_out() {
        let settings = "{\n  // mine\n  \"model\": \"x\"\n}\n";
        let before = disk(&[(SHARED, settings)]);
        let first = install(&on_path(), Some(&at()), None, &before).unwrap();
        let disk = written(before, &first.changes);
        assert!(text(&disk, SERVERS).is_some());

        let second = install(&at(), Some(&on_path()), Some(&first.record), &disk).unwrap();
        let disk = written(disk, &second.changes);
        assert_eq!(text(&disk, SHARED), Some(settings));
        assert_eq!(text(&disk, SERVERS), None);
        assert!(text(&disk, OWN).unwrap().contains("/opt/cotenant hook Stop"));
        assert!(!text(&disk, OWN).unwrap().contains("enabledMcpjsonServers"));
        assert!(text(&disk, STATE).unwrap().contains("/opt/cotenant"));
        let again = install(&at(), Some(&on_path()), Some(&second.record), &disk).unwrap();
        assert_eq!(again.changes, []);

        let removal = remove(&second.record, &disk).unwrap();
        let disk = written(disk, &removal.changes);
        assert_eq!([OWN, SERVERS, STATE].map(|path| text(&disk, path)), [None, None, None]);
        assert_eq!(text(&disk, SHARED), Some(settings));
    }

    #[test]
    fn the_directory_of_the_first_goes_after_the_second() {
        let before = disk(&[]);
        let first = install(&on_path(), Some(&at()), None, &before).unwrap();
        let disk = written(before, &first.changes);
        let second = install(&at(), Some(&on_path()), Some(&first.record), &disk).unwrap();
        assert_eq!(second.dirs, [PathBuf::from("/p/.claude")]);
        let disk = written(disk, &second.changes);
        let removal = remove(&second.record, &disk).unwrap();
        assert_eq!(removal.dirs, [PathBuf::from("/p/.claude")]);
        let deleted =
            |(path, outcome): &(PathBuf, Outcome)| (path.to_str().unwrap().to_owned(), *outcome);
        let outcomes: Vec<_> = removal.outcomes.iter().map(deleted).collect();
        assert_eq!(
            outcomes,
            [(STATE.to_owned(), Outcome::Deleted), (OWN.to_owned(), Outcome::Deleted)]
        );
    }

    #[test]
    fn another_agent_is_no_other_way() {
        let codex = plan(Program::OnPath, &[Agent::Codex]);
        let before = disk(&[]);
        let first = install(&codex, None, None, &before).unwrap();
        let disk = written(before, &first.changes);
        let second = install(&on_path(), Some(&at()), Some(&first.record), &disk).unwrap();
        let disk = written(disk, &second.changes);
        assert!(text(&disk, "/p/.codex/hooks.json").is_some());
        assert_eq!(second.record.files.len(), 5);
        assert_eq!(second.dirs, Vec::<PathBuf>::new());
    }

    #[test]
    fn another_path_of_the_same_way_is_written_over_the_first() {
        let before = disk(&[]);
        let first = install(&at(), Some(&on_path()), None, &before).unwrap();
        let disk = written(before, &first.changes);
        let moved = plan(Program::At("/usr/bin/cotenant".into()), &[Agent::Claude]);
        let second = install(&moved, Some(&on_path()), Some(&first.record), &disk).unwrap();
        let disk = written(disk, &second.changes);
        assert!(!text(&disk, OWN).unwrap().contains("/opt/"));
        assert_eq!(text(&disk, OWN).unwrap().matches("/usr/bin/cotenant hook Stop").count(), 1);
        let removal = remove(&second.record, &disk).unwrap();
        assert!(removal.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Deleted));
    }
}
