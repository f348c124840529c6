//! Section 8: offers, and what moves when one is accepted.

use std::thread;

use cotenant_core::{
    Code,
    claim::{Claim, HoldingState, Who},
    clock::{DAY, HOUR, MINUTE},
    data::Put,
    id::Seq,
    json::Json,
    lease::{Acquire, LEASES_MAX, LOCK_DELAY_MS},
    name::{Addressee, SessionRef},
    offer::{
        AcceptOffer, AcceptedOffer, DeclineOffer, Draft, HANDOFF_READY, ListOffers, OFFERS_MAX,
        Offer, OfferState, PAYLOAD_BYTES_MAX,
    },
    session::{ListSessions, Relation, SignOff, SignOn, State},
    status::ShowStatus,
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, answer, count, fails, granted, head_seq, log, must, names, succeeds},
    sample::{
        accept, acquire, claim, decline, every_session, guard, lineage, offer, offer_items, offers,
        progress, put, release, sign_off, sign_on, to, unclaim, who, withdraw,
    },
};

cases! {
    h1_one_of_many_accepts_and_the_others_learn_who,
    h1_what_moves_gets_new_fences_and_the_givers_are_void,
    h1_an_accepted_offer_is_gone,
    h1_a_handoff_is_an_edge_of_the_lineage,
    h1_claims_and_leases_move_as_they_were,
    h2_what_cooled_is_the_acceptors_at_once,
    h2_what_was_given_up_is_the_acceptors_if_it_is_free,
    h2_what_somebody_else_took_does_not_move,
    h3_an_offer_ends_with_its_time,
    h3_an_offer_that_was_withdrawn_or_declined_is_gone,
    h4_a_sign_off_with_an_open_offer_is_ready_for_a_handoff,
    h5_a_draft_holds_what_the_session_does,
    h5_a_draft_passes_to_the_next_incarnation,
    an_offer_moves_nothing,
    an_offer_needs_what_it_offers,
    an_item_is_in_one_open_offer,
    an_offer_is_for_whom_it_says,
    an_incarnation_stands_for_the_one_before,
    a_payload_comes_back_as_it_was_given,
    offers_are_listed_page_by_page,
    an_acceptor_holds_no_more_than_a_session_may,
    a_session_has_64_open_offers,
}

fn payload(text: &str) -> Json {
    Json::stored(text.to_owned())
}

/// An offer of nothing but a payload.
fn word(text: &str) -> Offer {
    Offer { payload: Some(payload(text)), ..offer(&[]) }
}

fn note(text: &str) -> Draft {
    Draft { payload: Some(payload(text)) }
}

/// The items of an acceptance.
fn items(accepted: &AcceptedOffer) -> Vec<&str> {
    accepted.items.iter().map(|moved| moved.item.as_str()).collect()
}

fn holder(bench: &dyn Bench, item: &str) -> Vec<String> {
    let held = must(bench, &who(item)).holdings.into_iter();
    held.filter(|holding| holding.state == HoldingState::Held).map(|holding| holding.name).collect()
}

fn h1_one_of_many_accepts_and_the_others_learn_who(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&claim(&["issue:15"]));
    let number = a.must(&offer(&["issue:15"])).offer;
    let agents: Vec<_> = (0..8).map(|n| Agent::new(bench, &format!("w{n}"))).collect();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = agents
            .iter()
            .map(|agent| scope.spawn(|| bench.second().one(agent.request(accept(number)))))
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("a racer")).collect()
    });
    let winner = holder(bench, "issue:15");
    assert_eq!(winner.len(), 1, "{winner:?}");
    let mut won = Vec::new();
    for (agent, outcome) in agents.iter().zip(outcomes) {
        match outcome {
            Ok(_) => won.push(agent.name.clone()),
            Err(error) => {
                assert_eq!((error.code, &error.details["by"]), (Code::Gone, &json!(winner[0])));
            }
        }
    }
    assert_eq!(won, winner);
    assert_eq!(count(bench, "handoff.accepted"), 1);
}

fn h1_what_moves_gets_new_fences_and_the_givers_are_void(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let claimed = a.must(&claim(&["issue:15"])).items.remove(0).fence;
    let leased = a.must(&acquire("deploy")).fence;
    let number = a.must(&offer(&["issue:15", "lease:deploy"])).offer;
    granted::<Put, _>(a.guarded(&put("s", "k", "1"), guard("issue:15", claimed)));
    let accepted = b.must(&accept(number));
    assert_eq!(items(&accepted), ["issue:15", "lease:deploy"]);
    assert!(accepted.not_moved.is_empty());
    assert!(accepted.items[0].fence > leased && accepted.items[1].fence > accepted.items[0].fence);
    a.fenced_by(&put("s", "k", "2"), guard("issue:15", claimed));
    a.fenced_by(&put("s", "k", "2"), guard("deploy", leased));
    a.refused(&release("deploy", leased), Code::Fenced);
    for moved in &accepted.items {
        granted::<Put, _>(b.guarded(&put("s", "k", "3"), guard(&moved.resource, moved.fence)));
    }
    assert_eq!(a.must(&unclaim(&["issue:15"])).not_held, ["issue:15"]);
    assert_eq!(holder(bench, "issue:15"), ["b"]);
    a.refused(&claim(&["issue:15"]), Code::Claimed);
    b.must(&release("deploy", accepted.items[1].fence));
}

fn h1_an_accepted_offer_is_gone(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    a.must(&claim(&["issue:15"]));
    let number = a.must(&offer(&["issue:15"])).offer;
    let first = succeeds(b.send(b.request(accept(number)).id("once")), "accepting");
    let before = head_seq(bench);
    let error = c.refused(&accept(number), Code::Gone);
    assert_eq!(error.details["by"], "b");
    b.refused(&accept(number), Code::Gone);
    a.refused(&withdraw(number), Code::Gone);
    assert_eq!(head_seq(bench), before);
    let again = succeeds(b.send(b.request(accept(number)).id("once")), "the same request again");
    assert!(again.replayed);
    assert_eq!(
        answer::<AcceptOffer>(&again).items,
        answer::<AcceptOffer>(&first).items,
        "a repeat has one effect"
    );
    assert_eq!(holder(bench, "issue:15"), ["b"]);
}

fn h1_a_handoff_is_an_edge_of_the_lineage(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let there = word("{}");
    let number = a.must(&there).offer;
    b.must(&accept(number));
    let edges = must(bench, &lineage(&b.id)).edges;
    let handoffs: Vec<_> = edges.iter().filter(|it| it.relation == Relation::Handoff).collect();
    assert_eq!(handoffs.len(), 1, "{edges:?}");
    assert_eq!((&handoffs[0].from, &handoffs[0].to), (&a.id, &b.id));
    // Work may come back.
    let number = b.must(&there).offer;
    a.must(&accept(number));
    assert_eq!((a.state(), b.state()), (State::Active, State::Active));
}

fn h1_claims_and_leases_move_as_they_were(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    a.must(&Claim { intent: Some("fix it".into()), ..claim(&["issue:1"]) });
    a.must(&Acquire { slots: Some(2), ttl_ms: HOUR, note: Some("n".into()), ..acquire("r") });
    let number = a.must(&offer(&["issue:1", "lease:r"])).offer;
    bench.advance(MINUTE);
    b.must(&accept(number));
    let held = must(bench, &who("issue:1")).holdings.remove(0);
    assert_eq!((held.name.as_str(), held.note.as_deref()), ("b", Some("fix it")));
    assert_eq!(held.expires_in_ms, None);
    c.refused(&acquire("r"), Code::SlotsMismatch);
    c.must(&Acquire { slots: Some(2), ..acquire("r") });
    a.refused(&Acquire { slots: Some(2), ..acquire("r") }, Code::Held);
}

fn h2_what_cooled_is_the_acceptors_at_once(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b, c) =
        (Agent::living(bench, "a", &process), Agent::new(bench, "b"), Agent::new(bench, "c"));
    let fence = a.must(&claim(&["issue:15"])).items.remove(0).fence;
    a.must(&acquire("deploy"));
    let number = a.must(&offer(&["issue:15", "lease:deploy"])).offer;
    bench.kill(&process);
    c.refused(&claim(&["issue:15"]), Code::Cooling);
    assert_eq!(a.state(), State::Lost);
    let accepted = b.must(&accept(number));
    assert_eq!(items(&accepted), ["issue:15", "lease:deploy"]);
    assert!(accepted.items[0].fence > fence);
    assert_eq!(holder(bench, "issue:15"), ["b"]);
    bench.advance(LOCK_DELAY_MS * 2);
    c.refused(&claim(&["issue:15"]), Code::Claimed);
}

fn h2_what_was_given_up_is_the_acceptors_if_it_is_free(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:1", "issue:2"]));
    let leased = a.must(&acquire("deploy")).fence;
    let number = a.must(&offer(&["issue:1", "issue:2", "lease:deploy"])).offer;
    a.must(&unclaim(&["issue:1"]));
    a.must(&release("deploy", leased));
    a.must(&sign_off());
    let accepted = b.must(&accept(number));
    assert_eq!(items(&accepted), ["issue:1", "issue:2", "lease:deploy"]);
    assert_eq!(
        (holder(bench, "issue:1"), holder(bench, "issue:2")),
        (vec!["b".into()], vec!["b".into()])
    );
}

fn h2_what_somebody_else_took_does_not_move(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    a.must(&claim(&["issue:1", "issue:2"]));
    a.must(&acquire("deploy"));
    let number = a.must(&offer(&["issue:1", "issue:2", "lease:deploy"])).offer;
    a.must(&sign_off());
    let taken = c.must(&claim(&["issue:2"])).items.remove(0).fence;
    let leased = c.must(&acquire("deploy")).fence;
    let accepted = b.must(&accept(number));
    assert_eq!(items(&accepted), ["issue:1"]);
    let left: Vec<_> =
        accepted.not_moved.iter().map(|it| (&*it.item, &*it.holders[0].name)).collect();
    assert_eq!(left, [("issue:2", "c"), ("lease:deploy", "c")]);
    granted::<Put, _>(c.guarded(&put("s", "k", "1"), guard("issue:2", taken)));
    granted::<Put, _>(c.guarded(&put("s", "k", "1"), guard("deploy", leased)));
}

fn h3_an_offer_ends_with_its_time(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:1", "issue:2"]));
    let brief = Offer { ttl_ms: Some(10 * MINUTE), ..offer(&["issue:1"]) };
    let number = a.must(&brief).offer;
    let offered = a.must(&offer(&["issue:2"]));
    assert_eq!(offered.expires_in_ms, DAY);
    bench.advance(9 * MINUTE);
    assert_eq!(must(bench, &offers()).offers.len(), 2);
    bench.advance(MINUTE);
    // Shown as expired before anybody has settled it.
    let open: Vec<Seq> = must(bench, &offers()).offers.iter().map(|it| it.offer).collect();
    assert_eq!(open, [offered.offer]);
    let error = b.refused(&accept(number), Code::Gone);
    assert_eq!(error.details["state"], "expired");
    assert_eq!(holder(bench, "issue:1"), ["a"]);
    // What was offered can be offered anew.
    let again = a.must(&offer(&["issue:1"])).offer;
    assert_eq!(count(bench, "handoff.expired"), 1);
    let all = must(bench, &ListOffers { all: true, ..offers() }).offers;
    let states: Vec<_> = all.iter().map(|it| (it.offer, it.state)).collect();
    assert_eq!(
        states,
        [
            (again, OfferState::Open),
            (offered.offer, OfferState::Open),
            (number, OfferState::Expired)
        ]
    );
    b.must(&accept(again));
}

fn h3_an_offer_that_was_withdrawn_or_declined_is_gone(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    a.must(&claim(&["issue:1"]));
    let number = a.must(&offer(&["issue:1"])).offer;
    b.refused(&withdraw(number), Code::Forbidden);
    b.refused(&decline(number), Code::Forbidden);
    assert!(!a.must(&withdraw(number)).already);
    assert!(a.must(&withdraw(number)).already);
    b.refused(&accept(number), Code::Gone);
    let number = a.must(&Offer { to: to("b"), ..offer(&["issue:1"]) }).offer;
    c.refused(&decline(number), Code::Forbidden);
    let reason = Some("busy".to_owned());
    assert!(!b.must(&DeclineOffer { reason, ..decline(number) }).already);
    assert!(b.must(&decline(number)).already);
    b.refused(&accept(number), Code::Gone);
    a.refused(&withdraw(number), Code::Gone);
    let last = log(bench).pop().expect("an event");
    let facts = last.payload.expect("a payload").value().expect("JSON");
    assert_eq!((last.kind.as_str(), &facts["reason"]), ("handoff.declined", &json!("busy")));
    let number = a.must(&offer(&["issue:1"])).offer;
    Agent::human(bench, "ada").must(&withdraw(number));
    b.refused(&decline(number), Code::Forbidden);
    let number = a.must(&Offer { to: to("b"), ..offer(&["issue:1"]) }).offer;
    a.must(&withdraw(number));
    b.refused(&decline(number), Code::Gone);
    assert_eq!(holder(bench, "issue:1"), ["a"]);
    for refused in
        [a.refused(&withdraw(Seq(1)), Code::NotFound), b.refused(&decline(Seq(1)), Code::NotFound)]
    {
        assert!(refused.hint.is_some());
    }
}

fn h4_a_sign_off_with_an_open_offer_is_ready_for_a_handoff(bench: &dyn Bench) {
    let ready = || ListSessions { all: false, handoff_ready: true, ..every_session() };
    let found = || -> Vec<String> {
        must(bench, &ready()).sessions.into_iter().map(|view| view.name).collect()
    };
    let outcome = |word: &str| SignOff { outcome: Some(word.into()), note: None };
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| Agent::new(bench, name));
    let taker = Agent::new(bench, "taker");
    d.refused(&outcome(HANDOFF_READY), Code::Invalid);
    a.must(&claim(&["issue:1"]));
    let numbers: Vec<Seq> = [&a, &b, &c].map(|agent| agent.must(&word("{}")).offer).to_vec();
    assert_eq!(found(), Vec::<String>::new(), "whoever is here is not ready yet");
    a.must(&sign_off());
    b.must(&outcome("ended"));
    c.must(&outcome("aborted"));
    d.must(&sign_off());
    let outcomes = [&a, &b, &c, &d].map(|agent| agent.view().outcome.unwrap_or_default());
    assert_eq!(outcomes, [HANDOFF_READY, HANDOFF_READY, "aborted", "done"]);
    assert_eq!(found(), ["b", "a"]);
    taker.must(&accept(numbers[0]));
    assert_eq!(found(), ["b"]);
    bench.advance(DAY);
    assert_eq!(found(), Vec::<String>::new());
}

/// What waits for a session.
fn draft_of(bench: &dyn Bench, agent: &Agent<'_>) -> Option<serde_json::Value> {
    let status = ShowStatus { session: Some(agent.reference()), ..ShowStatus::default() };
    must(bench, &status).waiting.expect("a session").draft.map(|it| it.value().expect("JSON"))
}

fn h5_a_draft_holds_what_the_session_does(bench: &dyn Bench) {
    let purpose = Some("the parser".to_owned());
    let a = Agent::on(bench, &SignOn { purpose, ttl_ms: Some(DAY), ..sign_on("a") });
    let b = Agent::new(bench, "b");
    a.must(&claim(&["issue:15"]));
    a.must(&acquire("deploy"));
    a.must(&progress("issue:15", "testing", 75));
    b.must(&progress("issue:1", "testing", 75));
    let text = r#"{"next_steps": ["run the tests"], "phase": "testing", "exact": 1.0}"#;
    let draft = a.must(&note(text)).payload;
    assert!(draft.text().contains("1.0"), "{}", draft.text());
    let facts = draft.value().expect("JSON");
    assert_eq!(facts["holds"], json!(["issue:15", "lease:deploy"]));
    assert_eq!(facts["next_steps"], json!(["run the tests"]));
    assert_eq!(facts["purpose"], "the parser");
    assert_eq!(facts["progress"][0]["subject"], "issue:15");
    assert_eq!(facts["progress"].as_array().map(Vec::len), Some(1));
    assert_eq!(draft_of(bench, &a), Some(facts));
    assert_eq!((draft_of(bench, &b), must(bench, &offers()).offers.len()), (None, 0));
    // The next one keeps what it does not say anew.
    a.must(&unclaim(&["issue:15"]));
    let facts = a.must(&note(r#"{"phase": "review"}"#)).payload.value();
    let facts = facts.expect("JSON");
    assert_eq!(
        (&facts["phase"], &facts["next_steps"]),
        (&json!("review"), &json!(["run the tests"]))
    );
    assert_eq!(facts["holds"], json!(["lease:deploy"]));
    bench.advance(DAY / 2);
    a.must(&Draft::default());
    bench.advance(DAY / 2 + HOUR);
    assert!(draft_of(bench, &a).is_some());
    a.must(&progress("issue:15", "review", 80));
    bench.advance(DAY / 2);
    assert_eq!(draft_of(bench, &a), None);
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES_MAX - 20));
    a.refused(&note(&large), Code::TooLarge);
}

fn h5_a_draft_passes_to_the_next_incarnation(bench: &dyn Bench) {
    let process = bench.process();
    let a = Agent::living(bench, "a", &process);
    a.must(&note(r#"{"phase": "testing"}"#));
    bench.kill(&process);
    let next = Agent::on(bench, &SignOn { process: Some(bench.process()), ..sign_on("a") });
    assert_ne!(next.id, a.id);
    assert_eq!(draft_of(bench, &next).expect("a draft")["phase"], "testing");
    assert_eq!(draft_of(bench, &a), None);
}

fn an_offer_moves_nothing(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let fence = a.must(&claim(&["issue:1"])).items.remove(0).fence;
    let before = head_seq(bench);
    let number = a.must(&offer(&["issue:1"])).offer;
    assert_eq!((number, head_seq(bench)), (Seq(before + 1), before + 1));
    assert_eq!(a.must(&claim(&["issue:1"])).items[0].fence, fence);
    b.refused(&claim(&["issue:1"]), Code::Claimed);
    assert_eq!(must(bench, &Who::default()).holdings.len(), 1);
}

fn an_offer_needs_what_it_offers(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    b.must(&claim(&["issue:2"]));
    a.must(&claim(&["issue:1"]));
    let before = head_seq(bench);
    for missing in ["issue:2", "issue:3", "lease:deploy"] {
        let error = a.refused(&offer(&["issue:1", missing]), Code::NotOwner);
        assert_eq!(error.details["item"], missing);
        let details = serde_json::Value::from(error.details).to_string();
        assert_eq!(names(&details, &b), missing == "issue:2", "{details}");
    }
    a.refused(&Offer { to: to("nobody"), ..offer(&["issue:1"]) }, Code::NotFound);
    a.refused(&Offer { to: to("a"), ..offer(&["issue:1"]) }, Code::Invalid);
    assert_eq!(head_seq(bench), before);
}

fn an_item_is_in_one_open_offer(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:1", "issue:2"]));
    let number = a.must(&offer(&["issue:1"])).offer;
    let error = a.refused(&offer(&["issue:2", "issue:1"]), Code::Offered);
    assert_eq!(
        (&error.details["offer"], &error.details["item"]),
        (&json!(number), &json!("issue:1"))
    );
    a.must(&offer(&["issue:2"]));
    b.must(&accept(number));
    // It is the acceptor's now, who may hand it on.
    let number = b.must(&offer(&["issue:1"])).offer;
    a.must(&accept(number));
    a.must(&offer(&["issue:1"]));
}

fn an_offer_is_for_whom_it_says(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let labels = vec!["tester".to_owned()];
    let tester = Agent::on(bench, &SignOn { labels, ttl_ms: Some(DAY), ..sign_on("t") });
    let b = Agent::new(bench, "b");
    a.must(&claim(&["issue:1", "issue:2", "issue:3"]));
    let addressed = a.must(&Offer { to: to("b"), ..offer(&["issue:1"]) }).offer;
    let label = Addressee::Label("tester".into());
    let labelled = a.must(&Offer { to: label, ..offer(&["issue:2"]) }).offer;
    let open = a.must(&offer(&["issue:3"])).offer;
    let for_ = |agent: &Agent<'_>| -> Vec<Seq> {
        let list = ListOffers { acceptor: Some(agent.reference()), ..offers() };
        let status = ShowStatus { session: Some(agent.reference()), ..ShowStatus::default() };
        let waiting = must(bench, &status).waiting.expect("a session").offers;
        let listed: Vec<Seq> = must(bench, &list).offers.iter().map(|it| it.offer).collect();
        assert_eq!(listed, waiting.iter().map(|it| it.offer).collect::<Vec<_>>());
        listed
    };
    assert_eq!(for_(&b), [open, addressed]);
    assert_eq!(for_(&tester), [open, labelled]);
    assert_eq!(for_(&a), []);
    a.refused(&accept(open), Code::Forbidden);
    tester.refused(&accept(addressed), Code::Forbidden);
    b.refused(&accept(labelled), Code::Forbidden);
    tester.refused(&decline(labelled), Code::Forbidden);
    b.refused(&accept(Seq(1)), Code::NotFound);
    tester.must(&accept(labelled));
    b.must(&accept(addressed));
    b.must(&accept(open));
    let mine = ListOffers { all: true, from: Some(SessionRef("a".into())), ..offers() };
    assert_eq!(must(bench, &mine).offers.len(), 3);
    let nobody = ListOffers { from: Some(SessionRef("nobody".into())), ..offers() };
    crate::ask::refuses(bench, &nobody, Code::NotFound);
}

fn an_incarnation_stands_for_the_one_before(bench: &dyn Bench) {
    let [giver, addressed] = [bench.process(), bench.process()];
    let (a, b) = (Agent::living(bench, "a", &giver), Agent::living(bench, "b", &addressed));
    a.must(&claim(&["issue:1", "issue:2"]));
    let number = a.must(&Offer { to: to("b"), ..offer(&["issue:1"]) }).offer;
    let other = a.must(&offer(&["issue:2"])).offer;
    bench.kill(&giver);
    bench.kill(&addressed);
    let again =
        |name: &str| Agent::on(bench, &SignOn { process: Some(bench.process()), ..sign_on(name) });
    let (a2, b2) = (again("a"), again("b"));
    assert!(a2.id != a.id && b2.id != b.id);
    // The giver's next incarnation has its claims, and the offer is still good.
    assert_eq!(holder(bench, "issue:1"), ["a"]);
    a2.refused(&offer(&["issue:1"]), Code::Offered);
    assert_eq!(items(&b2.must(&accept(number))), ["issue:1"]);
    assert_eq!(holder(bench, "issue:1"), ["b"]);
    a2.must(&withdraw(other));
    assert_eq!(holder(bench, "issue:2"), ["a"]);
}

fn a_payload_comes_back_as_it_was_given(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let given = r#"{"from_session": "claude_1", "phase": "implementation_complete", "next_steps": ["Run test suite"], "context": {"branch": "feat/15", "weight" : 1.50}, "unknown": [ ], "handoff_at": "2025-10-31T15:30:00Z"}"#;
    let number = a.must(&word(given)).offer;
    let listed = must(bench, &offers()).offers.remove(0).payload;
    assert_eq!((b.must(&accept(number)).payload.text(), listed.text()), (given, given));
    let part = r#"{"phase": "x", "n": 1.0}"#;
    let number = a.must(&word(part)).offer;
    let filled = b.must(&accept(number)).payload;
    assert!(filled.text().ends_with(r#""phase": "x", "n": 1.0}"#), "{}", filled.text());
    let facts = filled.value().expect("JSON");
    assert_eq!(facts["from_session"], "a");
    assert!(facts["handoff_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{facts}");
    a.must(&claim(&["issue:1"]));
    let number = a.must(&offer(&["issue:1"])).offer;
    assert_eq!(b.must(&accept(number)).payload.value().expect("JSON")["from_session"], "a");
}

fn offers_are_listed_page_by_page(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let numbered = |n: i64| a.must(&word(&format!("{{\"n\":{n}}}"))).offer;
    let mut numbers: Vec<Seq> = (0..5).map(numbered).collect();
    numbers.reverse();
    let first = must(bench, &ListOffers { limit: 2, ..offers() });
    let got: Vec<Seq> = first.offers.iter().map(|it| it.offer).collect();
    assert_eq!((got.as_slice(), first.next), (&numbers[..2], Some(numbers[1])));
    let rest = must(bench, &ListOffers { after: first.next, ..offers() });
    let got: Vec<Seq> = rest.offers.iter().map(|it| it.offer).collect();
    assert_eq!((got.as_slice(), rest.next), (&numbers[2..], None));
    let view = &rest.offers[0];
    assert_eq!((view.from_name.as_str(), view.from_is_live, &*view.trust), ("a", true, "agent"));
}

fn an_acceptor_holds_no_more_than_a_session_may(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&acquire("one-more"));
    let number = a.must(&offer(&["lease:one-more"])).offer;
    let requests = (0..LEASES_MAX).map(|n| b.request(acquire(&format!("r{n}")))).collect();
    for outcome in bench.store().submit(requests) {
        succeeds(outcome, "a lease within the quota");
    }
    fails(b.send(b.request(accept(number))), Code::Quota, "a lease too many");
    b.must(&sign_off());
    Agent::new(bench, "c").must(&accept(number));
}

fn a_session_has_64_open_offers(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let one = || offer_items(Vec::new(), Some(Json::stored("{}".into())));
    let requests = (0..OFFERS_MAX).map(|_| a.request(one())).collect();
    let outcomes = bench.store().submit(requests);
    let last =
        outcomes.into_iter().map(|it| answer::<Offer>(&succeeds(it, "an offer")).offer).last();
    a.refused(&one(), Code::Quota);
    b.must(&one());
    a.must(&withdraw(last.expect("an offer")));
    a.must(&one());
}
