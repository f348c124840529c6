//! This host and its processes, read from `/proc`.
//!
//! A process is told apart by its id and start time within one boot and one pid name space, so
//! that a reused process id is never mistaken for the earlier process.

use std::{fs, io::Read as _, sync::OnceLock};

use cotenant_core::process::{Liveness, ProcessIdentity, Processes};

use crate::testing::mutant;

/// Where processes are counted: host, boot and pid name space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Stable over reboots.
    pub id: String,
    /// Changes with every boot.
    pub boot: String,
    /// The pid name space of this process.
    pub namespace: String,
}

/// This host, read once per process.
pub fn this_host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host {
        id: line("/etc/machine-id")
            .filter(|id| !id.is_empty())
            .or_else(|| line("/proc/sys/kernel/hostname"))
            .unwrap_or_else(|| "unknown".to_owned()),
        boot: boot_id().to_owned(),
        namespace: namespace(),
    })
}

/// The pid name space of this process; empty if it is not known.
pub(crate) fn namespace() -> String {
    fs::read_link("/proc/self/ns/pid")
        .ok()
        .and_then(|target| target.to_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The id of the running boot.
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        line("/proc/sys/kernel/random/boot_id").unwrap_or_else(|| "unknown".to_owned())
    })
}

fn line(path: &str) -> Option<String> {
    read(path).map(|text| text.trim().to_owned())
}

/// Reads a small file of the kernel, which answers all of it at once. A general reader asks three
/// to five times, and short commands read several of them.
pub(crate) fn read(path: &str) -> Option<String> {
    let mut bytes = [0; 4096];
    let length = fs::File::open(path).ok()?.read(&mut bytes).ok()?;
    // The name of a program may hold any bytes, and half a character where it was cut.
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// What the kernel says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The name of its program, at most 15 bytes.
    pub command: String,
    /// `R`, `S`, `Z`, …
    pub state: char,
    /// The process that started it, or adopted it.
    pub parent: u32,
    /// The leader of its terminal session.
    pub session: u32,
    /// Its controlling terminal, 0 for none.
    pub terminal: i64,
    /// Its start time in clock ticks since boot.
    pub started: u64,
}

/// Reads the state of a process; `None` if there is none.
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read(&format!("/proc/{pid}/stat"))?)
}

/// Reads a line of `/proc/PID/stat`. The command stands in parentheses and may itself contain
/// parentheses and spaces, so the fields are counted from the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let (_, command) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Stat {
        command: command.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        terminal: fields.get(4)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The identity of a running process of this host and name space.
pub fn identity(pid: u32) -> Option<ProcessIdentity> {
    let host = this_host();
    Some(ProcessIdentity {
        host: host.id.clone(),
        boot: host.boot.clone(),
        namespace: host.namespace.clone(),
        pid,
        started: stat(pid)?.started,
    })
}

/// The processes of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalProcesses;

impl Processes for LocalProcesses {
    fn liveness(&self, process: &ProcessIdentity) -> Liveness {
        let host = this_host();
        if process.host != host.id {
            return Liveness::Unverifiable;
        }
        if process.boot != host.boot {
            return Liveness::Rebooted;
        }
        if process.namespace != host.namespace || host.namespace.is_empty() {
            return Liveness::Unverifiable;
        }
        match stat(process.pid) {
            Some(stat) => {
                let same = stat.started == process.started || mutant("pid_alone");
                let runs = !matches!(stat.state, 'Z' | 'X');
                if same && runs { Liveness::Alive } else { Liveness::Dead }
            }
            None if fs::metadata("/proc/self").is_ok() => Liveness::Dead,
            None => Liveness::Unverifiable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_contain_parentheses() {
        let line = "42 (a) b (c)) S 7 42 40 34816 42 4194304 1 0 0 0 0 0 0 0 20 0 1 0 9911 1 1";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat.command, "a) b (c)");
        assert_eq!((stat.parent, stat.session, stat.terminal, stat.started), (7, 40, 34816, 9911));
    }

    #[test]
    fn a_process_with_half_a_character_in_its_name_is_alive() {
        use std::os::unix::ffi::OsStrExt as _;

        let directory = tempfile::tempdir().unwrap();
        let program =
            directory.path().join(std::ffi::OsStr::from_bytes(b"a-long-name-\xc3\xa4\xc3"));
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        let found = identity(child.id()).map(|process| LocalProcesses.liveness(&process));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, Some(Liveness::Alive));
    }

    #[test]
    fn this_process_is_alive_and_its_id_with_another_start_is_not() {
        let me = identity(std::process::id()).unwrap();
        assert_eq!(LocalProcesses.liveness(&me), Liveness::Alive);
        let earlier = ProcessIdentity { started: me.started - 1, ..me.clone() };
        assert_eq!(LocalProcesses.liveness(&earlier), Liveness::Dead);
        let rebooted = ProcessIdentity { boot: "x".into(), ..me.clone() };
        assert_eq!(LocalProcesses.liveness(&rebooted), Liveness::Rebooted);
        let elsewhere = ProcessIdentity { host: "x".into(), ..me };
        assert_eq!(LocalProcesses.liveness(&elsewhere), Liveness::Unverifiable);
    }
}
