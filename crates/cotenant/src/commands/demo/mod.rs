//! `cotenant demo`: the main job in one command, with real processes.
//!
//! In a scratch clone of the current repository, processes that play agents sign on through the real
//! hooks, call the real MCP server and run the real commands. Every row of the summary is computed
//! from the store, from exit statuses and from events; nothing is assumed.

mod agent;
mod claude;
mod player;
mod scenes;
mod scratch;
mod summary;

use std::time::Duration;

use clap::ValueEnum;
use cotenant_core::{
    Code, Result,
    id::{Seq, Tick},
};

use self::scratch::Scratch;
use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen},
};

pub(crate) use player::{Args as PlayerArgs, run as play};

/// The longest wait for a player to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cast {
    /// Processes of our own that use the same hooks, server and commands as an agent.
    Player,
    /// Claude Code, with your own account.
    Claude,
}

/// See three agents share one repository, one of them dying
///
/// Works in a scratch clone of the current repository and leaves yours alone. Needs no API key,
/// unless real Claude Code shall play.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant demo
  cotenant demo --agent claude      with real Claude Code windows; uses your account
  cotenant demo --keep              keep the scratch clone to look around in

Exit status: 0 every row is good; 1 a row is bad.")]
pub(crate) struct Args {
    /// Who plays the agents
    #[arg(long, value_enum, default_value = "player")]
    agent: Cast,
    /// Keep the scratch clone and say where it is
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let mut stage = Stage { screen, scenes: 0 };
    let mut scratch = Scratch::make(context)?;
    stage.say(&format!("A scratch clone of this repository: {}", scratch.origin));
    scratch.command(&["init", "--yes"])?;
    let summary = match args.agent {
        Cast::Player => scenes::play(&mut stage, &scratch)?,
        Cast::Claude => claude::play(&mut stage, &scratch)?,
    };
    let good = summary.is_good();
    if stage.screen.json() {
        stage.screen.data(&summary, Seq(0), Tick(0))?;
    } else {
        summary.print(stage.screen);
    }
    if args.keep {
        let kept = scratch.keep();
        stage.say(&format!("Kept: {}", kept.display()));
    }
    Ok(if good { Exit::SUCCESS } else { Exit(1) })
}

/// Where the story is told, while it happens.
struct Stage<'a> {
    screen: &'a mut Screen,
    scenes: u32,
}

impl Stage<'_> {
    /// Begins a scene.
    fn scene(&mut self, title: &str) {
        self.scenes += 1;
        let title = self.screen.paint(Look::Strong, &format!("{}. {title}", self.scenes));
        self.tell(&format!("\n{title}"));
    }

    /// Says what happens.
    fn say(&mut self, text: &str) {
        self.tell(&format!("   {text}"));
    }

    fn tell(&mut self, text: &str) {
        if self.screen.json() {
            return;
        }
        self.screen.line(text);
        // Whoever stopped reading does not need the story; the exit status still counts.
        let _ = self.screen.flush();
    }
}

/// The error of a demo that could not be played to its end.
fn broken(message: impl Into<String>) -> cotenant_core::Error {
    cotenant_core::Error::new(Code::SpawnFailed, message).hint(
        "run `cotenant demo --keep` and look into the scratch clone with `cotenant doctor --deep`",
    )
}
