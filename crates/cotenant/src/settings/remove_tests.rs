use super::super::{
    Agent, FileState, Inputs, Plan, Program, Scope, apply, read, remove_dirs, write_all,
};
use super::*;

const SETTINGS: &str = "/p/.claude/settings.json";

fn plan() -> Plan {
    let inputs = Inputs {
        program: Program::OnPath,
        project_dir: "/p".into(),
        home: "/h".into(),
        claude_config_dir: None,
        codex_home: None,
        scope: Scope::Project,
        agents: vec![Agent::Claude, Agent::Codex],
    };
    Plan::new(&inputs).unwrap()
}

/// A disk of a few files.
#[derive(Clone, Default)]
struct Disk(Snapshot);

impl Disk {
    fn with(mut self, path: &str, text: &str) -> Self {
        let state = FileState { bytes: Some(text.as_bytes().to_vec()), missing_dirs: Vec::new() };
        self.0.insert(path.into(), state);
        self
    }

    fn without(mut self, path: &str, missing_dirs: &[&str]) -> Self {
        let missing_dirs = missing_dirs.iter().map(PathBuf::from).collect();
        self.0.insert(path.into(), FileState { bytes: None, missing_dirs });
        self
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.0.bytes(Path::new(path)).map(|bytes| str::from_utf8(bytes).unwrap())
    }

    fn write(&mut self, changes: &[FileChange]) {
        for change in changes {
            assert_eq!(self.0.bytes(&change.path), change.before.as_deref());
            let state = FileState { bytes: change.after.clone(), missing_dirs: Vec::new() };
            self.0.insert(change.path.clone(), state);
        }
    }

    fn init(&mut self, previous: Option<&Record>) -> Record {
        let changes = apply(&plan(), &self.0).unwrap();
        let record = Record::update(previous, &plan(), &self.0, &changes);
        self.write(&changes);
        Record::from_bytes(&record.to_bytes()).unwrap()
    }

    fn uninit(&mut self, record: &Record) -> Vec<Outcome> {
        let removal = remove(record, &self.0).unwrap();
        self.write(&removal.changes);
        removal.outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

fn outcome(record: &Record, disk: &mut Disk, path: &str) -> Outcome {
    let index = record.files.keys().position(|known| known == Path::new(path)).unwrap();
    disk.uninit(record)[index]
}

#[test]
fn files_init_created_go() {
    let mut disk = Disk::default();
    let record = disk.init(None);
    assert_eq!(disk.uninit(&record), [Outcome::Deleted; 5]);
    assert!(record.files.keys().all(|path| disk.0.bytes(path).is_none()));
    assert_eq!(disk.uninit(&record), [Outcome::Absent; 5]);
}

#[test]
fn bytes_that_are_no_clean_json_come_back_exactly() {
    let text = "\u{feff}{ /* a */\r\n\"x\" : 1e400,\n}  ";
    let mut disk = Disk::default().with(SETTINGS, text);
    let record = disk.init(None);
    assert_ne!(disk.text(SETTINGS), Some(text));
    assert_eq!(outcome(&record, &mut disk, SETTINGS), Outcome::Restored);
    assert_eq!(disk.text(SETTINGS), Some(text));
}

#[test]
fn a_second_init_keeps_the_first_original() {
    let mut disk = Disk::default().with(SETTINGS, "{\"a\": 1}");
    let first = disk.init(None);
    let second = disk.init(Some(&first));
    assert_eq!(first, second);

    // An older version of ours wrote less: what it wrote is not what to go back to.
    let mut disk = Disk::default().with(SETTINGS, "{\"a\": 1}");
    let mut old_plan = plan();
    old_plan.files[0].entries.truncate(2);
    let changes = apply(&old_plan, &disk.0).unwrap();
    let first = Record::update(None, &old_plan, &disk.0, &changes);
    disk.write(&changes);
    let second = disk.init(Some(&first));
    assert!(!second.files[Path::new(SETTINGS)].edited);
    assert_eq!(outcome(&second, &mut disk, SETTINGS), Outcome::Restored);
    assert_eq!(disk.text(SETTINGS), Some("{\"a\": 1}"));
}

#[test]
fn an_edit_between_two_inits_is_not_lost() {
    let mut disk = Disk::default().with(SETTINGS, "{\n  \"a\": 1\n}\n");
    let first = disk.init(None);
    // Our hook on `Stop` is gone and a key is new.
    let text = disk.text(SETTINGS).unwrap().replace("\"Stop\"", "\"Other\"");
    let mut disk = disk.clone().with(SETTINGS, &text.replace("\"a\": 1", "\"a\": 2"));
    let second = disk.init(Some(&first));
    let file = &second.files[Path::new(SETTINGS)];
    assert!(file.edited);
    assert_eq!(file.original.as_deref(), Some(b"{\n  \"a\": 1\n}\n".as_slice()));
    assert_eq!(outcome(&second, &mut disk, SETTINGS), Outcome::Stripped);
    assert_eq!(disk.text(SETTINGS), Some("{\n  \"a\": 2\n}\n"));
}

#[test]
fn once_edited_is_edited_for_good() {
    let mut disk = Disk::default().with(SETTINGS, "{}");
    let mut record = disk.init(None);
    record.files.get_mut(Path::new(SETTINGS)).unwrap().edited = true;
    // What an older version wrote, so that there is something to write this time.
    let old = disk.text(SETTINGS).unwrap().replace("\"timeout\": 5", "\"timeout\": 9");
    let mut disk = disk.with(SETTINGS, &old);
    let sha256_after = {
        let changes = [FileChange {
            path: SETTINGS.into(),
            before: None,
            after: Some(old.into_bytes()),
            private: false,
        }];
        let fresh = Record::update(None, &plan(), &disk.0, &changes);
        fresh.files[Path::new(SETTINGS)].sha256_after.clone()
    };
    record.files.get_mut(Path::new(SETTINGS)).unwrap().sha256_after = sha256_after;
    assert!(disk.init(Some(&record)).files[Path::new(SETTINGS)].edited);
}

#[test]
fn what_only_an_older_version_installed_is_removed_too() {
    let mut disk = Disk::default().with(SETTINGS, "{\"a\": 1}");
    let mut old_plan = plan();
    old_plan.files[0].entries = vec![Entry::listed(&["permissions", "allow"], "Bash(cotenant)")];
    let changes = apply(&old_plan, &disk.0).unwrap();
    let first = Record::update(None, &old_plan, &disk.0, &changes);
    disk.write(&changes);
    let second = disk.init(Some(&first));
    let text = disk.text(SETTINGS).unwrap().replace("\"a\": 1", "\"a\": 2");
    let mut disk = disk.with(SETTINGS, &text);
    assert_eq!(outcome(&second, &mut disk, SETTINGS), Outcome::Stripped);
    let value: serde_json::Value = serde_json::from_str(disk.text(SETTINGS).unwrap()).unwrap();
    assert_eq!(value, serde_json::json!({"a": 2}));
}

#[test]
fn on_a_real_disk_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = Inputs {
        program: Program::OnPath,
        project_dir: dir.path().join("p"),
        home: dir.path().join("h"),
        claude_config_dir: None,
        codex_home: None,
        scope: Scope::Project,
        agents: vec![Agent::Claude, Agent::Codex],
    };
    std::fs::create_dir(&inputs.project_dir).unwrap();
    let mcp = inputs.project_dir.join(".mcp.json");
    std::fs::write(&mcp, "{ }").unwrap();
    let plan = Plan::new(&inputs).unwrap();
    let now = read(&plan.paths()).unwrap();
    let changes = apply(&plan, &now).unwrap();
    let record = Record::update(None, &plan, &now, &changes);
    write_all(&changes).unwrap();
    assert!(inputs.project_dir.join(".codex/config.toml").exists());

    let paths: Vec<PathBuf> = record.files.keys().cloned().collect();
    let removal = remove(&record, &read(&paths).unwrap()).unwrap();
    write_all(&removal.changes).unwrap();
    assert_eq!(remove_dirs(&removal.dirs).unwrap().len(), 2);
    assert_eq!(std::fs::read(&mcp).unwrap(), b"{ }");
    assert_eq!(std::fs::read_dir(&inputs.project_dir).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_file_from_before_init_is_never_deleted() {
    let mut disk = Disk::default().with(SETTINGS, "{}");
    let record = disk.init(None);
    let text = format!("{}\n", disk.text(SETTINGS).unwrap());
    let mut disk = disk.with(SETTINGS, &text);
    assert_eq!(outcome(&record, &mut disk, SETTINGS), Outcome::Stripped);
    assert_eq!(disk.text(SETTINGS), Some("{}\n"));
}

#[test]
fn an_edit_after_init_is_not_lost() {
    let mut disk = Disk::default().with(SETTINGS, "{}\n");
    let record = disk.init(None);
    for (path, from, to) in [
        (SETTINGS, "{\n", "{\n  // note\n  \"new\": true,\n"),
        ("/p/.mcp.json", "\"mcpServers\": {\n", "\"mcpServers\": {\n    \"x\": {},\n"),
        ("/p/.codex/config.toml", "[mcp", "model = 'x' # m\r\n\n[mcp"),
    ] {
        let text = disk.text(path).unwrap().replacen(from, to, 1);
        disk = disk.with(path, &text);
        assert_eq!(outcome(&record, &mut disk.clone(), path), Outcome::Stripped);
    }
    disk.uninit(&record);
    assert_eq!(disk.text(SETTINGS), Some("{\n  // note\n  \"new\": true\n}\n"));
    assert_eq!(disk.text("/p/.mcp.json"), Some("{\n  \"mcpServers\": {\n    \"x\": {}\n  }\n}\n"));
    assert_eq!(disk.text("/p/.codex/config.toml"), Some("model = 'x' # m\r\n"));
    assert_eq!(disk.text("/p/.codex/hooks.json"), None);
    // Once out, nothing of ours is found any more, except that the original is not back.
    assert_eq!(outcome(&record, &mut disk, SETTINGS), Outcome::Untouched);
}

#[test]
fn a_created_file_with_other_layout_only_goes_too() {
    let mut disk = Disk::default();
    let record = disk.init(None);
    for path in [SETTINGS, "/p/.codex/config.toml"] {
        let text = disk.text(path).unwrap().to_owned();
        disk = disk.with(path, &format!("{text}\n\n"));
        assert_eq!(outcome(&record, &mut disk.clone(), path), Outcome::StrippedAndDeleted);
    }
}

#[test]
fn what_was_empty_or_there_before_stays() {
    let text = r#"{"hooks": {"Stop": []}, "permissions": {"allow": ["mcp__cotenant"]}}"#;
    let mut disk = Disk::default().with(SETTINGS, text);
    let record = disk.init(None);
    let edited = format!("{}\n", disk.text(SETTINGS).unwrap());
    let mut disk = disk.with(SETTINGS, &edited);
    assert_eq!(outcome(&record, &mut disk, SETTINGS), Outcome::Stripped);
    let value: serde_json::Value = serde_json::from_str(disk.text(SETTINGS).unwrap()).unwrap();
    assert_eq!(value, serde_json::from_str::<serde_json::Value>(text).unwrap());
}

#[test]
fn an_installation_from_before_the_record_leaves_nothing_behind() {
    let mut disk = Disk::default();
    disk.init(None);
    // Found by a later `init` in an older form, so this record's original has our hooks.
    let old = disk.text(SETTINGS).unwrap().replace("\"timeout\": 5", "\"timeout\": 9");
    let mut disk = disk.with(SETTINGS, &old);
    let record = disk.init(None);
    let edited = disk.text(SETTINGS).unwrap().replacen("{\n", "{\n  \"a\": 1,\n", 1);
    let mut disk = disk.with(SETTINGS, &edited);
    assert_eq!(outcome(&record, &mut disk, SETTINGS), Outcome::Stripped);
    let value: serde_json::Value = serde_json::from_str(disk.text(SETTINGS).unwrap()).unwrap();
    // The permission was there before this record began, and says nothing that runs.
    assert_eq!(value, serde_json::json!({"a": 1, "permissions": {"allow": ["mcp__cotenant"]}}));
}

#[test]
fn a_comment_in_a_list_of_ours_stays_with_it() {
    let mut disk = Disk::default();
    let record = disk.init(None);
    let path = "/p/.claude/settings.local.json";
    let text = disk.text(path).unwrap().replace("[\"cotenant\"]", "[ /* mine */ \"cotenant\" ]");
    let mut disk = disk.with(path, &text);
    assert_eq!(outcome(&record, &mut disk, path), Outcome::Stripped);
    assert_eq!(disk.text(path), Some("{\n  \"enabledMcpjsonServers\": [ /* mine */ ]\n}\n"));
}

#[test]
fn a_record_of_an_init_that_did_not_write_does_no_harm() {
    // With an older hook of ours, which going by the form would take out.
    let old = r#"{"hooks": {"Stop": [{"hooks": [{"command": "/old/cotenant hook Stop"}]}]}}"#;
    let disk = Disk::default().with(SETTINGS, old);
    let changes = apply(&plan(), &disk.0).unwrap();
    let record = Record::update(None, &plan(), &disk.0, &changes);
    assert_eq!(outcome(&record, &mut disk.clone(), SETTINGS), Outcome::Untouched);
    // The next one starts from there.
    let again = Record::update(Some(&record), &plan(), &disk.0, &changes);
    assert_eq!(again, record);
}

#[test]
fn without_a_record_the_form_decides() {
    let mut disk = Disk::default().with(SETTINGS, "{\"a\": [1]}");
    disk.init(None);
    disk.uninit(&Record::assumed(&plan()));
    let value: serde_json::Value = serde_json::from_str(disk.text(SETTINGS).unwrap()).unwrap();
    assert_eq!(value, serde_json::json!({"a": [1]}));
    assert_eq!(disk.text("/p/.mcp.json"), None);
}

#[test]
fn directories_are_remembered_innermost_first() {
    let mut disk = Disk::default().without(SETTINGS, &["/p", "/p/.claude"]);
    let first = disk.init(None);
    let second = disk.clone().without(SETTINGS, &["/p/.claude"]).init(Some(&first));
    for record in [first, second] {
        let removal = remove(&record, &disk.0).unwrap();
        assert_eq!(removal.dirs, [PathBuf::from("/p/.claude"), PathBuf::from("/p")]);
    }
}

#[test]
fn a_file_that_cannot_be_read_stops_the_removal() {
    let mut disk = Disk::default().with(SETTINGS, "{}");
    let record = disk.init(None);
    let disk = disk.with(SETTINGS, "{");
    assert!(matches!(remove(&record, &disk.0), Err(SettingsError::Parse { line: 1, .. })));
}

#[test]
fn the_record_is_stored_with_all_bytes() {
    let mut disk = Disk::default().with(SETTINGS, "{}");
    let mut record = disk.init(None);
    let file = record.files.get_mut(Path::new(SETTINGS)).unwrap();
    assert_eq!(
        file.sha256_before.as_deref(),
        Some("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
    );
    file.original = Some(vec![0, 0xff, b'\n']);
    let stored = record.to_bytes();
    assert_eq!(Record::from_bytes(&stored).unwrap(), record);
    let value: serde_json::Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(value["version"], 1);
    assert_eq!(value["files"][SETTINGS]["original"], "AP8K");
}

#[test]
fn a_record_of_a_newer_version_is_refused() {
    let error = Record::from_bytes(b"{\"version\": 2, \"shape\": \"new\"}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record of an earlier `init` has version 2, this program knows 1"
    );
    assert!(matches!(Record::from_bytes(b"{"), Err(SettingsError::Record { .. })));
}
