use super::*;

fn inputs() -> Inputs {
    Inputs {
        program: Program::OnPath,
        project_dir: "/srv/p".into(),
        home: "/home/u".into(),
        claude_config_dir: None,
        codex_home: None,
        scope: Scope::Project,
        agents: vec![Agent::Claude],
    }
}

/// One line a file: its path, whether it is private, and what goes into it.
fn summary(inputs: &Inputs) -> Vec<String> {
    let kind = |entry: &Entry| match entry {
        Entry::Hook { .. } => "hook".to_owned(),
        Entry::Listed { list, text } => format!("{}={text}", list.join(".")),
        Entry::Server { servers, name, command, args } => {
            format!("{}.{name}={command} {}", servers.join(">"), args.join(" "))
        }
    };
    let files = Plan::new(inputs).unwrap().files;
    let line = |file: &PlannedFile| {
        let mut kinds: Vec<String> = file.entries.iter().map(kind).collect();
        let hooks = kinds.iter().filter(|kind| *kind == "hook").count();
        kinds.retain(|kind| kind != "hook");
        let private = if file.private { " (private)" } else { "" };
        format!("{}{private}: {hooks} hooks; {}", file.path.display(), kinds.join("; "))
    };
    files.iter().map(line).collect()
}

#[test]
fn a_project_gets_three_files() {
    assert_eq!(
        summary(&inputs()),
        [
            "/srv/p/.claude/settings.json: 9 hooks; permissions.allow=mcp__cotenant",
            "/srv/p/.mcp.json: 0 hooks; mcpServers.cotenant=cotenant mcp",
            "/srv/p/.claude/settings.local.json: 0 hooks; enabledMcpjsonServers=cotenant",
        ]
    );
}

#[test]
fn an_absolute_path_goes_into_files_of_this_machine_only() {
    let inputs = Inputs { program: Program::At("/opt/my bin/cotenant".into()), ..inputs() };
    assert_eq!(
        summary(&inputs),
        [
            "/srv/p/.claude/settings.local.json: 9 hooks; permissions.allow=mcp__cotenant",
            "/home/u/.claude.json (private): 0 hooks; \
             projects>/srv/p>mcpServers.cotenant=/opt/my bin/cotenant mcp",
        ]
    );
    let Entry::Hook { command, .. } = &Plan::new(&inputs).unwrap().files[0].entries[0] else {
        panic!("the first entry is a hook")
    };
    assert_eq!(command, "'/opt/my bin/cotenant' hook SessionStart");
}

#[test]
fn globally_the_files_of_the_user_are_edited() {
    let global = Inputs { scope: Scope::Global, ..inputs() };
    assert_eq!(
        summary(&global),
        [
            "/home/u/.claude/settings.json: 9 hooks; permissions.allow=mcp__cotenant",
            "/home/u/.claude.json (private): 0 hooks; mcpServers.cotenant=cotenant mcp",
        ]
    );
    let moved = Inputs { claude_config_dir: Some("/cfg".into()), ..global };
    assert_eq!(
        summary(&moved),
        [
            "/cfg/settings.json: 9 hooks; permissions.allow=mcp__cotenant",
            "/cfg/.claude.json (private): 0 hooks; mcpServers.cotenant=cotenant mcp",
        ]
    );
}

#[test]
fn codex_is_planned_if_asked_for() {
    let codex = Inputs { agents: vec![Agent::Codex], ..inputs() };
    assert_eq!(
        summary(&codex),
        [
            "/srv/p/.codex/hooks.json: 8 hooks; ",
            "/srv/p/.codex/config.toml: 0 hooks; mcp_servers.cotenant=cotenant mcp",
        ]
    );
    let global = Inputs { scope: Scope::Global, ..codex.clone() };
    assert!(summary(&global)[0].starts_with("/home/u/.codex/hooks.json: "));
    let moved = Inputs { codex_home: Some("/cx".into()), ..global };
    assert!(summary(&moved)[1].starts_with("/cx/config.toml: "));
    let both = Inputs { agents: vec![Agent::Claude, Agent::Codex], ..inputs() };
    assert_eq!(summary(&both).len(), 5);
}

#[test]
fn codex_has_no_place_for_a_path_of_this_machine() {
    let program = Program::At("/opt/bin/cotenant".into());
    let project = Inputs { agents: vec![Agent::Codex], program, ..inputs() };
    let error = Plan::new(&project).unwrap_err();
    assert!(matches!(error, SettingsError::NoLocalFile { .. }), "{error}");
    assert_eq!(error.hint(), "add `/opt/bin` to PATH, or use `--global`");
    let global = Inputs { scope: Scope::Global, ..project };
    assert!(summary(&global)[1].ends_with("mcp_servers.cotenant=/opt/bin/cotenant mcp"));
}

#[test]
fn the_settings_that_may_enable_the_plugin_are_read_too() {
    let paths = Plan::new(&inputs()).unwrap().paths();
    let paths: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "/home/u/.claude/settings.json",
            "/srv/p/.claude/settings.json",
            "/srv/p/.claude/settings.local.json",
            "/srv/p/.mcp.json",
        ]
    );
}

#[test]
fn relative_paths_are_refused() {
    for inputs in [
        Inputs { project_dir: "p".into(), ..inputs() },
        Inputs { home: "u".into(), ..inputs() },
        Inputs { program: Program::At("bin/cotenant".into()), ..inputs() },
        Inputs { claude_config_dir: Some("c".into()), ..inputs() },
    ] {
        assert!(matches!(Plan::new(&inputs), Err(SettingsError::NotAbsolute { .. })));
    }
}

#[cfg(unix)]
#[test]
fn paths_that_are_not_utf8_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let project_dir = PathBuf::from(std::ffi::OsStr::from_bytes(b"/srv/\xff"));
    let result = Plan::new(&Inputs { project_dir, ..inputs() });
    assert!(matches!(result, Err(SettingsError::PathNotUtf8 { .. })));
}
