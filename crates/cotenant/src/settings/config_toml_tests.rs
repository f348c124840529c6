use super::*;

fn entry(command: &str) -> [Entry; 1] {
    [Entry::server(&["mcp_servers"], command.to_owned())]
}

fn install_text(text: &str) -> Result<String, SettingsError> {
    let bytes = install(Path::new("/c.toml"), Some(text.as_bytes()), &entry("cotenant"))?;
    Ok(String::from_utf8(bytes).unwrap())
}

fn uninstall_text(text: &str) -> String {
    let path = Path::new("/c.toml");
    String::from_utf8(uninstall(path, text.as_bytes(), &entry("cotenant")).unwrap()).unwrap()
}

const TABLE: &str = "[mcp_servers.cotenant]\ncommand = \"cotenant\"\nargs = [\"mcp\"]\n";

#[test]
fn a_new_file_holds_our_table_only() {
    let bytes = install(Path::new("/c.toml"), None, &entry("cotenant")).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), TABLE);
}

#[test]
fn the_table_goes_to_the_end_and_comes_off_again() {
    for text in [
        "# note\nmodel = \"x\" # why\n",
        "[mcp_servers.other]\ncommand = 'o'\n# last\n",
        "mcp_servers.other.command = 'o'\n",
        "[mcp_servers]\nother = { command = 'o' }\n",
        "\u{feff}a = 1\r\n[t]\r\nb = \"\"\"\r\nx\"\"\"\r\n",
        "",
    ] {
        let installed = install_text(text).unwrap();
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let gap = if text.is_empty() { "" } else { newline };
        assert_eq!(installed, format!("{text}{gap}{}", TABLE.replace('\n', newline)));
        assert_eq!(install_text(&installed).unwrap(), installed);
        assert_eq!(uninstall_text(&installed), text);
    }
}

#[test]
fn a_missing_last_newline_is_added_before_our_table() {
    assert_eq!(install_text("a = 1").unwrap(), format!("a = 1\n\n{TABLE}"));
}

#[test]
fn servers_in_braces_get_ours_in_braces() {
    let text = "# c\r\nmcp_servers = { other = { command = 'o' } }\r\na = 1\r\n";
    let installed = install_text(text).unwrap();
    assert_eq!(
        installed,
        "# c\r\nmcp_servers = { other = { command = 'o' } , cotenant = { command = \"cotenant\", \
         args = [\"mcp\"] } }\r\na = 1\r\n"
    );
    assert_eq!(install_text(&installed).unwrap(), installed);
    let removed = uninstall_text(&installed);
    assert!(!removed.contains("cotenant") && removed.contains("other"), "{removed}");
    assert!(removed.starts_with("# c\r\n") && removed.ends_with("}\r\na = 1\r\n"));
}

#[test]
fn an_older_form_is_corrected_in_place() {
    let text = "[mcp_servers.cotenant] # ours\nargs = [\"mcp\", \"-v\"] # a\n\
                command = '/old/cotenant'\n[z]\n";
    assert_eq!(
        install_text(text).unwrap(),
        "[mcp_servers.cotenant] # ours\nargs = [\"mcp\"] # a\ncommand = \"cotenant\"\n[z]\n"
    );
}

#[test]
fn removal_keeps_comments_and_takes_subtables() {
    let text = "a = 1\n\n# mine\n[mcp_servers.cotenant] # h\ncommand = \"cotenant\" # k\n# own line\n\
                args = [\n  \"mcp\",\n]\n[mcp_servers.cotenant.env]\nA = 'b'\n\n[z]\nb = 2\n";
    assert_eq!(uninstall_text(text), "a = 1\n\n# mine\n# h\n# k\n# own line\n\n[z]\nb = 2\n");
    let dotted =
        "mcp_servers.cotenant.command = 'cotenant'\nmcp_servers.cotenant.args = ['mcp']\nb = 2\n";
    assert_eq!(uninstall_text(dotted), "b = 2\n");
    let nested = "[mcp_servers]\ncotenant = { command = 'cotenant', args = ['mcp'] }\nb = { command = 'b' }\n";
    assert_eq!(uninstall_text(nested), "[mcp_servers]\nb = { command = 'b' }\n");
}

#[test]
fn a_server_of_another_program_is_left_alone() {
    let text = "a = 1\n[mcp_servers.cotenant]\ncommand = 'docker'\n";
    assert_eq!(
        install_text(text).unwrap_err().to_string(),
        "`mcp_servers.cotenant` in `/c.toml` at line 2, column 1 is a server of another program"
    );
    assert_eq!(uninstall_text(text), text);
}

#[test]
fn errors_name_line_and_column() {
    let error = install_text("a = 1\nb = = 2\n").unwrap_err().to_string();
    assert!(error.starts_with("cannot parse `/c.toml` at line 2, column 5: "), "{error}");
    let error = install_text("a = 1\nmcp_servers = 3\n").unwrap_err().to_string();
    assert!(error.starts_with("`mcp_servers` in `/c.toml` at line 2, column 15 is "), "{error}");
}
