use super::super::{Agent, Entry, Inputs, PlannedFile, Program, Scope};
use super::*;

fn inputs() -> Inputs {
    Inputs {
        program: Program::OnPath,
        project_dir: "/p".into(),
        home: "/h".into(),
        claude_config_dir: None,
        codex_home: None,
        scope: Scope::Project,
        agents: vec![Agent::Claude],
    }
}

fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (path, text) in files {
        let state = FileState { bytes: Some(text.as_bytes().to_vec()), missing_dirs: Vec::new() };
        snapshot.insert(path.into(), state);
    }
    snapshot
}

fn plan(entries: Vec<Entry>) -> Plan {
    let path = "/p/s.json".into();
    let file = PlannedFile { path, format: Format::Json, private: false, entries };
    Plan { files: vec![file], plugin_settings: Vec::new() }
}

fn stop() -> Entry {
    Entry::hook("Stop", None, "cotenant")
}

fn permission() -> Entry {
    Entry::listed(&["permissions", "allow"], "mcp__cotenant")
}

fn server() -> Entry {
    Entry::server(&["mcpServers"], "cotenant".to_owned())
}

/// The text after applying entries to a text.
fn edited(entries: &[Entry], text: &str) -> Result<String, SettingsError> {
    let changes = apply(&plan(entries.to_vec()), &snapshot(&[("/p/s.json", text)]))?;
    let after = changes.into_iter().next().and_then(|change| change.after);
    Ok(after.map_or_else(|| text.to_owned(), |bytes| String::from_utf8(bytes).unwrap()))
}

#[test]
fn new_files_of_a_project() {
    let changes = apply(&Plan::new(&inputs()).unwrap(), &Snapshot::default()).unwrap();
    let text = |index: usize| str::from_utf8(changes[index].after.as_deref().unwrap()).unwrap();
    assert!(changes.iter().all(|change| change.before.is_none() && !change.private));
    let hook = |event: &str, matcher: &str| {
        format!(
            "    \"{event}\": [\n      {{\n{matcher}        \"hooks\": [\n          {{\n            \
             \"type\": \"command\",\n            \"command\": \"cotenant hook {event}\",\n            \
             \"timeout\": 5\n          }}\n        ]\n      }}\n    ]"
        )
    };
    let hooks = [
        hook("SessionStart", ""),
        hook("UserPromptSubmit", ""),
        hook(
            "PreToolUse",
            "        \"matcher\": \"Edit|Write|MultiEdit|NotebookEdit|mcp__cotenant__.*\",\n",
        ),
        hook("PostToolUse", "        \"matcher\": \"*\",\n"),
        hook("PostToolUseFailure", ""),
        hook("PreCompact", ""),
        hook("Stop", ""),
        hook("SubagentStop", ""),
        hook("SessionEnd", ""),
    ];
    assert_eq!(
        text(0),
        format!(
            "{{\n  \"hooks\": {{\n{}\n  }},\n  \"permissions\": {{\n    \"allow\": [\"mcp__cotenant\"]\n  }}\n}}\n",
            hooks.join(",\n")
        )
    );
    assert_eq!(
        text(1),
        "{\n  \"mcpServers\": {\n    \"cotenant\": {\n      \"type\": \"stdio\",\n      \
         \"command\": \"cotenant\",\n      \"args\": [\"mcp\"]\n    }\n  }\n}\n"
    );
    assert_eq!(text(2), "{\n  \"enabledMcpjsonServers\": [\"cotenant\"]\n}\n");
}

#[test]
fn layout_comments_and_line_endings_stay() {
    let text = "\u{feff}{\r\n\t// mine\r\n\t\"model\" : \"x\", /* why */\r\n\t\"permissions\": {\r\n\t\t\
                \"allow\": [\r\n\t\t\t\"Bash(ls)\", // list\r\n\t\t],\r\n\t},\r\n}";
    assert_eq!(
        edited(&[permission(), Entry::listed(&["other"], "x")], text).unwrap(),
        "\u{feff}{\r\n\t// mine\r\n\t\"model\" : \"x\", /* why */\r\n\t\"permissions\": {\r\n\t\t\
         \"allow\": [\r\n\t\t\t\"Bash(ls)\", // list\r\n\t\t\t\"mcp__cotenant\",\r\n\t\t],\r\n\t},\r\n\t\
         \"other\": [\"x\"],\r\n}"
    );
}

#[test]
fn files_without_a_value_get_one() {
    for text in ["", "\n", "// only this\n"] {
        let after = edited(&[permission()], text).unwrap();
        assert!(after.starts_with(text.trim_end()), "{after}");
        let value: serde_json::Value =
            serde_json::from_str(after.trim_start_matches("// only this")).unwrap();
        assert_eq!(value, serde_json::json!({"permissions": {"allow": ["mcp__cotenant"]}}));
        assert_eq!(edited(&[permission()], &after).unwrap(), after);
    }
}

#[test]
fn what_is_there_is_not_added_again() {
    for text in [
        r#"{"permissions":{"allow":["mcp__cotenant"]}}"#,
        r#"{"permissions":{"allow":["a","mcp__cot\u0065nant"]}}"#,
    ] {
        assert_eq!(edited(&[permission()], text).unwrap(), text);
    }
    let text = r#"{"hooks":{"Stop":[{"matcher":"*","hooks":[{"timeout":5,"command":"cotenant hook Stop","type":"command"}]}]}}"#;
    assert_eq!(edited(&[stop()], text).unwrap(), text);
}

#[test]
fn a_hook_joins_those_of_others() {
    let text = "{\n    \"hooks\": {\n        \"Stop\": [\n            { \"hooks\": [{ \"type\": \"command\", \"command\": \"x\" }] }\n        ]\n    }\n}\n";
    assert_eq!(
        edited(&[stop()], text).unwrap(),
        "{\n    \"hooks\": {\n        \"Stop\": [\n            { \"hooks\": [{ \"type\": \"command\", \"command\": \"x\" }] },\n            {\n                \"hooks\": [\n                    {\n                        \"type\": \"command\",\n                        \"command\": \"cotenant hook Stop\",\n                        \"timeout\": 5\n                    }\n                ]\n            }\n        ]\n    }\n}\n"
    );
}

#[test]
fn a_list_on_one_line_is_laid_out_anew() {
    let text = "{\n  \"hooks\": {\n    \"Stop\": [{ \"hooks\": [] }]\n  }\n}\n";
    let after = edited(&[stop()], text).unwrap();
    let start = "{\n  \"hooks\": {\n    \"Stop\": [\n      { \"hooks\": [] },\n      {\n        \"hooks\": [\n";
    assert!(after.starts_with(start), "{after}");
    assert!(after.ends_with("        ]\n      }\n    ]\n  }\n}\n"), "{after}");
}

#[test]
fn an_older_hook_is_replaced_in_place() {
    let group = |hooks: &str| format!("{{\"hooks\": {{\"Stop\": [{{\"hooks\": [{hooks}]}}]}}}}");
    let old = r#"{"type": "command", "command": "'/old bin/cotenant' hook Stop -v"}"#;
    let foreign = r#"{"type": "command", "command": "x"}"#;
    let after = edited(&[stop()], &group(&format!("{old}, {foreign}"))).unwrap();
    let value: serde_json::Value = serde_json::from_str(&after).unwrap();
    let hooks = &value["hooks"]["Stop"][0]["hooks"];
    assert_eq!(hooks[0]["command"], "cotenant hook Stop");
    assert_eq!(hooks[1]["command"], "x");
    assert!(after.ends_with(&format!(", {foreign}]}}]}}}}")), "{after}");
    // A second one of ours goes, wherever it is.
    let after = edited(&[stop()], &group(&format!("{old}, {foreign}, {old}"))).unwrap();
    assert_eq!(after.matches("cotenant").count(), 1);
}

#[test]
fn the_matcher_of_hooks_of_others_is_not_changed() {
    let edit = || vec![Entry::hook("PreToolUse", Some("Edit"), "cotenant")];
    let own = "{\"hooks\": {\"PreToolUse\": [{ // note\n\"matcher\": \"Write\", \"hooks\": \
               [{\"command\": \"cotenant hook PreToolUse\"}]}]}}";
    let after = edited(&edit(), own).unwrap();
    assert!(after.contains(r#""matcher": "Edit""#) && !after.contains("Write"), "{after}");
    assert!(after.contains("// note"), "{after}");

    let shared = r#"{"hooks": {"PreToolUse": [{"matcher": "Write", "hooks": [{"command": "x"}, {"command": "cotenant hook PreToolUse"}]}]}}"#;
    let value: serde_json::Value = serde_json::from_str(&edited(&edit(), shared).unwrap()).unwrap();
    let groups = value["hooks"]["PreToolUse"].as_array().unwrap();
    assert_eq!(groups[0], serde_json::json!({"matcher": "Write", "hooks": [{"command": "x"}]}));
    assert_eq!(groups[1]["matcher"], "Edit");
    assert_eq!(groups.len(), 2);

    let without =
        r#"{"hooks": {"PreToolUse": [{"hooks": [{"command": "cotenant hook PreToolUse"}]}]}}"#;
    let value: serde_json::Value =
        serde_json::from_str(&edited(&edit(), without).unwrap()).unwrap();
    assert_eq!(value["hooks"]["PreToolUse"][0]["matcher"], "Edit");
    assert_eq!(value["hooks"]["PreToolUse"].as_array().unwrap().len(), 1);
}

#[test]
fn hooks_on_events_of_older_versions_go() {
    let text = "{\n  \"hooks\": {\n    \"Notification\": [{\"hooks\": [{\"command\": \"cotenant hook Notification\"}]}],\n    \"Other\": []\n  }\n}";
    let after = edited(&[stop()], text).unwrap();
    assert!(!after.contains("Notification") && after.contains("\"Other\": []"), "{after}");
}

#[test]
fn an_older_server_keeps_what_somebody_added() {
    let text = "{\"mcpServers\": {\"cotenant\": {\"command\": \"/old/cotenant\", \"args\": [\"mcp\", \"-v\"], \"env\": {\"A\": \"b\"}}}}";
    assert_eq!(
        edited(&[server()], text).unwrap(),
        "{\"mcpServers\": {\"cotenant\": {\"command\": \"cotenant\", \"args\": [\"mcp\"], \"env\": {\"A\": \"b\"}}}}"
    );
}

#[test]
fn a_server_of_another_program_is_not_replaced() {
    let text = "{\n  \"mcpServers\": {\n    \"cotenant\": {\"command\": \"docker\", \"args\": [\"mcp\"]}\n  }\n}";
    let error = edited(&[server()], text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`mcpServers.cotenant` in `/p/s.json` at line 3, column 17 is a server of another program"
    );
    assert_eq!(error.hint(), "rename `mcpServers.cotenant` in `/p/s.json`; nothing was written");
}

#[test]
fn a_project_key_with_dots_and_quotes_is_one_key() {
    let dir = "/w/a.b \"c\" \\d";
    let inputs =
        Inputs { program: Program::At("/b/cotenant".into()), project_dir: dir.into(), ..inputs() };
    let state = "{\n  \"projects\": {\n    \"/w/x\": {}\n  }\n}\n";
    let changes =
        apply(&Plan::new(&inputs).unwrap(), &snapshot(&[("/h/.claude.json", state)])).unwrap();
    assert_eq!(changes[1].path, Path::new("/h/.claude.json"));
    let value: serde_json::Value =
        serde_json::from_slice(changes[1].after.as_deref().unwrap()).unwrap();
    assert_eq!(value["projects"][dir]["mcpServers"]["cotenant"]["command"], "/b/cotenant");
    assert_eq!(value["projects"]["/w/x"], serde_json::json!({}));
}

#[test]
fn one_bad_file_stops_all() {
    let plan = Plan::new(&inputs()).unwrap();
    let now = snapshot(&[("/p/.claude/settings.local.json", "{\"enabledMcpjsonServers\": 1}")]);
    let error = apply(&plan, &now).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`enabledMcpjsonServers` in `/p/.claude/settings.local.json` at line 1, column 27 is a number, \
         expected an array"
    );
    assert!(error.hint().ends_with("nothing was written"));
}

#[test]
fn the_plugin_makes_it_refuse() {
    let plan = Plan::new(&inputs()).unwrap();
    let now =
        snapshot(&[("/h/.claude/settings.json", "{\"enabledPlugins\": {\"cotenant@m\": true}}")]);
    let error = apply(&plan, &now).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the plugin `cotenant@m` is enabled in `/h/.claude/settings.json`"
    );
    let broken = snapshot(&[("/h/.claude/settings.json", "{")]);
    assert_eq!(apply(&plan, &broken).unwrap().len(), 3);
}
