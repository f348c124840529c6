//! Judges a history: an order for every object, and what must rise over the whole store.

use std::collections::{BTreeMap, BTreeSet};

use crate::storm::history::{Entry, Object, Said};
use crate::storm::model::{Brief, Claims, Data, Lease, Log, with_hindsight};
use crate::storm::search::{Model, Timed, Verdict, search};

/// States visited for one object before the search gives up, which counts as a fault.
const STATES_MAX: usize = 2_000_000;

/// How long after the death of its process an operation can take effect, in ns. A server may have its last
/// word in hand; a file nobody writes to any more.
const AFTERLIFE: u64 = 1_000_000_000;

/// What a history was like.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) histories: usize,
    pub(super) operations: usize,
    pub(super) operations_least: usize,
    pub(super) objects: usize,
    pub(super) writers_least: usize,
    pub(super) overlaps: usize,
    pub(super) pending: usize,
    pub(super) refusals: BTreeMap<String, usize>,
}

impl Counts {
    /// Adds those of another history.
    pub(super) fn add(&mut self, other: &Self) {
        let first = self.histories == 0;
        let least = |mine: usize, others: usize| if first { others } else { mine.min(others) };
        self.operations_least = least(self.operations_least, other.operations_least);
        self.writers_least = least(self.writers_least, other.writers_least);
        self.histories += other.histories;
        self.operations += other.operations;
        self.objects = self.objects.max(other.objects);
        self.overlaps += other.overlaps;
        self.pending += other.pending;
        for (code, count) in &other.refusals {
            *self.refusals.entry(code.clone()).or_default() += count;
        }
    }
}

/// The judgement on a history.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) faults: Vec<String>,
    pub(super) counts: Counts,
}

/// Judges a history in which every object must have so many writers.
pub(super) fn judge(history: &[Entry], writers: usize) -> Judged {
    let mut objects: BTreeMap<Object, Vec<&Entry>> = BTreeMap::new();
    for entry in history {
        objects.entry(entry.object()).or_default().push(entry);
    }
    let mut counts = Counts {
        histories: 1,
        operations: history.len(),
        operations_least: history.len(),
        objects: objects.len(),
        writers_least: usize::MAX,
        pending: history.iter().filter(|entry| entry.end.is_none()).count(),
        ..Counts::default()
    };
    for entry in history {
        if let Said::Refused(code, _) = entry.said() {
            *counts.refusals.entry(code.to_owned()).or_default() += 1;
        }
    }
    let mut faults = rising(history);
    for (object, entries) in &objects {
        let wrote = entries.iter().filter(|entry| entry.writes());
        let here = wrote.map(|entry| entry.actor.as_str()).collect::<BTreeSet<_>>().len();
        counts.writers_least = counts.writers_least.min(here);
        counts.overlaps += overlaps(entries);
        if here < writers {
            faults.push(format!("{object} has only {here} writers"));
        }
        match verdict(object, entries) {
            Verdict::Linearizable => {}
            Verdict::Undecided => {
                faults.push(format!("{object}: no order within {STATES_MAX} states"));
            }
            Verdict::Violated(how) => faults.push(format!("{object} is not linearizable: {how}")),
        }
    }
    Judged { faults, counts }
}

fn verdict(object: &Object, entries: &[&Entry]) -> Verdict {
    let cloned = || entries.iter().copied().cloned().collect();
    match object {
        Object::Data(_) => explained(&Data, cloned()),
        Object::Lease(_) => explained(&Lease, cloned()),
        Object::Brief(_) => {
            let asked = entries.iter().find_map(|entry| entry.args["ttl_ms"].as_i64());
            explained(&Brief { ttl_ms: asked.unwrap_or_default() }, cloned())
        }
        Object::Items(_) => explained(&Claims, cloned()),
        Object::Log(_) => explained(&Log, with_hindsight(entries)),
    }
}

fn explained<M: Model<Op = Entry>>(model: &M, entries: Vec<Entry>) -> Verdict {
    let timed = |entry: Entry| {
        let latest = entry.died.map(|died| died + AFTERLIFE);
        Timed { call: entry.call, end: entry.end, latest, op: entry }
    };
    search(model, &entries.into_iter().map(timed).collect::<Vec<_>>(), STATES_MAX)
}

/// How many pairs of operations of two sessions overlapped.
fn overlaps(entries: &[&Entry]) -> usize {
    let mut pairs = 0;
    for (index, one) in entries.iter().enumerate() {
        let end = one.end.unwrap_or(one.call);
        pairs += entries[index + 1..].iter().take_while(|other| other.call < end).count();
    }
    pairs
}

/// The head of the log, the clock and the fences of new grants never fall: an operation that began
/// after another had ended was told no less.
fn rising(history: &[Entry]) -> Vec<String> {
    let mut faults = Vec::new();
    for (what, number) in
        [("seq", seq as fn(&Entry) -> Option<i64>), ("tick", tick), ("fence", fence)]
    {
        let told: Vec<(&Entry, i64)> =
            history.iter().filter_map(|entry| Some((entry, number(entry)?))).collect();
        let mut ended: Vec<(u64, i64)> =
            told.iter().filter_map(|(entry, number)| Some((entry.end?, *number))).collect();
        ended.sort_unstable();
        let (mut next, mut greatest) = (0, i64::MIN);
        // The history is in the order of the calls.
        for (entry, number) in told {
            while next < ended.len() && ended[next].0 < entry.call {
                greatest = greatest.max(ended[next].1);
                next += 1;
            }
            let fell = if what == "fence" { number <= greatest } else { number < greatest };
            if fell {
                faults.push(format!("{what} fell from {greatest} to {number} at {entry:?}"));
            }
        }
    }
    faults
}

fn seq(entry: &Entry) -> Option<i64> {
    entry.answer["seq"].as_i64()
}

fn tick(entry: &Entry) -> Option<i64> {
    entry.answer["tick"].as_i64()
}

/// The fence of a new grant.
fn fence(entry: &Entry) -> Option<i64> {
    let data = &entry.answer["data"];
    (data["already_held"] == false).then(|| data["fence"].as_i64())?
}
