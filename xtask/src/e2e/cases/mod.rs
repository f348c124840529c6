//! What is shown of the program: each case in a new repository, after `cotenant init`.

mod agent;
mod data;
mod figures;
mod files;
mod identity;
mod plugin;
mod presence;
mod prompt;
mod release;
mod repo;
mod servers;
mod work;

use crate::e2e::stage::Case;

/// What each case shows, and how.
pub(crate) const CASES: [Case; 25] = [
    ("`claude mcp list` shows the server connected", servers::connected),
    ("the server's tools run without a question", servers::allowed),
    ("nothing is left after `cotenant uninit`", servers::removed),
    ("the plugin is valid", plugin::valid),
    ("the plugin does what `init` sets up", plugin::works),
    ("two sessions see each other", presence::two_sessions),
    ("a session is seen under the name it chose", presence::named),
    ("an Edit of a held file is denied, and free after kill -9", files::denied_then_free),
    ("an Edit succeeds after waiting as advised", files::waits_as_advised),
    ("an Edit in another work tree is only remarked on", files::other_tree),
    ("an Edit succeeds with a broken store", files::broken_store),
    ("what one session stores another retrieves", data::shared),
    ("a claim made in the Bash tool holds at the next call", data::claimed_in_a_shell),
    ("--resume is the session's next incarnation", identity::resumed),
    ("--resume after kill -9 gets back what was held", identity::resumed_after_a_kill),
    ("--fork-session is a session of its own", identity::forked),
    ("a conversation that is open twice is two sessions", identity::open_twice),
    ("/clear keeps the session", identity::cleared),
    ("a subagent is its parent's session", identity::subagent),
    ("a message reaches a model in the turn it is in", work::message_in_a_turn),
    ("work is handed over, also by one that has left", work::handed_over),
    ("a compaction gives back claims and next steps", work::compacted),
    ("three sessions bring out a release by tools and hooks", release::brought_out),
    ("what two sessions used is never blended", figures::never_blended),
    ("instructions are told at the start and when they change", figures::instructed),
];
