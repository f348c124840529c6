//! Encryption, always with a check of the server's certificate and name.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cotenant_core::{Code, Error, Result};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Where systems keep whom they trust: Debian, Red Hat, others.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How a connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// Not at all.
    Plain,
    /// By a certificate that one of these authorities, or else one of the system's, vouches for.
    Checked(Option<PathBuf>),
}

impl Tls {
    /// What an address asks for; nothing is sent in clear over a network unless that is wanted.
    pub(super) fn of(mode: Option<&str>, roots: Option<&str>, is_local: bool) -> Result<Self> {
        match mode {
            Some("disable") => Ok(Self::Plain),
            None if is_local && roots.is_none() => Ok(Self::Plain),
            None | Some("require" | "verify-ca" | "verify-full") => {
                Ok(Self::Checked(roots.map(PathBuf::from)))
            }
            Some(mode) => Err(Error::invalid(format!(
                "`sslmode={}` is neither encrypted for certain nor plain",
                cotenant_core::name::shown(mode)
            ))
            .hint("use `sslmode=verify-full`, or `sslmode=disable` where nobody else listens")),
        }
    }
}

/// What makes encrypted connections.
pub(super) fn connector(roots: Option<&Path>) -> Result<MakeRustlsConnect> {
    let trusted = Arc::new(trusted(roots)?);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::internal("TLS cannot be set up").caused_by(cause))?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn trusted(roots: Option<&Path>) -> Result<RootCertStore> {
    let file = roots
        .or_else(|| ROOTS.iter().map(Path::new).find(|path| path.exists()))
        .ok_or_else(|| without("no certificate authorities are installed"))?;
    let unreadable = || without(&format!("`{}` holds no certificate", file.display()));
    let found =
        CertificateDer::pem_file_iter(file).map_err(|cause| unreadable().caused_by(cause))?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.flatten());
    if added == 0 { Err(unreadable()) } else { Ok(store) }
}

fn without(why: &str) -> Error {
    Error::invalid(format!("no server can be trusted: {why}"))
        .hint("install `ca-certificates`, or add `sslrootcert=FILE` to the address")
}

/// The error of a connection that could not be protected, if it is one.
pub(super) fn error(server: &str, cause: &tokio_postgres::Error) -> Option<Error> {
    let why = std::error::Error::source(cause)?;
    if !cause.to_string().starts_with("error performing TLS handshake") {
        return None;
    }
    let made = Error::new(Code::StoreForeign, format!("`{server}` cannot be trusted: {why}"));
    Some(
        made.detail("server", server).hint(
            "name the server as its certificate does, and the authority with `sslrootcert=FILE`",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_in_clear_over_a_network_unless_that_is_wanted() {
        let of = |mode, is_local| Tls::of(mode, None, is_local).ok();
        assert_eq!(of(None, true), Some(Tls::Plain));
        assert_eq!(of(None, false), Some(Tls::Checked(None)));
        assert_eq!(of(Some("disable"), false), Some(Tls::Plain));
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(of(Some(mode), true), Some(Tls::Checked(None)), "{mode}");
        }
        for mode in ["prefer", "allow", "", "Disable"] {
            assert_eq!(of(Some(mode), true), None, "{mode}");
        }
        let given = Tls::of(None, Some("/roots"), true).unwrap();
        assert_eq!(given, Tls::Checked(Some("/roots".into())));
    }

    #[test]
    fn a_file_without_certificates_is_trusted_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("roots");
        std::fs::write(&file, "nothing").unwrap();
        for file in [file, directory.path().join("missing")] {
            assert_eq!(trusted(Some(&file)).unwrap_err().code, Code::Invalid);
        }
    }
}
