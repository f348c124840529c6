//! Where a project's store is, as it is said: a path, `sqlite:PATH` or `postgres://…`.
//!
//! A clone whose store is on a server notes the address beside its own files, so that a window
//! without the variable does not end up in another store.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use cotenant_core::{Code, Error, Result, event::sha256_hex, name::shown};
use cotenant_store::{Location, postgres::Address};

use crate::{config, env};

/// The file with the address of a clone's store.
const NOTE: &str = "address";

/// The store that an address names. Paths are seen from `start`; what the project is called on a
/// server stands in the address or in the project's `cotenant.toml`.
pub(crate) fn location(said: &str, start: &Path, root: &Path) -> Result<Location> {
    if Address::is_one(said) {
        let project = config::project_name(root)?;
        let mut address = Address::parse(said, project.as_deref())?;
        if let Some(password) = env::text(env::PG_PASSWORD) {
            address = address.password_if_none(&password);
        }
        return Ok(Location::Server(Box::new(address)));
    }
    if let Some(path) = said.strip_prefix("sqlite:") {
        return Ok(Location::File(start.join(path.strip_prefix("//").unwrap_or(path))));
    }
    if let Some((scheme, _)) = said.split_once("://") {
        return Err(Error::invalid(format!(
            "stores at `{}://` are not supported by this version",
            shown(scheme)
        ))
        .hint("give a path, sqlite:PATH, or postgres://USER@HOST/DATABASE?project=NAME"));
    }
    Ok(Location::File(start.join(said)))
}

/// The directory of what this user keeps beside a store: tokens, and marks of the hooks.
pub(crate) fn home(store: &Location, own: &Path) -> PathBuf {
    match store {
        Location::File(file) => cotenant_store::directory(file),
        Location::Server(address) => {
            own.join(format!("server-{}", &sha256_hex(&address.to_string())[..16]))
        }
    }
}

/// The address that a clone noted.
pub(crate) fn noted(own: &Path) -> Result<Option<String>> {
    let file = own.join(NOTE);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(failed("read", &file, error)),
    }
}

/// Notes the address of a clone's store, without a password; of a file nothing is noted.
pub(crate) fn note(own: &Path, store: &Location) -> Result<()> {
    let file = own.join(NOTE);
    let Location::Server(address) = store else {
        return match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("remove", &file, error))
            }
            _ => Ok(()),
        };
    };
    let draft = own.join(format!("{NOTE}.new-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&draft)
        .and_then(|mut file| writeln!(file, "{}", address.text()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, &file));
    written.map_err(|error| failed("write", &file, error))
}

fn failed(what: &str, file: &Path, error: std::io::Error) -> Error {
    Error::new(Code::StoreIo, format!("cannot {what} `{}`: {error}", file.display()))
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Location> {
        location(text, Path::new("/start"), Path::new("/nowhere"))
    }

    #[test]
    fn a_store_can_be_named() {
        for (text, file) in [
            ("x/s.db", "/start/x/s.db"),
            ("sqlite:/x/s.db", "/x/s.db"),
            ("sqlite:///x/s.db", "/x/s.db"),
        ] {
            assert_eq!(said(text).unwrap().file().unwrap(), Path::new(file));
        }
        assert_eq!(said("https://host").unwrap_err().code, Code::Invalid);
        let server = said("postgres://u:secret@host/db?project=p").unwrap();
        assert_eq!(server.to_string(), "postgres://host:5432/db?project=p");
    }

    #[test]
    fn a_project_on_a_server_is_named_in_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let at = |text| location(text, directory.path(), directory.path());
        assert_eq!(at("postgres://host/db").unwrap_err().code, Code::Invalid);
        fs::write(directory.path().join("cotenant.toml"), "project = \"acme\"\n").unwrap();
        let named = |text| at(text).unwrap().to_string();
        assert_eq!(named("postgres://host/db"), "postgres://host:5432/db?project=acme");
        assert_eq!(named("postgres://host/db?project=b"), "postgres://host:5432/db?project=b");
        fs::write(directory.path().join("cotenant.toml"), "project = 5\n").unwrap();
        assert_eq!(at("postgres://host/db").unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn an_address_is_noted_without_a_password_and_forgotten_for_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path();
        assert_eq!(noted(own).unwrap(), None);
        note(own, &said("postgres://u:secret@host/db?project=p").unwrap()).unwrap();
        assert_eq!(noted(own).unwrap().unwrap(), "postgres://u@host/db?project=p");
        note(own, &said("s.db").unwrap()).unwrap();
        assert_eq!(noted(own).unwrap(), None);
    }
}
