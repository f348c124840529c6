//! The secret by which the same user's commands act for a session.
//!
//! A token is drawn by whoever signs on; the store knows only its digest. The text lies in a file
//! that only the user can read, named by the digest, so that locally nobody ever types a token and
//! it never stands in an argument list, an answer or a log.
//!
//! Beside the tokens lie *notes* of the token with which a name was signed on last. A note saves a
//! question to the store, which has the last word.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use cotenant_core::{
    Code, Error, Result,
    event::{hex, sha256_hex},
    name::SessionRef,
    session::check_digest,
    store::Actor,
};

/// Random bytes from the kernel.
pub(crate) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal("the kernel gives no random bytes").caused_by(error))?;
    Ok(bytes)
}

/// A fresh request id.
pub(crate) fn request_id() -> Result<String> {
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Ok(cotenant_core::id::uuid_v7(u64::try_from(unix_ms).unwrap_or(u64::MAX), random()?))
}

/// A drawn token.
pub(crate) struct Token {
    text: String,
    /// What the store learns of it.
    pub(crate) digest: String,
}

impl Token {
    /// Draws a token.
    pub(crate) fn draw() -> Result<Self> {
        let text = hex(&random::<32>()?);
        let digest = sha256_hex(&text);
        Ok(Self { text, digest })
    }
}

/// The token files of one store.
pub(crate) struct Tokens {
    directory: PathBuf,
}

impl Tokens {
    /// The tokens in the directory of what is kept beside a store.
    pub(crate) fn of(home: &Path) -> Self {
        Self { directory: home.join("tokens") }
    }

    /// Keeps a token. It is written before the session is signed on, so that no session is without
    /// one; a file whose session never came to be is harmless. With `lasting` it is on the disk before
    /// this returns; a torn file does not match its name, so it opens nothing.
    pub(crate) fn keep(&self, token: &Token, lasting: bool) -> Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let path = self.directory.join(&token.digest);
        let mut file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match fs::DirBuilder::new().mode(0o700).create(&self.directory) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(self.failed("create", error));
                    }
                    _ => options.open(&path),
                }
            }
            opened => opened,
        }
        .map_err(|error| self.failed("write to", error))?;
        let written = file.write_all(token.text.as_bytes());
        let kept = if lasting { written.and_then(|()| self.flush(&file)) } else { written };
        kept.map_err(|error| self.failed("write to", error))
    }

    /// Flushes a file, then the names that lead to it.
    fn flush(&self, file: &fs::File) -> io::Result<()> {
        file.sync_all()?;
        fs::File::open(&self.directory)?.sync_all()?;
        let home = self.directory.parent().unwrap_or(&self.directory);
        fs::File::open(home)?.sync_all()
    }

    /// Whether this user has the token of that digest.
    pub(crate) fn has(&self, digest: &str) -> bool {
        // A digest comes from the store's file and names a file here: never trust its form.
        check_digest(digest).is_ok()
            && fs::read_to_string(self.directory.join(digest))
                .is_ok_and(|text| sha256_hex(&text) == digest)
    }

    /// Forgets a token that is of no use any more.
    pub(crate) fn forget(&self, digest: &str) {
        if check_digest(digest).is_ok() {
            // A file that stays behind opens nothing: its session is over.
            let _ = fs::remove_file(self.directory.join(digest));
        }
    }

    /// Notes with which token a name was signed on.
    pub(crate) fn note(&self, name: &str, digest: &str) {
        // Without the note, the store is asked.
        let _ = self.write_note(name, digest);
    }

    /// Who a name was when it was last signed on here. The store compares the token: if the name
    /// stands for another session now, it refuses.
    pub(crate) fn noted(&self, name: &str) -> Option<Actor> {
        let token_digest = fs::read_to_string(self.note_file(name)).ok()?;
        check_digest(&token_digest).ok()?;
        Some(Actor { session: SessionRef(name.to_owned()), token_digest })
    }

    /// Forgets what a name stood for.
    pub(crate) fn forget_note(&self, name: &str) {
        let _ = fs::remove_file(self.note_file(name));
    }

    fn note_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{}.note", sha256_hex(name)))
    }

    /// Writes a note as a whole: a reader sees the earlier one or this one.
    fn write_note(&self, name: &str, text: &str) -> io::Result<()> {
        let file = self.note_file(name);
        let draft = file.with_extension(format!("note-{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&draft)?.write_all(text.as_bytes())?;
        fs::rename(draft, file)
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StoreFull,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Code::StoreReadonly
            }
            _ => Code::StoreIo,
        };
        Error::new(code, format!("cannot {what} `{}`: {error}", self.directory.display()))
            .caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_kept_token_is_found_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(directory.path());
        let token = Token::draw().unwrap();
        assert!(!tokens.has(&token.digest));
        tokens.keep(&token, true).unwrap();
        assert!(tokens.has(&token.digest));
        let path = directory.path().join("tokens").join(&token.digest);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        tokens.forget(&token.digest);
        assert!(!tokens.has(&token.digest));
    }

    #[test]
    fn a_name_is_noted_with_its_token() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(directory.path());
        let token = Token::draw().unwrap();
        tokens.keep(&token, false).unwrap();
        assert_eq!(tokens.noted("../a b"), None);
        tokens.note("../a b", &token.digest);
        let session = SessionRef("../a b".to_owned());
        assert_eq!(tokens.noted("../a b"), Some(Actor { session, token_digest: token.digest }));
        assert_eq!(tokens.noted("a"), None);
        fs::write(tokens.note_file("../a b"), "no digest").unwrap();
        assert_eq!(tokens.noted("../a b"), None);
    }

    #[test]
    fn a_file_that_is_not_the_token_opens_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(directory.path());
        let token = Token::draw().unwrap();
        tokens.keep(&token, false).unwrap();
        fs::write(directory.path().join("tokens").join(&token.digest), "else").unwrap();
        assert!(!tokens.has(&token.digest));
        assert!(!tokens.has("../../etc/passwd"));
    }
}
