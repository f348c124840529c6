//! The options of a storm.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::plan::Storm;
use super::random::any_seed;
use crate::engine::Engine;

/// What may follow the command.
pub(crate) const ARGUMENTS: &str = "[short | linearizability | kill | failpoints | admin | birth | \
     stop | clock | combine | crowd | power | corrupt | full | mixed | server | team | tasks | check FILE] [--engine sqlite|postgres] [--seed N] [--minutes N] \
     [--histories N] [--kills N] \
     [--images N] [--cases N] [--users N] [--trace FOLDER] [--mutant NAME]";

/// What the command line says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Which storm; all in their long form when absent.
    pub(crate) storm: Option<String>,
    /// Over which database.
    pub(crate) engine: Engine,
    /// The history to check again.
    pub(crate) file: Option<PathBuf>,
    /// What repeats the choices.
    pub(crate) seed: u64,
    /// How long a storm goes on at most.
    pub(crate) minutes: Option<f64>,
    /// How many histories are made.
    pub(crate) histories: Option<usize>,
    /// How many users a team has.
    pub(crate) users: Option<usize>,
    /// How many processes are killed.
    pub(crate) kills: Option<usize>,
    /// How many images of a disk are made.
    pub(crate) images: Option<usize>,
    /// How many files are damaged.
    pub(crate) cases: Option<usize>,
    /// The planted bug that is switched on.
    pub(crate) mutant: Option<String>,
    /// A recording to be used again.
    pub(crate) trace: Option<PathBuf>,
}

impl Options {
    /// Reads the words behind the command.
    pub(crate) fn read(arguments: &[String]) -> Result<Self> {
        let mut options = Self { seed: any_seed(), ..Self::default() };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seed" => options.seed = number(word, words.next())?,
                "--minutes" => options.minutes = Some(number(word, words.next())?),
                "--histories" => options.histories = Some(number(word, words.next())?),
                "--engine" => {
                    let name = words.next().context("`--engine` needs a name")?;
                    options.engine = name.parse()?;
                }
                "--cases" => options.cases = Some(number(word, words.next())?),
                "--images" => options.images = Some(number(word, words.next())?),
                "--mutant" => {
                    options.mutant = Some(words.next().context("`--mutant` needs a name")?.clone());
                }
                "--trace" => {
                    options.trace = Some(words.next().context("`--trace` needs a folder")?.into());
                }
                "--users" => options.users = Some(number(word, words.next())?),
                "--kills" => options.kills = Some(number(word, words.next())?),
                name if options.storm.is_none() && is_storm(name) => {
                    options.storm = Some(word.clone());
                }
                "check" if options.storm.is_none() => {
                    options.storm = Some(word.clone());
                    let file = words.next().context("`check` needs the file of a history")?;
                    options.file = Some(file.into());
                }
                _ => bail!("`{word}` is unknown here\n\nUsage: cargo xtask storm {ARGUMENTS}"),
            }
        }
        Ok(options)
    }

    /// How long a storm goes on at most.
    pub(crate) fn time(&self, default: Duration) -> Duration {
        self.minutes
            .map_or(default, |minutes| Duration::from_secs_f64(minutes.clamp(0.0, 1e5) * 60.0))
    }
}

/// Whether a word names a storm, or all of them in their short form.
fn is_storm(word: &str) -> bool {
    word == "short" || Storm::ALL.iter().any(|storm| storm.name() == word)
}

fn number<T: FromStr>(option: &str, word: Option<&String>) -> Result<T> {
    word.and_then(|word| word.parse().ok()).with_context(|| format!("`{option}` needs a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options> {
        Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_storm_can_be_named() {
        for storm in Storm::ALL {
            assert!(ARGUMENTS.contains(storm.name()));
            assert!(read(storm.name()).is_ok());
        }
    }

    #[test]
    fn options_are_read_in_any_order() {
        let options = read("--kills 7 kill --seed 3").unwrap();
        assert_eq!((options.storm.as_deref(), options.kills), (Some("kill"), Some(7)));
        assert_eq!(options.seed, 3);
        assert!(read("kill stop").is_err());
        assert!(read("--seed x").is_err());
    }
}
