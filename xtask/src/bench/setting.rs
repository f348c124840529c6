//! What the groups share: sizes and programs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::sample::Plan;

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Small sizes, to see that everything works.
    pub(crate) is_quick: bool,
    /// How many events the log has when it is paged and verified.
    pub(crate) events: u32,
    /// The groups to measure; all if there are none.
    pub(crate) only: Vec<String>,
    /// The program to measure instead of a fresh release build.
    pub(crate) program: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments behind the command.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options =
            Self { is_quick: false, events: 200_000, only: Vec::new(), program: None };
        let mut events = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--quick" => options.is_quick = true,
                "--events" => events = Some(value()?.parse().context("--events")?),
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--program" => options.program = Some(value()?.into()),
                _ => bail!("`{argument}` is not an option of `cargo xtask bench`"),
            }
        }
        options.events = events.unwrap_or(if options.is_quick { 5_000 } else { options.events });
        Ok(options)
    }
}

/// What the groups share.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// What the command line says.
    pub(crate) options: Options,
    /// The shipped program.
    pub(crate) program: PathBuf,
    /// Programs that do nothing.
    pub(crate) empty: super::build::Empty,
    /// Where scratch directories and results go.
    pub(crate) folder: PathBuf,
}

impl Setting {
    /// A size: for a real run, or to see that everything works.
    pub(crate) fn size<T>(&self, real: T, quick: T) -> T {
        if self.options.is_quick { quick } else { real }
    }

    /// So many rounds, in each of five repetitions.
    pub(crate) fn plan(&self, rounds: usize) -> Plan {
        Plan { repetitions: self.size(5, 2), rounds: self.size(rounds, rounds.min(5)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let parse = |text: &str| {
            Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let options = parse("--quick --only shell,hook --events 9").unwrap();
        assert_eq!((options.is_quick, options.events), (true, 9));
        assert_eq!(options.only, ["shell", "hook"]);
        assert_eq!(parse("--quick").unwrap().events, 5_000);
        assert_eq!(parse("").unwrap().events, 200_000);
        assert!(parse("--fast").is_err());
        assert!(parse("--events").is_err());
    }
}
