//! Section 7: which task comes when, and what others see of tasks.

use std::collections::BTreeSet;

use cotenant_core::{
    Code,
    clock::{DAY, HOUR, MINUTE, SECOND, rfc3339},
    data::Put,
    id::{Fence, TaskId},
    json::Json,
    session::Reap,
    status::ShowStatus,
    task::{
        CancelTask, ExtendTask, FailTask, FailureClass, FinishTask, NewTask, NextTask, ReleaseTask,
        RequeueTask, TaskCounts, TaskState, VISIBILITY_MS,
        rule::retry_delay_ms,
        view::{ListTasks, ShowTask},
    },
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, Pending, answer, granted, head_seq, must, refuses, succeeds},
    sample::{add, claim, guard, json as text, next, note, put, task},
    task::{added, cancel, done, extend, fail, nothing, q, release, state, take, view},
};

cases! {
    q6_urgent_tasks_come_first_then_those_that_wait_longest,
    q6_who_is_given_back_waits_behind,
    q6_queues_are_apart,
    q7_a_retry_waits_as_task_and_attempt_say,
    q7_what_cannot_be_helped_is_dead_at_once,
    an_attempt_lasts_as_long_as_it_is_extended,
    a_delayed_task_waits_for_its_time,
    a_calendar_time_is_that_of_the_wall,
    a_cancelled_task_stops_its_worker,
    what_is_over_is_not_cancelled,
    a_requeued_task_begins_anew,
    only_dead_and_cancelled_tasks_are_requeued,
    a_dedupe_key_adds_a_task_once_while_it_is_open,
    a_dedupe_key_can_pass_to_another_task,
    whoever_waits_gets_the_next_task,
    a_wait_for_a_task_ends_without_one,
    a_wait_for_a_task_ends_when_a_delay_is_over,
    a_task_is_a_guard_for_who_works_on_it,
    tasks_are_listed_by_queue_state_and_page,
    a_refused_claim_names_ready_tasks,
    any_of_several_items_is_claimed,
    any_of_none_free_names_all_who_have_them,
    a_payload_and_a_result_come_back_byte_for_byte,
    the_status_counts_tasks,
}

fn q6_urgent_tasks_come_first_then_those_that_wait_longest(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let with = |priority| NewTask { priority, ..q() };
    let late = added(&a, NewTask { delay_ms: Some(MINUTE), ..with(5) });
    let [low, first, second] = [added(&a, with(-1)), added(&a, with(5)), added(&a, with(5))];
    let usual = added(&a, with(0));
    let urgent = added(&a, with(1_000));
    bench.advance(2 * MINUTE);
    let later = added(&a, with(5));
    let order: Vec<TaskId> = (0..7).map(|_| take(&a).task).collect();
    assert_eq!(order, [urgent, first, second, late, later, usual, low], "urgent ones come first");
}

fn q6_who_is_given_back_waits_behind(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [first, second] = [added(&a, q()), added(&a, q())];
    let taken = take(&a);
    bench.advance(SECOND);
    a.must(&release(&taken));
    assert_eq!([take(&a).task, take(&a).task], [second, first]);
}

fn q6_queues_are_apart(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [x, y] = [added(&a, task("x")), added(&a, NewTask { priority: 1, ..task("y") })];
    let z = added(&a, NewTask { priority: 2, ..task("y/z") });
    nothing(&a);
    let take = |queues: &[&str]| {
        let queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
        a.must(&NextTask { queues, ..NextTask::default() }).task.map(|task| task.task)
    };
    assert_eq!(take(&["x", "y"]), Some(y), "the best of both");
    assert_eq!(take(&["y"]), None, "a queue is not those below it");
    assert_eq!(take(&[]), Some(z), "any");
    assert_eq!(take(&[]), Some(x));
}

fn q7_a_retry_waits_as_task_and_attempt_say(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let mut delays = BTreeSet::new();
    for _ in 0..4 {
        let id = added(&a, NewTask { max_attempts: 3, ..q() });
        for attempt in 1..=2 {
            let taken = take(&a);
            let failed = a.must(&fail(&taken, FailureClass::Transient));
            let delay = retry_delay_ms(id, attempt);
            assert_eq!(
                (failed.state, failed.retry_in_ms),
                (TaskState::Failed, Some(delay)),
                "of task {id}"
            );
            assert_eq!(view(bench, id).reason.as_deref(), Some("it broke"));
            delays.insert(delay);
            bench.advance(delay);
        }
        let taken = take(&a);
        assert_eq!(taken.reason.as_deref(), Some("it broke"), "who tries again is told why");
        let failed = a.must(&fail(&taken, FailureClass::Transient));
        assert_eq!((failed.state, failed.retry_in_ms), (TaskState::Dead, None));
    }
    assert!(delays.len() > 4, "delays are spread: {delays:?}");
}

fn q7_what_cannot_be_helped_is_dead_at_once(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let id = added(&a, q());
    let failed = a.must(&fail(&take(&a), FailureClass::Permanent));
    assert_eq!((failed.state, failed.retry_in_ms), (TaskState::Dead, None));
    bench.advance(HOUR);
    assert_eq!(nothing(&a).dead, 1);
    assert_eq!(view(bench, id).attempts, 1);
}

fn an_attempt_lasts_as_long_as_it_is_extended(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    added(&a, NewTask { visibility_ms: 10 * MINUTE, ..q() });
    let taken =
        a.must(&NextTask { visibility_ms: Some(MINUTE), ..next("q") }).task.expect("a task");
    assert_eq!(taken.visible_for_ms, MINUTE);
    bench.advance(MINUTE / 2);
    assert_eq!(a.must(&extend(&taken)).visible_for_ms, 10 * MINUTE, "as the task says");
    bench.advance(9 * MINUTE);
    assert_eq!(nothing(&b).running, 1);
    let short = ExtendTask { visibility_ms: Some(5 * SECOND), ..extend(&taken) };
    assert_eq!(a.must(&short).visible_for_ms, 5 * SECOND);
    bench.advance(5 * SECOND);
    b.must(&done(&take(&b)));
    a.refused(&extend(&taken), Code::Fenced);
    let unknown = ExtendTask { task: TaskId(1_000_000), ..extend(&taken) };
    a.refused(&unknown, Code::NotFound);
    for refused in [
        a.refused(&FinishTask { task: unknown.task, ..done(&taken) }, Code::NotFound),
        a.refused(
            &FailTask { task: unknown.task, ..fail(&taken, FailureClass::Transient) },
            Code::NotFound,
        ),
        a.refused(&ReleaseTask { task: unknown.task, ..release(&taken) }, Code::NotFound),
        refuses(bench, &ShowTask { task: unknown.task }, Code::NotFound),
    ] {
        assert_eq!(refused.details["task"], json!(1_000_000));
    }
}

fn a_delayed_task_waits_for_its_time(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let id = added(&a, NewTask { delay_ms: Some(HOUR), ..q() });
    let delayed = view(bench, id);
    assert_eq!(delayed.state, TaskState::Delayed);
    assert!(delayed.due_in_ms.is_some_and(|ms| ms <= HOUR && ms > 59 * MINUTE));
    bench.advance(59 * MINUTE);
    assert_eq!(nothing(&a).delayed, 1);
    bench.advance(MINUTE);
    assert_eq!(take(&a).task, id);
    assert_eq!(state(bench, added(&a, NewTask { delay_ms: Some(0), ..q() })), TaskState::Ready);
}

fn a_calendar_time_is_that_of_the_wall(bench: &dyn Bench) {
    const NOON: i64 = 1_800_000_000_000;
    bench.set_wall(NOON - 1);
    let a = Agent::new(bench, "a");
    let at = |ms: i64| NewTask { not_before: Some(rfc3339(ms)), ..q() };
    let id = added(&a, at(NOON));
    assert_eq!(state(bench, added(&a, at(NOON - 1))), TaskState::Ready);
    assert_eq!(view(bench, id).not_before, Some(rfc3339(NOON)));
    take(&a);
    bench.advance(MINUTE);
    assert_eq!(nothing(&a).delayed, 1, "the clock of the store does not count");
    bench.set_wall(NOON);
    assert_eq!(state(bench, id), TaskState::Ready);
    assert_eq!(must(bench, &ShowStatus::default()).tasks.ready, 1);
    assert_eq!(take(&a).task, id);
}

fn a_cancelled_task_stops_its_worker(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let id = added(&a, q());
    let old = take(&b);
    b.must(&release(&old));
    let taken = take(&b);
    let cancelling = CancelTask { reason: Some("not wanted".into()), ..cancel(id) };
    assert!(!a.must(&cancelling).already);
    assert!(a.must(&cancelling).already);
    assert_eq!(
        (state(bench, id), view(bench, id).reason.as_deref()),
        (TaskState::Cancelled, Some("not wanted"))
    );
    let refused = b.refused(&extend(&taken), Code::Cancelled);
    assert_eq!(refused.details["reason"], json!("not wanted"));
    b.refused(&done(&taken), Code::Cancelled);
    b.refused(&fail(&taken, FailureClass::Transient), Code::Cancelled);
    b.refused(&release(&taken), Code::Cancelled);
    b.refused(&done(&old), Code::Fenced);
    nothing(&b);
    a.refused(&cancel(TaskId(1_000_000)), Code::NotFound);
}

fn what_is_over_is_not_cancelled(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [first, second] = [added(&a, q()), added(&a, q())];
    a.must(&done(&take(&a)));
    a.must(&fail(&take(&a), FailureClass::Permanent));
    for (task, state) in [(first, "done"), (second, "dead")] {
        let refused = a.refused(&cancel(task), Code::RevMismatch);
        assert_eq!(refused.details["state"], json!(state));
    }
}

fn a_requeued_task_begins_anew(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [dead, off] = [added(&a, q()), added(&a, q())];
    let (first, second) = (take(&a), take(&a));
    a.must(&fail(&first, FailureClass::Permanent));
    a.must(&cancel(off));
    for task in [dead, off] {
        assert_eq!(a.must(&RequeueTask { task }).state, TaskState::Ready);
        assert_eq!((view(bench, task).attempts, view(bench, task).rescues), (0, 0));
    }
    for taken in [&first, &second] {
        a.refused(&done(taken), Code::Fenced);
        a.refused(&extend(taken), Code::Fenced);
    }
    let again = take(&a);
    assert_eq!((again.task, again.attempt), (dead, 1));
    assert!(again.fence > second.fence);
    a.must(&done(&again));
}

fn only_dead_and_cancelled_tasks_are_requeued(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let id = added(&a, q());
    a.refused(&RequeueTask { task: id }, Code::RevMismatch);
    let taken = take(&a);
    a.refused(&RequeueTask { task: id }, Code::RevMismatch);
    a.must(&done(&taken));
    let refused = a.refused(&RequeueTask { task: id }, Code::RevMismatch);
    assert_eq!(refused.details["state"], json!("done"));
    a.refused(&RequeueTask { task: TaskId(1_000_000) }, Code::NotFound);
}

fn a_dedupe_key_adds_a_task_once_while_it_is_open(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let keyed = |queue| NewTask { dedupe_key: Some("nightly".into()), ..task(queue) };
    let first = a.must(&add(&[keyed("q"), keyed("q"), keyed("other")])).tasks;
    let same: Vec<bool> = first.iter().map(|task| task.deduplicated).collect();
    assert_eq!(same, [false, true, false], "within a request, and by queue");
    assert_eq!(first[0].task, first[1].task);
    let before = head_seq(bench);
    let again = a.must(&add(&[keyed("q")])).tasks.remove(0);
    assert_eq!(
        (again.task, again.deduplicated, again.state),
        (first[0].task, true, TaskState::Ready)
    );
    assert_eq!(head_seq(bench), before);
    let taken = take(&a);
    assert!(a.must(&add(&[keyed("q")])).tasks[0].deduplicated, "a running task is open");
    a.must(&done(&taken));
    let new = a.must(&add(&[keyed("q")])).tasks.remove(0);
    assert!(!new.deduplicated && new.task > first[2].task, "a task that is over has no key");
    a.must(&cancel(new.task));
    let last = a.must(&add(&[NewTask { max_attempts: 1, ..keyed("q") }])).tasks.remove(0);
    assert!(!last.deduplicated);
    take(&a);
    bench.advance(VISIBILITY_MS);
    assert!(!a.must(&add(&[keyed("q")])).tasks[0].deduplicated, "nor one that ran out of attempts");
}

fn a_dedupe_key_can_pass_to_another_task(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let keyed = || NewTask { dedupe_key: Some("k".into()), ..q() };
    let first = added(&a, keyed());
    a.must(&cancel(first));
    let second = added(&a, keyed());
    let refused = a.refused(&RequeueTask { task: first }, Code::RevMismatch);
    assert_eq!(refused.details["other"], json!(second));
    a.must(&cancel(second));
    assert_eq!(a.must(&RequeueTask { task: first }).state, TaskState::Ready);
    assert!(a.must(&add(&[keyed()])).tasks[0].deduplicated, "it has its key again");
}

fn wait(agent: &Agent<'_>, ms: u64) -> Pending {
    agent.start(NextTask { wait_ms: Some(ms), ..next("q") })
}

fn whoever_waits_gets_the_next_task(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let [first, second] = [wait(&b, HOUR), wait(&b, HOUR)];
    added(&a, task("other"));
    a.must(&add(&[q(), q()]));
    let mut taken: Vec<_> = [first, second]
        .into_iter()
        .map(|call| {
            let next = answer::<NextTask>(&succeeds(call.outcome(), "who waits"));
            next.task.expect("a task").task
        })
        .collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 2);
}

fn a_wait_for_a_task_ends_without_one(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    added(&a, q());
    take(&a);
    let next = answer::<NextTask>(&succeeds(wait(&b, 100).outcome(), "a wait of 100 ms"));
    assert!(next.task.is_none());
    assert_eq!(next.open, Some(TaskCounts { running: 1, ..TaskCounts::default() }));
}

fn a_wait_for_a_task_ends_when_a_delay_is_over(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let id = added(&a, NewTask { delay_ms: Some(HOUR), ..q() });
    let call = wait(&b, DAY);
    bench.advance(HOUR);
    a.must(&note("whatever happens wakes who waits"));
    let next = answer::<NextTask>(&succeeds(call.outcome(), "who waits"));
    assert_eq!(next.task.expect("a task").task, id);
}

fn a_task_is_a_guard_for_who_works_on_it(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let id = added(&a, NewTask { visibility_ms: MINUTE, ..q() });
    let first = take(&a);
    let resource = format!("task:{id}");
    let mine = || guard(&resource, first.fence);
    granted::<Put, _>(a.guarded(&put("s", "k", "1"), mine()));
    b.fenced_by(&note("another session"), mine());
    a.fenced_by(&note("another fence"), guard(&resource, Fence(first.fence.0 + 1)));
    a.fenced_by(&note("no such task"), guard("task:1000000", first.fence));
    bench.advance(MINUTE);
    a.fenced_by(&note("out of time"), mine());
    let second = take(&b);
    a.fenced_by(&note("taken again"), mine());
    let theirs = || guard(&resource, second.fence);
    let finishing = b.request(done(&second)).guarded_by([theirs()]);
    succeeds(b.send(finishing), "who finishes under its own guard");
    b.fenced_by(&note("finished"), theirs());
}

fn tasks_are_listed_by_queue_state_and_page(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let ids: Vec<TaskId> = a.must(&add(&vec![q(); 5])).tasks.iter().map(|task| task.task).collect();
    let other = added(&a, task("other"));
    let taken = take(&b);
    b.must(&done(&taken));
    take(&b);
    a.must(&cancel(ids[4]));
    let list = |list: ListTasks| -> Vec<TaskId> {
        must(bench, &list).tasks.into_iter().map(|task| task.task).collect()
    };
    let all = ListTasks::default;
    assert_eq!(list(all()), [ids[1], ids[2], ids[3], other], "what is open");
    assert_eq!(list(ListTasks { queue: Some("q".into()), ..all() }), ids[1..4]);
    let of = |states: &[TaskState]| ListTasks { states: states.to_vec(), ..all() };
    assert_eq!(list(of(&[TaskState::Cancelled, TaskState::Done])), [ids[0], ids[4]]);
    assert_eq!(list(of(&[TaskState::Running])), [ids[1]]);
    assert_eq!(list(of(&TaskState::ALL)).len(), 6);
    let session = Some(b.reference());
    assert_eq!(list(ListTasks { session: session.clone(), ..of(&TaskState::ALL) }), ids[..2]);
    assert_eq!(list(ListTasks { session, ..all() }), [ids[1]]);
    let page = must(bench, &ListTasks { limit: 2, ..all() });
    assert_eq!((page.tasks.len(), page.next), (2, Some(ids[2])));
    assert_eq!(list(ListTasks { after: page.next, limit: 2, ..all() }), [ids[3], other]);
    let nobody = cotenant_core::name::SessionRef("nobody".into());
    refuses(bench, &ListTasks { session: Some(nobody), ..all() }, Code::NotFound);
}

fn a_refused_claim_names_ready_tasks(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:1"]));
    let refused = b.refused(&claim(&["issue:1"]), Code::Claimed);
    assert!(!refused.details.contains_key("ready_tasks"), "there is none");
    let payload = Json::of(&"write tests");
    let id = added(&a, NewTask { payload, ..q() });
    let refused = b.refused(&claim(&["issue:1"]), Code::Claimed);
    assert_eq!(
        refused.details["ready_tasks"],
        json!([{"task": id, "queue": "q", "about": "write tests"}])
    );
    assert!(refused.hint.expect("a hint").contains("cotenant task next"));
}

fn any(items: &[&str]) -> cotenant_core::claim::Claim {
    cotenant_core::claim::Claim { any: true, ..claim(items) }
}

fn any_of_several_items_is_claimed(bench: &dyn Bench) {
    let agents: Vec<_> = (0..3).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let items = ["issue:1", "issue:2", "issue:3"];
    let got: Vec<String> = agents
        .iter()
        .map(|agent| {
            let claimed = agent.must(&any(&items)).items;
            assert_eq!(claimed.len(), 1, "one of them");
            claimed[0].item.clone()
        })
        .collect();
    assert_eq!(got, items, "the first that is free");
    let again = agents[1].must(&any(&["issue:1", "issue:2"])).items.remove(0);
    assert_eq!((&*again.item, again.already_held), ("issue:2", true));
}

fn any_of_none_free_names_all_who_have_them(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    a.must(&claim(&["issue:1"]));
    b.must(&claim(&["issue:2"]));
    let before = head_seq(bench);
    let refused = c.refused(&any(&["issue:1", "issue:2"]), Code::Claimed);
    assert_eq!(refused.details["holders"].as_array().map(Vec::len), Some(2));
    assert_eq!(head_seq(bench), before);
}

fn a_payload_and_a_result_come_back_byte_for_byte(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let exact = "{\"b\" : 1.0, \"a\":[ ],\"e\":\"\\u00e9\"}";
    let id = added(&a, NewTask { payload: text(exact), ..q() });
    let taken = take(&a);
    assert_eq!(taken.payload.text(), exact);
    a.must(&FinishTask { result: Some(text(exact)), ..done(&taken) });
    let view = view(bench, id);
    assert_eq!((view.payload.text(), view.result.expect("a result").text()), (exact, exact));
}

fn the_status_counts_tasks(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::new(bench, "a"), Agent::living(bench, "b", &process));
    let id = added(&a, q());
    a.must(&add(&[NewTask { needs: vec![id], ..q() }, q(), q()]));
    a.must(&add(&[NewTask { delay_ms: Some(HOUR), ..q() }, q()]));
    take(&b);
    a.must(&fail(&take(&a), FailureClass::Permanent));
    let counts = || must(bench, &ShowStatus::default()).tasks;
    let expected = TaskCounts { ready: 2, running: 1, blocked: 1, delayed: 1, failed: 0, dead: 1 };
    assert_eq!(counts(), expected);
    bench.kill(&process);
    must(bench, &Reap { session: b.reference(), force: false });
    assert_eq!(counts(), TaskCounts { running: 0, delayed: 2, ..expected });
}
