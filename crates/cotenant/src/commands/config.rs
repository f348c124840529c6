//! `cotenant config`.

use clap::Subcommand;
use cotenant_core::{Result, id::Seq, id::Tick, render::for_terminal};
use serde::Serialize;

use crate::{
    config::{self, Shown},
    context::Context,
    exit::Exit,
    output::{Look, Screen, Table},
};

/// See the settings and where each comes from
#[derive(Subcommand)]
pub(crate) enum Command {
    Show(ShowArgs),
    Path(PathArgs),
}

/// Print every setting, its value and its origin
///
/// Flags win over the environment, that over the project's cotenant.toml, which may only make
/// things stricter, that over the user's file, that over what is built in.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// Print the built-in defaults as a commented file
    #[arg(long)]
    defaults: bool,
}

/// Print the paths of the configuration files
#[derive(clap::Args)]
pub(crate) struct PathArgs {}

#[derive(Serialize)]
struct Settings {
    settings: Vec<Shown>,
}

impl Command {
    /// Runs the command.
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit> {
        match self {
            Self::Show(args) => show(context, screen, &args),
            Self::Path(PathArgs {}) => paths(context, screen),
        }
    }
}

fn show(context: &Context, screen: &mut Screen, args: &ShowArgs) -> Result<Exit> {
    if args.defaults && !screen.json() {
        screen.line(config::DEFAULTS.trim_end());
        return Ok(Exit::SUCCESS);
    }
    let config = config::load(context.project()?)?;
    config.warnings().iter().for_each(|warning| context.note(warning));
    let settings = config.shown();
    if screen.json() {
        screen.data(&Settings { settings }, Seq(0), Tick(0))?;
        return Ok(Exit::SUCCESS);
    }
    let mut table = Table::new(["SETTING", "VALUE", "ORIGIN"]);
    for setting in settings {
        table.styled_row([
            (Look::Strong, setting.name.to_owned()),
            (Look::Plain, setting.value),
            (Look::Faint, setting.origin),
        ]);
    }
    screen.table(&table);
    Ok(Exit::SUCCESS)
}

fn paths(context: &Context, screen: &mut Screen) -> Result<Exit> {
    let project = context.project()?;
    let paths = config::paths(project);
    if screen.json() {
        let data = serde_json::json!({
            "user": paths.user, "project": paths.project, "store": project.store.to_string(),
        });
        screen.data(&data, Seq(0), Tick(0))?;
        return Ok(Exit::SUCCESS);
    }
    let user = paths.user.map(|path| path.display().to_string()).unwrap_or_default();
    for (label, path) in [
        ("user", user),
        ("project", paths.project.display().to_string()),
        ("store", project.store.to_string()),
    ] {
        screen.line(format!("{label:<8} {}", for_terminal(&path)));
    }
    Ok(Exit::SUCCESS)
}
