//! From the agent's call to the answer. Whatever goes wrong, the agent goes on.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Read as _, Write as _},
    panic,
    time::Duration,
};

use cotenant_core::{
    Code, Error, Result,
    event::sha256_hex,
    json::Json,
    name::SessionRef,
    offer::{self, Draft},
    render::cut,
    session::{SessionView, SignOff},
    status::{ShowStatus, Waiting},
};
use cotenant_store::testing::failpoint;
use serde_json::json;

use super::{
    answer::Answer,
    call::{self, Call, Once, is_over},
    edit,
    marks::Place,
    measure::Measured,
    member::Member,
    payload::{Event, PAYLOAD_BYTES_MAX, Payload},
    presence,
    waiting::{self, Delivery},
};
use crate::output::talk;

/// A session writes a sign of life at most this often.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// Whether a command line is a hook's, so that it need not be parsed. Help is for people.
pub(crate) fn is_called(arguments: &[OsString]) -> bool {
    let asks_for_help = |word: &OsString| word == "-h" || word == "--help";
    arguments.get(1).is_some_and(|word| word == "hook")
        && !arguments.iter().skip(2).any(asks_for_help)
}

/// Runs `cotenant hook EVENT [--store URL]`: reads the payload on standard input and prints the answer.
///
/// Always succeeds: an agent takes exit status 2 for a refusal, and any failure for a fault.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    // A panic is a bug; it must neither fail the agent nor fill its screen.
    panic::set_hook(Box::new(|_| {}));
    let said = panic::catch_unwind(|| answer(arguments)).ok().flatten();
    if let Some((line, delivery)) = said {
        let mut stdout = io::stdout().lock();
        // Without a reader there is nobody to tell.
        let told = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
        if told.is_ok() && failpoint("handing.printed").is_ok() {
            delivery.into_iter().for_each(Delivery::done);
        }
    }
    0
}

/// The line to print, and the messages in it.
fn answer(arguments: &[OsString]) -> Option<(String, Option<Delivery>)> {
    if io::stdin().is_terminal() {
        talk("hint: agents call `cotenant hook`, with their event on standard input");
        return None;
    }
    let payload = Payload::decode(&read_payload()?)?;
    let mut words = arguments.iter().filter_map(|word| word.to_str());
    let (mut event, mut store) = (None, None);
    while let Some(word) = words.next() {
        match word.strip_prefix("--store") {
            Some("") => store = words.next(),
            Some(address) => store = address.strip_prefix('='),
            None => event = event.or(Some(word)),
        }
    }
    let call = Call::new(&payload, event, store)?;
    match act(&call) {
        Ok(answer) => answer.map(|(answer, delivery)| (answer.line(call.event), delivery)),
        Err(error) => {
            report(&call, &error);
            None
        }
    }
}

/// Reads all that the agent has to say, so that it never writes into a closed pipe.
fn read_payload() -> Option<Vec<u8>> {
    let mut stdin = io::stdin().lock();
    let mut bytes = Vec::new();
    (&mut stdin).take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
        io::copy(&mut stdin, &mut io::sink()).ok()?;
        return None;
    }
    Some(bytes)
}

/// An answer, and the messages in it.
type Said = (Answer, Option<Delivery>);

fn act(call: &Call<'_>) -> Result<Option<Said>> {
    match call.event {
        Event::SessionStart => start(call).map(Some),
        Event::UserPromptSubmit => prompt(call),
        Event::PreToolUse => Ok(before_tool(call)?.map(|answer| (answer, None))),
        Event::PostToolUse | Event::PostToolUseFailure => after_tool(call),
        Event::PreCompact => draft(call).map(|()| None),
        Event::Stop => Ok(stop(call)?.map(|answer| (answer, None))),
        Event::SubagentStop => subagent_stop(call).map(|()| None),
        Event::SessionEnd => end(call).map(|()| None),
    }
}

fn start(call: &Call<'_>) -> Result<Said> {
    call::open(&call.context)?;
    call.marks.tidy();
    let mut member = call.member()?;
    let source = call.payload.source.as_deref();
    member.mark.provisional = call.kind == "claude" && source == Some("resume");
    let present = present(call, &mut member)?;
    // A conversation that starts, or goes on without what it knew, is told all.
    member.mark.instructions = None;
    let mut text = call.instructions(&mut member)?.unwrap_or_default();
    add(&mut text, &present.text);
    add(&mut text, &live_on(call, &member)?);
    let policy = edit::Policy::of(call.context.project()?);
    add(&mut text, &presence::commands(policy.auto_claim));
    if let Some(draft) =
        present.waiting.draft.filter(|_| matches!(source, Some("compact" | "resume")))
    {
        add(&mut text, &waiting::draft(&present.name, &draft)?);
    }
    add(&mut text, &waiting::offers(&present.waiting.offers)?);
    Ok(with_messages(call, &member, present.waiting.unread > 0, text))
}

fn prompt(call: &Call<'_>) -> Result<Option<Said>> {
    call::open(&call.context)?;
    let mut member = call.member()?;
    member.mark.provisional = false;
    let before = member.mark.told.clone();
    let present = present(call, &mut member)?;
    let mut text = call.instructions(&mut member)?.unwrap_or_default();
    call.note();
    let advice = live_on(call, &member)?;
    if member.mark.told != before {
        add(&mut text, &present.text);
        add(&mut text, &waiting::offers(&present.waiting.offers)?);
    }
    add(&mut text, &advice);
    let (answer, delivery) = with_messages(call, &member, present.waiting.unread > 0, text);
    Ok((!answer.is_empty()).then_some((answer, delivery)))
}

/// Adds the messages of a session to what it is told. Those that cannot be had now come with a later hook.
fn with_messages(call: &Call<'_>, member: &Member, unread: bool, mut text: String) -> Said {
    let delivery = waiting::deliver(call, member, unread, text.len()).ok().flatten();
    if let Some(delivery) = &delivery {
        add(&mut text, &delivery.text);
    }
    (Answer::Context(text.trim_end().to_owned()), delivery)
}

/// Adds a paragraph.
fn add(text: &mut String, more: &str) {
    if !more.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(more);
}

/// Before its context is shortened, a session's work is noted, to be given back to it afterwards.
fn draft(call: &Call<'_>) -> Result<()> {
    call::open(&call.context)?;
    let member = call.acting()?;
    let draft = seen(call);
    match call.ask(&draft, Some(&member.actor), Once::PerCall) {
        Err(error) if is_over(&error) => {
            call.marks.forget(call.place());
            let member = call.member()?;
            call.ask(&draft, Some(&member.actor), Once::PerCall)?;
            call.remember(&member);
        }
        outcome => {
            outcome?;
            call.marks.touch(call.place());
        }
    }
    Ok(())
}

/// A draft that says where the agent works now. What it noted itself is not touched.
fn seen(call: &Call<'_>) -> Draft {
    let Ok(project) = call.context.project() else { return Draft::default() };
    if project.common_dir.is_none() {
        return Draft::default();
    }
    let nothing_said = offer::Place::default();
    let place = project.work(&nothing_said, &[], &call.directory);
    let here = match &place.worktree {
        Some(worktree) => json!({"branch": place.branch, "worktree": worktree}),
        None => json!(null),
    };
    Draft { payload: Some(Json::of(&json!({"works_in": here}))) }
}

/// Gives a sign of life, with what the session has used, and remembers the session. A sign of life that
/// finds the store busy can wait for the next hook. Answers what the agent is told of its pressure.
fn live_on(call: &Call<'_>, member: &Member) -> Result<String> {
    let measured = match call.beat(&member.actor, false) {
        Err(error) if error.code == Code::Busy => None,
        beaten => beaten?,
    };
    // Not before: what a hook that fails was to tell is told by the next one.
    call.remember(member);
    Ok(advice(call, member, measured))
}

/// What the agent is told of its pressure, if it has risen. From then on there is a draft of a handoff, which
/// whoever goes on with the session is given.
fn advice(call: &Call<'_>, member: &Member, measured: Option<Measured>) -> String {
    let Some(advice) = measured.and_then(|mut measured| measured.advice()) else {
        return String::new();
    };
    // Without it the advice is as good.
    let _ = call.ask(&seen(call), Some(&member.actor), Once::PerCall);
    advice
}

/// What an agent is told at a prompt.
struct Present {
    /// The name of its session.
    name: String,
    /// Who else is here.
    text: String,
    /// What waits for it.
    waiting: Waiting,
}

/// Who is here, as the agent may be told, and what waits for it; remembers a digest of it.
fn present(call: &Call<'_>, member: &mut Member) -> Result<Present> {
    let session = Some(SessionRef(member.mark.session.0.clone()));
    let mut status =
        call.ask(&ShowStatus { limit: None, session, open: false }, None, Once::PerCall)?;
    let nothing = || Waiting { offers: Vec::new(), unread: 0, draft: None };
    let waiting = status.waiting.take().unwrap_or_else(nothing);
    let listed = status.sessions.iter().find(|view| view.session == member.mark.session).cloned();
    let me = match listed {
        Some(me) => me,
        None => match call.show(&member.mark.session)? {
            Some(me) => me,
            None => return Ok(Present { name: String::new(), text: String::new(), waiting }),
        },
    };
    let trees = presence::Trees::of(call.context.project()?);
    let settled = |view: &SessionView| {
        if view.session == me.session { !member.mark.provisional } else { is_settled(call, view) }
    };
    let text = presence::text(&status, &me, &trees, &settled);
    let offers: Vec<String> = waiting.offers.iter().map(|offer| offer.offer.to_string()).collect();
    member.mark.told = cut(&sha256_hex(&format!("{text}{}", offers.join(" "))), 16).into();
    Ok(Present { name: me.name, text, waiting })
}

/// Whether another session's conversation id is certain: it is not while a resumed conversation
/// has had no prompt yet, because it may be a fork.
fn is_settled(call: &Call<'_>, view: &SessionView) -> bool {
    let (Some(native_id), Some(process)) = (&view.native_id, &view.process) else {
        return true;
    };
    let place = Place { kind: &view.kind, native_id, pid: process.pid };
    call.marks.find(place).is_none_or(|(mark, _)| !mark.provisional)
}

fn before_tool(call: &Call<'_>) -> Result<Option<Answer>> {
    if !call.payload.is_our_tool() {
        return edit::check(call);
    }
    if let Some(id) = &call.payload.tool_use_id {
        let session = if let Some((member, _)) = call.remembered() {
            member.mark.session
        } else {
            call::open(&call.context)?;
            call.acting()?.mark.session
        };
        call.marks.note_call(id, &session, call.payload.agent_id.as_deref());
    }
    Ok(None)
}

/// After a call of a tool: a sign of life, what has changed meanwhile, and what others sent.
fn after_tool(call: &Call<'_>) -> Result<Option<Said>> {
    call.note();
    let Some((mut member, measured)) = beat(call, When::Seldom)? else { return Ok(None) };
    call::open(&call.context)?;
    let mut text = String::new();
    // A server is asked for instructions when it is written to anyway.
    let here = call.context.project()?.store.file().is_some();
    if (here || measured.is_some())
        && let Some(instructions) = call.instructions(&mut member)?
    {
        call.marks.replace(call.place(), &member.mark);
        add(&mut text, &instructions);
    }
    add(&mut text, &advice(call, &member, measured));
    // Messages are for the session, not for whom it started, and are handed out where an agent is known to
    // read them.
    let reads = call.event == Event::PostToolUse && call.payload.agent_id.is_none();
    let unread = reads && waiting::has_unread(call, &member).unwrap_or(false);
    let (answer, delivery) = with_messages(call, &member, unread, text);
    Ok((!answer.is_empty()).then_some((answer, delivery)))
}

/// When the model stops: what the turn has used, and from the level `critical` on, once, a handoff.
fn stop(call: &Call<'_>) -> Result<Option<Answer>> {
    call.note();
    let Some((_, Some(mut measured))) = beat(call, When::New)? else { return Ok(None) };
    // Whoever was kept from stopping a moment ago may stop.
    if call.kind != "claude" || call.payload.stop_hook_active {
        return Ok(None);
    }
    Ok(measured.demand().map(Answer::GoOn))
}

fn subagent_stop(call: &Call<'_>) -> Result<()> {
    let Some((member, _)) = beat(call, When::Seldom)? else { return Ok(()) };
    if call.payload.agent_transcript_path.is_none() {
        return Ok(());
    }
    call::open(&call.context)?;
    match call.report_subagent(&member.actor) {
        Err(error) if error.code != Code::Busy => Err(error),
        _ => Ok(()),
    }
}

/// When what a session has used is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// With a sign of life, which is given at most every [`BEAT_EVERY`].
    Seldom,
    /// Whenever there is something new.
    New,
}

/// Gives a sign of life with what the session has used, unless one was given a moment ago. Answers the session
/// and what was measured, if it was looked at.
fn beat(call: &Call<'_>, when: When) -> Result<Option<(Member, Option<Measured>)>> {
    if let Some((member, age)) = call.remembered() {
        let fresh = age < BEAT_EVERY;
        if fresh && when == When::Seldom {
            return Ok(Some((member, None)));
        }
        call::open(&call.context)?;
        match call.beat(&member.actor, fresh) {
            Err(error) if is_over(&error) => call.marks.forget(call.place()),
            outcome => {
                // A store that is busy now is not asked again at once.
                if !fresh {
                    call.marks.touch(call.place());
                }
                return match outcome {
                    Err(error) if error.code == Code::Busy => Ok(Some((member, None))),
                    outcome => outcome.map(|measured| Some((member, measured))),
                };
            }
        }
    } else {
        call::open(&call.context)?;
    }
    let member = call.member()?;
    let measured = call.beat(&member.actor, false);
    call.remember(&member);
    match measured {
        Err(error) if error.code != Code::Busy => Err(error),
        measured => Ok(Some((member, measured.unwrap_or_default()))),
    }
}

fn end(call: &Call<'_>) -> Result<()> {
    // The process goes on with an empty conversation; its session and claims stay.
    if call.payload.reason.as_deref() == Some("clear") {
        return Ok(());
    }
    call::open(&call.context)?;
    let Some(member) = call.ending()? else {
        return Ok(());
    };
    // The last answer may have been written behind the last hook. Not knowing it keeps nobody here.
    let _ = call.beat(&member.actor, false);
    let operation = SignOff { outcome: Some("ended".to_owned()), note: None };
    call.ask(&operation, Some(&member.actor), Once::PerCall)?;
    call.context.tokens()?.forget(&member.mark.token_digest);
    call.marks.forget(call.place());
    Ok(())
}

/// Counts a failure, and says a word about the first one of a conversation.
fn report(call: &Call<'_>, error: &Error) {
    // A project without a store is no failure: nobody asked for one.
    if error.code == Code::NotFound {
        return;
    }
    let what = format!("{} {}", call.event.name(), error.code);
    if call.marks.count_failure(call.place(), &what) {
        talk(&format!(
            "cotenant: {} ({}); edits are not checked until that is mended",
            cotenant_core::render::for_terminal(&error.message),
            error.code
        ));
    }
}
