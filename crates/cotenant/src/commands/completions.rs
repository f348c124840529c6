//! `cotenant completions`.

use clap::ValueEnum;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use cotenant_core::{Error, Result};

use crate::{context::Context, env, exit::Exit, output::Screen};

/// Print what makes a shell complete commands, sessions, leases, claims and scopes
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  echo 'source <(cotenant completions bash)' >> ~/.bashrc
  echo 'source <(cotenant completions zsh)' >> ~/.zshrc
  cotenant completions fish > ~/.config/fish/completions/cotenant.fish")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

pub(super) fn run(_: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Elvish => &Elvish,
        Shell::Powershell => &Powershell,
    };
    // The shell finds the program by its name, so that an update moves nothing.
    let mut script = Vec::new();
    shell
        .write_registration(env::COMPLETE, "cotenant", "cotenant", "cotenant", &mut script)
        .map_err(|error| Error::internal("the script cannot be written").caused_by(error))?;
    screen.line(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::SUCCESS)
}
