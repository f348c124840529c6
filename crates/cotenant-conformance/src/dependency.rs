//! Section 7.1 and 7.5: tasks that need others.

use cotenant_core::{
    Code,
    clock::{HOUR, MINUTE},
    id::TaskId,
    task::{
        FailureClass, NewTask, OnDepFail, RequeueTask, TASKS_MAX, TaskState, VISIBILITY_MS,
        view::{GraphEdge, GraphTasks, ShowTask, TaskGraph},
    },
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, count, head_seq, must, refuses},
    sample::{add, task},
    task::{added, cancel, done, fail, nothing, state, take, view},
};

cases! {
    q5_a_task_is_ready_when_all_that_it_needs_is_done,
    q5_tasks_of_one_request_can_need_each_other,
    q5_a_ring_of_dependencies_is_refused,
    q5_what_is_not_there_cannot_be_needed,
    q5_a_failure_blocks_cancels_or_is_ignored_as_the_task_says,
    q5_a_cancelled_task_takes_a_chain_with_it,
    q5_what_was_over_before_counts_when_a_task_is_added,
    q5_a_task_out_of_attempts_fails_those_that_need_it,
    q5_a_requeued_task_waits_for_what_it_needs,
    q5_a_requeued_need_opens_the_way_in_the_end,
    q5_a_delay_counts_from_the_beginning,
    q5_many_can_need_one_and_one_can_need_many,
    a_request_adds_up_to_1000_tasks,
    a_graph_shows_who_needs_whom,
}

fn q() -> NewTask {
    task("q")
}

fn needs(tasks: &[TaskId]) -> NewTask {
    NewTask { needs: tasks.to_vec(), ..q() }
}

fn with(on_dep_fail: OnDepFail, need: TaskId) -> NewTask {
    NewTask { on_dep_fail, ..needs(&[need]) }
}

fn q5_a_task_is_ready_when_all_that_it_needs_is_done(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [first, second] = [added(&a, q()), added(&a, q())];
    let last = added(&a, needs(&[first, second, first]));
    let shown = must(bench, &ShowTask { task: last });
    assert_eq!((shown.task.state, shown.task.needs), (TaskState::Blocked, vec![first, second]));
    assert_eq!(shown.waits_for, [first, second]);
    assert_eq!(must(bench, &ShowTask { task: first }).needed_by, [last]);
    let [one, two] = [take(&a), take(&a)];
    assert_eq!(nothing(&a).blocked, 1);
    assert_eq!(a.must(&done(&two)).unblocked, 0);
    assert_eq!(must(bench, &ShowTask { task: last }).waits_for, [first]);
    let before = head_seq(bench);
    assert_eq!(a.must(&done(&one)).unblocked, 1);
    assert_eq!(state(bench, last), TaskState::Ready, "in the same transaction");
    assert_eq!(head_seq(bench), before + 2);
    assert_eq!(take(&a).task, last);
}

fn q5_tasks_of_one_request_can_need_each_other(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let known = added(&a, q());
    let new = |places: &[u32]| NewTask { needs_new: places.to_vec(), ..q() };
    let both = NewTask { needs: vec![known], ..new(&[0, 2]) };
    let tasks = a.must(&add(&[new(&[2]), both, new(&[])])).tasks;
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.task).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "in the order of the request: {ids:?}");
    let states: Vec<TaskState> = tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Blocked, TaskState::Blocked, TaskState::Ready]);
    assert_eq!(view(bench, ids[1]).needs, [known, ids[0], ids[2]]);
    for expected in [known, ids[2], ids[0], ids[1]] {
        let taken = take(&a);
        assert_eq!(taken.task, expected);
        a.must(&done(&taken));
    }
}

fn q5_a_ring_of_dependencies_is_refused(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let new = |places: &[u32]| NewTask { needs_new: places.to_vec(), ..q() };
    let before = head_seq(bench);
    let refused = a.refused(&add(&[new(&[]), new(&[0, 3]), new(&[1]), new(&[2])]), Code::Cycle);
    let mut ring: Vec<u64> = refused.details["cycle"]
        .as_array()
        .expect("a ring")
        .iter()
        .filter_map(serde_json::Value::as_u64)
        .collect();
    ring.sort_unstable();
    assert_eq!(ring, [1, 2, 3]);
    let refused = a.refused(&add(&[new(&[0])]), Code::Cycle);
    assert_eq!(refused.details["cycle"], json!([0]));
    assert_eq!(head_seq(bench), before, "nothing was added");
}

fn q5_what_is_not_there_cannot_be_needed(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    let refused = a.refused(&add(&[q(), needs(&[TaskId(before + 1)])]), Code::NotFound);
    assert_eq!(refused.details["task"], json!(before + 1), "not even the one just being added");
    assert_eq!(head_seq(bench), before, "all or none");
}

fn q5_a_failure_blocks_cancels_or_is_ignored_as_the_task_says(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for cancelled in [false, true] {
        let need = added(&a, q());
        let [block, cancels, run] = [OnDepFail::Block, OnDepFail::Cancel, OnDepFail::Run]
            .map(|policy| added(&a, with(policy, need)));
        let taken = take(&a);
        if cancelled {
            assert_eq!(a.must(&cancel(need)).followed, 1);
        } else {
            a.must(&fail(&taken, FailureClass::Permanent));
        }
        assert_eq!(state(bench, block), TaskState::Blocked);
        assert_eq!(must(bench, &ShowTask { task: block }).waits_for, [need]);
        assert_eq!(state(bench, cancels), TaskState::Cancelled);
        assert!(view(bench, cancels).reason.is_some(), "and says why");
        assert_eq!(state(bench, run), TaskState::Ready);
        let last = take(&a);
        assert_eq!(last.task, run);
        a.must(&done(&last));
    }
}

fn q5_a_cancelled_task_takes_a_chain_with_it(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let first = added(&a, q());
    let mut chain = vec![first];
    for _ in 0..5 {
        chain.push(added(&a, with(OnDepFail::Cancel, chain[chain.len() - 1])));
    }
    let end = added(&a, with(OnDepFail::Run, chain[5]));
    assert_eq!(a.must(&cancel(first)).followed, 5);
    assert!(chain.iter().all(|task| state(bench, *task) == TaskState::Cancelled));
    assert_eq!(take(&a).task, end);
}

fn q5_what_was_over_before_counts_when_a_task_is_added(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [good, bad] = [added(&a, q()), added(&a, q())];
    a.must(&done(&take(&a)));
    a.must(&fail(&take(&a), FailureClass::Permanent));
    let of = |new: NewTask| a.must(&add(&[new])).tasks[0].state;
    assert_eq!(of(needs(&[good])), TaskState::Ready);
    assert_eq!(of(with(OnDepFail::Block, bad)), TaskState::Blocked);
    assert_eq!(of(with(OnDepFail::Run, bad)), TaskState::Ready);
    let chain = [
        with(OnDepFail::Cancel, bad),
        NewTask { needs_new: vec![0], on_dep_fail: OnDepFail::Cancel, ..q() },
        NewTask { needs_new: vec![1], on_dep_fail: OnDepFail::Run, ..q() },
    ];
    let states: Vec<TaskState> = a.must(&add(&chain)).tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Cancelled, TaskState::Cancelled, TaskState::Ready]);
}

fn q5_a_task_out_of_attempts_fails_those_that_need_it(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let need = added(&a, NewTask { max_attempts: 1, ..q() });
    let [cancels, run] =
        [OnDepFail::Cancel, OnDepFail::Run].map(|policy| added(&a, with(policy, need)));
    let taken = take(&a);
    bench.advance(VISIBILITY_MS);
    assert_eq!(take(&a).task, run, "its attempt ran out, which lets others run");
    assert_eq!(state(bench, cancels), TaskState::Cancelled);
    a.must(&done(&taken));
    assert_eq!(state(bench, cancels), TaskState::Cancelled, "what was called off stays so");
}

fn q5_a_requeued_task_waits_for_what_it_needs(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let need = added(&a, q());
    let waits = added(&a, with(OnDepFail::Cancel, need));
    a.must(&cancel(need));
    assert_eq!(state(bench, waits), TaskState::Cancelled);
    assert_eq!(a.must(&RequeueTask { task: waits }).state, TaskState::Blocked);
    assert_eq!(a.must(&RequeueTask { task: need }).state, TaskState::Ready);
    a.must(&done(&take(&a)));
    assert_eq!(take(&a).task, waits);
}

fn q5_a_requeued_need_opens_the_way_in_the_end(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let need = added(&a, q());
    let [block, run] =
        [OnDepFail::Block, OnDepFail::Run].map(|policy| added(&a, with(policy, need)));
    a.must(&fail(&take(&a), FailureClass::Permanent));
    a.must(&done(&take(&a)));
    a.must(&RequeueTask { task: need });
    assert_eq!((state(bench, block), state(bench, run)), (TaskState::Blocked, TaskState::Done));
    let again = take(&a);
    assert_eq!((again.task, a.must(&done(&again)).unblocked), (need, 1));
    assert_eq!(take(&a).task, block);
}

fn q5_a_delay_counts_from_the_beginning(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [early, late] = [added(&a, q()), added(&a, NewTask { delay_ms: Some(MINUTE), ..q() })];
    let waits = added(&a, NewTask { delay_ms: Some(HOUR), ..needs(&[early]) });
    let over = added(&a, NewTask { delay_ms: Some(MINUTE / 2), ..needs(&[late]) });
    assert_eq!(a.must(&done(&take(&a))).unblocked, 0);
    assert_eq!(state(bench, waits), TaskState::Delayed);
    bench.advance(MINUTE);
    assert_eq!(a.must(&done(&take(&a))).unblocked, 1);
    assert_eq!(take(&a).task, over, "its delay was over before");
    assert_eq!(nothing(&a).delayed, 1);
    bench.advance(HOUR);
    let given: Vec<TaskId> = (0..2).map(|_| take(&a).task).collect();
    assert!(given.contains(&waits), "and {over} ran out of time: {given:?}");
}

fn q5_many_can_need_one_and_one_can_need_many(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let root = added(&a, q());
    let leaves: Vec<TaskId> =
        a.must(&add(&vec![needs(&[root]); 50])).tasks.iter().map(|task| task.task).collect();
    let end = added(&a, needs(&leaves));
    assert_eq!(a.must(&done(&take(&a))).unblocked, 50);
    for leaf in &leaves[..49] {
        let taken = take(&a);
        assert_eq!((taken.task, a.must(&done(&taken)).unblocked), (*leaf, 0));
    }
    assert_eq!(a.must(&done(&take(&a))).unblocked, 1);
    assert_eq!((take(&a).task, count(bench, "task.ready")), (end, 51));
}

fn a_request_adds_up_to_1000_tasks(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let chain: Vec<NewTask> = (0..1_000u32)
        .map(|place| NewTask { needs_new: place.checked_sub(1).into_iter().collect(), ..q() })
        .collect();
    let tasks = a.must(&add(&chain)).tasks;
    assert_eq!(tasks.len(), TASKS_MAX);
    let ready = tasks.iter().filter(|task| task.state == TaskState::Ready).count();
    assert_eq!((ready, nothing_but(bench).blocked), (1, 999));
}

fn nothing_but(bench: &dyn Bench) -> cotenant_core::task::TaskCounts {
    must(bench, &cotenant_core::status::ShowStatus::default()).tasks
}

fn a_graph_shows_who_needs_whom(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let [root, alone] = [added(&a, q()), added(&a, task("other"))];
    let [left, right] = [added(&a, needs(&[root])), added(&a, needs(&[root]))];
    let end = added(&a, NewTask { needs: vec![left, right, alone], ..task("end") });
    let graph = |graph: GraphTasks| must(bench, &graph);
    let ids = |graph: &TaskGraph| graph.nodes.iter().map(|node| node.task).collect::<Vec<_>>();
    let edge = |task, needs| GraphEdge { task, needs };
    let whole = graph(GraphTasks::default());
    assert_eq!((ids(&whole), whole.more), (vec![root, alone, left, right, end], false));
    assert_eq!(
        whole.edges,
        [edge(left, root), edge(right, root), edge(end, alone), edge(end, left), edge(end, right)]
    );
    assert_eq!((whole.nodes[0].state, &*whole.nodes[0].about), (TaskState::Ready, "work"));
    let of_queue = graph(GraphTasks { queue: Some("end".into()), ..GraphTasks::default() });
    assert_eq!(ids(&of_queue), [alone, left, right, end], "and what they need");
    let around = graph(GraphTasks { task: Some(alone), ..GraphTasks::default() });
    assert_eq!(ids(&around), ids(&whole));
    a.must(&done(&take(&a)));
    assert_eq!(ids(&graph(GraphTasks { all: true, ..GraphTasks::default() })).len(), 5);
    let few = graph(GraphTasks { limit: 3, ..GraphTasks::default() });
    assert_eq!((few.nodes.len(), few.more), (3, true));
    let unknown = GraphTasks { task: Some(TaskId(1_000_000)), ..GraphTasks::default() };
    refuses(bench, &unknown, Code::NotFound);
}
