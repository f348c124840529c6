//! Section 8: tasks and paths that are handed over, and who is told of an offer.

use cotenant_core::{
    Code,
    claim::{AUTOMATIC_MAX, Claim, Holding, HoldingState, Item, Mode, Unclaim},
    clock::{HOUR, MINUTE, SECOND},
    data::Put,
    id::{Seq, TaskId},
    lease::{Acquire, LEASES_MAX, LOCK_DELAY_MS, ListLeases},
    name::Addressee,
    offer::{AcceptedOffer, Offer, OfferItem},
    session::SignOn,
    status::ShowStatus,
    task::{ExtendTask, FailureClass, NewTask, TakenTask, TaskState, VISIBILITY_MS},
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, count, granted, head_seq, must, succeeds},
    claim::fill,
    sample::{
        accept, acquire, arrive, claim, claim_items, edit, guard, item, next, offer, path, put,
        release as release_lease, sign_off, sign_on, task as in_queue, to, unclaim, who, withdraw,
    },
    task::{added, cancel, done, extend, fail, nothing, q, release, state, take, view},
};

cases! {
    h6_a_running_task_goes_on_in_other_hands,
    h6_what_is_left_of_its_time_moves_with_a_task,
    h6_a_task_is_offered_by_who_works_on_it,
    h7_what_its_giver_gave_back_begins_anew,
    h7_what_was_lost_with_its_giver_is_the_acceptors_at_once,
    h7_a_task_that_others_run_or_that_is_over_does_not_move,
    h7_an_attempt_too_many_is_not_made,
    h8_a_path_moves_with_its_tree,
    h9_a_sign_off_names_the_offers_that_stand,
    h9_who_claims_what_is_offered_is_told,
    h10_what_the_giver_holds_moves_as_it_is_now,
    h10_what_was_given_up_moves_only_beside_others,
    h10_what_cools_down_is_not_granted_beside_the_acceptor,
    h10_a_directory_and_its_files_do_not_part,
    h11_what_the_acceptor_holds_is_not_weakened,
    h12_an_acceptor_is_refused_for_what_it_would_add,
    a_draft_names_the_tasks_of_its_session,
    the_status_shows_offers_and_barriers_to_who_asks,
}

fn of_task(id: TaskId) -> Offer {
    Offer { items: vec![OfferItem::Task(id)], ..offer(&[]) }
}

/// The one task that moved.
fn moved(accepted: &AcceptedOffer) -> &TakenTask {
    assert!(accepted.not_moved.is_empty(), "{:?}", accepted.not_moved);
    assert_eq!(accepted.items.len(), 1, "{:?}", accepted.items);
    let moved = &accepted.items[0];
    let task = moved.task.as_ref().expect("a task");
    assert_eq!((&moved.item, moved.fence), (&moved.resource, task.fence));
    assert_eq!(moved.item, format!("task:{}", task.task));
    task
}

/// How the one task stands that did not move, and who runs it.
fn left(accepted: &AcceptedOffer) -> (Option<TaskState>, Vec<&str>) {
    assert!(accepted.items.is_empty(), "{:?}", accepted.items);
    assert_eq!(accepted.not_moved.len(), 1, "{:?}", accepted.not_moved);
    let left = &accepted.not_moved[0];
    (left.state, left.holders.iter().map(|holder| holder.name.as_str()).collect())
}

fn h6_a_running_task_goes_on_in_other_hands(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let payload = cotenant_core::json::Json::of(&"port the parser");
    let id = added(&a, NewTask { payload, ..q() });
    let given = take(&a);
    let number = a.must(&of_task(id)).offer;
    assert_eq!(view(bench, id).name.as_deref(), Some("a"), "an offer moves nothing");
    a.must(&extend(&given));
    let accepted = b.must(&accept(number));
    let taken = moved(&accepted);
    assert!(taken.fence > given.fence);
    assert_eq!((taken.task, taken.attempt, taken.max_attempts), (id, given.attempt, 3));
    assert_eq!((taken.payload.text(), &*taken.creator), ("\"port the parser\"", "a"));
    let seen = view(bench, id);
    assert_eq!((seen.state, seen.attempts), (TaskState::Running, 1), "no attempt is counted");
    assert_eq!((seen.name.as_deref(), seen.fence), (Some("b"), Some(taken.fence)));
    // The giver has nothing to say any more.
    let before = head_seq(bench);
    let stale = a.refused(&done(&given), Code::Fenced);
    assert_eq!(stale.details["holder"], "b");
    a.refused(&fail(&given, FailureClass::Transient), Code::Fenced);
    a.refused(&release(&given), Code::Fenced);
    a.refused(&extend(&given), Code::Fenced);
    a.fenced_by(&put("s", "k", "1"), guard(&accepted.items[0].resource, given.fence));
    assert_eq!(head_seq(bench), before, "nothing of it has an effect");
    granted::<Put, _>(
        b.guarded(&put("s", "k", "1"), guard(&accepted.items[0].resource, taken.fence)),
    );
    b.must(&done(taken));
    assert_eq!(state(bench, id), TaskState::Done);
    assert_eq!((count(bench, "task.taken"), count(bench, "task.moved")), (1, 1));
}

fn h6_what_is_left_of_its_time_moves_with_a_task(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    // A few seconds would be of no use.
    let id = added(&a, q());
    take(&a);
    bench.advance(VISIBILITY_MS - MINUTE);
    let number = a.must(&of_task(id)).offer;
    let accepted = b.must(&accept(number));
    assert_eq!(moved(&accepted).visible_for_ms, VISIBILITY_MS);
    bench.advance(VISIBILITY_MS - MINUTE);
    assert_eq!(state(bench, id), TaskState::Running);
    bench.advance(2 * MINUTE);
    assert_eq!(state(bench, id), TaskState::Ready, "time goes on in other hands");
    // Whoever asked for hours had a reason.
    let id = added(&a, in_queue("long"));
    let given = a.must(&next("long")).task.expect("a task");
    a.must(&ExtendTask { visibility_ms: Some(3 * HOUR), ..extend(&given) });
    bench.advance(HOUR);
    let number = a.must(&of_task(id)).offer;
    let accepted = b.must(&accept(number));
    let left = moved(&accepted).visible_for_ms;
    assert!(left <= 2 * HOUR && left > 2 * HOUR - MINUTE, "{left}");
}

fn h6_a_task_is_offered_by_who_works_on_it(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let id = added(&a, q());
    let unknown = a.refused(&of_task(TaskId(id.0 + 1_000)), Code::NotOwner);
    assert_eq!(unknown.details["item"], format!("task:{}", id.0 + 1_000));
    let waiting = a.refused(&of_task(id), Code::NotOwner);
    assert_eq!(waiting.details["state"], "ready");
    let given = take(&b);
    let refused = a.refused(&of_task(id), Code::NotOwner);
    assert_eq!(
        (&refused.details["state"], &refused.details["holders"][0]["name"]),
        (&json!("running"), &json!("b"))
    );
    assert!(refused.hint.is_some_and(|hint| hint.contains("cotenant task list --by NAME")));
    let number = b.must(&of_task(id)).offer;
    let again = b.refused(&of_task(id), Code::Offered);
    assert_eq!(again.details["offer"], json!(number));
    b.must(&done(&given));
    b.refused(&of_task(id), Code::NotOwner);
    // Nor what has run out of time.
    let id = added(&a, q());
    take(&a);
    bench.advance(VISIBILITY_MS);
    a.refused(&of_task(id), Code::NotOwner);
    assert_eq!(state(bench, id), TaskState::Ready);
}

fn h7_what_its_giver_gave_back_begins_anew(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let ids = [added(&a, q()), added(&a, q()), added(&a, q())];
    let given = [take(&a), take(&a), take(&a)];
    let numbers = ids.map(|id| a.must(&of_task(id)).offer);
    // Given back: as if it had not been tried. Out of time: that counts. Signed off: as given back.
    a.must(&release(&given[0]));
    let accepted = b.must(&accept(numbers[0]));
    assert_eq!((moved(&accepted).task, moved(&accepted).attempt), (ids[0], 1));
    assert!(moved(&accepted).fence > given[0].fence);
    bench.advance(VISIBILITY_MS);
    let accepted = b.must(&accept(numbers[1]));
    assert_eq!((moved(&accepted).task, moved(&accepted).attempt), (ids[1], 2));
    a.refused(&done(&given[1]), Code::Fenced);
    let id = added(&a, in_queue("other"));
    let last = a.must(&next("other")).task.expect("a task");
    let number = a.must(&of_task(id)).offer;
    a.must(&sign_off());
    assert_eq!(state(bench, id), TaskState::Ready);
    let accepted = b.must(&accept(number));
    assert_eq!((moved(&accepted).attempt, view(bench, id).name.as_deref()), (1, Some("b")));
    assert!(moved(&accepted).fence > last.fence);
    b.must(&done(moved(&accepted)));
}

fn h7_what_was_lost_with_its_giver_is_the_acceptors_at_once(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::living(bench, "a", &process), Agent::new(bench, "b"));
    let id = added(&b, q());
    let given = take(&a);
    let number = a.must(&of_task(id)).offer;
    bench.kill(&process);
    // Its queue gives it to nobody yet, whoever accepts has it.
    assert_eq!(nothing(&b).ready, 0);
    let accepted = b.must(&accept(number));
    let taken = moved(&accepted);
    assert_eq!((taken.task, taken.attempt), (id, 2), "the attempt that was lost counts");
    assert!(taken.fence > given.fence);
    let seen = view(bench, id);
    assert_eq!(
        (seen.state, seen.name.as_deref(), seen.rescues),
        (TaskState::Running, Some("b"), 1)
    );
    bench.advance(LOCK_DELAY_MS * 2);
    assert_eq!(nothing(&b).ready, 0, "no timer gives it to a second one");
    b.must(&done(taken));
}

fn h7_a_task_that_others_run_or_that_is_over_does_not_move(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    let offered = || {
        let id = added(&a, q());
        let given = take(&a);
        (id, given, a.must(&of_task(id)).offer)
    };
    let (id, given, number) = offered();
    a.must(&release(&given));
    let theirs = take(&c);
    let accepted = b.must(&accept(number));
    assert_eq!(left(&accepted), (Some(TaskState::Running), vec!["c"]));
    assert_eq!(accepted.not_moved[0].item, format!("task:{id}"));
    assert_eq!(accepted.not_moved[0].holders[0].fence, theirs.fence);
    c.must(&done(&theirs));
    let (_, given, number) = offered();
    a.must(&done(&given));
    assert_eq!(left(&b.must(&accept(number))), (Some(TaskState::Done), vec![]));
    let (id, _, number) = offered();
    a.must(&cancel(id));
    assert_eq!(left(&b.must(&accept(number))), (Some(TaskState::Cancelled), vec![]));
    let (_, given, number) = offered();
    a.must(&fail(&given, FailureClass::Transient));
    assert_eq!(left(&b.must(&accept(number))), (Some(TaskState::Failed), vec![]));
    // What the acceptor took from the queue is its own, as before.
    let (id, given, number) = offered();
    a.must(&release(&given));
    let own = take(&b);
    assert_eq!(own.task, id);
    let accepted = b.must(&accept(number));
    assert_eq!(moved(&accepted).attempt, own.attempt);
    b.must(&done(moved(&accepted)));
}

fn h7_an_attempt_too_many_is_not_made(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::living(bench, "a", &process), Agent::new(bench, "b"));
    let id = added(&b, NewTask { max_attempts: 1, ..q() });
    take(&a);
    let number = a.must(&of_task(id)).offer;
    bench.kill(&process);
    assert_eq!(left(&b.must(&accept(number))), (Some(TaskState::Dead), vec![]));
    assert_eq!(view(bench, id).attempts, 1);
    // While its giver lives, the only attempt goes on.
    let c = Agent::new(bench, "c");
    let id = added(&b, NewTask { max_attempts: 1, ..q() });
    take(&c);
    let number = c.must(&of_task(id)).offer;
    let accepted = b.must(&accept(number));
    assert_eq!(moved(&accepted).attempt, 1);
    b.must(&done(moved(&accepted)));
}

fn h8_a_path_moves_with_its_tree(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    let of_path = |item: Item| Offer { items: vec![OfferItem::Claim(item)], ..offer(&[]) };
    let feature = || path("t1+feat", "src");
    a.must(&claim_items(vec![feature()]));
    let number = a.must(&of_path(feature())).offer;
    // The same path of another tree is another item.
    a.refused(&of_path(path("t1", "src")), Code::NotOwner);
    a.must(&unclaim_path(feature()));
    c.must(&claim_items(vec![path("t1", "src")]));
    let accepted = b.must(&accept(number));
    assert!(accepted.not_moved.is_empty(), "in another tree nobody is in the way");
    assert_eq!(accepted.items[0].item, "path:src");
    assert_eq!(accepted.items[0].resource, "claim/path/t1+feat/src");
    let holdings = must(bench, &who("path:src")).holdings;
    let mut held: Vec<_> = holdings
        .iter()
        .filter(|holding| holding.state == HoldingState::Held)
        .map(|holding| (holding.tree.as_deref().unwrap_or_default(), holding.name.as_str()))
        .collect();
    held.sort_unstable();
    assert_eq!(held, [("t1", "c"), ("t1+feat", "b")]);
    c.refused(&claim_items(vec![path("t1+feat", "src/a.rs")]), Code::Claimed);
}

fn unclaim_path(item: Item) -> cotenant_core::claim::Unclaim {
    cotenant_core::claim::Unclaim { items: vec![item], ..unclaim(&[]) }
}

fn h9_a_sign_off_names_the_offers_that_stand(bench: &dyn Bench) {
    let [a, b, c] = ["a", "b", "c"].map(|name| Agent::new(bench, name));
    a.must(&claim(&["issue:1", "issue:2", "issue:3"]));
    let numbers: Vec<Seq> =
        ["issue:1", "issue:2", "issue:3"].map(|item| a.must(&offer(&[item])).offer).to_vec();
    b.must(&accept(numbers[1]));
    assert_eq!(a.must(&sign_off()).offers, [numbers[0], numbers[2]]);
    assert_eq!(b.must(&sign_off()).offers, []);
    let number = c.must(&Offer { ttl_ms: Some(MINUTE), ..offer_word() }).offer;
    bench.advance(MINUTE);
    assert_eq!(c.must(&sign_off()).offers, [], "offer {number} has expired");
}

fn offer_word() -> Offer {
    Offer { payload: Some(crate::sample::json("{}")), ..offer(&[]) }
}

fn h9_who_claims_what_is_offered_is_told(bench: &dyn Bench) {
    let process = bench.process();
    let a = Agent::living(bench, "a", &process);
    let labels = vec!["tester".to_owned()];
    let tester = Agent::on(bench, &SignOn { labels, ..sign_on("t") });
    let b = Agent::new(bench, "b");
    let warned = |agent: &Agent<'_>, claim: Claim| agent.must(&claim).warnings;
    a.must(&claim_items(vec![item("issue:1"), path("t1", "src/a"), item("issue:2")]));
    let label = Addressee::Label("tester".into());
    let number = a.must(&Offer { to: label, ..offer(&["issue:1"]) }).offer;
    let items = vec![OfferItem::Claim(path("t1", "src/a"))];
    let paths = a.must(&Offer { items, ..offer(&[]) }).offer;
    assert!(warned(&a, claim(&["issue:1"])).is_empty(), "whoever has it knows");
    a.must(&sign_off());
    assert!(warned(&tester, claim(&["issue:2"])).is_empty(), "nobody offers it");
    let told = warned(&tester, claim(&["issue:1"]));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("handoff accept {number}")), "{told:?}");
    assert!(warned(&tester, claim(&["issue:1"])).is_empty(), "once");
    tester.must(&unclaim(&["issue:1"]));
    let told = warned(&b, claim(&["issue:1"])).join(" ");
    assert!(told.contains(&format!("offer {number} of `a`, for `label:tester`")), "{told}");
    let told = warned(&b, claim_items(vec![path("t1", "src")])).join(" ");
    assert!(told.contains(&format!("handoff accept {paths}")), "{told}");
    b.must(&unclaim_path(path("t1", "src")));
    assert!(warned(&b, claim_items(vec![path("t2", "src")])).is_empty(), "another tree");
    let edit = Claim { automatic: true, ..claim_items(vec![path("t1", "src/a/b.rs")]) };
    assert!(warned(&b, edit).is_empty(), "an edit is no decision");
    b.must(&sign_off());
    bench.advance(25 * HOUR);
    let late = Agent::new(bench, "late");
    assert!(warned(&late, claim(&["issue:1"])).is_empty(), "it has expired");
}

/// The grants of a lease.
fn grants(bench: &dyn Bench, lease: &str) -> Vec<Holding> {
    let listed = must(bench, &ListLeases { pattern: Some(lease.into()) }).holdings.into_iter();
    listed.filter(|holding| holding.state == HoldingState::Held).collect()
}

/// Who holds a lease.
fn holders_of(bench: &dyn Bench, lease: &str) -> Vec<String> {
    let mut names: Vec<String> = grants(bench, lease).into_iter().map(|it| it.name).collect();
    names.sort_unstable();
    names
}

/// What a session has claimed of an item.
fn claimed(bench: &dyn Bench, item: &str, name: &str) -> Holding {
    let holdings = must(bench, &who(item)).holdings;
    let mut own = holdings.into_iter().filter(|it| it.name == name);
    own.next().expect("a claim of it")
}

/// Insists on how long a grant goes on, but for what the case itself took.
#[track_caller]
fn lasts(held: &Holding, wanted_ms: u64) {
    let left = held.expires_in_ms.expect("an end");
    assert!(left <= wanted_ms && left + MINUTE > wanted_ms, "it ends in {left} ms: {held:?}");
}

/// Which items did not move, and who was in the way.
fn kept_from(accepted: &AcceptedOffer) -> Vec<(&str, Vec<&str>)> {
    let left = accepted.not_moved.iter();
    left.map(|it| (&*it.item, it.holders.iter().map(|holder| &*holder.name).collect())).collect()
}

fn slots(resource: &str, slots: u32) -> Acquire {
    Acquire { slots: Some(slots), ..acquire(resource) }
}

fn h10_what_the_giver_holds_moves_as_it_is_now(bench: &dyn Bench) {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| Agent::new(bench, name));
    // For advice instead of for itself alone.
    a.must(&claim(&["issue:1"]));
    let number = a.must(&offer(&["issue:1"])).offer;
    a.must(&Claim { mode: Mode::Advisory, ..claim(&["issue:1"]) });
    b.must(&claim(&["issue:1"]));
    let accepted = c.must(&accept(number));
    assert!(accepted.not_moved.is_empty(), "an advisory claim is in nobody's way");
    assert_eq!(claimed(bench, "issue:1", "c").mode, Mode::Advisory);
    assert_eq!(claimed(bench, "issue:1", "b").mode, Mode::Exclusive);
    // With more slots, a note and a longer life.
    let fence = a.must(&acquire("gpu")).fence;
    let number = a.must(&offer(&["lease:gpu"])).offer;
    a.must(&release_lease("gpu", fence));
    a.must(&Acquire { ttl_ms: 10 * HOUR, note: Some("again".into()), ..slots("gpu", 2) });
    b.must(&slots("gpu", 2));
    let accepted = c.must(&accept(number));
    assert_eq!((accepted.items.len(), accepted.not_moved.len()), (1, 0));
    assert_eq!(holders_of(bench, "gpu"), ["b", "c"]);
    d.refused(&slots("gpu", 2), Code::Held);
    d.refused(&acquire("gpu"), Code::SlotsMismatch);
    let held = grants(bench, "gpu");
    let moved = held.iter().find(|it| it.name == "c").expect("a lease");
    assert_eq!(moved.note.as_deref(), Some("again"));
    lasts(moved, 10 * HOUR);
    // Extended after it was offered.
    a.must(&Claim { ttl_ms: Some(30 * SECOND), ..claim(&["issue:2"]) });
    let number = a.must(&offer(&["issue:2"])).offer;
    a.must(&Claim { ttl_ms: Some(10 * HOUR), ..claim(&["issue:2"]) });
    c.must(&accept(number));
    lasts(&claimed(bench, "issue:2", "c"), 10 * HOUR);
}

fn h10_what_was_given_up_moves_only_beside_others(bench: &dyn Bench) {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| Agent::new(bench, name));
    let given_up = || {
        let fence = a.must(&slots("gpu", 2)).fence;
        let number = a.must(&offer(&["lease:gpu"])).offer;
        a.must(&release_lease("gpu", fence));
        number
    };
    // Others agreed on one slot meanwhile.
    let number = given_up();
    let alone = b.must(&acquire("gpu")).fence;
    let accepted = c.must(&accept(number));
    assert_eq!(kept_from(&accepted), [("lease:gpu", vec!["b"])], "one slot is no place for two");
    assert_eq!(holders_of(bench, "gpu"), ["b"]);
    b.must(&release_lease("gpu", alone));
    // All slots are taken.
    let number = given_up();
    let first = b.must(&slots("gpu", 2)).fence;
    let second = d.must(&slots("gpu", 2)).fence;
    let accepted = c.must(&accept(number));
    assert_eq!(accepted.not_moved[0].holders.len(), 2);
    b.must(&release_lease("gpu", first));
    d.must(&release_lease("gpu", second));
    // One is free.
    let number = given_up();
    b.must(&slots("gpu", 2));
    let accepted = c.must(&accept(number));
    assert_eq!((accepted.items.len(), holders_of(bench, "gpu").len()), (1, 2));
    d.refused(&slots("gpu", 2), Code::Held);
    // What was exclusive does not become so beside an exclusive claim of somebody else.
    a.must(&claim(&["issue:1"]));
    let number = a.must(&offer(&["issue:1"])).offer;
    a.must(&unclaim(&["issue:1"]));
    b.must(&claim(&["issue:1"]));
    c.must(&Claim { mode: Mode::Advisory, ..claim(&["issue:1"]) });
    let accepted = c.must(&accept(number));
    assert_eq!(kept_from(&accepted), [("issue:1", vec!["b"])]);
    assert_eq!(claimed(bench, "issue:1", "c").mode, Mode::Advisory);
}

fn h10_what_cools_down_is_not_granted_beside_the_acceptor(bench: &dyn Bench) {
    let process = bench.process();
    let a = Agent::living(bench, "a", &process);
    let [b, c] = ["b", "c"].map(|name| Agent::new(bench, name));
    a.must(&acquire("gpu"));
    let number = a.must(&offer(&["lease:gpu"])).offer;
    bench.kill(&process);
    b.refused(&slots("gpu", 2), Code::Cooling);
    assert!(c.must(&accept(number)).not_moved.is_empty());
    assert_eq!(holders_of(bench, "gpu"), ["c"]);
}

fn h10_a_directory_and_its_files_do_not_part(bench: &dyn Bench) {
    let [a, b] = ["a", "b"].map(|name| Agent::new(bench, name));
    let claims = |names: &[&str]| -> Vec<Item> { names.iter().map(|it| path("t1", it)).collect() };
    let of = |names: &[&str]| {
        let items = claims(names).into_iter().map(OfferItem::Claim).collect();
        a.must(&Offer { items, ..offer(&[]) }).offer
    };
    a.must(&claim_items(claims(&["src", "src/a", "src/b"])));
    let accepted = b.must(&accept(of(&["src/a"])));
    assert_eq!(kept_from(&accepted), [("path:src/a", vec!["a"])], "its directory stays");
    // A file that stays keeps the directory, and that the other file.
    let accepted = b.must(&accept(of(&["src/a", "src"])));
    assert_eq!(kept_from(&accepted), [("path:src/a", vec!["a"]), ("path:src", vec!["a"])]);
    a.must(&unclaim_path(path("t1", "src/b")));
    for names in [["src/a", "src"], ["src", "src/a"]] {
        let accepted = b.must(&accept(of(&names)));
        assert_eq!((accepted.items.len(), accepted.not_moved.len()), (2, 0));
        a.refused(&claim_items(claims(&["src/c"])), Code::Claimed);
        b.must(&Unclaim { items: claims(&names), ..unclaim(&[]) });
        a.must(&claim_items(claims(&names)));
    }
}

fn h11_what_the_acceptor_holds_is_not_weakened(bench: &dyn Bench) {
    let [a, c, d] = ["a", "c", "d"].map(|name| Agent::new(bench, name));
    let brief = || Claim { ttl_ms: Some(30 * SECOND), ..claim(&["issue:1"]) };
    a.must(&brief());
    let number = a.must(&offer(&["issue:1"])).offer;
    a.must(&unclaim(&["issue:1"]));
    let intent = Some("mine".to_owned());
    c.must(&Claim { ttl_ms: Some(10 * HOUR), intent, ..claim(&["issue:1"]) });
    bench.advance(HOUR);
    c.must(&accept(number));
    let held = claimed(bench, "issue:1", "c");
    lasts(&held, 9 * HOUR);
    assert_eq!(held.note.as_deref(), Some("mine"));
    // As long as its session lives.
    let file = || vec![path("t1", "f")];
    a.must(&Claim { mode: Mode::Advisory, automatic: true, ..claim_items(file()) });
    let items = file().into_iter().map(OfferItem::Claim).collect();
    let number = a.must(&Offer { items, ..offer(&[]) }).offer;
    c.must(&claim_items(file()));
    c.must(&accept(number));
    let held = claimed(bench, "path:f", "c");
    assert_eq!((held.mode, held.automatic, held.expires_in_ms), (Mode::Exclusive, false, None));
    // Of two slots one becomes free, whichever has the later end.
    for (name, given, own) in [("r", MINUTE, 2 * HOUR), ("s", 2 * HOUR, MINUTE)] {
        a.must(&Acquire { ttl_ms: given, ..slots(name, 2) });
        c.must(&Acquire { ttl_ms: own, ..slots(name, 2) });
        let number = a.must(&offer(&[&format!("lease:{name}")])).offer;
        c.must(&accept(number));
        let held = grants(bench, name);
        assert_eq!(held.len(), 1, "{held:?}");
        lasts(&held[0], 2 * HOUR);
        d.must(&slots(name, 2));
        a.refused(&slots(name, 2), Code::Held);
    }
}

fn h12_an_acceptor_is_refused_for_what_it_would_add(bench: &dyn Bench) {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| Agent::new(bench, name));
    let of = |items: Vec<OfferItem>| a.must(&Offer { items, ..offer(&[]) }).offer;
    // Files that it edits.
    fill(&c, true, AUTOMATIC_MAX);
    a.must(&edit("one-more"));
    let number = of(edit("one-more").items.into_iter().map(OfferItem::Claim).collect());
    let error = c.refused(&accept(number), Code::Quota);
    assert_eq!(error.details["limit"], json!(AUTOMATIC_MAX));
    let known = || vec![path("t1", "f0")];
    a.must(&Claim { automatic: true, mode: Mode::Advisory, ..claim_items(known()) });
    let number = of(known().into_iter().map(OfferItem::Claim).collect());
    assert_eq!(c.must(&accept(number)).items.len(), 1, "it has that one already");
    // Leases.
    let mut requests = vec![d.request(slots("shared", 2))];
    requests.extend((1..LEASES_MAX).map(|n| d.request(acquire(&format!("r{n}")))));
    for outcome in bench.store().submit(requests) {
        succeeds(outcome, "a lease within the quota");
    }
    a.must(&slots("shared", 2));
    let gone = a.must(&acquire("gone")).fence;
    let number = a.must(&offer(&["lease:shared", "lease:gone"])).offer;
    a.must(&release_lease("gone", gone));
    b.must(&acquire("gone"));
    let accepted = d.must(&accept(number));
    assert_eq!((accepted.items.len(), kept_from(&accepted)), (1, vec![("lease:gone", vec!["b"])]));
    a.must(&acquire("one-more"));
    let number = a.must(&offer(&["lease:one-more"])).offer;
    d.refused(&accept(number), Code::Quota);
    a.must(&withdraw(number));
    d.refused(&accept(number), Code::Gone);
}

fn a_draft_names_the_tasks_of_its_session(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&claim(&["issue:1"]));
    let id = added(&a, q());
    added(&a, in_queue("other"));
    let given = take(&a);
    let holds = || {
        let draft = a.must(&cotenant_core::offer::Draft::default()).payload;
        draft.value().expect("JSON")["holds"].clone()
    };
    assert_eq!(holds(), json!(["issue:1", format!("task:{id}")]));
    a.must(&done(&given));
    assert_eq!(holds(), json!(["issue:1"]));
}

fn the_status_shows_offers_and_barriers_to_who_asks(bench: &dyn Bench) {
    let [a, b, c] = ["a", "b", "c"].map(|name| Agent::new(bench, name));
    a.must(&claim(&["issue:1"]));
    let number = a.must(&Offer { to: to("b"), ..offer(&["issue:1"]) }).offer;
    b.must(&arrive("ready", 3));
    c.must(&arrive("ready", 3));
    let look = || must(bench, &ShowStatus { open: true, ..ShowStatus::default() });
    let status = look();
    let offered = &status.offers[0];
    assert_eq!((offered.offer, &*offered.from_name, offered.from_is_live), (number, "a", true));
    assert_eq!((offered.to.to_string(), offered.items.len()), (to("b").to_string(), 1));
    let barrier = &status.barriers[0];
    assert_eq!((&*barrier.name, barrier.parties, barrier.generation), ("ready", 3, 1));
    assert_eq!(barrier.arrived, ["b", "c"]);
    let unasked = must(bench, &ShowStatus::default());
    assert!(unasked.offers.is_empty() && unasked.barriers.is_empty());
    a.must(&arrive("ready", 3));
    b.must(&accept(number));
    let status = look();
    assert!(status.offers.is_empty() && status.barriers.is_empty(), "{status:?}");
}
