//! `cotenant lease run`: holds a lease around a command.
//!
//! The lease is renewed every third of its TTL. Without a renewal for 70 % of it the command's
//! process group gets SIGTERM, at 90 % SIGKILL, both measured on this process's own monotonic
//! clock from before the last successful request was sent: so the command is gone before anybody
//! else can hold the lease, even if this process was stopped or the store was out of reach.
//!
//! If this process is killed, the command runs on while the lease expires. Its guarded writes fail
//! then; what it does outside the store is not protected.

mod deadline;
mod job;

use std::{
    ffi::OsString,
    process::Stdio,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Result,
    lease::{Acquire, Release, Renew},
    name::check_name,
    store::{Actor, Guard, Request, Store},
};

use super::super::parse;
use crate::{
    complete,
    context::Context,
    env,
    exit::Exit,
    output::{self, Screen},
    token,
};
use deadline::{Deadlines, Stage};
use job::{Ended, Job, Signals};

/// Hold a lease while a command runs
///
/// Renews the lease, gives it back at the end, and exits with the command's status, or 128 and the
/// signal's number. If the lease is lost the command is ended and the status is 76. Mutations of
/// the command carry the lease as a guard.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant lease run --lease deploy -- ./deploy.sh
  cotenant lease run --lease branch/main --ttl 30s --wait 10m -- git push")]
pub(crate) struct Args {
    /// What to hold, e.g. `branch/main`
    #[arg(long = "lease", value_name = "RESOURCE", add = complete::leases())]
    resource: String,
    /// How long it outlives this process, 5s to 24h
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse::duration)]
    ttl: u64,
    /// Wait so long for it
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    wait: Option<u64>,
    /// What for, shown to others
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What can happen while the command runs.
enum Happening {
    /// A renewal succeeded; when it was sent.
    Renewed(Instant),
    /// The lease is over.
    Lost(Error),
    /// This process got a signal.
    Signal(i32),
    /// The command was stopped, e.g. from the keyboard.
    Stopped,
    /// The command ended.
    Ended(Ended),
}

/// The lease that the command runs under.
struct Lease {
    guard: Guard,
    actor: Actor,
    /// When the request was sent that made it ours, or kept it.
    sent: Instant,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    check_name("resource", &args.resource)?;
    let signals = Signals::catch()?;
    let lease = acquire(context, args)?;
    // Nothing but the envelope may stand on stdout then.
    let stdout = if screen.json() { Stdio::from(std::io::stderr()) } else { Stdio::inherit() };
    let outcome = hold(context, args, &lease, signals, stdout);
    let Lease { guard, .. } = lease;
    // Of several commands under one lease, one in the other, the outermost gives it back.
    let inherited = context.guards()?.contains(&guard);
    if !inherited && !matches!(outcome, Ok((_, Stage::Terminating | Stage::Killed))) {
        let release = Release { resource: guard.resource.clone(), fence: guard.fence };
        if let Err(error) = context.call_aside(&release) {
            context.note(&format!("could not give the lease back: {}", error.message));
        }
    }
    let (ended, stage) = outcome?;
    if stage != Stage::Running {
        return Err(Error::new(
            Code::Fenced,
            format!("lost the lease on `{}`; the command was ended", args.resource),
        )
        .hint("somebody may hold it now; see `cotenant lease list`"));
    }
    if screen.json() {
        let status = serde_json::json!({"fence": guard.fence, "exit": ended.status()});
        let head = context.call(&cotenant_core::event::Head {})?;
        screen.data(&status, head.seq, head.tick)?;
    }
    Ok(Exit(ended.status()))
}

fn acquire(context: &Context, args: &Args) -> Result<Lease> {
    let operation = Acquire {
        resource: args.resource.clone(),
        ttl_ms: args.ttl,
        slots: None,
        wait_ms: args.wait,
        lock_delay_ms: None,
        note: args.note.clone(),
    };
    let mut sent = Instant::now();
    let granted = context.call(&operation)?.answer;
    let guard = Guard { resource: granted.resource, fence: granted.fence };
    if args.wait.is_some() {
        // The grant may have come long after the request, or just before: renewing tells.
        sent = Instant::now();
        let resource = guard.resource.clone();
        context.call_aside(&Renew { resource, fence: guard.fence, ttl_ms: Some(args.ttl) })?;
    }
    // By its id: while the command runs, its name may come to mean another session.
    let actor = match context.own_session()? {
        Some(own) => context.actor_for(&own.answer.session)?,
        None => context.actor()?.clone(),
    };
    Ok(Lease { guard, actor, sent })
}

/// Runs the command and keeps the lease until it ends.
fn hold(
    context: &Context,
    args: &Args,
    lease: &Lease,
    signals: Signals,
    stdout: Stdio,
) -> Result<(Ended, Stage)> {
    let Lease { guard, actor, sent } = lease;
    let mut guards = context.guards()?;
    guards.retain(|before| before != guard);
    guards.push(guard.clone());
    let guards: Vec<String> =
        guards.iter().map(|guard| format!("{}={}", guard.resource, guard.fence)).collect();
    let mut job = Job::start(
        &args.command,
        stdout,
        &[
            (env::SESSION, actor.session.0.clone()),
            (env::GUARDS, guards.join("\n")),
            (env::FENCE, guard.fence.to_string()),
        ],
    )?;
    let (tell, happenings) = mpsc::channel();
    signals.forward(tell.clone(), Happening::Signal);
    job.watch(tell.clone(), |ended| ended.map_or(Happening::Stopped, Happening::Ended));
    let renew =
        Renew { resource: guard.resource.clone(), fence: guard.fence, ttl_ms: Some(args.ttl) };
    let request = Request::new(renew).by(actor.clone());
    keep_renewing(Arc::clone(context.store()?), request, Duration::from_millis(args.ttl), tell);

    let mut deadlines = Deadlines::new(*sent, Duration::from_millis(args.ttl));
    let mut ended = None;
    loop {
        if let Some(ended) =
            ended.filter(|_| deadlines.stage != Stage::Terminating || job.is_gone())
        {
            return Ok((ended, deadlines.stage));
        }
        match happenings.recv_timeout(deadlines.wait(Instant::now(), ended.is_some())) {
            Ok(Happening::Renewed(sent)) => deadlines.renewed(sent),
            Ok(Happening::Lost(error)) => {
                output::talk(&format!("cotenant: {}", error.message));
                deadlines.lost(Instant::now());
            }
            Ok(Happening::Signal(number)) => job.pass_on(number),
            Ok(Happening::Stopped) => job.go_on(),
            Ok(Happening::Ended(how)) => ended = Some(how),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("nobody watches the command any more"));
            }
        }
        match deadlines.due(Instant::now()) {
            Some(Stage::Terminating) => job.terminate(),
            Some(Stage::Killed) => job.kill(),
            _ => {}
        }
    }
}

/// Renews in a thread of its own, so that a store that does not answer holds nothing up.
fn keep_renewing(store: Arc<dyn Store>, request: Request, ttl: Duration, tell: Sender<Happening>) {
    thread::spawn(move || {
        let mut pause = ttl / 3;
        loop {
            thread::sleep(pause);
            let sent = Instant::now();
            let outcome =
                token::request_id().and_then(|id| store.one(request.clone().id(id)).map(|_| ()));
            let told = match outcome {
                Ok(()) => {
                    pause = ttl / 3;
                    tell.send(Happening::Renewed(sent))
                }
                Err(error)
                    if matches!(
                        error.code,
                        Code::Fenced | Code::SessionLost | Code::SessionEnded
                    ) =>
                {
                    let _ = tell.send(Happening::Lost(error));
                    return;
                }
                Err(_) => {
                    pause = (ttl / 20).min(Duration::from_secs(1));
                    Ok(())
                }
            };
            if told.is_err() {
                return;
            }
        }
    });
}
