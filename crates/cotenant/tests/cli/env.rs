//! A place for one test: a directory, a repository and an environment of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The binary under test.
const COTENANT: &str = env!("CARGO_BIN_EXE_cotenant");

/// A scratch directory with a git repository in `top`, and an empty home.
pub(crate) struct TestEnv {
    scratch: tempfile::TempDir,
    top: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What it printed.
    pub(crate) stdout: String,
    /// What it said beside.
    pub(crate) stderr: String,
    /// How it ended.
    pub(crate) exit: i32,
}

impl TestEnv {
    /// A place with a repository.
    pub(crate) fn new() -> Self {
        let env = Self::bare();
        assert_eq!(env.shell("git init -q -b main && mkdir src && echo a > src/a.rs").exit, 0);
        env
    }

    /// A place without a repository.
    pub(crate) fn bare() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        // Links on the way (as `/tmp` may be) would show up in paths.
        let top = fs::canonicalize(scratch.path()).unwrap().join("top");
        fs::create_dir(&top).unwrap();
        fs::create_dir(scratch.path().join("home")).unwrap();
        Self { scratch, top, variables: Vec::new() }
    }

    /// The same place, with one more variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The top of the repository.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// Runs a shell line at the top of the repository: without a terminal, and as nobody's child,
    /// so that an agent or a terminal that runs the tests is not taken for the caller.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let status = tempfile::NamedTempFile::new_in(self.scratch.path()).unwrap();
        let orphan = format!("({line}\n); echo $? > '{}'", status.path().display());
        let mut command = self.command("setsid");
        command.args(["-f", "sh", "-c", &orphan]).stdin(Stdio::null());
        // The pipes are open until the orphan has ended.
        let Output { stdout, stderr, .. } = command.output().unwrap();
        let exit = fs::read_to_string(status.path()).unwrap();
        Ran {
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
            exit: exit.trim().parse().unwrap_or_else(|_| panic!("{line}: no status")),
        }
    }

    /// A program in this place's environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let binaries = Path::new(COTENANT).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command
            .current_dir(&self.top)
            .env_clear()
            .env("PATH", format!("{}:{path}", binaries.display()))
            .env("HOME", self.scratch.path().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "t")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "t@example.org")))
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `cotenant` with arguments as a shell reads them.
    pub(crate) fn cotenant(&self, arguments: &str) -> Ran {
        self.shell(&format!("cotenant {arguments}"))
    }

    /// Runs `cotenant`, which must succeed, and answers what it printed.
    #[track_caller]
    pub(crate) fn prints(&self, arguments: &str) -> String {
        let ran = self.cotenant(arguments);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "cotenant {arguments}");
        ran.stdout
    }

    /// Runs `cotenant --json` and answers the envelope.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &str) -> serde_json::Value {
        let ran = self.cotenant(&format!("--json {arguments}"));
        assert_eq!(ran.stderr, "", "cotenant {arguments}");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    }

    /// Runs `cotenant` and compares all that a person sees, with what changes from run to run
    /// replaced by its kind.
    #[track_caller]
    pub(crate) fn shows(&self, arguments: &str, expected: &str) {
        let Ran { stdout, stderr, exit } = self.cotenant(arguments);
        let status = if exit == 0 { String::new() } else { format!("[exit {exit}]\n") };
        let seen = format!("{stdout}{stderr}{status}");
        let seen = steady(&seen.replace(self.top.to_str().unwrap(), "TOP"));
        let seen: Vec<&str> = seen.lines().map(str::trim).collect();
        let expected: Vec<&str> = expected.trim().lines().map(str::trim).collect();
        let (seen, expected) = (seen.join("\n"), expected.join("\n"));
        assert!(seen.trim() == expected, "cotenant {arguments}\n{seen}\nexpected\n{expected}");
    }

    /// Signs sessions on that later commands name with `--session`.
    #[track_caller]
    pub(crate) fn sign_on(&self, names: &[&str]) {
        for name in names {
            let ran = self.cotenant(&format!("sign-on {name}"));
            assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
        }
    }
}

/// A text without what changes from run to run: ids, fences, digests, times, and the widths of
/// columns, which follow them.
pub(crate) fn steady(text: &str) -> String {
    let text = text.replace("just now", "1s ago");
    let mut steady = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\0']) {
        if letter.is_ascii_alphanumeric() || matches!(letter, '-' | ':' | '.') {
            word.push(letter);
            continue;
        }
        steady.push_str(kind(&word));
        word.clear();
        if letter != '\0' && !(letter == ' ' && steady.ends_with("  ")) {
            steady.push(letter);
        }
    }
    steady
}

fn kind(word: &str) -> &str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match word {
        _ if digits(word) && word.len() == 13 => "FENCE",
        _ if word.len() == 36 && word.split('-').count() == 5 && hex(&word.replace('-', "")) => {
            "ID"
        }
        _ if word.len() == 24 && word.ends_with('Z') && word.contains('T') => "AT",
        _ if word.len() == 64 && hex(word) => "DIGEST",
        _ if word.strip_suffix("ms").or(word.strip_suffix('s')).is_some_and(digits) => "TIME",
        _ => word,
    }
}
