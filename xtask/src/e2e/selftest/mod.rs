//! What the cases rely on, tried with the real client: one case a behaviour.

mod fixtures;
mod servers;
mod sessions;
mod turns;

use crate::e2e::stage::Case;

/// What each case shows, and how.
pub(crate) const CASES: [Case; 16] = [
    ("a text is said and its usage reported", turns::says),
    ("a Bash call runs and its output reaches the model", turns::bash),
    ("a bad script is an error", turns::bad_script),
    ("a denied Edit reaches the model as the hook put it", turns::denial),
    ("without permission no MCP tool runs, with --allowedTools it does", turns::permission),
    ("variables and programs of the test reach the client", turns::environment),
    ("a subagent plays its own script in its parent's session", turns::subagent),
    ("context from hooks reaches the model", turns::context),
    ("--resume keeps the session, --fork-session does not", sessions::resume_and_fork),
    ("a stream goes on, takes a word in between, and is cleared", sessions::stream),
    ("a waiting session is killed and resumed", sessions::kill_and_resume),
    ("a turn is interrupted", sessions::interrupt),
    ("two sessions in one home are told apart", sessions::two_sessions),
    ("a terminal takes prompts and is cleared", sessions::terminal),
    ("an MCP server that starts late is waited for", servers::late),
    ("`mcp list` knows what is connected", servers::mcp_list),
];
