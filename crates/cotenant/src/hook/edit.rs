//! Files: claimed by their first edit, kept from being edited twice in one work tree.
//!
//! A look at a snapshot comes first, so that the usual edit of a file that is already claimed
//! costs no write. Only a claim can refuse: it settles holders that have died.

use std::{fmt::Write as _, fs, path::Path};

use cotenant_core::{
    Code, Error, Result,
    claim::{AUTOMATIC_MS, Claim, Claimed, Holding, HoldingState, Item, ItemKind, Mode, Who},
    clock::{MINUTE, in_words},
    name::SessionRef,
    render::{Part, counted, cut, for_agent, inline},
    session::{Reap, ShowSession},
};

use super::{
    answer::Answer,
    call::{Call, Once, is_over},
    member::Member,
    presence::{Trees, minute, path_of, word},
};
use crate::{config, project::Project};

/// A file's claim is renewed when less than this is left of it.
const RENEW_BELOW_MS: u64 = AUTOMATIC_MS - MINUTE;
/// The most holders that are named.
const HOLDERS_MAX: usize = 4;

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Whether the first edit of a file claims it.
    pub(crate) auto_claim: bool,
    /// Whether an edit of a file that another session holds is refused, rather than remarked on.
    deny: bool,
}

impl Policy {
    /// The policy of a project. A file that cannot be read changes nothing, since a hook never
    /// fails an agent; commands report it.
    pub(crate) fn of(project: &Project) -> Self {
        match config::load(project) {
            Ok(config) => Self { auto_claim: config.auto_claim(), deny: config.deny() },
            Err(_) => Self { auto_claim: true, deny: true },
        }
    }
}

/// A file that is about to be edited.
#[derive(Debug)]
struct File {
    item: Item,
    /// What the agent calls it on a command line.
    shown: String,
}

/// How a file stands before an edit.
#[derive(Debug, Default)]
struct Stand {
    /// Whether this session's claim on it is good for a while.
    covered: bool,
    /// Who keeps this session out.
    against: Vec<Holding>,
}

/// Answers to an edit; `None` lets it happen without a word.
pub(crate) fn check(call: &Call<'_>) -> Result<Option<Answer>> {
    let files = files(call);
    if files.is_empty() {
        return Ok(None);
    }
    super::call::open(&call.context)?;
    let mut member = call.acting()?;
    let policy = Policy::of(call.context.project()?);
    let mut open = Vec::new();
    for file in files {
        let stand = stand(call, &member, &file.item)?;
        if !stand.covered || !stand.against.is_empty() {
            open.push((file, stand));
        }
    }
    if open.is_empty() {
        return Ok(None);
    }
    if !policy.auto_claim {
        return without_claim(call, &member, policy, &open);
    }
    let files: Vec<File> = open.into_iter().map(|(file, _)| file).collect();
    let outcome = match claim(call, &member, &files) {
        Err(error) if is_over(&error) => {
            call.marks.forget(call.place());
            member = call.member()?;
            claim(call, &member, &files)
        }
        outcome => outcome,
    };
    match outcome {
        Ok(claimed) => {
            call.remember(&member);
            Ok(note(call, &files, &claimed)?.map(Answer::Context))
        }
        Err(error) if matches!(error.code, Code::Claimed | Code::Cooling | Code::Held) => {
            Ok(Some(refusal(policy, &files, &holders(&error))))
        }
        // More files than a session can claim: they can be edited all the same.
        Err(error) if error.code == Code::Quota => Ok(None),
        Err(error) => Err(error),
    }
}

/// The files of an edit that belong to the project.
fn files(call: &Call<'_>) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    let Ok(project) = call.context.project() else {
        return files;
    };
    let here = fs::canonicalize(&call.directory).unwrap_or_else(|_| call.directory.clone());
    for path in call.payload.edited_files() {
        // What cannot be claimed, because it lies outside or has no good name, is not protected.
        let Ok(Some((tree, name))) = project.tree_of(&call.directory.join(path)) else {
            continue;
        };
        if name == "." || files.iter().any(|file| file.item.name == name) {
            continue;
        }
        let shown = shown(&tree.root.join(&name), &here);
        let item = Item { kind: ItemKind::Path, name, tree: Some(tree.token) };
        files.push(File { item, shown });
    }
    files
}

/// A path as the agent would write it where it stands.
fn shown(path: &Path, here: &Path) -> String {
    path.strip_prefix(here).unwrap_or(path).to_string_lossy().into_owned()
}

fn stand(call: &Call<'_>, member: &Member, item: &Item) -> Result<Stand> {
    let who = Who { item: Some(item.clone()), ..Who::default() };
    let found = call.ask(&who, None, Once::PerCall)?;
    Ok(judge(&member.mark.session.0, item, found.holdings))
}

/// Sorts what overlaps a file in its tree.
fn judge(me: &str, item: &Item, holdings: Vec<Holding>) -> Stand {
    let mut stand = Stand::default();
    for holding in holdings {
        let same_tree = holding.tree == item.tree;
        let counts = same_tree && holding.state != HoldingState::Waiting;
        if !counts {
            continue;
        }
        if holding.session.0 == me {
            let lasts = !holding.automatic
                || holding.expires_in_ms.is_none_or(|left| left > RENEW_BELOW_MS);
            let above = path_of(&holding).is_some_and(|path| holds(path, &item.name));
            stand.covered |= holding.state == HoldingState::Held && lasts && above;
        } else if holding.mode == Mode::Exclusive {
            stand.against.push(holding);
        }
    }
    stand
}

/// Whether a claimed path contains a file.
fn holds(claimed: &str, file: &str) -> bool {
    claimed == "."
        || file.strip_prefix(claimed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn claim(call: &Call<'_>, member: &Member, files: &[File]) -> Result<Claimed> {
    let operation = Claim {
        items: files.iter().map(|file| file.item.clone()).collect(),
        mode: Mode::Exclusive,
        intent: None,
        ttl_ms: None,
        automatic: true,
        any: false,
    };
    call.ask(&operation, Some(&member.actor), Once::PerToolCall)
}

/// Without automatic claims only what others claimed by decision keeps an edit out. A holder that
/// has died is settled first, as a claim would do.
fn without_claim(
    call: &Call<'_>,
    member: &Member,
    policy: Policy,
    open: &[(File, Stand)],
) -> Result<Option<Answer>> {
    let mut blocked = Vec::new();
    for (file, stand) in open {
        let mut against = stand.against.iter().filter(|holding| !holding.automatic).peekable();
        if against.peek().is_none() {
            continue;
        }
        for holding in against {
            let session = SessionRef(holding.session.0.clone());
            let holder = ShowSession { session: session.clone() };
            let holder = call.ask(&holder, None, Once::PerCall)?;
            if holder.session.process_alive == Some(false) {
                // If it cannot be settled now, it still holds the file.
                let _ = call.ask(&Reap { session, force: false }, None, Once::PerCall);
            }
        }
        let now = self::stand(call, member, &file.item)?;
        blocked.extend(now.against.into_iter().filter(|holding| !holding.automatic));
    }
    if blocked.is_empty() {
        return Ok(None);
    }
    let files: Vec<&File> = open.iter().map(|(file, _)| file).collect();
    Ok(Some(refusal_of(policy, &files, &blocked)))
}

/// Who a refused claim names.
fn holders(error: &Error) -> Vec<Holding> {
    error
        .details
        .get("holders")
        .and_then(|holders| serde_json::from_value(holders.clone()).ok())
        .unwrap_or_default()
}

fn refusal(policy: Policy, files: &[File], holders: &[Holding]) -> Answer {
    refusal_of(policy, &files.iter().collect::<Vec<_>>(), holders)
}

fn refusal_of(policy: Policy, files: &[&File], holders: &[Holding]) -> Answer {
    let mut facts: Vec<String> =
        holders.iter().take(HOLDERS_MAX).map(|holding| held_line(files, holding)).collect();
    if holders.len() > HOLDERS_MAX {
        facts.push(format!(
            "Parts of it are held by {} too.",
            counted((holders.len() - HOLDERS_MAX) as u64, "other session")
        ));
    }
    let file = files
        .iter()
        .find(|file| holders.first().is_some_and(|first| concerns(first, file)))
        .or(files.first());
    if let Some(file) = file {
        facts.push(ways_out(file, holders));
    }
    let parts: Vec<Part> = facts.into_iter().map(Part::Fact).collect();
    let text = for_agent(&parts, "").trim_end().to_owned();
    if policy.deny { Answer::Deny(text) } else { Answer::Context(text) }
}

fn concerns(holding: &Holding, file: &File) -> bool {
    path_of(holding).is_some_and(|path| cotenant_core::name::paths_overlap(path, &file.item.name))
}

fn held_line(files: &[&File], holding: &Holding) -> String {
    let file = files.iter().find(|file| concerns(holding, file)).or(files.first());
    let name = file.map_or_else(|| word(&holding.resource), |file| word(&file.shown));
    let holder = word(&holding.name);
    let left = holding.expires_in_ms.map(|ms| in_words(ms.max(1)));
    if holding.state == HoldingState::Cooling {
        let left = left.unwrap_or_else(|| "a moment".to_owned());
        return format!(
            "{name} was held by {holder}, whose session was lost; it is free in {left}. The same \
             edit can be tried again then."
        );
    }
    let mut line = if holding.automatic {
        format!("{name} is being edited by {holder}")
    } else {
        format!("{name} is claimed by {holder}")
    };
    let _ = write!(line, " ({}, since {}", plain_word(&holding.kind), minute(&holding.since));
    let _ = write!(line, ", last heard of {} ago", in_words(holding.heartbeat_age_ms.max(1)));
    if let Some(host) = &holding.host {
        let _ = write!(line, ", on host {}", word(host));
    }
    line.push(')');
    if file.is_some_and(|file| path_of(holding) != Some(file.item.name.as_str())) {
        let _ = write!(line, " as part of {}", word(&holding.resource));
    }
    for (what, text) in [("for", &holding.note), ("working on", &holding.purpose)] {
        if let Some(text) = text {
            let _ = write!(line, ", {what} {}", inline(cut(text, 160)));
        }
    }
    let end = match (holding.automatic, left) {
        (true, Some(left)) => format!(
            "It is free 15m after that session's last edit of it: in {left}, if none follows."
        ),
        (_, Some(left)) => format!("The claim ends in {left} unless it is renewed."),
        (_, None) => "The claim lasts until it is given back or its session ends.".to_owned(),
    };
    let _ = write!(line, ". {end}");
    line
}

fn ways_out(file: &File, holders: &[Holding]) -> String {
    let item = quoted(&format!("path:{}", file.shown));
    let status = format!("status: `cotenant who {item}`");
    if holders.iter().all(|holding| holding.state == HoldingState::Cooling) {
        return format!("To wait for it: `cotenant claim {item} --wait 1m`; {status}.");
    }
    let name = holders.first().map_or_else(|| "the holder".to_owned(), |first| word(&first.name));
    format!(
        "Ways on: work on something else, ask {name}, or wait: `cotenant claim {item} --wait 5m`; \
         {status}."
    )
}

/// An argument for a shell.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.:/+@".contains(c);
    if argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

fn plain_word(text: &str) -> String {
    word(text).trim_matches('`').to_owned()
}

/// What a claim that was just made has beside it: the same file in other trees, advisory claims.
fn note(call: &Call<'_>, files: &[File], claimed: &Claimed) -> Result<Option<String>> {
    // Whoever renewed was told when the claim was made.
    let fresh = claimed.items.iter().any(|item| !item.already_held);
    if !fresh || claimed.overlaps.is_empty() {
        return Ok(None);
    }
    let trees = Trees::of(call.context.project()?);
    let mut facts = Vec::new();
    for holding in claimed.overlaps.iter().take(HOLDERS_MAX) {
        let Some(file) = files.iter().find(|file| concerns(holding, file)) else {
            continue;
        };
        let place = match &holding.tree {
            Some(tree) if holding.tree != file.item.tree => {
                format!("in another work tree ({})", trees.in_words(tree))
            }
            _ => "here (an advisory claim)".to_owned(),
        };
        let purpose = holding.note.as_ref().or(holding.purpose.as_ref());
        let purpose =
            purpose.map(|text| format!(", for {}", inline(cut(text, 160)))).unwrap_or_default();
        facts.push(Part::Fact(format!(
            "{} is also being edited by {} {place}{purpose}.",
            word(&file.shown),
            word(&holding.name),
        )));
    }
    let more = claimed.overlaps.len().saturating_sub(HOLDERS_MAX);
    if more > 0 {
        facts.push(Part::Fact(format!(
            "Overlapping paths are held by {} too.",
            counted(more as u64, "other session")
        )));
    }
    let text = for_agent(&facts, "").trim_end().to_owned();
    Ok((!text.is_empty()).then_some(text))
}
