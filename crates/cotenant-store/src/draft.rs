//! Drafts: databases that are made whole under another name before they are moved into place.
//!
//! The name tells the maker, `NAME.new-PLACE-PID-STARTED-NONCE`, so that what a killed maker left
//! behind is told apart from what is being made. A process id means something in one place only:
//! `PLACE` is a digest of host, boot and pid name space. A maker that cannot tell itself, and
//! versions before this, write `NAME.new-NONCE`.
//!
//! # Invariants
//! - A draft is given up when its maker is dead, or when nobody here can look at its maker and
//!   nothing in it has changed for an hour. What was given up is never taken up again.
//! - Only what a maker writes counts as a draft; a directory with anything else in it does not.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use cotenant_core::{
    Result,
    event::{hex, sha256_hex},
    process::{Liveness, ProcessIdentity, Processes as _},
};

use crate::{
    create::{DATABASE_ENDINGS, with_ending},
    host::{self, LocalProcesses, this_host},
    place::directory,
    tx::random,
};

/// What stands between a name and its draft's maker.
const MARK: &str = ".new-";
/// How long a draft whose maker is unknown must have been left alone.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(1);
/// The digits of a nonce and of a place.
const NONCE_DIGITS: usize = 12;
const PLACE_DIGITS: usize = 8;

/// A name beside a path that nobody else uses, and that tells who does.
pub(crate) fn beside(path: &Path) -> Result<PathBuf> {
    let mut nonce = [0u8; NONCE_DIGITS / 2];
    random(&mut nonce)?;
    Ok(named(path, host::identity(std::process::id()).as_ref(), &hex(&nonce)))
}

fn named(path: &Path, maker: Option<&ProcessIdentity>, nonce: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(MARK);
    if let Some(maker) = maker {
        name.push(format!("{}-{}-{}-", place(maker), maker.pid, maker.started));
    }
    name.push(nonce);
    path.with_file_name(name)
}

/// Where a process id means this process.
fn place(process: &ProcessIdentity) -> String {
    let ProcessIdentity { host, boot, namespace, .. } = process;
    let mut digest = sha256_hex(&[host.as_str(), boot, namespace].join("\n"));
    digest.truncate(PLACE_DIGITS);
    digest
}

/// Who makes a draft, as far as it can be looked at from here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Maker {
    Process(ProcessIdentity),
    Unknown,
}

impl Maker {
    /// Reads what follows the mark; `None` if no maker wrote that.
    fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str, count| {
            text.len() == count && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let parts: Vec<&str> = text.split('-').collect();
        let (at, pid, started) = match parts[..] {
            [nonce] => return digits(nonce, NONCE_DIGITS).then_some(Self::Unknown),
            [at, pid, started, nonce] if digits(nonce, NONCE_DIGITS) => (at, pid, started),
            _ => return None,
        };
        let (pid, started) = (pid.parse().ok()?, started.parse().ok()?);
        let host = this_host();
        let process = ProcessIdentity {
            host: host.id.clone(),
            boot: host.boot.clone(),
            namespace: host.namespace.clone(),
            pid,
            started,
        };
        if at == place(&process) {
            return Some(Self::Process(process));
        }
        digits(at, PLACE_DIGITS).then_some(Self::Unknown)
    }
}

/// Something that is being made, or that its maker left behind.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Where it lies: a directory with a database in it, or a database.
    pub(crate) path: PathBuf,
    maker: Maker,
    /// Its files; those of a directory lie in it.
    files: Vec<PathBuf>,
}

impl Draft {
    /// Whether nobody works on it any more.
    pub(crate) fn is_given_up(&self) -> bool {
        let liveness = match &self.maker {
            Maker::Process(process) => LocalProcesses.liveness(process),
            Maker::Unknown => Liveness::Unverifiable,
        };
        match liveness {
            Liveness::Alive => false,
            Liveness::Dead | Liveness::Rebooted => true,
            Liveness::Unverifiable => self.was_left_alone(),
        }
    }

    fn was_left_alone(&self) -> bool {
        let mut parts = self.files.iter().chain([&self.path]).filter(|part| part.exists());
        parts.all(|part| {
            let changed = fs::symlink_metadata(part).and_then(|found| found.modified());
            let age = changed.ok().and_then(|changed| changed.elapsed().ok());
            age.is_some_and(|age| age >= GIVEN_UP_AFTER)
        })
    }

    /// Removes it, file by file, so that nothing goes that a maker did not write.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| removed(fs::remove_file(file)))?;
        if self.path.is_dir() { removed(fs::remove_dir(&self.path)) } else { Ok(()) }
    }
}

/// Another doctor may have been faster.
fn removed(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Every draft of a store: of its database, in its directory, and of the directory, beside it.
pub(crate) fn find(file: &Path) -> Vec<Draft> {
    let home = directory(file);
    let mut drafts = of_database(&home, file);
    if home.file_name().is_some() {
        drafts.extend(of_directory(&home, file));
    }
    drafts.sort_by(|one, other| one.path.cmp(&other.path));
    drafts
}

/// Drafts of the database, of what replaces it and of the backup before a migration.
fn of_database(home: &Path, file: &Path) -> Vec<Draft> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let names = entries(home, fs::Metadata::is_file).into_iter().filter_map(|name| {
        let ending = DATABASE_ENDINGS.iter().rfind(|ending| name.ends_with(**ending))?;
        Some(name[..name.len() - ending.len()].to_owned())
    });
    let drafts = names.collect::<BTreeSet<_>>().into_iter().filter_map(|name| {
        let (of, maker) = name.rsplit_once(MARK)?;
        let maker = Maker::parse(maker).filter(|_| of.starts_with(&stem))?;
        let path = home.join(name);
        let files = DATABASE_ENDINGS.iter().map(|ending| with_ending(&path, ending)).collect();
        Some(Draft { path, maker, files })
    });
    drafts.collect()
}

fn of_directory(home: &Path, file: &Path) -> Vec<Draft> {
    let above = directory(home);
    let database = Path::new(file.file_name().unwrap_or_default());
    let written = |name: &String| {
        name == "gate"
            || DATABASE_ENDINGS.iter().any(|ending| *with_ending(database, ending) == **name)
    };
    let drafts = entries(&above, fs::Metadata::is_dir).into_iter().filter_map(|name| {
        let (of, maker) = name.rsplit_once(MARK)?;
        let maker = Maker::parse(maker).filter(|_| home.file_name().is_some_and(|it| it == of))?;
        let path = above.join(name);
        let files = entries(&path, |_| true);
        let files = files.iter().all(written).then(|| files.iter().map(|name| path.join(name)))?;
        Some(Draft { files: files.collect(), path, maker })
    });
    drafts.collect()
}

/// The names in a directory of what belongs to this user.
fn entries(path: &Path, wanted: impl Fn(&fs::Metadata) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let own = rustix::process::geteuid().as_raw();
    let names = entries.flatten().filter_map(|entry| {
        let found = entry.metadata().ok()?;
        let name = entry.file_name().to_str()?.to_owned();
        (found.uid() == own && wanted(&found)).then_some(name)
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        IfMissing, LocalStore,
        doctor::{Severity, doctor, fix},
    };

    const NONCE: &str = "0123456789ab";

    fn this_process() -> ProcessIdentity {
        host::identity(std::process::id()).unwrap()
    }

    /// A process that has ended: this one's id, with an earlier start.
    fn dead() -> ProcessIdentity {
        ProcessIdentity { started: this_process().started - 1, ..this_process() }
    }

    /// A process that runs where it cannot be looked at.
    fn elsewhere() -> ProcessIdentity {
        ProcessIdentity { namespace: "pid:[1]".into(), ..dead() }
    }

    fn directory_draft(home: &Path, maker: Option<&ProcessIdentity>, nonce: &str) -> PathBuf {
        let path = named(home, maker, nonce);
        fs::create_dir(&path).unwrap();
        for name in ["store.db", "store.db-wal", "gate"] {
            fs::write(path.join(name), "").unwrap();
        }
        path
    }

    fn file_draft(file: &Path, maker: Option<&ProcessIdentity>, nonce: &str) -> PathBuf {
        let path = named(file, maker, nonce);
        for ending in ["", "-wal", "-shm"] {
            fs::write(with_ending(&path, ending), "").unwrap();
        }
        path
    }

    fn age(path: &Path) {
        let before = SystemTime::now() - 2 * GIVEN_UP_AFTER;
        fs::File::open(path).unwrap().set_modified(before).unwrap();
    }

    fn found(file: &Path, severity: Severity) -> String {
        let findings = doctor(&file.to_path_buf().into(), false).into_iter();
        let wanted = findings.filter(|it| it.check == "drafts" && it.severity == severity);
        wanted.map(|finding| finding.found).collect()
    }

    #[test]
    fn a_draft_tells_its_maker() {
        let path = beside(Path::new("/x/store.db")).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let maker = Maker::parse(name.strip_prefix("store.db.new-").unwrap());
        assert_eq!(maker, Some(Maker::Process(this_process())));
        assert_eq!(Maker::parse(NONCE), Some(Maker::Unknown));
        for other in ["", "feature", "0123456789AB", "01234567-1-2", "0-1-2-0123456789ab"] {
            assert_eq!(Maker::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_killed_makers_left_is_named_and_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(scratch.path()).unwrap().join("cotenant");
        let file = home.join("store.db");
        let first = directory_draft(&home, Some(&dead()), NONCE);
        assert!(found(&file, Severity::Note).contains(first.to_str().unwrap()), "without a store");
        LocalStore::open(&file, IfMissing::Create).unwrap();
        let left = [
            first,
            file_draft(&file, Some(&dead()), NONCE),
            file_draft(&home.join("store.schema-1.db"), Some(&dead()), NONCE),
        ];
        let note = found(&file, Severity::Note);
        for path in &left {
            assert!(note.contains(&format!("`{}`", path.display())), "{note}");
        }
        let fixed = fix(&file.clone().into());
        assert!(fixed.iter().all(|finding| finding.severity == Severity::Good), "{fixed:?}");
        assert_eq!(found(&file, Severity::Good), "none was left behind");
        let mut names = entries(&home, |_| true);
        names.retain(|name| name.contains(MARK));
        assert!(names.is_empty() && left.iter().all(|path| !path.exists()), "{names:?}");
        assert!(fix(&file.clone().into()).is_empty());
        LocalStore::open(&file, IfMissing::Fail).unwrap();
    }

    #[test]
    fn what_is_being_made_is_never_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(scratch.path()).unwrap().join("cotenant");
        let file = home.join("store.db");
        LocalStore::open(&file, IfMissing::Create).unwrap();
        let made = [
            directory_draft(&home, Some(&this_process()), NONCE),
            file_draft(&file, Some(&this_process()), NONCE),
            directory_draft(&home, Some(&elsewhere()), NONCE),
            file_draft(&file, None, NONCE),
        ];
        // A running maker may take as long as it likes.
        for name in ["", "store.db", "store.db-wal", "gate"] {
            age(&made[0].join(name));
        }
        assert!(fix(&file.clone().into()).is_empty());
        let good = found(&file, Severity::Good);
        for path in &made {
            assert!(path.exists() && good.contains(path.to_str().unwrap()), "{good}");
        }
        assert!(with_ending(&made[1], "-wal").exists());
    }

    #[test]
    fn a_draft_of_an_unknown_maker_is_given_up_after_an_hour() {
        let scratch = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(scratch.path()).unwrap().join("cotenant");
        let file = home.join("store.db");
        LocalStore::open(&file, IfMissing::Create).unwrap();
        let one = directory_draft(&home, Some(&elsewhere()), NONCE);
        for name in ["store.db", "store.db-wal", "gate"] {
            age(&one.join(name));
        }
        let other = file_draft(&file, None, NONCE);
        age(&other);
        age(&with_ending(&other, "-shm"));
        fix(&file.clone().into());
        assert!(one.exists() && other.exists(), "something in them changed just now");
        age(&one);
        age(&with_ending(&other, "-wal"));
        fix(&file.clone().into());
        assert!(!one.exists() && !other.exists() && !with_ending(&other, "-wal").exists());
    }

    #[test]
    fn what_no_maker_wrote_is_no_draft() {
        let scratch = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(scratch.path()).unwrap().join("cotenant");
        let file = home.join("store.db");
        LocalStore::open(&file, IfMissing::Create).unwrap();
        let notes = directory_draft(&home, Some(&dead()), NONCE);
        fs::write(notes.join("notes.txt"), "mine").unwrap();
        fs::create_dir(home.with_file_name("cotenant.new-feature")).unwrap();
        fs::create_dir(home.with_file_name(format!("other.new-{NONCE}"))).unwrap();
        let link = home.with_file_name("cotenant.new-ba9876543210");
        std::os::unix::fs::symlink(&home, &link).unwrap();
        assert_eq!(found(&file, Severity::Good), "none was left behind");
        assert!(fix(&file.clone().into()).is_empty());
        assert!(notes.join("store.db").exists() && link.exists());
    }
}
