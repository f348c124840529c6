//! Section 7: tasks and their attempts.

use std::{collections::BTreeSet, thread};

use cotenant_core::{
    Code,
    clock::{HOUR, MINUTE},
    id::{Fence, TaskId},
    lease::LOCK_DELAY_MS,
    status::ShowStatus,
    task::{
        CancelTask, ExtendTask, FailTask, FailureClass, FinishTask, NewTask, Next, NextTask,
        ReleaseTask, RequeueTask, TakenTask, TaskCounts, TaskState, VISIBILITY_MS,
        view::{ListTasks, ShowTask, TaskView},
    },
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, count, event, granted, head_seq, log, must},
    sample::{add, json as text, next, note, sign_off, task},
};

cases! {
    q1_a_task_is_added_taken_and_done,
    q1_every_change_of_a_task_is_an_event,
    q1_of_many_who_ask_one_gets_a_task,
    q1_a_task_is_shown_as_it_stands_now,
    q2_a_lost_worker_gives_its_task_up_after_the_lock_delay,
    q2_a_dead_worker_is_found_when_somebody_wants_its_task,
    q2_who_signs_off_gives_its_tasks_back,
    q2_a_silent_worker_keeps_its_task_as_long_as_its_time,
    q3_only_the_newest_attempt_finishes_a_task,
    q3_an_attempt_out_of_time_counts_until_the_next_one,
    q3_what_an_attempt_said_can_be_repeated,
    q3_a_task_without_attempts_left_can_still_be_finished,
    q4_an_attempt_counts_when_it_begins,
    q4_giving_a_task_back_is_no_attempt,
}

/// Adds a task.
#[track_caller]
pub(crate) fn added(agent: &Agent<'_>, task: NewTask) -> TaskId {
    agent.must(&add(&[task])).tasks[0].task
}

/// Takes the next task of the queue `q`.
#[track_caller]
pub(crate) fn take(agent: &Agent<'_>) -> TakenTask {
    agent.must(&next("q")).task.expect("a task is ready")
}

#[track_caller]
pub(crate) fn nothing(agent: &Agent<'_>) -> TaskCounts {
    let Next { task, open } = agent.must(&next("q"));
    assert!(task.is_none(), "nothing is ready, but {task:?} was given");
    open.expect("how the tasks stand")
}

pub(crate) fn done(task: &TakenTask) -> FinishTask {
    FinishTask { task: task.task, fence: task.fence, result: None }
}

pub(crate) fn fail(task: &TakenTask, class: FailureClass) -> FailTask {
    FailTask { task: task.task, fence: task.fence, reason: "it broke".into(), class }
}

pub(crate) fn release(task: &TakenTask) -> ReleaseTask {
    ReleaseTask { task: task.task, fence: task.fence }
}

pub(crate) fn extend(task: &TakenTask) -> ExtendTask {
    ExtendTask { task: task.task, fence: task.fence, visibility_ms: None }
}

pub(crate) fn cancel(task: TaskId) -> CancelTask {
    CancelTask { task, reason: None }
}

#[track_caller]
pub(crate) fn view(bench: &dyn Bench, task: TaskId) -> TaskView {
    must(bench, &ShowTask { task }).task
}

#[track_caller]
pub(crate) fn state(bench: &dyn Bench, task: TaskId) -> TaskState {
    view(bench, task).state
}

pub(crate) fn q() -> NewTask {
    task("q")
}

fn q1_a_task_is_added_taken_and_done(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let new = NewTask { payload: text("{\"file\": \"adapters.py\"}"), priority: 3, ..q() };
    let id = added(&a, new.clone());
    let waiting = view(bench, id);
    assert_eq!((waiting.state, waiting.attempts, waiting.fence), (TaskState::Ready, 0, None));
    assert_eq!((&*waiting.creator, &*waiting.trust, waiting.name), ("a", "agent", None));
    let taken = take(&b);
    assert_eq!((taken.task, taken.attempt, taken.max_attempts), (id, 1, 3));
    assert_eq!((taken.payload.text(), taken.priority), (new.payload.text(), 3));
    assert_eq!((&*taken.creator, taken.visible_for_ms), ("a", VISIBILITY_MS));
    let running = view(bench, id);
    assert_eq!((running.state, running.fence), (TaskState::Running, Some(taken.fence)));
    assert_eq!((running.session, running.name.as_deref()), (Some(b.id.clone()), Some("b")));
    assert!(running.due_in_ms.is_some_and(|ms| ms > 0 && ms <= VISIBILITY_MS));
    assert_eq!(nothing(&a), TaskCounts { running: 1, ..TaskCounts::default() });
    let result = Some(text("[1, 2]"));
    let finished = b.must(&FinishTask { result, ..done(&taken) });
    assert_eq!((finished.state, finished.already, finished.unblocked), (TaskState::Done, false, 0));
    let over = view(bench, id);
    assert_eq!(
        (over.state, over.result.map(|r| r.text().to_owned())),
        (TaskState::Done, Some("[1, 2]".into()))
    );
    assert_eq!(nothing(&a), TaskCounts::default());
}

fn q1_every_change_of_a_task_is_an_event(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let id = added(&a, NewTask { max_attempts: 2, ..q() });
    assert_eq!(
        event(bench, cotenant_core::id::Seq(id.0)).kind,
        "task.added",
        "its id is its event"
    );
    a.must(&release(&take(&a)));
    a.must(&extend(&take(&a)));
    bench.advance(VISIBILITY_MS);
    a.must(&fail(&take(&a), FailureClass::Transient));
    a.must(&RequeueTask { task: id });
    a.must(&cancel(id));
    let scope = format!("task:{id}");
    let events: Vec<_> = log(bench).into_iter().filter(|event| event.scope == scope).collect();
    let kinds: Vec<&str> = events.iter().map(|event| &*event.kind).collect();
    assert_eq!(
        kinds,
        [
            "task.added",
            "task.taken",
            "task.released",
            "task.taken",
            "task.rescued",
            "task.taken",
            "task.failed",
            "task.requeued",
            "task.cancelled",
        ]
    );
    let states: Vec<String> = events
        .iter()
        .map(|event| {
            let facts = event.payload.as_ref().expect("facts").value().expect("JSON");
            format!("{} {}", facts["state"].as_str().expect("a state"), facts["attempts"])
        })
        .collect();
    assert_eq!(
        states,
        [
            "ready 0",
            "running 1",
            "ready 0",
            "running 1",
            "ready 1",
            "running 2",
            "dead 2",
            "ready 0",
            "cancelled 0"
        ]
    );
}

fn q1_of_many_who_ask_one_gets_a_task(bench: &dyn Bench) {
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    agents[0].must(&add(&vec![q(); 20]));
    let taken: Vec<Vec<TaskId>> = thread::scope(|scope| {
        let racers: Vec<_> = agents
            .iter()
            .map(|agent| {
                scope.spawn(|| {
                    let store = bench.second();
                    let ask = || {
                        let next = (*store).call(&next("q"), |request| request.by(agent.actor()));
                        granted::<NextTask, _>(next).answer.task
                    };
                    std::iter::from_fn(ask).map(|task| task.task).collect()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("a racer")).collect()
    });
    let all: Vec<TaskId> = taken.into_iter().flatten().collect();
    let distinct: BTreeSet<TaskId> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (20, 20), "each task goes to one");
}

fn q1_a_task_is_shown_as_it_stands_now(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let short = || NewTask { visibility_ms: MINUTE, ..q() };
    let (again, last) = (added(&a, short()), added(&a, NewTask { max_attempts: 1, ..short() }));
    let delayed = added(&a, NewTask { delay_ms: Some(MINUTE), ..q() });
    take(&a);
    take(&a);
    let before = head_seq(bench);
    bench.advance(MINUTE);
    assert_eq!(state(bench, again), TaskState::Ready);
    assert_eq!(state(bench, last), TaskState::Dead);
    assert_eq!(state(bench, delayed), TaskState::Ready);
    let ready = ListTasks { states: vec![TaskState::Ready], ..ListTasks::default() };
    let listed: Vec<TaskId> = must(bench, &ready).tasks.iter().map(|task| task.task).collect();
    assert_eq!(listed, [again, delayed]);
    let counts = must(bench, &ShowStatus::default()).tasks;
    assert_eq!(counts, TaskCounts { ready: 2, dead: 1, ..TaskCounts::default() });
    assert_eq!(head_seq(bench), before, "looking settles nothing");
    a.must(&note("a write does"));
    assert_eq!(must(bench, &ShowStatus::default()).tasks, counts);
    assert_eq!(count(bench, "task.rescued") + count(bench, "task.exhausted"), 2);
}

fn q2_a_lost_worker_gives_its_task_up_after_the_lock_delay(bench: &dyn Bench) {
    let (a, b) = (Agent::brief(bench, "a", MINUTE), Agent::new(bench, "b"));
    let id = added(&b, NewTask { visibility_ms: HOUR, ..q() });
    let last = added(&b, NewTask { visibility_ms: HOUR, max_attempts: 1, ..q() });
    let first = take(&a);
    take(&a);
    bench.advance(2 * MINUTE);
    assert_eq!((state(bench, id), state(bench, last)), (TaskState::Delayed, TaskState::Dead));
    assert_eq!(nothing(&b), TaskCounts { delayed: 1, dead: 1, ..TaskCounts::default() });
    let shown = view(bench, id);
    assert_eq!((shown.state, shown.rescues, shown.attempts), (TaskState::Delayed, 1, 1));
    bench.advance(LOCK_DELAY_MS);
    let second = take(&b);
    assert_eq!((second.task, second.attempt), (id, 2));
    assert!(second.fence > first.fence);
    a.refused(&done(&first), Code::SessionLost);
}

fn q2_a_dead_worker_is_found_when_somebody_wants_its_task(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::living(bench, "a", &process), Agent::new(bench, "b"));
    let id = added(&b, q());
    take(&a);
    assert_eq!(nothing(&b).running, 1);
    bench.kill(&process);
    assert_eq!(nothing(&b), TaskCounts { delayed: 1, ..TaskCounts::default() });
    assert_eq!(count(bench, "session.lost"), 1);
    bench.advance(LOCK_DELAY_MS);
    assert_eq!(take(&b).task, id);
}

fn q2_who_signs_off_gives_its_tasks_back(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let id = added(&a, NewTask { max_attempts: 1, ..q() });
    let taken = take(&a);
    assert_eq!(a.must(&sign_off()).tasks, 1);
    let again = take(&b);
    assert_eq!((again.task, again.attempt), (id, 1), "giving back is no attempt");
    b.refused(&done(&taken), Code::Fenced);
    b.must(&done(&again));
}

fn q2_a_silent_worker_keeps_its_task_as_long_as_its_time(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::living(bench, "a", &process), Agent::new(bench, "b"));
    added(&b, NewTask { visibility_ms: HOUR, ..q() });
    let first = take(&a);
    bench.advance(50 * MINUTE);
    assert_eq!(nothing(&b).running, 1);
    a.must(&extend(&first));
    bench.advance(50 * MINUTE);
    assert_eq!(nothing(&b).running, 1);
    bench.advance(10 * MINUTE);
    assert!(take(&b).fence > first.fence);
}

fn q3_only_the_newest_attempt_finishes_a_task(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let id = added(&a, q());
    let first = take(&a);
    bench.advance(VISIBILITY_MS);
    let second = take(&b);
    assert_eq!((second.task, second.attempt), (id, 2));
    let before = head_seq(bench);
    let refused = a.refused(&done(&first), Code::Fenced);
    assert_eq!(
        (&refused.details["holder"], &refused.details["state"]),
        (&json!("b"), &json!("running"))
    );
    a.refused(&fail(&first, FailureClass::Permanent), Code::Fenced);
    a.refused(&extend(&first), Code::Fenced);
    a.refused(&release(&first), Code::Fenced);
    let ahead = TakenTask { fence: Fence(second.fence.0 + 1), ..second.clone() };
    a.refused(&done(&ahead), Code::Fenced);
    assert_eq!((head_seq(bench), state(bench, id)), (before, TaskState::Running));
    b.must(&done(&second));
    a.refused(&done(&first), Code::Fenced);
    assert_eq!(count(bench, "task.done"), 1);
}

fn q3_an_attempt_out_of_time_counts_until_the_next_one(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [late, failed, kept] = [added(&a, q()), added(&a, q()), added(&a, q())];
    let taken = [take(&a), take(&a), take(&a)];
    bench.advance(VISIBILITY_MS);
    assert_eq!(state(bench, late), TaskState::Ready);
    a.refused(&extend(&taken[2]), Code::Fenced);
    a.refused(&release(&taken[2]), Code::Fenced);
    assert!(!a.must(&done(&taken[0])).already);
    let retried = a.must(&fail(&taken[1], FailureClass::Transient));
    assert_eq!((retried.state, state(bench, late)), (TaskState::Failed, TaskState::Done));
    assert_eq!((view(bench, failed).attempts, state(bench, kept)), (1, TaskState::Ready));
    assert_eq!(take(&a).task, kept);
    nothing(&a);
}

fn q3_what_an_attempt_said_can_be_repeated(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&add(&[q(), q(), q()]));
    let [finished, failed, given_back] = [take(&a), take(&a), take(&a)];
    a.must(&done(&finished));
    a.must(&fail(&failed, FailureClass::Transient));
    a.must(&release(&given_back));
    let before = head_seq(bench);
    assert!(a.must(&done(&finished)).already);
    let again = a.must(&fail(&failed, FailureClass::Permanent));
    assert_eq!((again.already, again.state), (true, TaskState::Failed));
    assert!(a.must(&release(&given_back)).already);
    assert_eq!(head_seq(bench), before);
    a.refused(&fail(&finished, FailureClass::Transient), Code::Fenced);
    a.refused(&done(&failed), Code::Fenced);
    a.refused(&done(&given_back), Code::Fenced);
    assert_eq!(head_seq(bench), before, "and not be changed");
}

fn q3_a_task_without_attempts_left_can_still_be_finished(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let id = added(&a, NewTask { max_attempts: 1, ..q() });
    let taken = take(&a);
    bench.advance(VISIBILITY_MS);
    nothing(&a);
    let dead = view(bench, id);
    assert_eq!((dead.state, dead.rescues), (TaskState::Dead, 1));
    assert!(dead.reason.expect("why").contains("exhausted"));
    a.must(&done(&taken));
    assert_eq!((state(bench, id), view(bench, id).reason), (TaskState::Done, None));
}

fn q4_an_attempt_counts_when_it_begins(bench: &dyn Bench) {
    let id = added(&Agent::new(bench, "a"), q());
    let worker = Agent::new(bench, "w");
    for attempt in 1..=3 {
        let taken = take(&worker);
        assert_eq!((taken.task, taken.attempt), (id, attempt), "attempt {attempt} is counted");
        bench.advance(VISIBILITY_MS);
    }
    assert_eq!(nothing(&worker), TaskCounts { dead: 1, ..TaskCounts::default() });
    assert_eq!((view(bench, id).attempts, view(bench, id).rescues), (3, 3));
}

fn q4_giving_a_task_back_is_no_attempt(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    added(&a, NewTask { max_attempts: 1, ..q() });
    for _ in 0..3 {
        let taken = take(&a);
        assert_eq!(taken.attempt, 1);
        a.must(&release(&taken));
    }
    a.must(&done(&take(&a)));
}
