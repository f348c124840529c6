//! Settings: built in, from the user's file, from the project's, from the environment.
//!
//! The project's file is written by whoever can commit, so it may only make things stricter.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use cotenant_core::{
    Error, Result,
    clock::{HOUR, SECOND, in_words, parse_duration},
    name::shown,
    retention::OLDER_THAN_MS,
};
use serde::Serialize;

use crate::{env, project::Project};

mod nearest;
mod pressure;

pub(crate) use pressure::{Limits, limits};

/// The project's file, at the top of the repository.
const PROJECT_FILE: &str = "cotenant.toml";
/// For how long sessions that are over are kept.
const KEEP: &str = "sessions.keep";
/// What the project is called on a server; no setting, for it has no default.
const PROJECT: &str = "project";

/// The built-in settings as a commented file.
pub(crate) const DEFAULTS: &str = include_str!("config/defaults.toml");

/// What a setting can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Flag(bool),
    Duration(u64),
    /// 0 for any number.
    Count(u64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(formatter),
            Self::Duration(ms) => formatter.write_str(&in_words(*ms)),
            Self::Count(count) => count.fmt(formatter),
        }
    }
}

/// A setting: its name, its variable, its built-in value. A dot in the name is a table in the file.
struct Setting {
    name: &'static str,
    variable: &'static str,
    built_in: Value,
}

const SETTINGS: [Setting; 6] = [
    Setting {
        name: "busy_timeout",
        variable: env::BUSY_TIMEOUT,
        built_in: Value::Duration(5 * SECOND),
    },
    Setting { name: "auto_claim", variable: env::AUTO_CLAIM, built_in: Value::Flag(true) },
    Setting { name: "deny", variable: env::DENY, built_in: Value::Flag(true) },
    Setting { name: "stale_after", variable: env::STALE_AFTER, built_in: Value::Duration(HOUR) },
    Setting { name: "sessions.max", variable: env::SESSIONS_MAX, built_in: Value::Count(0) },
    Setting { name: KEEP, variable: env::SESSIONS_KEEP, built_in: Value::Duration(OLDER_THAN_MS) },
];

/// The settings that hold for a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    values: [(Value, String); SETTINGS.len()],
    limits: Limits,
    warnings: Vec<String>,
}

/// A setting for people.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its value.
    pub(crate) value: String,
    /// Where the value comes from.
    pub(crate) origin: String,
}

/// The configuration files.
pub(crate) struct Paths {
    /// The user's; none without a home.
    pub(crate) user: Option<PathBuf>,
    /// The project's.
    pub(crate) project: PathBuf,
}

/// Where the configuration files of a project are, whether they exist or not.
pub(crate) fn paths(project: &Project) -> Paths {
    let user = env::path(env::CONFIG).or_else(|| {
        let directory = env::path(env::XDG_CONFIG_HOME)
            .or_else(|| env::path(env::HOME).map(|home| home.join(".config")))?;
        Some(directory.join("cotenant/config.toml"))
    });
    Paths { user, project: project.root.join(PROJECT_FILE) }
}

/// Reads the settings that hold for a project.
pub(crate) fn load(project: &Project) -> Result<Config> {
    let paths = paths(project);
    let mut config = Config {
        values: SETTINGS.map(|setting| (setting.built_in, "built in".to_owned())),
        limits: Limits::default(),
        warnings: Vec::new(),
    };
    if let Some(file) = &paths.user {
        config.read_file(file, |_, _, _| true)?;
    }
    config.read_file(&paths.project, is_stricter)?;
    for (index, setting) in SETTINGS.iter().enumerate() {
        if let Some(text) = env::text(setting.variable) {
            let value =
                parse_text(setting, &text).ok_or_else(|| wrong(setting, setting.variable))?;
            config.values[index] = (value, format!("environment, {}", setting.variable));
        }
    }
    Ok(config)
}

/// What a project is called on a server, as its file says.
pub(crate) fn project_name(root: &Path) -> Result<Option<String>> {
    let file = root.join(PROJECT_FILE);
    let Some(mut table) = read(&file)? else { return Ok(None) };
    match table.remove(PROJECT) {
        None => Ok(None),
        Some(toml::Value::String(name)) => Ok(Some(name)),
        Some(_) => Err(Error::invalid(format!("`{PROJECT}` in {} must be a text", file.display()))),
    }
}

/// Reads a configuration file, if there is one.
fn read(file: &Path) -> Result<Option<toml::Table>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(Error::invalid(format!("cannot read `{}`: {error}", file.display()))
                .caused_by(error));
        }
    };
    text.parse().map(Some).map_err(|error: toml::de::Error| {
        let message = error.message().to_owned();
        Error::invalid(format!("`{}` is not valid TOML: {message}", file.display()))
            .caused_by(error)
    })
}

/// Whether a project may change a setting so: refuse more, claim more, wait less, mark earlier, keep longer.
fn is_stricter(name: &str, before: Value, after: Value) -> bool {
    match (before, after) {
        (Value::Flag(before), Value::Flag(after)) => after >= before,
        (Value::Duration(before), Value::Duration(after)) if name == KEEP => after >= before,
        (Value::Duration(before), Value::Duration(after)) => after <= before,
        (Value::Count(before), Value::Count(after)) => {
            after != 0 && (before == 0 || after <= before)
        }
        _ => false,
    }
}

impl Config {
    /// How long a write waits for its turn, in milliseconds.
    pub(crate) fn busy_timeout(&self) -> u64 {
        self.duration(0)
    }

    /// Whether the first edit of a file claims it.
    pub(crate) fn auto_claim(&self) -> bool {
        self.flag(1)
    }

    /// Whether an edit of a file that another session holds is refused.
    pub(crate) fn deny(&self) -> bool {
        self.flag(2)
    }

    /// After how long a quiet session is shown as possibly abandoned, in milliseconds.
    pub(crate) fn stale_after(&self) -> u64 {
        self.duration(3)
    }

    /// How many sessions may be live at once, people apart.
    pub(crate) fn sessions_max(&self) -> Option<u32> {
        match self.values[4].0 {
            Value::Count(0) => None,
            Value::Count(count) => Some(u32::try_from(count).unwrap_or(u32::MAX)),
            _ => None,
        }
    }

    /// For how long sessions that are over are kept, in milliseconds.
    pub(crate) fn sessions_keep(&self) -> u64 {
        self.duration(5)
    }

    /// What the files say that has no effect.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every setting, for people.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let settings = SETTINGS.iter().zip(&self.values);
        let flat = settings.map(|(setting, (value, origin))| Shown {
            name: setting.name,
            value: value.to_string(),
            origin: origin.clone(),
        });
        flat.chain(self.limits.shown()).collect()
    }

    fn flag(&self, index: usize) -> bool {
        matches!(self.values[index].0, Value::Flag(true))
    }

    fn duration(&self, index: usize) -> u64 {
        match self.values[index].0 {
            Value::Duration(ms) => ms,
            Value::Flag(_) | Value::Count(_) => 0,
        }
    }

    fn read_file(&mut self, file: &Path, may: impl Fn(&str, Value, Value) -> bool) -> Result<()> {
        let Some(mut table) = read(file)? else { return Ok(()) };
        if let Some(value) = table.remove(pressure::TABLE) {
            let is_project = file.ends_with(PROJECT_FILE);
            self.warnings.extend(self.limits.take(&value, file, is_project)?);
        }
        for (name, value) in &flat(table) {
            if name == PROJECT && file.ends_with(PROJECT_FILE) {
                continue;
            }
            let Some(index) = SETTINGS.iter().position(|setting| setting.name == name) else {
                self.warnings.push(unknown(name, file));
                continue;
            };
            let setting = &SETTINGS[index];
            let origin = file.display().to_string();
            let value = parse(setting, value).ok_or_else(|| wrong(setting, &origin))?;
            if may(name, self.values[index].0, value) {
                self.values[index] = (value, origin);
            } else {
                self.warnings.push(format!(
                    "`{name}` in `{origin}` has no effect: a project may only make things stricter"
                ));
            }
        }
        Ok(())
    }
}

/// The settings of a file, those of a table with its name before a dot.
fn flat(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut settings = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => {
                settings
                    .extend(inner.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => settings.push((name, value)),
        }
    }
    settings
}

fn unknown(name: &str, file: &Path) -> String {
    let near = nearest::nearest(name, SETTINGS.iter().map(|setting| setting.name));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("`{}` in `{}` is no setting{near}", shown(name), file.display())
}

fn parse(setting: &Setting, value: &toml::Value) -> Option<Value> {
    match (setting.built_in, value) {
        (Value::Flag(_), toml::Value::Boolean(flag)) => Some(Value::Flag(*flag)),
        (Value::Duration(_), toml::Value::String(text)) => parse_text(setting, text),
        (Value::Count(_), toml::Value::Integer(count)) => {
            (*count).try_into().ok().map(Value::Count)
        }
        _ => None,
    }
}

fn parse_text(setting: &Setting, text: &str) -> Option<Value> {
    match setting.built_in {
        Value::Flag(_) => text.parse().ok().map(Value::Flag),
        Value::Duration(_) => parse_duration(text).ok().map(Value::Duration),
        Value::Count(_) => text.parse().ok().map(Value::Count),
    }
}

fn wrong(setting: &Setting, origin: &str) -> Error {
    let form = match setting.built_in {
        Value::Flag(_) => "true or false",
        Value::Duration(_) => "a duration such as \"5s\"",
        Value::Count(_) => "a whole number",
    };
    Error::invalid(format!("`{}` in {origin} must be {form}", setting.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(file: &str, may: fn(&str, Value, Value) -> bool) -> Result<Config> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.toml");
        std::fs::write(&path, file).unwrap();
        let mut config = Config {
            values: SETTINGS.map(|setting| (setting.built_in, "built in".to_owned())),
            limits: Limits::default(),
            warnings: Vec::new(),
        };
        config.read_file(&path, may).map(|()| config)
    }

    #[test]
    fn the_commented_defaults_are_the_built_in_values() {
        let config = read_text(DEFAULTS, |_, _, _| true).unwrap();
        for (setting, (value, origin)) in SETTINGS.iter().zip(&config.values) {
            assert_eq!(*value, setting.built_in);
            assert_ne!(origin, "built in");
        }
        assert_eq!(config.warnings, [""; 0]);
    }

    #[test]
    fn a_project_only_makes_things_stricter() {
        let config =
            read_text("deny = false\nstale_after = \"2h\"\nbusy_timeout = \"1s\"", is_stricter)
                .unwrap();
        assert!(config.deny());
        assert_eq!((config.stale_after(), config.busy_timeout()), (HOUR, SECOND));
        assert_eq!(config.warnings.len(), 2);
        let keep = |text| read_text(text, is_stricter).unwrap().sessions_keep();
        assert_eq!(keep("sessions.keep = \"1d\""), OLDER_THAN_MS);
        assert_eq!(keep("sessions.keep = \"60d\""), 2 * OLDER_THAN_MS);
        let max = |text| read_text(text, is_stricter).unwrap().sessions_max();
        assert_eq!((max("[sessions]\nmax = 3"), max("[sessions]\nmax = 0")), (Some(3), None));
    }

    #[test]
    fn wrong_files_are_refused_and_unknown_names_told() {
        let config = read_text("stale_aftr = \"2h\"", |_, _, _| true).unwrap();
        assert!(
            config.warnings[0].ends_with("did you mean `stale_after`?"),
            "{:?}",
            config.warnings
        );
        for bad in [
            "deny = 1",
            "[sessions]\nmax = -1",
            "[sessions]\nmax = \"3\"",
            "stale_after = 5",
            "stale_after = \"soon\"",
            "deny =",
        ] {
            assert_eq!(
                read_text(bad, |_, _, _| true).unwrap_err().code,
                cotenant_core::Code::Invalid,
                "{bad}"
            );
        }
    }
}
