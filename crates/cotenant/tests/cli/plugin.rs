//! The plugin brings what `init` would write.

use std::{fs, path::Path};

use serde_json::Value;

use crate::TestEnv;

/// A JSON file of the plugin's directory.
fn plugin(path: &str) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin");
    serde_json::from_str(&fs::read_to_string(directory.join(path)).unwrap()).unwrap()
}

#[test]
fn hooks_and_server_are_those_of_init() {
    let env = TestEnv::new();
    env.prints("init --yes");
    let written = |path: &str| -> Value {
        // A plugin's tools go by a longer name.
        let text = fs::read_to_string(env.top().join(path)).unwrap();
        let text = text.replace("mcp__cotenant__", "mcp__plugin_cotenant_cotenant__");
        serde_json::from_str(&text).unwrap()
    };
    let hooks = plugin("plugins/cotenant/hooks/hooks.json");
    assert_eq!(hooks["hooks"], written(".claude/settings.json")["hooks"]);
    assert_eq!(plugin("plugins/cotenant/.mcp.json"), written(".mcp.json"));
}

#[test]
fn it_is_of_this_version_and_in_the_list() {
    let manifest = plugin("plugins/cotenant/.claude-plugin/plugin.json");
    assert_eq!(manifest["name"], "cotenant");
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    let listed = &plugin(".claude-plugin/marketplace.json")["plugins"][0];
    assert_eq!(listed["name"], "cotenant");
    assert_eq!(listed["source"], "./plugins/cotenant");
    assert_eq!(listed["description"], manifest["description"]);
}
