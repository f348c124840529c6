//! What can go wrong with a settings file, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Says why settings were not changed. Nothing was written unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SettingsError {
    /// The text is not JSON (with comments) or not TOML.
    #[error("cannot parse `{}` at line {line}, column {column}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted in characters from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// The bytes are not UTF-8.
    #[error("`{}` is not UTF-8: invalid byte at line {line}, column {column}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted in characters from 1.
        column: usize,
    },
    /// A value on the way to an entry of ours has the wrong type.
    #[error(
        "`{key}` in `{}` at line {line}, column {column} is {found}, expected {expected}",
        path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted in characters from 1.
        column: usize,
        /// The key, e.g. `hooks.Stop`.
        key: String,
        /// The type it should have, with its article.
        expected: &'static str,
        /// The type it has, with its article.
        found: &'static str,
    },
    /// A key on the way to an entry of ours occurs twice, so readers disagree about its value.
    #[error("`{key}` occurs twice in `{}`, again at line {line}, column {column}", path.display())]
    DuplicateKey {
        /// The file.
        path: PathBuf,
        /// Counted from 1, of the second occurrence.
        line: usize,
        /// Counted in characters from 1.
        column: usize,
        /// The key, e.g. `hooks.Stop`.
        key: String,
    },
    /// Another MCP server already goes by our name.
    #[error(
        "`{key}` in `{}` at line {line}, column {column} is a server of another program",
        path.display()
    )]
    NameTaken {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted in characters from 1.
        column: usize,
        /// The key, e.g. `mcpServers.cotenant`.
        key: String,
    },
    /// The plugin already brings hooks and server.
    #[error("the plugin `{plugin}` is enabled in `{}`", path.display())]
    PluginEnabled {
        /// The settings file that enables it.
        path: PathBuf,
        /// Its key, e.g. `cotenant@market`.
        plugin: String,
    },
    /// An agent has no file that is both of this project and of this machine.
    #[error("{agent} has no project file for this machine only, where `{}` could go", program.display())]
    NoLocalFile {
        /// The agent.
        agent: &'static str,
        /// The program that PATH does not find.
        program: PathBuf,
    },
    /// A path must be absolute.
    #[error("`{}` is not an absolute path", path.display())]
    NotAbsolute {
        /// The path.
        path: PathBuf,
    },
    /// A path cannot be written into JSON.
    #[error("`{}` is not UTF-8", path.display())]
    PathNotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// The path names something that is not a regular file.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The path is a symbolic link to nothing, or a circle of links.
    #[error("`{}` is a symbolic link that leads to no file", path.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
    },
    /// The file changed between reading and writing.
    #[error("`{}` changed since it was read", path.display())]
    ChangedMeanwhile {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried: `read`, `write`, `remove`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A write failed, and so did taking back the ones before it. Files did change.
    #[error("some files could not be put back: {}", listed(left))]
    NotRolledBack {
        /// The files that keep the new content.
        left: Vec<PathBuf>,
        /// Why writing stopped.
        #[source]
        cause: Box<SettingsError>,
    },
    /// The record of an earlier `init` cannot be read.
    #[error("the record of an earlier `init` is damaged")]
    Record {
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The record comes from a newer version of this program.
    #[error("the record of an earlier `init` has version {version}, this program knows {known}")]
    RecordVersion {
        /// The version found.
        version: u32,
        /// The newest one this program understands.
        known: u32,
    },
}

impl SettingsError {
    /// Says what to do next, for the line `hint: …`.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Parse { path, line, .. } => {
                format!(
                    "correct line {line} of `{}`, then try again; nothing was written",
                    path.display()
                )
            }
            Self::NotUtf8 { path, .. } => {
                format!("save `{}` as UTF-8, then try again; nothing was written", path.display())
            }
            Self::Shape { key, expected, path, .. } => {
                format!(
                    "make `{key}` in `{}` {expected} or remove it; nothing was written",
                    path.display()
                )
            }
            Self::DuplicateKey { key, path, .. } => {
                format!("merge the two `{key}` in `{}`; nothing was written", path.display())
            }
            Self::NameTaken { key, path, .. } => {
                format!("rename `{key}` in `{}`; nothing was written", path.display())
            }
            Self::PluginEnabled { plugin, .. } => {
                format!(
                    "the plugin brings hooks and server already: `cotenant init --store-only` makes \
                     the store alone; to install without the plugin, disable `{plugin}` first"
                )
            }
            Self::NoLocalFile { program, .. } => {
                let dir = program.parent().unwrap_or(program);
                format!("add `{}` to PATH, or use `--global`", dir.display())
            }
            Self::NotAbsolute { .. } => "give the path from the root".to_owned(),
            Self::PathNotUtf8 { .. } => "use a directory whose name is UTF-8".to_owned(),
            Self::NotAFile { path } => {
                format!("move `{}` out of the way; nothing was written", path.display())
            }
            Self::DanglingLink { path } => {
                format!(
                    "create the target of `{}` or remove the link; nothing was written",
                    path.display()
                )
            }
            Self::ChangedMeanwhile { .. } => {
                "another program writes this file; try again to start from its present content"
                    .to_owned()
            }
            Self::Io { path, .. } => {
                format!("check the permissions of `{}` and the space on its disk", path.display())
            }
            Self::NotRolledBack { .. } => {
                "run `cotenant uninit` once the cause is gone; the record knows these files"
                    .to_owned()
            }
            Self::Record { .. } => {
                "move the record away; `uninit` then removes our entries by their form".to_owned()
            }
            Self::RecordVersion { .. } => "use the newer `cotenant`".to_owned(),
        }
    }

    /// The file and the line and column in it, where one is to blame.
    pub(crate) fn position(&self) -> Option<(&Path, usize, usize)> {
        match self {
            Self::Parse { path, line, column, .. }
            | Self::NotUtf8 { path, line, column }
            | Self::Shape { path, line, column, .. }
            | Self::DuplicateKey { path, line, column, .. }
            | Self::NameTaken { path, line, column, .. } => Some((path, *line, *column)),
            _ => None,
        }
    }

    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

fn listed(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    quoted.join(", ")
}
