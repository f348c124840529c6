//! What a session has used, on its way from the agent to the store.
//!
//! One file per conversation beside the store, `used/CONVERSATION`, keeps what was counted and how far the
//! transcript was read. It decides nothing: counters are cumulative and the store keeps the greatest, so a
//! file that is lost or written twice costs one more reading.
//!
//! A report takes the place of the sign of life that a hook would give anyway. It is durable only if it
//! passes a threshold that this file does not know to be passed.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use cotenant_core::{
    Code, Result,
    metric::{Numbers, ReportMetrics, Reported, Threshold, names},
    pressure::{Cause, Filling, Level, Pressure, WINDOW, pressure},
    session::{Beat, Heartbeat},
    store::{Actor, Request},
};
use serde::{Deserialize, Serialize};

use super::{
    call::{Call, Once},
    payload::Event,
    transcript::{Tally, kind},
};
use crate::{
    config::Limits,
    context::decode,
    thresholds::{self, PRESSURE, TOKENS_USED},
};

/// How much of a transcript one hook reads; the next one goes on.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How much is read of what hooks have noted.
const NOTES_BYTES_MAX: u64 = 1024 * 1024;
/// The directory of what is kept.
pub(super) const USED: &str = "used";

/// What is kept of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Used {
    /// How far the transcript was read.
    offset: u64,
    /// What it said.
    tally: Tally,
    /// What hooks reported of an agent whose transcript is not read.
    hooks: Tally,
    /// The thresholds that the store knows to be passed.
    crossed: BTreeSet<String>,
    /// How often the pressure was looked at.
    checks: i64,
    /// The level that the agent was told last.
    told: Level,
    /// Whether it was asked for a handoff.
    asked: bool,
    /// The window that the status line reported.
    pub(crate) window: Option<i64>,
}

/// What a hook found out about its session.
#[derive(Debug)]
pub(crate) struct Measured {
    used: Used,
    before: Used,
    path: PathBuf,
    pressure: Pressure,
}

impl Used {
    /// What fills the session. Its tokens are those of this conversation.
    fn filling(&self, limits: &Limits) -> Filling {
        let counted = if self.tally == Tally::default() { &self.hooks } else { &self.tally };
        let used = |name: &str| counted.tokens.values().filter_map(|it| it.get(name)).sum::<i64>();
        let tokens = [names::TOKENS_INPUT, names::TOKENS_OUTPUT, names::TOKENS_CACHE_WRITE];
        Filling {
            context_tokens: counted.context,
            context_window: Some(
                limits.window.or(self.window).unwrap_or_else(|| window(&counted.model)),
            ),
            session_tokens: tokens.into_iter().map(used).sum(),
            budget: limits.budget,
            messages: counted.counters.get(names::MESSAGES).copied().unwrap_or(0),
            recent_errors: counted.recent_errors(),
        }
    }
}

/// The window of a model, as far as its name says.
fn window(model: &str) -> i64 {
    if model.ends_with("[1m]") { 1_000_000 } else { WINDOW }
}

/// Where what is kept of a conversation is.
pub(crate) fn path(home: &Path, kind: &str, native_id: &str) -> PathBuf {
    let digest = cotenant_core::event::sha256_hex(&format!("{kind}/{native_id}"));
    home.join(USED).join(&digest[..24])
}

/// Reads what is kept.
pub(crate) fn load(path: &Path) -> Used {
    fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Keeps what was counted. What cannot be kept is counted again.
pub(crate) fn keep(path: &Path, used: &Used) {
    let draft = path.with_extension(std::process::id().to_string());
    let text = serde_json::to_vec(used).unwrap_or_default();
    let written = open(&draft, fs::OpenOptions::new().write(true).truncate(true));
    let kept = written.and_then(|mut file| file.write_all(&text));
    if kept.and_then(|()| fs::rename(&draft, path)).is_err() {
        let _ = fs::remove_file(&draft);
    }
}

/// Opens a file that only its user can read, made with its directory if it is not there.
fn open(path: &Path, options: &mut fs::OpenOptions) -> io::Result<fs::File> {
    let options = options.create(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path);
            fs::DirBuilder::new().mode(0o700).recursive(true).create(directory)?;
            options.open(path)
        }
        opened => opened,
    }
}

/// Notes that the status line reported now. Answers whether it did within this time.
pub(crate) fn reported_within(path: &Path, time: Duration) -> bool {
    let stamp = path.with_extension("line");
    let at = fs::metadata(&stamp).and_then(|file| file.modified());
    if at.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < time)) {
        return true;
    }
    let _ = open(&stamp, fs::OpenOptions::new().write(true))
        .and_then(|file| file.set_modified(SystemTime::now()));
    false
}

/// Reads what was appended to a file since an offset: whole lines only. Answers where they end.
fn tail(path: &Path, offset: u64) -> Option<(String, u64)> {
    let mut file = fs::File::open(path).ok()?;
    // A file that is shorter than what was read of it is another one.
    let offset = if file.metadata().ok()?.len() < offset { 0 } else { offset };
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        // One row that is longer than all that is read at once says nothing that is counted.
        None if bytes.len() as u64 == BYTES_MAX => {
            return Some((String::new(), offset + BYTES_MAX));
        }
        None => 0,
    };
    bytes.truncate(end);
    Some((String::from_utf8_lossy(&bytes).into_owned(), offset + end as u64))
}

/// Where hooks note what they report.
fn notes(path: &Path) -> PathBuf {
    path.with_extension("notes")
}

/// What hooks have noted, each call once.
fn counted(path: &Path) -> Tally {
    let mut text = String::new();
    let file = fs::File::open(notes(path));
    let _ = file.and_then(|file| file.take(NOTES_BYTES_MAX).read_to_string(&mut text));
    let (mut tally, mut seen) = (Tally::default(), BTreeSet::new());
    for line in text.lines() {
        let Some((id, what)) = line.split_once(' ') else { continue };
        if id != "-" && !seen.insert(id) {
            continue;
        }
        match what.split(' ').collect::<Vec<_>>()[..] {
            ["message"] => tally.count(names::MESSAGES, 1),
            ["call", _] => tally.count(names::TOOL_CALLS, 1),
            ["error", tool, kind] => {
                tally.count(names::TOOL_CALLS, 1);
                tally.failed(tool, kind);
            }
            _ => {}
        }
    }
    tally
}

/// Milliseconds since 1970: the sequence of what a hook measures.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}

impl Call<'_> {
    /// Finds out what the session has used since the last look.
    fn measure(&self, limits: &Limits) -> Option<Measured> {
        let path = path(&self.project_home()?, self.kind, self.native_id);
        let before = load(&path);
        let mut used = before.clone();
        let transcript = self.payload.transcript_path.as_deref().filter(|_| self.kind == "claude");
        match transcript.and_then(|path| tail(Path::new(path), used.offset)) {
            Some((rows, offset)) => {
                if offset < used.offset {
                    used.tally = Tally::default();
                }
                used.tally.read(&rows);
                used.offset = offset;
            }
            None if self.kind != "claude" => used.hooks = counted(&path),
            None => {}
        }
        // The client names the model with its window at the start only.
        if let Some(model) = self.payload.model.as_deref().filter(|_| self.kind == "claude") {
            used.window = Some(window(model));
        }
        used.checks += i64::from(used.tally != before.tally || used.hooks != before.hooks);
        let pressure = pressure(&used.filling(limits), &limits.tokens);
        Some(Measured { used, before, path, pressure })
    }

    /// Notes what the hook itself reports of an agent whose transcript is not read: a line that is appended,
    /// so that hooks that run at once lose nothing.
    pub(crate) fn note(&self) {
        if self.kind == "claude" {
            return;
        }
        let tool = self.payload.tool_name.as_deref().unwrap_or("other");
        let what = match self.event {
            Event::UserPromptSubmit | Event::Stop => "message".to_owned(),
            Event::PostToolUse => format!("call {tool}"),
            Event::PostToolUseFailure => {
                format!("error {tool} {}", kind(self.payload.error.as_deref().unwrap_or_default()))
            }
            _ => return,
        };
        let id = self.payload.tool_use_id.as_deref().map(cotenant_core::event::sha256_hex);
        let id = id.as_deref().map_or("-", |id| &id[..12]);
        let Some(home) = self.project_home() else { return };
        let path = path(&home, self.kind, self.native_id);
        let line = format!("{id} {}\n", cotenant_core::render::plain(&what));
        let file = open(&notes(&path), fs::OpenOptions::new().append(true));
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// Gives a sign of life, and reports what the session has used if that has changed. Without news, a `fresh`
    /// session, which gave one a moment ago, writes nothing.
    pub(crate) fn beat(&self, actor: &Actor, fresh: bool) -> Result<Option<Measured>> {
        let limits = crate::config::limits(self.context.project()?);
        let Some(mut measured) = self.measure(&limits) else {
            return self.ask(&Heartbeat {}, Some(actor), Once::PerCall).map(|_: Beat| None);
        };
        let reports = measured.reports(&limits);
        if fresh && reports.is_empty() {
            return Ok(Some(measured));
        }
        let outcome = if reports.is_empty() {
            self.ask(&Heartbeat {}, Some(actor), Once::PerCall).map(drop)
        } else {
            self.report(reports, actor, &mut measured)
        };
        match outcome {
            Ok(()) => {}
            // What is not said now is said next time.
            Err(error) if error.code == Code::Busy => return Ok(None),
            Err(error) => return Err(error),
        }
        if measured.used != measured.before {
            keep(&measured.path, &measured.used);
        }
        Ok(Some(measured))
    }

    /// Sends reports as one batch.
    fn report(
        &self,
        reports: Vec<ReportMetrics>,
        actor: &Actor,
        measured: &mut Measured,
    ) -> Result<()> {
        self.check_time()?;
        let asked: Vec<String> =
            reports.iter().flat_map(|it| &it.thresholds).map(|it| it.name.clone()).collect();
        let request = |report: ReportMetrics| -> Result<Request> {
            let durable = !report.thresholds.is_empty();
            let request = Request::new(report).by(actor.clone());
            Ok(if durable { request.id(crate::token::request_id()?) } else { request })
        };
        let requests = reports.into_iter().map(request).collect::<Result<Vec<_>>>()?;
        for outcome in self.context.submit_all(&requests) {
            decode::<ReportMetrics>(&outcome?).map(|_: Reported| ())?;
        }
        measured.used.crossed.extend(asked);
        Ok(())
    }

    /// What a subagent has used, reported apart.
    pub(crate) fn report_subagent(&self, actor: &Actor) -> Result<()> {
        let payload = self.payload;
        let (Some(agent), Some(path)) = (&payload.agent_id, &payload.agent_transcript_path) else {
            return Ok(());
        };
        let Some((rows, _)) = tail(Path::new(path), 0) else { return Ok(()) };
        let mut tally = Tally::default();
        tally.read_sidechain(&rows);
        let counted = [names::TOKENS_INPUT, names::TOKENS_OUTPUT, names::TOKENS_CACHE_WRITE];
        let reports = tally.tokens.iter().map(|(model, tokens)| ReportMetrics {
            source: format!("subagent/{agent}"),
            model: Some(model.clone()),
            counters: [(
                names::TOKENS_SUBAGENT.to_owned(),
                counted.iter().filter_map(|name| tokens.get(*name)).sum(),
            )]
            .into(),
            gauges: Numbers::new(),
            seq: now_ms(),
            thresholds: Vec::new(),
        });
        for report in reports {
            self.ask(&report, Some(actor), Once::PerCall)?;
        }
        Ok(())
    }
}

impl Measured {
    /// What to report: tokens by model, and all else at once.
    fn reports(&self, limits: &Limits) -> Vec<ReportMetrics> {
        let (used, before) = (&self.used, &self.before);
        if used.tally == before.tally && used.hooks == before.hooks && used.window == before.window
        {
            return Vec::new();
        }
        let read = used.tally != Tally::default();
        let counted = if read { &used.tally } else { &used.hooks };
        let source = if read { "transcript" } else { "hook" };
        let seq = now_ms();
        let filling = used.filling(limits);
        let mut counters = counted.counters.clone();
        counters.insert("pressure_checks".to_owned(), used.checks);
        let mut gauges: Numbers = [
            (names::CONTEXT_TOKENS, filling.context_tokens),
            (names::CONTEXT_WINDOW, self.pressure.context_window),
            (names::RECENT_ERRORS, filling.recent_errors),
            (names::FILES_TOUCHED, counted.files()),
            (TOKENS_USED, filling.session_tokens),
            (PRESSURE, self.pressure.per_mille),
        ]
        .map(|(name, number)| (name.to_owned(), number))
        .into();
        gauges.extend(limits.budget.map(|budget| (names::BUDGET.to_owned(), budget)));
        let report = |model: Option<String>, counters, gauges, thresholds| ReportMetrics {
            source: source.to_owned(),
            model,
            counters,
            gauges,
            seq,
            thresholds,
        };
        let mut reports = vec![report(None, counters, gauges, self.thresholds(&filling))];
        let changed = counted.tokens.iter().filter(|(model, tokens)| {
            before.tally.tokens.get(*model) != Some(*tokens)
                && cotenant_core::name::check_name("model", model).is_ok()
        });
        reports.extend(changed.map(|(model, tokens)| {
            report(Some(model.clone()), tokens.clone(), Numbers::new(), Vec::new())
        }));
        reports
    }

    /// The thresholds that are passed and not known to the store.
    fn thresholds(&self, filling: &Filling) -> Vec<Threshold> {
        thresholds::passed(filling, &self.pressure, |name| self.used.crossed.contains(name))
    }

    /// What the agent is told of its pressure: once for each level that it rises to.
    pub(crate) fn advice(&mut self) -> Option<String> {
        let level = self.pressure.level;
        if level <= self.used.told {
            return None;
        }
        self.used.told = level;
        keep(&self.path, &self.used);
        let what_to_do = match level {
            Level::Normal => return None,
            Level::Elevated => {
                "A handoff may become necessary: a draft with what you hold and how far you are has begun. \
                 hand_off(action=\"draft\", payload={\"next_steps\": […]}) adds what comes next."
            }
            Level::High => {
                "A handoff to a fresh session is recommended at the next good place to stop: \
                 hand_off(action=\"offer\", …), or `cotenant handoff offer`."
            }
            Level::Critical | Level::Dangerous => {
                "Hand over now, with hand_off(action=\"offer\", …) or `cotenant handoff offer`: finish nothing new \
                 before what is done, what comes next and which files were touched are in its payload."
            }
        };
        Some(format!("{} {what_to_do}", self.sentence()))
    }

    /// Why the agent shall not stop yet: from the level `critical` on, once.
    pub(crate) fn demand(&mut self) -> Option<String> {
        if self.pressure.level < Level::Critical || self.used.asked {
            return None;
        }
        self.used.asked = true;
        self.used.told = self.used.told.max(self.pressure.level);
        keep(&self.path, &self.used);
        Some(format!(
            "{} Before stopping, write a handoff for a fresh session: what is done, what comes next, which \
             files were touched, what to watch out for. This is asked for once.",
            self.sentence()
        ))
    }

    fn sentence(&self) -> String {
        let Pressure { level, cause, context_tokens, context_window, .. } = self.pressure;
        let due = match cause {
            Cause::Context | Cause::Tokens => {
                format!("{context_tokens} of {context_window} tokens are in the context")
            }
            Cause::Budget => "most of the session's token budget is used".to_owned(),
            Cause::Messages => "the conversation is long".to_owned(),
            Cause::Errors => "many of the last calls of tools failed".to_owned(),
        };
        format!(
            "cotenant: the pressure of this session is {} % ({}): {due}.",
            self.pressure.percent(),
            level.word()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(context: i64, told: Level) -> Measured {
        let tally = Tally { context, model: "m".into(), ..Tally::default() };
        let used = Used { tally, told, ..Used::default() };
        let pressure = pressure(&used.filling(&Limits::default()), &[]);
        let directory = tempfile::tempdir().unwrap();
        Measured { used, before: Used::default(), path: directory.path().join("x"), pressure }
    }

    #[test]
    fn advice_is_given_once_for_each_level() {
        assert_eq!(measured(29_414, Level::Normal).advice(), None);
        let mut elevated = measured(85_000, Level::Normal);
        let said = elevated.advice().unwrap();
        assert!(
            said.starts_with(
                "cotenant: the pressure of this session is 42.5 % (elevated): 85000 of 200000"
            ),
            "{said}"
        );
        assert_eq!(elevated.advice(), None);
        assert!(measured(100_000, Level::Elevated).advice().unwrap().contains("recommended"));
        assert_eq!(elevated.demand(), None);
        let mut critical = measured(150_000, Level::High);
        assert!(critical.demand().unwrap().contains("asked for once"));
        assert_eq!((critical.demand(), critical.advice()), (None, None));
    }

    #[test]
    fn thresholds_are_those_that_are_passed_and_not_known() {
        let mut full = measured(110_000, Level::Normal);
        let names = |measured: &Measured| {
            let passed = measured.thresholds(&measured.used.filling(&Limits::default()));
            passed.into_iter().map(|it| (it.name, it.metric, it.at_least)).collect::<Vec<_>>()
        };
        let of =
            |name: &str, metric: &str, at_least| (name.to_owned(), metric.to_owned(), at_least);
        assert_eq!(
            names(&full),
            [
                of("tokens-25", "context_tokens", 50_000),
                of("tokens-50", "context_tokens", 100_000),
                of("level-elevated", "pressure", 300),
                of("level-high", "pressure", 500),
            ]
        );
        full.used.crossed = ["tokens-25", "level-elevated", "level-high"].map(str::to_owned).into();
        assert_eq!(names(&full), [of("tokens-50", "context_tokens", 100_000)]);
        assert_eq!(names(&measured(29_414, Level::Normal)), []);
    }

    #[test]
    fn what_hooks_note_is_counted_once_for_each_call() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let lines =
            "- message\na1 call shell\na1 call shell\nb2 error shell exit\n- message\nodd\n";
        fs::write(notes(&path), lines).unwrap();
        let tally = counted(&path);
        let count = |name: &str| tally.counters[name];
        assert_eq!((count("messages"), count("tool_calls"), count("errors")), (2, 2, 1));
        assert_eq!(count("errors/shell/exit"), 1);
    }

    #[test]
    fn what_is_kept_is_read_by_its_user_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path(), "claude", "../n");
        let used = Used { checks: 3, ..Used::default() };
        keep(&path, &used);
        assert_eq!((load(&path), path.parent().unwrap().parent()), (used, Some(directory.path())));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(!reported_within(&path, Duration::from_mins(1)));
        assert!(reported_within(&path, Duration::from_mins(1)));
    }

    #[test]
    fn a_tail_is_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t");
        fs::write(&path, "one\ntwo\nthr").unwrap();
        assert_eq!(tail(&path, 0), Some(("one\ntwo\n".to_owned(), 8)));
        assert_eq!(tail(&path, 8), Some((String::new(), 8)));
        fs::write(&path, "a\n").unwrap();
        assert_eq!(tail(&path, 8), Some(("a\n".to_owned(), 2)));
        assert_eq!(tail(&directory.path().join("none"), 0), None);
    }
}
