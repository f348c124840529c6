//! `cotenant task next`.

use cotenant_core::{
    Code, Result,
    clock::in_words,
    render::for_terminal,
    task::{NextTask, TakenTask},
};

use super::super::parse;
use crate::{
    complete,
    context::{Context, decode},
    exit::Exit,
    output::{Look, Screen, talk},
};

/// Take the next task: the most urgent one that is ready, then the one that waits longest
///
/// It is yours until you finish it with its fence, or until its time is over. Exits with 75 if none
/// is ready.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant task next
  cotenant task next ci docs --wait 10m
  cotenant task done 17 1795178491042

A worker in a script:
  while task=$(cotenant task next ci --wait 1h --json); do
    id=$(jq .data.task.task <<<\"$task\") fence=$(jq .data.task.fence <<<\"$task\")
    jq .data.task.payload <<<\"$task\" | ./work &&
      cotenant task done $id $fence || cotenant task fail $id $fence --reason 'see the log'
  done")]
pub(crate) struct Args {
    /// From these queues; from any when absent
    #[arg(value_name = "QUEUE", add = complete::queues())]
    queues: Vec<String>,
    /// The same, as the other commands say it
    #[arg(long = "queue", value_name = "QUEUE", add = complete::queues())]
    also: Vec<String>,
    /// How long you may take without extending it, 5s to 24h; as the task says when absent
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    visibility: Option<u64>,
    /// Wait so long for one
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    wait: Option<u64>,
}

pub(super) fn run(context: &Context, screen: &mut Screen, mut args: Args) -> Result<Exit> {
    args.queues.append(&mut args.also);
    let queues: Vec<String> =
        args.queues.iter().map(|queue| format!("`{}`", for_terminal(queue))).collect();
    let queues = queues.join(", ");
    let operation =
        NextTask { queues: args.queues, visibility_ms: args.visibility, wait_ms: args.wait };
    let reply = context.ask(&operation)?;
    let next = decode::<NextTask>(&reply)?;
    if screen.json() {
        screen.envelope(&reply);
    } else if let Some(task) = &next.task {
        print(screen, task);
    } else {
        let open = next.open.map(|open| open.in_words()).filter(|words| !words.is_empty());
        talk(&match open {
            Some(words) => format!("no task is ready: {words}"),
            None if queues.is_empty() => "no task is open".to_owned(),
            None => format!("no task is open in {queues}"),
        });
    }
    Ok(if next.task.is_some() { Exit::SUCCESS } else { Exit::of(Code::Timeout) })
}

fn print(screen: &mut Screen, task: &TakenTask) {
    let number = screen.paint(Look::Strong, &format!("task {}", task.task));
    screen.line(format!(
        "{number} (fence {}): attempt {} of {}, {} to finish it; added by {}",
        task.fence,
        task.attempt,
        task.max_attempts,
        in_words(task.visible_for_ms),
        for_terminal(&task.creator)
    ));
    if let Some(reason) = &task.reason {
        screen.line(format!("failed before: {}", for_terminal(reason)));
    }
    screen.verbatim(task.payload.text());
}
