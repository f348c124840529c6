//! Small files beside the store that spare hooks work, and say to the MCP server who calls.
//!
//! None of them decides anything: whatever is missing, stale or broken costs one more look at the
//! store.
//!
//! - `seen/<conversation>-<pid>`: which session an agent process has in a conversation, and what it
//!   was told last. Its time is that of the last sign of life.
//! - `calls/<digest of tool_use_id>`: which session, and which subagent, makes a call.
//! - `handing/<session>`: the id of the request that hands messages out just now, locked by the hook that
//!   does, and empty once its agent has them.
//! - `hook-failures`: a line for each time that the store could not be reached.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use cotenant_core::{event::sha256_hex, id::SessionId, name::is_deceptive};

const SEEN: &str = "seen";
const CALLS: &str = "calls";
const HANDING: &str = "handing";
const FAILURES: &str = "hook-failures";
/// A mark is a few short lines.
const MARK_BYTES_MAX: u64 = 1024;
/// The list of failures stops growing here.
const FAILURES_BYTES_MAX: u64 = 64 * 1024;
/// A call is attributed within this time or never.
const CALL_KEPT: Duration = Duration::from_mins(10);
/// What a session was not shown for so long has expired.
const HANDING_KEPT: Duration = Duration::from_hours(31 * 24);
/// A session that was silent for so long is looked up anew.
const SEEN_KEPT: Duration = Duration::from_hours(48);

/// What a conversation used is counted anew if it goes on after so long.
const USED_KEPT: Duration = Duration::from_hours(30 * 24);

/// The marks beside one store.
#[derive(Debug)]
pub(crate) struct Marks {
    directory: PathBuf,
}

/// What is remembered of a session between two hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The session.
    pub(crate) session: SessionId,
    /// The digest of its token.
    pub(crate) token_digest: String,
    /// The start time of its process, against a reused process id; 0 without a process.
    pub(crate) started: u64,
    /// Whether its conversation id may still turn out to be that of its parent: so it is between
    /// the start of a resumed conversation and its first prompt.
    pub(crate) provisional: bool,
    /// The digest of what it was told last; empty if nothing yet.
    pub(crate) told: String,
    /// The newest change of instructions that it was told; none if it was told nothing yet.
    pub(crate) instructions: Option<i64>,
}

/// A conversation in an agent process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The kind of agent.
    pub(crate) kind: &'a str,
    /// Its conversation id.
    pub(crate) native_id: &'a str,
    /// Its process id; 0 if there is none.
    pub(crate) pid: u32,
}

impl Place<'_> {
    fn conversation(&self) -> String {
        sha256_hex(&format!("{}/{}", self.kind, self.native_id))[..24].to_owned()
    }
}

impl Marks {
    /// The marks in the directory of what is kept beside a store.
    pub(crate) fn of(home: &Path) -> Self {
        Self { directory: home.to_path_buf() }
    }

    fn seen(&self, place: Place<'_>) -> PathBuf {
        self.directory.join(SEEN).join(format!("{}-{}", place.conversation(), place.pid))
    }

    /// What is remembered, and how long ago the last sign of life was.
    pub(crate) fn find(&self, place: Place<'_>) -> Option<(Mark, Duration)> {
        let file = fs::File::open(self.seen(place)).ok()?;
        let mut text = String::new();
        (&file).take(MARK_BYTES_MAX).read_to_string(&mut text).ok()?;
        // A time in the future says nothing: better one heartbeat too many.
        let age = file.metadata().ok()?.modified().ok()?.elapsed().unwrap_or(Duration::MAX);
        Some((parse(&text)?, age))
    }

    /// Remembers, and takes this moment as that of the last sign of life. What cannot be kept is
    /// looked up again next time.
    pub(crate) fn keep(&self, place: Place<'_>, mark: &Mark) {
        let _ = self.write(&self.seen(place), &render(mark), Existing::Replace);
    }

    /// Remembers something new; the last sign of life stays where it was.
    pub(crate) fn replace(&self, place: Place<'_>, mark: &Mark) {
        let path = self.seen(place);
        let before = fs::metadata(&path).and_then(|file| file.modified());
        self.keep(place, mark);
        if let (Ok(before), Ok(file)) = (before, fs::File::options().write(true).open(&path)) {
            let _ = file.set_modified(before);
        }
    }

    /// Takes this moment as that of the last sign of life.
    pub(crate) fn touch(&self, place: Place<'_>) {
        if let Ok(file) = fs::File::options().write(true).open(self.seen(place)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Forgets a session.
    pub(crate) fn forget(&self, place: Place<'_>) {
        let _ = fs::remove_file(self.seen(place));
    }

    /// Notes who makes a call, so that the MCP server can attribute it.
    pub(crate) fn note_call(&self, tool_use_id: &str, session: &SessionId, agent: Option<&str>) {
        let name = sha256_hex(tool_use_id);
        let agent = agent.filter(|agent| !agent.chars().any(is_deceptive)).unwrap_or_default();
        let text = format!("{session}\n{agent}\n");
        let noted = self.write(&self.directory.join(CALLS).join(&name), &text, Existing::Replace);
        // One call in sixteen pays for tidying up behind all.
        if noted.is_ok() && name.starts_with('0') {
            remove_older(&self.directory.join(CALLS), CALL_KEPT);
        }
    }

    /// Where a session's messages are noted while they are handed out.
    pub(crate) fn handing(&self, session: &SessionId) -> PathBuf {
        self.directory.join(HANDING).join(&session.0)
    }

    /// Opens a file and locks it for this process; none if another one has it.
    pub(crate) fn hold(&self, path: &Path) -> io::Result<Option<fs::File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        let file = self.open(path, &options)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets sessions that were not heard of for days.
    pub(crate) fn tidy(&self) {
        remove_older(&self.directory.join(SEEN), SEEN_KEPT);
        remove_older(&self.directory.join(HANDING), HANDING_KEPT);
        remove_older(&self.directory.join(super::measure::USED), USED_KEPT);
    }

    /// Counts a failure to reach the store. Answers whether it is the first of this conversation,
    /// which then is worth a word.
    pub(crate) fn count_failure(&self, place: Place<'_>, what: &str) -> bool {
        let path = self.directory.join(FAILURES);
        let full = fs::metadata(&path).is_ok_and(|file| file.len() >= FAILURES_BYTES_MAX);
        if !full {
            let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let mut options = fs::OpenOptions::new();
            let counted = options
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&path)
                .and_then(|mut file| writeln!(file, "{} {what}", at.as_millis()));
            if counted.is_err() {
                return false;
            }
        }
        let told = self.directory.join(SEEN).join(format!("{}-failed", place.conversation()));
        self.write(&told, "", Existing::Refuse).is_ok()
    }

    fn write(&self, path: &Path, text: &str, existing: Existing) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        match existing {
            Existing::Replace => options.create(true).truncate(true),
            Existing::Refuse => options.create_new(true),
        };
        let mut file = self.open(path, &options)?;
        file.write_all(text.as_bytes())
    }

    /// Opens a file, in a directory that is made if it is missing.
    fn open(&self, path: &Path, options: &fs::OpenOptions) -> io::Result<fs::File> {
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = path.parent().unwrap_or(&self.directory);
                let made = fs::DirBuilder::new().mode(0o700).create(directory);
                if let Err(error) = made
                    && error.kind() != io::ErrorKind::AlreadyExists
                {
                    return Err(error);
                }
                options.open(path)
            }
            opened => opened,
        }
    }
}

/// What becomes of a file that is there.
#[derive(Clone, Copy)]
enum Existing {
    Replace,
    Refuse,
}

fn render(mark: &Mark) -> String {
    let Mark { session, token_digest, started, provisional, told, instructions } = mark;
    let stand = if *provisional { "provisional" } else { "settled" };
    let instructions = instructions.map(|rev| rev.to_string()).unwrap_or_default();
    format!("{session}\n{token_digest}\n{started}\n{stand}\n{told}\n{instructions}\n")
}

fn parse(text: &str) -> Option<Mark> {
    let mut lines = text.split('\n');
    let session = lines.next().filter(|id| cotenant_core::id::is_id(id))?;
    let token_digest = lines.next()?;
    cotenant_core::session::check_digest(token_digest).ok()?;
    let started = lines.next()?.parse().ok()?;
    let provisional = match lines.next()? {
        "provisional" => true,
        "settled" => false,
        _ => return None,
    };
    let told = lines.next()?;
    let instructions = lines.next()?.parse().ok();
    // The last line break shows that the mark was written to its end.
    lines.next()?;
    Some(Mark {
        session: SessionId(session.to_owned()),
        token_digest: token_digest.to_owned(),
        started,
        provisional,
        told: told.to_owned(),
        instructions,
    })
}

fn remove_older(directory: &Path, kept: Duration) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|file| file.modified()).map(|at| at.elapsed());
        if age.is_ok_and(|age| age.is_ok_and(|age| age > kept)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const PLACE: Place<'_> = Place { kind: "claude", native_id: "../../n", pid: 7 };

    fn mark() -> Mark {
        Mark {
            session: SessionId("01890a5d-ac96-774b-bcce-b302099a8057".into()),
            token_digest: "ab".repeat(32),
            started: 9911,
            provisional: true,
            told: "00ff".into(),
            instructions: Some(12),
        }
    }

    #[test]
    fn a_mark_reads_back_and_only_its_user_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let marks = Marks::of(directory.path());
        assert_eq!(marks.find(PLACE), None);
        marks.keep(PLACE, &mark());
        assert_eq!(marks.find(PLACE).unwrap().0, mark());
        assert_eq!(marks.find(Place { pid: 8, ..PLACE }), None);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&marks.seen(PLACE)), 0o600);
        assert_eq!(mode(&directory.path().join(SEEN)), 0o700);
        marks.forget(PLACE);
        assert_eq!(marks.find(PLACE), None);
    }

    #[test]
    fn half_a_mark_is_none() {
        let text = render(&mark());
        assert_eq!(parse(&text), Some(mark()));
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "{end}");
        }
    }

    #[test]
    fn the_first_failure_of_a_conversation_is_worth_a_word() {
        let directory = tempfile::tempdir().unwrap();
        let marks = Marks::of(directory.path());
        assert!(marks.count_failure(PLACE, "PreToolUse STORE_IO"));
        assert!(!marks.count_failure(PLACE, "PreToolUse STORE_IO"));
        let counted = fs::read_to_string(directory.path().join(FAILURES)).unwrap();
        assert_eq!(counted.lines().count(), 2);
    }

    #[test]
    fn a_call_names_its_session_and_subagent_and_is_forgotten_later() {
        let directory = tempfile::tempdir().unwrap();
        let marks = Marks::of(directory.path());
        marks.note_call("toolu_1", &mark().session, Some("a1"));
        let path = directory.path().join(CALLS).join(sha256_hex("toolu_1"));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\na1\n", mark().session));
        let past = SystemTime::now() - 2 * CALL_KEPT;
        fs::File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
        remove_older(&directory.path().join(CALLS), CALL_KEPT);
        assert!(!path.exists());
    }
}
