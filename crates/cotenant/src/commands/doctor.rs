//! `cotenant doctor`.

use cotenant_core::{
    Code, Error, Result,
    id::{Seq, Tick},
    render::{counted, counted_are, for_terminal},
};
use cotenant_store::{
    doctor::{Finding, Severity, doctor, fix},
    migrate::migrate,
};

use crate::{
    context::Context,
    exit::Exit,
    output::{Look, Screen},
};

/// Look whether the store is as it should be, and say what to do
///
/// Safe at any time. Settles what has expired, checks the structure, the log's hash chain and the
/// file modes, and names a process that holds the write lock and what killed processes left behind.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cotenant doctor
  cotenant doctor --deep          also replays the log and compares it with what is stored
  cotenant doctor --unblock       who holds the write lock?
  cotenant doctor --fix           also removes half-made stores of killed processes
  cotenant doctor --migrate       bring the store to this version, after a verified backup

Exit status: 0 all is well; 66 there is no store here; 74 something is wrong.")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(crate) struct Args {
    /// Replay the log and compare it with what is stored
    #[arg(long)]
    deep: bool,
    /// Only say who holds the write lock, and how to go on
    #[arg(long, conflicts_with = "deep")]
    unblock: bool,
    /// Remove half-made stores that killed processes left behind; never one in use
    #[arg(long, conflicts_with = "unblock")]
    fix: bool,
    /// Bring the store to this version's schema first
    #[arg(long)]
    migrate: bool,
}

pub(super) fn run(context: &Context, screen: &mut Screen, args: &Args) -> Result<Exit> {
    let store = &context.project()?.store;
    if args.migrate {
        let migrated = migrate(store)?;
        if !screen.json() {
            match &migrated.backup {
                None if migrated.before < migrated.after => screen.line(format!(
                    "migrated from schema {} to {}",
                    migrated.before, migrated.after
                )),
                Some(backup) => screen.line(format!(
                    "migrated from schema {} to {}; the backup is {}",
                    migrated.before,
                    migrated.after,
                    backup.display()
                )),
                None => screen.line(format!("the store has schema {} already", migrated.after)),
            }
        }
    }
    let mut findings = if args.fix { fix(store) } else { Vec::new() };
    findings.extend(doctor(store, args.deep));
    // That there is none is no damage; whoever asks is told as by any other command.
    if let Some(missing) = missing(context, &findings) {
        let others =
            |it: &&Finding| it.check != "store" && (args.fix || it.severity != Severity::Good);
        if !screen.json() {
            findings.iter().filter(others).for_each(|finding| print(screen, finding));
        }
        return Err(missing.detail("findings", &findings));
    }
    if args.unblock {
        findings.retain(|finding| finding.check == "writer");
    }
    let bad = findings.iter().filter(|finding| finding.severity == Severity::Bad).count();
    if screen.json() {
        if bad > 0 {
            return Err(Error::new(
                Code::StoreIo,
                format!("{} wrong", counted_are(bad as u64, "thing")),
            )
            .detail("findings", &findings)
            .hint("each finding says what to do"));
        }
        screen.data(&findings, Seq(0), Tick(0))?;
        return Ok(Exit::SUCCESS);
    }
    for finding in &findings {
        print(screen, finding);
    }
    if bad == 0 {
        screen.line("all is well");
        return Ok(Exit::SUCCESS);
    }
    screen.line(format!("bad: {bad} of {}", counted(findings.len() as u64, "check")));
    Ok(Exit::of(Code::StoreIo))
}

/// The refusal of a store that nobody has made yet.
fn missing(context: &Context, findings: &[Finding]) -> Option<Error> {
    let is_bad = |it: &Finding| it.check == "store" && it.severity == Severity::Bad;
    if !findings.iter().any(is_bad) {
        return None;
    }
    context.store().err().filter(|error| error.code == Code::NotFound)
}

fn print(screen: &mut Screen, finding: &Finding) {
    let (look, word) = match finding.severity {
        Severity::Good => (Look::Good, "good"),
        Severity::Note => (Look::Plain, "note"),
        Severity::Bad => (Look::Warning, "BAD "),
    };
    let line = format!(
        "{}  {:<9} {}",
        screen.paint(look, word),
        finding.check,
        for_terminal(&finding.found)
    );
    screen.line(line);
    if let Some(hint) = &finding.hint {
        screen.line(format!("                {}", for_terminal(hint)));
    }
}
