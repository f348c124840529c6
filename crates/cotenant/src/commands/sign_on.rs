//! `cotenant sign-on`.

use clap::ValueEnum;
use cotenant_core::{
    Error, Result,
    id::is_id,
    name::SessionRef,
    process::ProcessIdentity,
    render::for_terminal,
    session::{IfBusy, Relation, SignOn, SignedOn},
};

use super::parse;
use crate::{
    complete,
    context::{Caller, Context, blank_sign_on},
    env,
    exit::Exit,
    identity::{self, Runner},
    output::{Look, Screen, holding_line},
};

/// Sign a session on, or find the one this process signed on before
///
/// The session lives as long as the agent that runs the command, or as the terminal; a script
/// without either names a process with `--pid` or lives by its TTL. A name used again after its
/// session was lost takes over what is still cooling. A person (`--kind human`) is not signed on
/// from inside an agent, unless `COTENANT_HUMAN` says that a person types there.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant sign-on claude_1 --purpose 'issue 15: the parser'
  cotenant sign-on nightly --kind ci --pid $$ --ttl 10m     in a CI job, under the job's id")]
pub(crate) struct Args {
    /// A name, unique among live sessions; drawn when absent
    name: Option<String>,
    /// What takes part: claude, codex, opencode, gemini, human, ci, agent; what runs the command when absent
    #[arg(long)]
    kind: Option<String>,
    /// What the session is for, shown to others
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// The agent's own conversation id; for `ci` the id that the service gives the job
    #[arg(long, value_name = "ID")]
    native_id: Option<String>,
    /// The process that the session lives with
    #[arg(long)]
    pid: Option<u32>,
    /// How long it lives without a sign of life, 15s to 24h; when absent 120s with a process that lives here, else 1h
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    ttl: Option<u64>,
    /// The session it comes from
    #[arg(long, value_name = "SESSION", add = complete::sessions())]
    parent: Option<String>,
    /// How it comes from it
    #[arg(long, value_enum, requires = "parent")]
    relation: Option<RelationArgument>,
    /// A word to find it by; may be repeated
    #[arg(long = "label", value_name = "WORD")]
    labels: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RelationArgument {
    Spawn,
    Resume,
    Fork,
    Merge,
    Compact,
    Handoff,
}

impl From<RelationArgument> for Relation {
    fn from(argument: RelationArgument) -> Self {
        match argument {
            RelationArgument::Spawn => Self::Spawn,
            RelationArgument::Resume => Self::Resume,
            RelationArgument::Fork => Self::Fork,
            RelationArgument::Merge => Self::Merge,
            RelationArgument::Compact => Self::Compact,
            RelationArgument::Handoff => Self::Handoff,
        }
    }
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: Args) -> Result<Exit> {
    let operation = operation(context, args)?;
    let alone = operation.process.is_none();
    let reply = context.ask_sign_on(operation, context.options().request_id.clone())?;
    screen.answer::<SignOn>(&reply, |screen, signed| print(screen, &signed, alone))?;
    Ok(Exit::SUCCESS)
}

fn operation(context: &Context, args: Args) -> Result<SignOn> {
    // The session that the first mutation would sign on is the one that is meant, unless the
    // options make it another. A session named from outside need not exist yet.
    let named = match context.caller() {
        Caller::Named(session) if !is_id(&session.0) => Some(session.0.clone()),
        _ => None,
    };
    let own = match context.caller() {
        Caller::Named(_) | Caller::Nobody => own_by_process(),
        caller => caller.sign_on(),
    };
    let mut operation = own.unwrap_or_else(|| blank_sign_on("agent"));
    if let Some(kind) = args.kind
        && kind != operation.kind
    {
        operation.native_id = None;
        operation.kind = kind;
    }
    if let Some(pid) = args.pid {
        operation.process = Some(process(pid)?);
        operation.native_id = None;
    }
    if args.native_id.is_some() {
        operation.native_id = args.native_id;
    } else if operation.kind == "ci" {
        operation.native_id = env::ci_job();
    }
    Ok(SignOn {
        name: args.name.or(named),
        ttl_ms: args.ttl,
        parent: args.parent.map(SessionRef),
        relation: args.relation.map(Relation::from),
        purpose: args.purpose,
        labels: args.labels,
        if_busy: IfBusy::Refuse,
        ..operation
    })
}

fn own_by_process() -> Option<SignOn> {
    match identity::runner() {
        Runner::Agent { kind, process } => {
            Some(SignOn { process: Some(process), ..blank_sign_on(kind) })
        }
        Runner::Terminal { process, .. } => {
            Some(SignOn { process: Some(process), ..blank_sign_on("human") })
        }
        Runner::Nobody => None,
    }
}

fn process(pid: u32) -> Result<ProcessIdentity> {
    cotenant_store::host::identity(pid).ok_or_else(|| {
        Error::invalid(format!("there is no process {pid}"))
            .hint("name the process that the session shall live with; `$$` is this shell")
    })
}

fn print(screen: &mut Screen, signed: &SignedOn, alone: bool) {
    let name = for_terminal(&signed.name);
    let what = if signed.existing { "already signed on as" } else { "signed on as" };
    screen.line(format!("{what} {} ({})", screen.paint(Look::Strong, &name), signed.session));
    if let Some(relation) = signed.relation {
        let parent = signed.parent.as_ref().map(ToString::to_string).unwrap_or_default();
        screen.line(format!("  {} of {parent}", relation.word()));
    }
    for holding in &signed.inherited {
        let resource = for_terminal(&holding.resource);
        screen.line(format!(
            "  took over {resource} (fence {}): {}",
            holding.fence,
            holding_line(holding)
        ));
    }
    if alone && !signed.existing {
        screen.line(format!("  no process is known for it; act for it with `--session {name}`"));
    }
}
