//! Which process a session lives with.
//!
//! A command is run by an agent, or by a person at a terminal, through any number of shells and
//! wrappers. The session lives as long as that agent, or as the terminal's session leader.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path, sync::OnceLock};

use cotenant_core::{event::sha256_hex, process::ProcessIdentity};
use cotenant_store::host::{Stat, identity, stat};

/// Programs that start others and are nobody themselves.
const WRAPPERS: &[&str] = &[
    "ash", "bash", "busybox", "chronic", "chrt", "csh", "dash", "doas", "env", "faketime", "fish",
    "flock", "ionice", "ksh", "ltrace", "mksh", "nice", "nohup", "nsenter", "parallel", "prlimit",
    "setarch", "setpriv", "setsid", "sh", "stdbuf", "strace", "su", "sudo", "taskset", "tcsh",
    "time", "timeout", "unbuffer", "unshare", "xargs", "zsh", "cotenant",
];
/// Agents by the name of their program, which is also their kind.
const AGENTS: &[&str] = &["claude", "codex", "opencode", "gemini"];
/// Programs that run an agent's script.
const RUNTIMES: &[&str] = &["node", "bun", "deno"];
/// The packages of agents that are scripts.
const PACKAGES: &[(&str, &str)] = &[
    ("@anthropic-ai/claude-code/", "claude"),
    ("@openai/codex/", "codex"),
    ("@google/gemini-cli/", "gemini"),
    ("/opencode-ai/", "opencode"),
];
/// How far to look up; deeper trees are someone's mistake.
const ANCESTORS_MAX: usize = 64;

/// What a command is run by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// A known agent.
    Agent {
        /// What kind, e.g. `claude`.
        kind: &'static str,
        /// Its process.
        process: ProcessIdentity,
    },
    /// A person.
    Terminal {
        /// Stands for this stay at this terminal, as a native id.
        native_id: String,
        /// The terminal's session leader.
        process: ProcessIdentity,
    },
    /// Nobody that can be told: a script without a terminal.
    Nobody,
}

/// The process that runs a hook: the nearest ancestor that is not a shell or wrapper.
///
/// An agent's hook is started by the agent whatever its name, so the name does not matter here.
pub(crate) fn agent_for_hook() -> Option<ProcessIdentity> {
    ancestors()
        .find(|(pid, stat)| {
            agent_kind(*pid, stat).is_some() || (*pid > 1 && !is_wrapper(*pid, stat))
        })
        .and_then(|(pid, _)| identity(pid))
}

/// What runs this command: the nearest known agent above it, else the person at its terminal.
/// Looked up once; who runs a process does not change.
pub(crate) fn runner() -> Runner {
    static RUNNER: OnceLock<Runner> = OnceLock::new();
    RUNNER.get_or_init(find_runner).clone()
}

fn find_runner() -> Runner {
    let agent = ancestors().find_map(|(pid, stat)| Some((pid, agent_kind(pid, &stat)?)));
    if let Some((pid, kind)) = agent
        && let Some(process) = identity(pid)
    {
        return Runner::Agent { kind, process };
    }
    match terminal_leader() {
        Some(process) => Runner::Terminal { native_id: terminal_id(&process), process },
        None => Runner::Nobody,
    }
}

/// The leader of this process's terminal session, if there is a terminal.
fn terminal_leader() -> Option<ProcessIdentity> {
    let me = stat(std::process::id())?;
    if me.terminal == 0 { None } else { identity(me.session) }
}

fn terminal_id(process: &ProcessIdentity) -> String {
    let ProcessIdentity { host, boot, namespace, pid, started } = process;
    let digest = sha256_hex(&format!("{host}/{boot}/{namespace}/{pid}/{started}"));
    format!("terminal-{}", &digest[..16])
}

/// The processes above this one, nearest first.
fn ancestors() -> impl Iterator<Item = (u32, Stat)> {
    let mut next = stat(std::process::id()).map(|me| me.parent);
    std::iter::from_fn(move || {
        let pid = next.filter(|pid| *pid != 0)?;
        let found = stat(pid)?;
        next = Some(found.parent);
        Some((pid, found))
    })
    .take(ANCESTORS_MAX)
}

fn is_wrapper(pid: u32, stat: &Stat) -> bool {
    // A login shell's program is `bash`, its argument `-bash`; a script keeps its own name as
    // command but has its shell as first argument.
    let known = |name: &str| WRAPPERS.contains(&name.trim_start_matches('-'));
    known(&stat.command) || arguments(pid).first().is_some_and(|first| known(base_name(first)))
}

/// The kind of agent that a process is, if it is one.
fn agent_kind(pid: u32, stat: &Stat) -> Option<&'static str> {
    let named = |name: &str| AGENTS.iter().find(|agent| **agent == name).copied();
    if let Some(kind) = named(&stat.command) {
        return Some(kind);
    }
    if WRAPPERS.contains(&stat.command.as_str()) {
        return None;
    }
    let arguments = arguments(pid);
    let first = base_name(arguments.first()?);
    if let Some(kind) = named(first.trim_end_matches(".exe")) {
        return Some(kind);
    }
    if !RUNTIMES.contains(&first) {
        return None;
    }
    let script = arguments[1..].iter().find(|argument| !argument.starts_with('-'))?;
    let package = PACKAGES.iter().find(|(package, _)| script.contains(package));
    named(base_name(script).trim_end_matches(".js")).or(package.map(|(_, kind)| *kind))
}

/// The first arguments of a process.
fn arguments(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .take(8)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

fn base_name(path: &str) -> &str {
    let name = Path::new(path).file_name().unwrap_or_default();
    std::str::from_utf8(name.as_bytes()).unwrap_or_default()
}

/// The account that this process runs as.
pub(crate) fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    accounts
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        })
        .unwrap_or_else(|| format!("uid{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_of_a_hook_is_no_shell() {
        // The test runner is started by cargo or by another test driver.
        let process = agent_for_hook().unwrap();
        assert_ne!(process.pid, std::process::id());
        assert!(!is_wrapper(process.pid, &stat(process.pid).unwrap()));
    }

    #[test]
    fn shells_wrap_and_agents_do_not() {
        let stat = |command: &str| Stat {
            command: command.to_owned(),
            state: 'S',
            parent: 1,
            session: 1,
            terminal: 0,
            started: 1,
        };
        // No process has this id, so only the command counts.
        let nobody = u32::MAX;
        assert!(is_wrapper(nobody, &stat("bash")));
        assert!(is_wrapper(nobody, &stat("timeout")));
        assert!(!is_wrapper(nobody, &stat("claude")));
        assert_eq!(agent_kind(nobody, &stat("claude")), Some("claude"));
        assert_eq!(agent_kind(nobody, &stat("vim")), None);
    }
}
