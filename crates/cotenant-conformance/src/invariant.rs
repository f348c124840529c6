//! What holds after every case, as far as operations show it (section 15 of the contract).

use std::collections::{BTreeMap, HashMap, HashSet};

use cotenant_core::{
    claim::{Holding, HoldingState, Mode, Who},
    data::{Entry, List},
    event::{Event, Verify},
    id::{Fence, Seq, SessionId, TaskId},
    json::Json,
    lease::ListLeases,
    name::paths_overlap,
    session::{ListSessions, SessionView},
    task::{
        TaskState,
        rule::{Passage, passage},
        view::{ListTasks, TaskView},
    },
};

use crate::{
    Bench, Recorder,
    ask::{log, must},
    sample::{every_session, list, offers},
};

/// Panics at the first invariant that does not hold.
pub(crate) fn check(bench: &dyn Bench, recorder: &Recorder) {
    let sessions = sessions(bench);
    check_sessions(&sessions);
    let live: HashSet<&SessionId> =
        sessions.iter().filter(|view| view.state.is_live()).map(|view| &view.session).collect();
    let leases = must(bench, &ListLeases { pattern: None }).holdings;
    let claims = must(bench, &Who::default()).holdings;
    check_holders(leases.iter().chain(&claims), &live);
    check_slots(&leases, &recorder.record().slots);
    check_claims(&claims);
    check_ephemeral(bench, &sessions);
    let events = log(bench);
    check_log(&events);
    let tasks = tasks(bench);
    check_tasks(&tasks, &live, &events);
    check_offers(bench, &events, &tasks, leases.iter().chain(&claims));
    check_fences(&recorder.record().fences);
    let verified = must(bench, &Verify::default());
    assert!(verified.ok, "the chain does not verify: {verified:?}");
}

fn tasks(bench: &dyn Bench) -> Vec<TaskView> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let states = TaskState::ALL.to_vec();
        let page = must(bench, &ListTasks { states, after, limit: 1_000, ..ListTasks::default() });
        all.extend(page.tasks);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

/// Whether time alone leads from one state to the other.
fn in_time(from: TaskState, to: TaskState) -> bool {
    use TaskState::{Dead, Delayed, Failed, Ready, Running};
    from == to
        || matches!((from, to), (Running, Ready | Delayed | Dead) | (Delayed | Failed, Ready))
}

/// Whether an event of this kind may lead from one state to the other.
fn may_lead(kind: &str, from: Option<TaskState>, to: TaskState) -> bool {
    use TaskState::{Blocked, Cancelled, Dead, Delayed, Done, Failed, Ready, Running};
    match kind {
        "task.added" => from.is_none() && matches!(to, Blocked | Delayed | Ready | Cancelled),
        "task.ready" => match from {
            Some(Blocked) => matches!(to, Ready | Delayed),
            from => matches!(from, Some(Delayed | Failed)) && to == Ready,
        },
        "task.taken" => (from, to) == (Some(Ready), Running),
        "task.moved" => matches!(from, Some(Running | Ready | Delayed)) && to == Running,
        "task.rescued" => from == Some(Running) && matches!(to, Ready | Delayed),
        "task.exhausted" => (from, to) == (Some(Running), Dead),
        "task.released" => (from, to) == (Some(Running), Ready),
        "task.done" => matches!(from, Some(Running | Ready | Delayed | Dead)) && to == Done,
        "task.failed" => {
            matches!(from, Some(Running | Ready | Delayed | Dead)) && matches!(to, Failed | Dead)
        }
        "task.cancelled" => from.is_some_and(|from| !from.is_over()) && to == Cancelled,
        "task.requeued" => {
            matches!(from, Some(Dead | Cancelled)) && matches!(to, Ready | Delayed | Blocked)
        }
        _ => false,
    }
}

/// Each task is in the one state that its events lead to, attempts stay within their limit, whoever
/// works on one is here, and nobody waits for what is done.
fn check_tasks(tasks: &[TaskView], live: &HashSet<&SessionId>, log: &[Event]) {
    let mut told: HashMap<i64, TaskState> = HashMap::new();
    let pruned = log.first().is_some_and(|event| event.seq.0 > 1);
    for event in log.iter().filter(|event| event.kind.starts_with("task.")) {
        let Some(facts) = event.payload.as_ref().and_then(|facts| facts.value().ok()) else {
            continue;
        };
        let state = facts["state"].as_str().and_then(TaskState::of);
        let (Some(task), Some(to)) = (facts["task"].as_i64(), state) else {
            panic!("event {} does not say how its task stands", event.seq);
        };
        let from = told.insert(task, to);
        assert!(
            may_lead(&event.kind, from, to) || (pruned && from.is_none()),
            "event {}, {}, leads task {task} from {from:?} to {to:?}",
            event.seq,
            event.kind
        );
    }
    for task in tasks {
        let id = task.task;
        let last = told.get(&id.0).copied().unwrap_or(task.state);
        assert!(in_time(last, task.state), "task {id} is {:?}, the log says {last:?}", task.state);
        assert!(task.attempts <= task.max_attempts, "task {id} was tried {} times", task.attempts);
        if task.state == TaskState::Running {
            let session = task.session.as_ref().expect("a worker");
            assert!(live.contains(session), "a dead session works on task {id}");
        }
        let opens = |needed: &TaskId| {
            let state = told.get(&needed.0).copied().unwrap_or(TaskState::Done);
            passage(state, task.on_dep_fail) == Passage::Open
        };
        let waits = !task.needs.iter().all(opens);
        assert!(waits || last != TaskState::Blocked, "task {id} waits for nothing");
    }
}

fn sessions(bench: &dyn Bench) -> Vec<SessionView> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = must(bench, &ListSessions { after, ..every_session() });
        all.extend(page.sessions);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

fn check_sessions(sessions: &[SessionView]) {
    let ids: HashSet<_> = sessions.iter().map(|view| &view.session).collect();
    assert_eq!(ids.len(), sessions.len(), "an id belongs to one session");
    let spaces: HashSet<_> = sessions.iter().map(|view| &view.ns).collect();
    assert_eq!(spaces.len(), sessions.len(), "a name space belongs to one session");
    let mut names = HashSet::new();
    for view in sessions.iter().filter(|view| view.state.is_live()) {
        assert!(names.insert(&view.name), "two live sessions are called `{}`", view.name);
    }
}

fn check_holders<'a>(holdings: impl Iterator<Item = &'a Holding>, live: &HashSet<&SessionId>) {
    for holding in holdings.filter(|holding| holding.state != HoldingState::Cooling) {
        assert!(live.contains(&holding.session), "a dead session has {holding:?}");
    }
}

fn check_slots(leases: &[Holding], slots: &HashMap<String, usize>) {
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for lease in leases.iter().filter(|lease| lease.state == HoldingState::Held) {
        *held.entry(&lease.resource).or_default() += 1;
    }
    for (resource, held) in held {
        let most = slots.get(resource).copied().unwrap_or(1);
        assert!(held <= most, "`{resource}` has {held} holders and {most} slots");
    }
}

fn check_claims(claims: &[Holding]) {
    let exclusive: Vec<_> = claims
        .iter()
        .filter(|claim| claim.state == HoldingState::Held && claim.mode == Mode::Exclusive)
        .collect();
    let paths: Vec<_> = exclusive.iter().filter_map(|claim| Some((path(claim)?, *claim))).collect();
    let mut holders: HashMap<&str, &SessionId> = HashMap::new();
    for claim in exclusive.iter().filter(|claim| claim.tree.is_none()) {
        let holder = holders.entry(&claim.resource).or_insert(&claim.session);
        assert_eq!(*holder, &claim.session, "two sessions claim `{}`", claim.resource);
    }
    let sessions: HashSet<_> = paths.iter().map(|(_, claim)| &claim.session).collect();
    if sessions.len() < 2 {
        return;
    }
    for (index, (name, claim)) in paths.iter().enumerate() {
        for (other_name, other) in &paths[..index] {
            let clash = claim.session != other.session
                && claim.tree == other.tree
                && paths_overlap(name, other_name);
            assert!(!clash, "two sessions claim `{name}` and `{other_name}` of one tree");
        }
    }
}

/// The path of a claim on one.
fn path(claim: &Holding) -> Option<&str> {
    claim.tree.as_ref()?;
    claim.resource.strip_prefix("path:").or(Some(&claim.resource))
}

fn check_ephemeral(bench: &dyn Bench, sessions: &[SessionView]) {
    let live: HashSet<&str> = sessions
        .iter()
        .filter(|view| view.state.is_live())
        .map(|view| view.name.as_str())
        .collect();
    let mut after = None;
    loop {
        let page = must(bench, &List { after, ..list("") });
        for Entry { scope, key, writer, ephemeral, .. } in page.entries {
            let orphan = ephemeral && !live.contains(writer.as_str());
            assert!(!orphan, "`{scope}` `{key}` should have gone with `{writer}`");
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

/// No giver has an item in two open offers; what moved, moved once, and nobody has it any more by the fence that
/// its giver had.
fn check_offers<'a>(
    bench: &dyn Bench,
    events: &[Event],
    tasks: &[TaskView],
    holdings: impl Iterator<Item = &'a Holding>,
) {
    let mut offered = HashSet::new();
    for offer in must(bench, &offers()).offers {
        for item in offer.items {
            let once = offered.insert((offer.from.clone(), item.clone()));
            assert!(once, "`{item}` is in two open offers of `{}`", offer.from_name);
        }
    }
    let facts = |event: &Event| event.payload.as_ref().and_then(|it| it.value().ok());
    let (mut accepted, mut moved, mut void) = (HashSet::new(), HashSet::new(), HashSet::new());
    for event in events {
        let Some(facts) = facts(event) else { continue };
        if event.kind == "handoff.accepted" {
            assert!(accepted.insert(facts["offer"].as_i64()), "accepted twice: {facts}");
        }
        if is_move(&event.kind) {
            let what = (facts["offer"].as_i64(), facts["resource"].to_string());
            assert!(moved.insert(what), "moved twice: {facts}");
            assert!(accepted.contains(&facts["offer"].as_i64()), "moved unaccepted: {facts}");
            void.extend(facts["before"].as_i64());
        }
    }
    for task in tasks.iter().filter(|task| task.state == TaskState::Running) {
        let fence = task.fence.expect("a running attempt has one").0;
        assert!(!void.contains(&fence), "handed over and still worked on: {task:?}");
    }
    for holding in holdings.filter(|holding| holding.state == HoldingState::Held) {
        assert!(!void.contains(&holding.fence.0), "handed over and still held: {holding:?}");
    }
}

/// Whether an event tells of something that was handed over.
fn is_move(kind: &str) -> bool {
    matches!(kind, "claim.moved" | "lease.moved" | "task.moved")
}

fn check_log(events: &[Event]) {
    for pair in events.windows(2) {
        assert_eq!(pair[1].seq.0, pair[0].seq.0 + 1, "the log has no gap");
        assert!(pair[0].tick <= pair[1].tick, "the tick went back at {}", pair[1].seq);
    }
    let is_grant = |kind: &str| kind.ends_with(".granted") || kind == "task.taken" || is_move(kind);
    let granted = events.iter().filter(|event| is_grant(&event.kind));
    let fences: Vec<i64> = granted.filter_map(|event| fence(event.payload.as_ref()?)).collect();
    assert!(fences.is_sorted_by(|a, b| a < b), "fences ascend in the log: {fences:?}");
}

fn fence(payload: &Json) -> Option<i64> {
    payload.value().ok()?.get("fence")?.as_i64()
}

/// Fences ascend from request to request, in the order of the log.
fn check_fences(fences: &BTreeMap<Seq, Vec<Fence>>) {
    let mut highest = Fence(-1);
    for (seq, fences) in fences {
        let mut fences = fences.clone();
        fences.sort_unstable();
        for fence in fences {
            assert!(fence > highest, "fence {fence} was granted at {seq} after {highest}");
            highest = fence;
        }
    }
}
