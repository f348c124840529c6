//! Which operation failed with which code, compared with what the contract says.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cotenant_core::{
    Code, Op,
    claim::{Claimed, HoldingState},
    id::{Fence, Seq},
    lease::Granted,
    offer::AcceptedOffer,
    session::SignedOn,
    store::{Outcome, Reply, Request, Store},
    task::Next,
};

use crate::expected::{ENVIRONMENT, EXPECTED};

/// An operation's name and its code, none for a success.
pub(crate) type Pair = (&'static str, Option<Code>);

/// What was seen of a store: outcomes, and what was granted.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) pairs: BTreeSet<Pair>,
    /// New fences, by the event that their request ended with.
    pub(crate) fences: BTreeMap<Seq, Vec<Fence>>,
    /// The most slots that were asked for, by resource.
    pub(crate) slots: HashMap<String, usize>,
}

/// Keeps what stores answer.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Record>>);

impl Recorder {
    /// A store that does the same and is watched.
    pub fn watch(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        Box::new(Watched { store, recorder: self.clone() })
    }

    /// Adds a failure that was seen without a store, such as that of opening one.
    pub fn saw(&self, operation: &'static str, code: Code) {
        self.record().pairs.insert((operation, Some(code)));
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a store carry out requests and keeps what became of them.
    pub(crate) fn submit(&self, store: &dyn Store, requests: Vec<Request>) -> Vec<Outcome> {
        let asked: Vec<Asked> = requests.iter().map(|request| Asked::of(&request.op)).collect();
        let outcomes = store.submit(requests);
        assert_eq!(outcomes.len(), asked.len(), "one outcome a request");
        let mut record = self.record();
        for (asked, outcome) in asked.into_iter().zip(&outcomes) {
            asked.keep(outcome, &mut record);
        }
        outcomes
    }
}

struct Watched {
    store: Box<dyn Store>,
    recorder: Recorder,
}

impl Store for Watched {
    fn submit(&self, requests: Vec<Request>) -> Vec<Outcome> {
        self.recorder.submit(&*self.store, requests)
    }
}

/// What is kept of a request until its outcome is known.
struct Asked {
    name: &'static str,
    slots: Option<(String, usize)>,
}

impl Asked {
    fn of(op: &Op) -> Self {
        let slots = match op {
            Op::Acquire(acquire) => {
                Some((acquire.resource.clone(), acquire.slots.unwrap_or(1) as usize))
            }
            _ => None,
        };
        Self { name: op.name(), slots }
    }

    fn keep(self, outcome: &Outcome, record: &mut Record) {
        record.pairs.insert((self.name, outcome.as_ref().err().map(|error| error.code)));
        let Ok(reply) = outcome else { return };
        if reply.replayed {
            return;
        }
        if let Some((resource, slots)) = self.slots {
            let most = record.slots.entry(resource).or_default();
            *most = slots.max(*most);
        }
        let fences = new_fences(self.name, reply);
        if !fences.is_empty() {
            record.fences.entry(reply.seq).or_default().extend(fences);
        }
    }
}

/// The fences that a reply grants.
fn new_fences(operation: &str, reply: &Reply) -> Vec<Fence> {
    let data = reply.data.get();
    match operation {
        "lease.acquire" => serde_json::from_str::<Granted>(data)
            .into_iter()
            .filter(|granted| !granted.already_held)
            .map(|granted| granted.fence)
            .collect(),
        "claim" => serde_json::from_str::<Claimed>(data)
            .into_iter()
            .flat_map(|claimed| claimed.items)
            .filter(|item| !item.already_held)
            .map(|item| item.fence)
            .collect(),
        "task.next" => serde_json::from_str::<Next>(data)
            .into_iter()
            .filter_map(|next| next.task)
            .map(|task| task.fence)
            .collect(),
        "session.sign_on" => serde_json::from_str::<SignedOn>(data)
            .into_iter()
            .flat_map(|signed_on| signed_on.inherited)
            .filter(|holding| holding.state == HoldingState::Held)
            .map(|holding| holding.fence)
            .collect(),
        "handoff.accept" => serde_json::from_str::<AcceptedOffer>(data)
            .into_iter()
            .flat_map(|accepted| accepted.items)
            .map(|moved| moved.fence)
            .collect(),
        _ => Vec::new(),
    }
}

/// A case that the back end did not pass.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case.
    pub case: &'static str,
    /// What it said.
    pub message: String,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// How many cases ran.
    pub cases: usize,
    /// Those that failed.
    pub failures: Vec<Failure>,
    /// Whether only some cases ran, which do not produce every code.
    pub(crate) is_part: bool,
    seen: BTreeSet<Pair>,
    elsewhere: BTreeSet<Pair>,
}

impl Report {
    pub(crate) fn add(&mut self, recorder: &Recorder) {
        self.seen.extend(recorder.record().pairs.iter().copied());
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.cases += other.cases;
        self.failures.extend(other.failures);
        self.seen.extend(other.seen);
        self.elsewhere.extend(other.elsewhere);
        self
    }

    /// Adds what a back end's own tests saw: the codes that come from its environment, such as
    /// `BUSY` or `STORE_FULL`.
    pub fn include(&mut self, recorder: &Recorder) {
        self.elsewhere.extend(recorder.record().pairs.iter().copied());
    }

    /// What the contract expects and no case produced.
    pub fn missing(&self) -> Vec<String> {
        if self.is_part {
            return Vec::new();
        }
        let expected = EXPECTED.iter().flat_map(|(name, codes)| {
            codes.iter().map(|code| (*name, Some(*code))).chain([(*name, None)])
        });
        expected.filter(|pair| !self.has(*pair)).map(|pair| words(&pair)).collect()
    }

    /// What was seen and the contract does not have.
    pub fn undeclared(&self) -> Vec<String> {
        let from_outside =
            |code: Option<Code>| code.is_some_and(|code| ENVIRONMENT.contains(&code));
        let own = self.seen.iter();
        let others = self.elsewhere.iter().filter(|(_, code)| !from_outside(*code));
        own.chain(others).filter(|pair| !declared(pair)).map(words).collect()
    }

    /// The codes that only a back end's own tests can produce and that none has.
    pub fn environment_missing(&self) -> Vec<Code> {
        let seen = |code: Code| self.elsewhere.iter().any(|(_, seen)| *seen == Some(code));
        ENVIRONMENT.iter().copied().filter(|code| !seen(*code)).collect()
    }

    pub(crate) fn has(&self, pair: Pair) -> bool {
        self.seen.contains(&pair) || self.elsewhere.contains(&pair)
    }

    /// Whether every case passed and the codes are exactly those of the contract.
    pub fn verdict(&self) -> Result<(), String> {
        let mut text = String::new();
        for Failure { case, message } in &self.failures {
            let _ = writeln!(text, "{case}: {message}");
        }
        for pair in self.missing() {
            let _ = writeln!(text, "never produced: {pair}");
        }
        for pair in self.undeclared() {
            let _ = writeln!(text, "not in the contract: {pair}");
        }
        if text.is_empty() {
            return Ok(());
        }
        let failed: BTreeSet<&str> = self.failures.iter().map(|failure| failure.case).collect();
        Err(format!("{} of {} cases failed\n{text}", failed.len(), self.cases))
    }

    /// Panics with all that is wrong.
    pub fn require(&self) {
        if let Err(text) = self.verdict() {
            panic!("{text}");
        }
    }

    /// Code × operation: `+` expected and seen, `-` expected and never seen, `!` seen and not
    /// expected, `e` from the environment, `.` neither.
    pub fn table(&self) -> String {
        table(&self.codes(), |pair| self.mark(pair))
    }

    fn mark(&self, pair: Pair) -> char {
        match (declared(&pair), self.seen.contains(&pair), self.elsewhere.contains(&pair)) {
            (true, true, _) | (true, _, true) => '+',
            (true, false, false) => '-',
            (false, true, _) => '!',
            (false, false, true) => 'e',
            (false, false, false) => '.',
        }
    }

    /// The codes that are expected or were seen, in the order of the contract.
    pub(crate) fn codes(&self) -> BTreeSet<Code> {
        let seen = self.seen.iter().chain(&self.elsewhere).filter_map(|(_, code)| *code);
        seen.chain(EXPECTED.iter().flat_map(|(_, codes)| codes.iter().copied())).collect()
    }
}

/// Code × operation, with a mark in each place.
pub(crate) fn table(codes: &BTreeSet<Code>, mark: impl Fn(Pair) -> char) -> String {
    let codes: Vec<Code> = Code::ALL.iter().copied().filter(|code| codes.contains(code)).collect();
    let width = EXPECTED.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').take(codes.len()).collect();
    let mut text = format!("{:width$} ok", "");
    for letter in &letters {
        let _ = write!(text, " {letter}");
    }
    for (name, _) in EXPECTED {
        let _ = write!(text, "\n{name:width$}  {}", mark((*name, None)));
        for code in &codes {
            let _ = write!(text, " {}", mark((*name, Some(*code))));
        }
    }
    text.push('\n');
    for (letter, code) in letters.iter().zip(&codes) {
        let _ = write!(text, "\n{letter} {code}");
    }
    text.push('\n');
    text
}

pub(crate) fn declared((name, code): &Pair) -> bool {
    let Some((_, codes)) = EXPECTED.iter().find(|(known, _)| known == name) else {
        return false;
    };
    code.is_none_or(|code| codes.contains(&code))
}

pub(crate) fn words((name, code): &Pair) -> String {
    code.map_or_else(|| format!("{name} → ok"), |code| format!("{name} → {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_produced_and_what_nobody_promised_are_told() {
        let own = Recorder::default();
        own.record().pairs.insert(("data.get", None));
        own.saw("data.get", Code::NotFound);
        own.saw("data.get", Code::Held);
        own.saw("data.get", Code::Busy);
        let elsewhere = Recorder::default();
        elsewhere.saw("data.put", Code::StoreFull);
        elsewhere.saw("data.put", Code::Cycle);
        let mut report = Report::default();
        report.add(&own);
        report.include(&elsewhere);
        let undeclared = ["data.get → HELD", "data.get → BUSY", "data.put → CYCLE"];
        assert_eq!(report.undeclared(), undeclared);
        assert!(report.missing().contains(&"data.get → INVALID".to_owned()));
        assert!(!report.missing().contains(&"data.get → ok".to_owned()));
        assert!(!report.environment_missing().contains(&Code::StoreFull));
        assert!(report.environment_missing().contains(&Code::Busy));
        let table = report.table();
        assert!(table.lines().any(|line| line.starts_with("data.get ") && line.contains('!')));
    }
}
