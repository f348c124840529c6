//! Where a store lies on a server: `postgres://USER@HOST:PORT/DATABASE?project=NAME`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cotenant_core::{Error, Result};
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode},
};

use super::{
    client::{self, Client, Remarks},
    tls::{self, Tls},
};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take, unless set.
const ANSWER: Duration = Duration::from_secs(10);
/// After how long a machine that acknowledges nothing is given up.
const SILENCE: Duration = Duration::from_secs(10);
/// Parameters of an address that are for us.
const PROJECT: &str = "project";
const MODE: &str = "sslmode";
const ROOTS: &str = "sslrootcert";
/// What the names of our schemas begin with, so that no project is called `public`.
const PREFIX: &str = "cotenant_";
/// With the prefix as much as a name may have in `PostgreSQL`, and some room.
const PROJECT_MAX: usize = 48;

/// The address of a project's store on a server.
#[derive(Clone)]
pub struct Address {
    config: Config,
    /// Who is told what the server remarks.
    remarks: Option<Remarks>,
    tls: Tls,
    project: String,
    answer: Duration,
    text: String,
}

impl Address {
    /// Whether a text is meant as such an address.
    pub fn is_one(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads an address. The project that it names goes before the given one.
    pub fn parse(text: &str, project: Option<&str>) -> Result<Self> {
        if !Self::is_one(text) {
            return Err(Error::invalid("an address of PostgreSQL begins with `postgres://`"));
        }
        let (place, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut named, mut mode, mut roots, mut rest) = (None, None, None, Vec::new());
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some((PROJECT, name)) => named = Some(name),
                Some((MODE, wanted)) => mode = Some(wanted),
                Some((ROOTS, file)) => roots = Some(decoded(file)),
                _ => rest.push(parameter),
            }
        }
        let plain = format!("{place}?{}", rest.join("&"));
        let mut config: Config = plain.parse().map_err(|cause: tokio_postgres::Error| {
            Error::invalid("the address of the PostgreSQL server cannot be read")
                .hint("write `postgres://USER@HOST:PORT/DATABASE?project=NAME`")
                .caused_by(cause)
        })?;
        let project = named.or(project).ok_or_else(|| {
            Error::invalid("the address names no project").hint(
                "add `?project=NAME` to it, or the line `project = \"NAME\"` to cotenant.toml",
            )
        })?;
        check_project(project)?;
        let tls = Tls::of(mode, roots.as_deref(), is_local(&config))?;
        config
            .ssl_mode(if tls == Tls::Plain { SslMode::Disable } else { SslMode::Require })
            .connect_timeout(CONNECT)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("cotenant");
        }
        let text = without_password(text);
        Ok(Self { config, remarks: None, tls, project: project.to_owned(), answer: ANSWER, text })
    }

    /// The text that it was read from, without a password.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives the password, unless the address has one.
    #[must_use]
    pub fn password_if_none(mut self, password: &str) -> Self {
        if self.config.get_password().is_none() {
            self.config.password(password);
        }
        self
    }

    /// The project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The same, for another project, whose name needs no check.
    pub(super) fn of_project(&self, project: &str) -> Self {
        Self { project: project.to_owned(), ..self.clone() }
    }

    /// The schema that holds it; also the name under which its waiters are told.
    pub(super) fn schema(&self) -> String {
        format!("{PREFIX}{}", self.project)
    }

    /// The schema as a statement names it. The name is checked, so that nothing in it needs care.
    pub fn quoted(&self) -> String {
        format!("\"{PREFIX}{}\"", self.project)
    }

    /// The same address, and what the server remarks on the row versions that are still seen.
    pub(super) fn with_remarks(&self) -> (Self, Arc<AtomicU64>) {
        let (mut own, remarked) = (self.clone(), Arc::new(AtomicU64::new(0)));
        let kept = Arc::clone(&remarked);
        own.remarks = Some(Arc::new(move |remark| {
            if let Some(number) = remark.detail().and_then(first_number) {
                kept.store(number, Ordering::SeqCst);
            }
        }));
        (own, remarked)
    }

    /// The role that connects, for hints.
    pub(super) fn user(&self) -> &str {
        self.config.get_user().unwrap_or("you")
    }

    /// The database, for hints.
    pub(super) fn database(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres")
    }

    /// Sets how long the server may take for an answer; 10 s unless set.
    #[must_use]
    pub fn answering_within(mut self, limit: Duration) -> Self {
        self.answer = limit;
        self
    }

    /// How long the server may take for an answer.
    pub(super) fn answer(&self) -> Duration {
        self.answer
    }

    /// How long making a connection may take.
    pub(super) fn connecting(&self) -> Duration {
        CONNECT.min(self.answer)
    }

    /// What makes a connection, however long that takes.
    pub(super) fn dialer(
        &self,
    ) -> Result<impl FnOnce() -> std::result::Result<Client, tokio_postgres::Error> + Send + use<>>
    {
        let (config, remarks, runtime) =
            (self.config.clone(), self.remarks.clone(), client::runtime()?);
        let tls = match &self.tls {
            Tls::Plain => None,
            Tls::Checked(roots) => Some(tls::connector(roots.as_deref())?),
        };
        Ok(move || match tls {
            None => Client::connect(runtime, &config, NoTls, remarks),
            Some(tls) => Client::connect(runtime, &config, tls, remarks),
        })
    }

    /// The server, without a user or a password.
    pub(super) fn server(&self) -> String {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => format!("{host}:{port}"),
            Some(Host::Unix(directory)) => format!("{}:{port}", directory.display()),
            None => format!("localhost:{port}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "postgres://{}/{}?project={}", self.server(), self.database(), self.project)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

fn check_project(name: &str) -> Result<()> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let plain =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if starts && name.len() <= PROJECT_MAX && name.chars().all(plain) {
        return Ok(());
    }
    Err(Error::invalid(format!("`{}` cannot name a project", cotenant_core::name::shown(name)))
        .hint(format!(
            "use up to {PROJECT_MAX} of a-z, 0-9, `-`, `_` and `.`, a letter or digit first"
        )))
}

/// Whether nobody else can listen.
fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(host) => matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1"),
    })
}

/// The first number in a text, whatever its language.
fn first_number(text: &str) -> Option<u64> {
    let is_digit = |c: char| c.is_ascii_digit();
    let rest = &text[text.find(is_digit)?..];
    rest[..rest.find(|c| !is_digit(c)).unwrap_or(rest.len())].parse().ok()
}

/// An address as it may be kept or shown.
fn without_password(text: &str) -> String {
    let (place, parameters) = text.split_once('?').unwrap_or((text, ""));
    let mut kept = place.to_owned();
    if let Some((scheme, rest)) = place.split_once("://") {
        let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some((user, server)) = server.rsplit_once('@') {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            kept = format!("{scheme}://{user}@{server}/{path}");
        }
    }
    let parameters: Vec<&str> = parameters
        .split('&')
        .filter(|one| !one.is_empty() && !one.starts_with("password="))
        .collect();
    if !parameters.is_empty() {
        kept.push('?');
        kept.push_str(&parameters.join("&"));
    }
    kept
}

/// A parameter's value, of which `%2F` is `/`.
fn decoded(value: &str) -> String {
    value.replace("%2F", "/").replace("%2f", "/")
}

#[cfg(test)]
mod tests {
    use cotenant_core::Code;

    use super::*;

    fn refused(text: &str) -> String {
        let error = Address::parse(text, None).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{error}");
        error.to_string()
    }

    #[test]
    fn a_project_is_named_by_the_address_or_beside_it() {
        let address =
            Address::parse("postgres://u@/d?project=a-1&host=/run/pg", Some("b")).unwrap();
        assert_eq!((address.project(), address.quoted().as_str()), ("a-1", "\"cotenant_a-1\""));
        assert_eq!(address.to_string(), "postgres:///run/pg:5432/d?project=a-1");
        let address = Address::parse("postgresql://u:secret@localhost:5433/d", Some("b")).unwrap();
        assert_eq!(address.project(), "b");
        assert_eq!(format!("{address:?}"), "postgres://localhost:5433/d?project=b");
        assert!(refused("postgres://localhost/d").contains("names no project"));
    }

    #[test]
    fn a_password_is_not_kept() {
        let text = |text: &str| Address::parse(text, Some("p")).unwrap().text().to_owned();
        for (given, kept) in [
            ("postgres://u:se@cret@h:5433/d?project=a", "postgres://u@h:5433/d?project=a"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres:///d?user=u&password=x&host=/run/pg", "postgres:///d?user=u&host=/run/pg"),
        ] {
            assert_eq!(text(given), kept);
        }
        let address = Address::parse("postgres://u@h/d", Some("p")).unwrap().password_if_none("x");
        assert_eq!(address.config.get_password(), Some("x".as_bytes()));
        assert_eq!(address.password_if_none("y").config.get_password(), Some("x".as_bytes()));
    }

    #[test]
    fn a_name_that_needs_care_in_sql_is_no_project() {
        for name in ["", "A", "-a", "a\"b", "a b", "a;b", "a%20", "é", &"a".repeat(49)] {
            refused(&format!("postgres://localhost/d?project={name}"));
        }
    }

    #[test]
    fn an_address_over_a_network_is_encrypted_unless_it_says_otherwise() {
        let tls = |text: &str| Address::parse(text, None).unwrap().tls;
        assert_eq!(tls("postgres://example.org/d?project=a"), Tls::Checked(None));
        assert_eq!(tls("postgres://example.org/d?project=a&sslmode=disable"), Tls::Plain);
        assert_eq!(tls("postgres://127.0.0.1/d?project=a"), Tls::Plain);
        let roots = "postgres://localhost/d?sslrootcert=%2Fetc/ca.pem&project=a";
        assert_eq!(tls(roots), Tls::Checked(Some("/etc/ca.pem".into())));
        refused("postgres://localhost/d?project=a&sslmode=prefer");
    }

    #[test]
    fn a_remark_is_read_by_its_number() {
        let remark = "12 dead row versions cannot be removed yet.\nCPU: user: 0.01 s";
        assert_eq!(first_number(remark), Some(12));
        assert_eq!(first_number("Es bleiben 3"), Some(3));
        assert_eq!(first_number("none"), None);
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_showing_it() {
        let text = refused("postgres://u:hunter2@localhost:x/d?project=a");
        assert!(!text.contains("hunter2"), "{text}");
        refused("postgres://localhost/d?project=a&unknown=1");
        refused("mysql://localhost/d?project=a");
    }
}
