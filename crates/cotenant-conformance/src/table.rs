//! What section 1 promises of every mutation, tried on each line of the operation table.

use cotenant_core::{
    Code, Op,
    clock::MINUTE,
    data::{Change, Write},
    event::{Commit, Prune, Redact},
    id::{Fence, Seq, TaskId},
    instruction::{ApproveInstruction, RevokeInstruction},
    lease::Break,
    name::{Addressee, SessionRef},
    offer::{Draft, Offer},
    operation::{ActorRule, Effect, Entry, TABLE},
    session::{ChangeNative, Heartbeat, Reap, SignOn},
    store::Request,
    task::{CancelTask, ExtendTask, FailTask, FailureClass, FinishTask, ReleaseTask, RequeueTask},
};

use crate::{
    Bench,
    ask::{Agent, fails, head, head_seq, succeeds},
    sample::{
        accept, ack, acquire, add, admit, anonymous, arrive, claim, decline, delete, delete_scope,
        guard, inbox, instruct, json, metrics, next, note, number, offer_items, progress, put,
        release, remove_leftovers, renew, send, sign_off, sign_on, task, to, unclaim, update,
        withdraw, writes,
    },
};

cases! {
    s1_every_mutation_wants_the_actors_own_token,
    s0_a_mutation_without_a_session_is_an_argument_missing,
    s1_every_mutation_stops_at_a_fallen_guard,
    s4_every_mutation_can_be_repeated_under_its_id,
    s4_every_mutation_refuses_the_id_of_another_request,
    n2_every_mutation_is_refused_to_a_session_that_has_ended,
    n2_every_mutation_is_refused_to_a_session_that_was_lost,
}

/// Operations whose actor may be over, or does not matter.
const FOR_ANY_STATE: &[&str] = &["session.sign_on"];

fn mutations() -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().filter(|entry| entry.effect != Effect::Read)
}

/// An operation that would succeed in the name of this person, with all that it needs prepared.
fn ready(person: &Agent<'_>, operation: &str) -> Op {
    let own = person.name.as_str();
    let item = format!("other:{own}");
    match operation {
        "session.sign_on" => sign_on(&format!("{own}-child")).into(),
        "session.heartbeat" => Heartbeat {}.into(),
        "session.native" => ChangeNative { native_id: format!("native-{own}") }.into(),
        "session.sign_off" => sign_off().into(),
        "session.reap" => {
            let process = person.bench.process();
            let dead = Agent::living(person.bench, &format!("{own}-dead"), &process);
            person.bench.kill(&process);
            Reap { session: dead.reference(), force: false }.into()
        }
        "data.put" => put("s", own, "1").into(),
        "data.delete" => delete("s", own).into(),
        "scope.delete" => delete_scope(own).into(),
        "data.txn" => writes(vec![Write::Put(put("s", own, "1"))]).into(),
        "data.update" => update("s", own, Change::Add(1)).into(),
        "lease.acquire" => acquire(own).into(),
        "lease.renew" => renew(own, person.must(&acquire(own)).fence).into(),
        "lease.release" => release(own, person.must(&acquire(own)).fence).into(),
        "lease.admit" => admit(own, 1).into(),
        "lease.break" => {
            person.must(&acquire(own));
            Break { resource: own.into(), reason: "stuck".into() }.into()
        }
        "claim" => claim(&[&item]).into(),
        "unclaim" => {
            person.must(&claim(&[&item]));
            unclaim(&[&item]).into()
        }
        "event.append" => note(own).into(),
        "event.commit" => {
            Commit { consumer: own.into(), cursor: Some(head(person.bench).cursor) }.into()
        }
        "event.redact" => {
            Redact { seq: person.must(&note(own)).seq, reason: "private".into() }.into()
        }
        "event.prune" => Prune { before: Seq(1), force: false }.into(),
        "gc.remove" => remove_leftovers(30).into(),
        "task.add" => add(&[task(own)]).into(),
        "task.next" => {
            person.must(&add(&[task(own)]));
            next(own).into()
        }
        "task.extend" => {
            let (task, fence) = taken(person);
            ExtendTask { task, fence, visibility_ms: None }.into()
        }
        "task.done" => {
            let (task, fence) = taken(person);
            FinishTask { task, fence, result: None }.into()
        }
        "task.fail" => {
            let (task, fence) = taken(person);
            FailTask { task, fence, reason: "x".into(), class: FailureClass::Transient }.into()
        }
        "task.release" => {
            let (task, fence) = taken(person);
            ReleaseTask { task, fence }.into()
        }
        "task.cancel" => CancelTask { task: added(person), reason: None }.into(),
        "task.requeue" => {
            let task = added(person);
            person.must(&CancelTask { task, reason: None });
            RequeueTask { task }.into()
        }
        "progress.set" => progress(own, "testing", 50).into(),
        "handoff.offer" => offer_items(Vec::new(), Some(json("{}"))).into(),
        "handoff.accept" => accept(offered(person, Addressee::Everybody)).into(),
        "handoff.decline" => decline(offered(person, to(&person.id.0))).into(),
        "handoff.withdraw" => {
            withdraw(person.must(&offer_items(Vec::new(), Some(json("{}")))).offer).into()
        }
        "handoff.draft" => Draft::default().into(),
        "message.send" => send(own, "hello").into(),
        "message.inbox" => inbox().into(),
        "message.ack" => ack(&[person.must(&send(own, "hello")).message]).into(),
        "barrier.arrive" => arrive(own, 1).into(),
        "instruction.add" => instruct(own).into(),
        "instruction.approve" => {
            let proposed = Agent::new(person.bench, &format!("{own}-agent"));
            ApproveInstruction { id: number(proposed.must(&instruct(own)).id) }.into()
        }
        "instruction.revoke" => {
            RevokeInstruction { id: number(person.must(&instruct(own)).id), reason: None }.into()
        }
        "metrics.report" => metrics(1, &[("c", 1)], &[]).into(),
        _ => panic!("`{operation}` is new: say here what it needs to succeed"),
    }
}

/// A task in a queue of this person's own.
fn added(person: &Agent<'_>) -> TaskId {
    person.must(&add(&[task(&person.name)])).tasks[0].task
}

/// As [`added`], taken.
fn taken(person: &Agent<'_>) -> (TaskId, Fence) {
    added(person);
    let taken = person.must(&next(&person.name)).task.expect("a task is ready");
    (taken.task, taken.fence)
}

/// An offer that somebody else makes.
fn offered(person: &Agent<'_>, to: Addressee) -> Seq {
    let giver = Agent::new(person.bench, &format!("{}-giver", person.name));
    giver.must(&Offer { to, ..offer_items(Vec::new(), Some(json("{}"))) }).offer
}

/// Tries each of these operations and tells of all that fail.
fn each(entries: impl Iterator<Item = &'static Entry>, test: impl Fn(&Entry)) {
    let failures: Vec<String> =
        entries.filter_map(|entry| crate::caught(|| test(entry)).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Tries each of these mutations in the name of a person of its own.
fn each_ready<'a>(
    bench: &'a dyn Bench,
    entries: impl Iterator<Item = &'static Entry>,
    test: impl Fn(&Entry, &Agent<'a>, Op),
) {
    each(entries, |entry| {
        let person = Agent::human(bench, &format!("for-{}", entry.name));
        let op = ready(&person, entry.name);
        test(entry, &person, op);
    });
}

fn s1_every_mutation_wants_the_actors_own_token(bench: &dyn Bench) {
    let other = Agent::new(bench, "other");
    each_ready(bench, mutations(), |entry, person, op| {
        let before = head_seq(bench);
        let wrong = guard("nobody", Fence(1));
        let request = Request::new(op.clone()).by(person.impostor()).guarded_by([wrong]);
        fails(bench.store().one(request), Code::Unauthenticated, entry.name);
        let mut stolen = person.actor();
        stolen.token_digest.clone_from(&other.digest);
        let request = Request::new(op.clone()).by(stolen);
        fails(bench.store().one(request), Code::Unauthenticated, entry.name);
        let mut unknown = person.actor();
        unknown.session = SessionRef("00000000-0000-7000-8000-000000000000".into());
        let request = Request::new(op).by(unknown);
        fails(bench.store().one(request), Code::Unauthenticated, entry.name);
        assert_eq!(head_seq(bench), before, "{} had an effect", entry.name);
    });
}

fn s0_a_mutation_without_a_session_is_an_argument_missing(bench: &dyn Bench) {
    let entries = mutations().filter(|entry| entry.actor == ActorRule::Required);
    each_ready(bench, entries, |entry, _, op| {
        let before = head_seq(bench);
        fails(bench.store().one(Request::new(op)), Code::Invalid, entry.name);
        assert_eq!(head_seq(bench), before, "{} had an effect", entry.name);
    });
}

fn s1_every_mutation_stops_at_a_fallen_guard(bench: &dyn Bench) {
    let entries = mutations().filter(|entry| !FOR_ANY_STATE.contains(&entry.name));
    each_ready(bench, entries, |entry, person, op| {
        let fence = person.must(&acquire("held")).fence;
        let before = head_seq(bench);
        let wrong = guard("held", Fence(fence.0 - 1));
        let request = person.request(op.clone()).guarded_by([wrong]);
        fails(person.send(request), Code::Fenced, entry.name);
        assert_eq!(head_seq(bench), before, "{} had an effect", entry.name);
        let right = guard("held", fence);
        succeeds(person.send(person.request(op).guarded_by([right])), entry.name);
        if entry.name != "session.sign_off" {
            person.must(&release("held", fence));
        }
    });
}

fn s4_every_mutation_can_be_repeated_under_its_id(bench: &dyn Bench) {
    each_ready(bench, mutations(), |entry, person, op| {
        let request = || person.request(op.clone()).id("once");
        let first = succeeds(person.send(request()), entry.name);
        let before = head_seq(bench);
        let again = succeeds(person.send(request()), entry.name);
        assert!(!first.replayed && again.replayed, "{} must be replayed", entry.name);
        assert_eq!(first.data.get(), again.data.get(), "{}", entry.name);
        assert_eq!(head_seq(bench), before, "{} had a second effect", entry.name);
    });
    let sign_on = anonymous();
    let unnamed = || Request::new(sign_on.clone()).id("sign-on-once");
    let first = succeeds(bench.store().one(unnamed()), "signing on");
    let again = succeeds(bench.store().one(unnamed()), "signing on again");
    assert_eq!(first.data.get(), again.data.get(), "without an actor, too, there is one effect");
}

fn s4_every_mutation_refuses_the_id_of_another_request(bench: &dyn Bench) {
    each_ready(bench, mutations(), |entry, person, op| {
        succeeds(person.send(person.request(note("before")).id("used")), "a note");
        let before = head_seq(bench);
        fails(person.send(person.request(op).id("used")), Code::IdempotencyMismatch, entry.name);
        assert_eq!(head_seq(bench), before, "{} had an effect", entry.name);
    });
}

fn n2_every_mutation_is_refused_to_a_session_that_has_ended(bench: &dyn Bench) {
    let entries = mutations().filter(|entry| !FOR_ANY_STATE.contains(&entry.name));
    each_ready(bench, entries, |entry, person, op| {
        person.must(&sign_off());
        if entry.name == "session.sign_off" {
            assert!(person.must(&sign_off()).already, "signing off again is no error");
            return;
        }
        let before = head_seq(bench);
        fails(person.send(person.request(op)), Code::SessionEnded, entry.name);
        assert_eq!(head_seq(bench), before, "{} had an effect", entry.name);
    });
}

fn n2_every_mutation_is_refused_to_a_session_that_was_lost(bench: &dyn Bench) {
    let entries = mutations().filter(|entry| !FOR_ANY_STATE.contains(&entry.name));
    each(entries, |entry| {
        let name = format!("for-{}", entry.name);
        let sign_on = SignOn { kind: "human".into(), ttl_ms: Some(10 * MINUTE), ..sign_on(&name) };
        let person = Agent::on(bench, &sign_on);
        let op = ready(&person, entry.name);
        bench.advance(11 * MINUTE);
        fails(person.send(person.request(op.clone())), Code::SessionLost, entry.name);
        let before = head_seq(bench);
        fails(person.send(person.request(op)), Code::SessionLost, entry.name);
        assert_eq!(head_seq(bench), before, "{} had an effect", entry.name);
    });
}
