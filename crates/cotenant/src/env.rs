//! Every environment variable that cotenant reads or sets, and the only place that reads them.
//!
//! `GIT_DIR` and its relatives are deliberately absent: a command works for the directory it is
//! run in, also from a git hook that exports them.

use std::{ffi::OsString, path::PathBuf};

/// The store to use instead of the project's: a path, `sqlite:PATH` or `postgres://…`.
pub(crate) const STORE: &str = "COTENANT_STORE";
/// The password of a `PostgreSQL` server whose address has none.
pub(crate) const PG_PASSWORD: &str = "PGPASSWORD";
/// The session of every command, by id or live name.
pub(crate) const SESSION: &str = "COTENANT_SESSION";
/// Says that it is a person who signs on from inside an agent, whatever its value.
pub(crate) const HUMAN: &str = "COTENANT_HUMAN";
/// Guards of every mutation, one `RESOURCE=FENCE` a line; `lease run` sets it for its child.
pub(crate) const GUARDS: &str = "COTENANT_GUARDS";
/// The fence of the lease that `lease run` holds, set for its child.
pub(crate) const FENCE: &str = "COTENANT_FENCE";
/// The user's configuration file, instead of `~/.config/cotenant/config.toml`.
pub(crate) const CONFIG: &str = "COTENANT_CONFIG";
/// How long a write waits for its turn, e.g. `5s`.
pub(crate) const BUSY_TIMEOUT: &str = "COTENANT_BUSY_TIMEOUT";
/// Whether the first edit of a file claims it: `true` or `false`.
pub(crate) const AUTO_CLAIM: &str = "COTENANT_AUTO_CLAIM";
/// Whether an edit of a file that another session holds is refused: `true` or `false`.
pub(crate) const DENY: &str = "COTENANT_DENY";
/// After how long a quiet session is shown as possibly abandoned, e.g. `1h`.
pub(crate) const STALE_AFTER: &str = "COTENANT_STALE_AFTER";
/// How many sessions may be live at once, people apart; 0 for any number.
pub(crate) const SESSIONS_MAX: &str = "COTENANT_SESSIONS_MAX";
/// For how long sessions that are over are kept, e.g. `30d`.
pub(crate) const SESSIONS_KEEP: &str = "COTENANT_SESSIONS_KEEP";
/// The conversation id that Claude Code gives to hooks, tools and MCP servers.
pub(crate) const CLAUDE_SESSION: &str = "CLAUDE_CODE_SESSION_ID";
/// The directory that Claude Code works in.
pub(crate) const CLAUDE_PROJECT: &str = "CLAUDE_PROJECT_DIR";
/// Claude Code's files, instead of `~/.claude`.
pub(crate) const CLAUDE_CONFIG: &str = "CLAUDE_CONFIG_DIR";
/// The conversation id that Codex gives to the commands it runs.
pub(crate) const CODEX_THREAD: &str = "CODEX_THREAD_ID";
/// Codex's files, instead of `~/.codex`.
pub(crate) const CODEX_HOME: &str = "CODEX_HOME";
/// The conversation id that Gemini gives to hooks.
pub(crate) const GEMINI_SESSION: &str = "GEMINI_SESSION_ID";
/// The user's home directory.
pub(crate) const HOME: &str = "HOME";
/// The user's configuration, instead of `~/.config`.
pub(crate) const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// What programs keep for the user, instead of `~/.local/state`.
pub(crate) const XDG_STATE_HOME: &str = "XDG_STATE_HOME";
/// Switches colours off, whatever its value.
pub(crate) const NO_COLOR: &str = "NO_COLOR";
/// What the terminal can do; `dumb` has no colours.
pub(crate) const TERM: &str = "TERM";
/// Where programs are found.
pub(crate) const PATH: &str = "PATH";
/// The shell whose completion is asked for.
pub(crate) const COMPLETE: &str = "COMPLETE";

/// What ties a process to a store or a conversation; cleared for processes that play others.
pub(crate) const OF_SESSIONS: &[&str] = &[
    STORE,
    SESSION,
    GUARDS,
    FENCE,
    CONFIG,
    CLAUDE_SESSION,
    CLAUDE_PROJECT,
    CLAUDE_CONFIG,
    CODEX_THREAD,
    CODEX_HOME,
    GEMINI_SESSION,
    XDG_CONFIG_HOME,
];

/// What identifies a job of a CI service: variables that together are its id.
const CI_JOBS: [&[&str]; 5] = [
    &["CI_JOB_ID"],
    &["GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB"],
    &["BUILDKITE_JOB_ID"],
    &["CIRCLE_WORKFLOW_JOB_ID"],
    &["BUILD_TAG"],
];

/// The id of the CI job that runs this command, as its service gives it.
pub(crate) fn ci_job() -> Option<String> {
    let id = |names: &&[&str]| names.iter().map(|name| text(name)).collect::<Option<Vec<_>>>();
    CI_JOBS.iter().find_map(id).map(|parts| parts.join("-"))
}

/// A variable as text; none if it is unset, empty or not UTF-8.
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// A variable as a path; none if it is unset or empty.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// Whether a variable is set to something.
pub(crate) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|text| !text.is_empty())
}

/// The command line, the program's name included.
pub(crate) fn arguments() -> Vec<OsString> {
    std::env::args_os().collect()
}

/// The working directory.
pub(crate) fn working_directory() -> std::io::Result<PathBuf> {
    std::env::current_dir()
}

/// Where a file without a name can be made.
pub(crate) fn scratch_directory() -> PathBuf {
    std::env::temp_dir()
}

/// The path of the running program.
pub(crate) fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// The program that a shell starts for a name, with all symbolic links resolved.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;

    let path = std::env::var_os(PATH)?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .filter(|file| {
            let found = file.metadata();
            found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
        .find_map(|file| file.canonicalize().ok())
}
