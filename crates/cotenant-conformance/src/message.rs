//! Section 8b: messages.

use std::{collections::BTreeSet, thread};

use cotenant_core::{
    Code,
    clock::{DAY, HOUR, MINUTE},
    event::{Event, Redact},
    id::Seq,
    message::{
        HandedOut, Inbox, ListMessages, MESSAGE_TTL_MS, Message, MessageState, SendMessage, Sent,
        UNREAD_MAX,
    },
    name::{Addressee, SessionRef},
    session::{SignOn, State},
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, answer, count, head_seq, log, must, refuses, succeeds, until},
    sample::{ack, inbox, messages, send, sign_off, sign_on, to},
};

cases! {
    m1_a_message_reaches_whom_it_is_for,
    m1_a_label_and_everybody_mean_those_who_are_here,
    m2_a_message_is_handed_out_once,
    m2_looking_does_not_read,
    m3_the_same_request_gets_the_same_messages,
    m3_the_next_incarnation_reads_what_was_not_read,
    m4_a_message_to_the_dead_is_reported,
    m4_a_session_that_goes_without_reading_is_reported,
    m4_a_full_inbox_is_reported,
    m5_an_acknowledgement_tells_the_sender_once,
    m6_a_message_ends_with_its_time,
    waiting_for_a_message,
    a_wait_for_a_message_ends,
    messages_are_listed_page_by_page,
    e5_a_message_that_was_erased_is_gone_from_the_inbox_too,
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

fn read_by(agent: &Agent<'_>) -> Vec<String> {
    let messages = agent.must(&inbox()).messages;
    messages.into_iter().map(|message| message.text).collect()
}

fn of_kind(bench: &dyn Bench, kind: &str) -> Vec<Event> {
    log(bench).into_iter().filter(|event| event.kind == kind).collect()
}

fn facts(event: &Event) -> serde_json::Value {
    event.payload.as_ref().expect("a payload").value().expect("JSON")
}

fn m1_a_message_reaches_whom_it_is_for(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::human(bench, "c"));
    let before = head_seq(bench);
    let sent = a.must(&send("b", "the tests pass"));
    assert_eq!(
        (sent.message, sent.delivered, sent.undelivered),
        (Seq(before + 1), vec!["b".into()], vec![])
    );
    let second = c.must(&SendMessage { to: to(&b.id.0), ..send("b", "go on") }).message;
    assert!(read_by(&c).is_empty());
    let got = b.must(&inbox());
    assert!(!got.more);
    assert_eq!(texts(&got.messages), ["the tests pass", "go on"]);
    let [first, last] = &got.messages[..] else { panic!("{got:?}") };
    assert_eq!(
        (first.from.clone(), &*first.from_name, &*first.trust),
        (a.id.clone(), "a", "agent")
    );
    assert_eq!((first.state, &first.to), (MessageState::Read, &to("b")));
    assert_eq!((last.message, &*last.trust), (second, "human"));
    a.refused(&send("nobody", "x"), Code::NotFound);
    // A word to oneself is read by oneself.
    a.must(&send("a", "later"));
    assert_eq!(read_by(&a), ["later"]);
}

fn m1_a_label_and_everybody_mean_those_who_are_here(bench: &dyn Bench) {
    let labelled = |name: &str| {
        let labels = vec!["tester".to_owned()];
        Agent::on(bench, &SignOn { labels, ttl_ms: Some(DAY), ..sign_on(name) })
    };
    let (a, b, c) = (labelled("a"), labelled("b"), Agent::new(bench, "c"));
    labelled("gone").must(&sign_off());
    let to_testers = SendMessage { to: Addressee::Label("tester".into()), ..send("b", "1") };
    assert_eq!(a.must(&to_testers).delivered, ["b"]);
    let to_all = SendMessage { to: Addressee::Everybody, ..send("b", "2") };
    assert_eq!(a.must(&to_all).delivered, ["b", "c"]);
    let late = labelled("late");
    assert_eq!(read_by(&b), ["1", "2"]);
    assert_eq!(read_by(&c), ["2"]);
    assert!(read_by(&a).is_empty() && read_by(&late).is_empty());
    let nobody = SendMessage { to: Addressee::Label("none".into()), ..send("b", "3") };
    let sent = a.must(&nobody);
    assert!(sent.delivered.is_empty() && sent.undelivered.is_empty());
}

fn m2_a_message_is_handed_out_once(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let sent: Vec<Seq> = (0..40).map(|n| a.must(&send("b", &format!("{n}"))).message).collect();
    let handed: Vec<HandedOut> = thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let reply = bench.second().one(b.request(Inbox { limit: 10, ..inbox() }));
                    answer::<Inbox>(&succeeds(reply, "reading"))
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
    });
    let all: Vec<Seq> =
        handed.iter().flat_map(|handed| handed.messages.iter().map(|it| it.message)).collect();
    let different: BTreeSet<Seq> = all.iter().copied().collect();
    assert_eq!((all.len(), different.into_iter().collect::<Vec<_>>()), (40, sent));
    assert!(read_by(&b).is_empty());
    for n in 0..3 {
        a.must(&send("b", &format!("{n}")));
    }
    let two = b.must(&Inbox { limit: 2, ..inbox() });
    assert_eq!((texts(&two.messages), two.more), (vec!["0", "1"], true));
    assert_eq!(read_by(&b), ["2"]);
    for text in ["123", "456", "78901"] {
        a.must(&send("b", text));
    }
    let room = |bytes| b.must(&Inbox { bytes: Some(bytes), ..inbox() });
    let some = room(7);
    assert_eq!((texts(&some.messages), some.more), (vec!["123", "456"], true));
    let one = room(1);
    assert_eq!((texts(&one.messages), one.more), (vec!["78901"], false));
}

fn m2_looking_does_not_read(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&send("b", "x"));
    let before = head_seq(bench);
    for _ in 0..2 {
        let seen = must(bench, &messages("b")).messages;
        assert_eq!((texts(&seen), seen[0].state), (vec!["x"], MessageState::Unread));
    }
    assert_eq!(head_seq(bench), before);
    assert_eq!(read_by(&b), ["x"]);
    assert!(must(bench, &messages("b")).messages.is_empty());
    let all = must(bench, &ListMessages { all: true, ..messages("b") }).messages;
    assert_eq!((texts(&all), all[0].state), (vec!["x"], MessageState::Read));
    assert_eq!(count(bench, "message.read"), 1);
}

fn m3_the_same_request_gets_the_same_messages(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&send("b", "x"));
    let once = || b.request(inbox()).id("the hook's");
    let first = answer::<Inbox>(&succeeds(b.send(once()), "reading"));
    a.must(&send("b", "y"));
    let again = succeeds(b.send(once()), "reading again");
    assert!(again.replayed);
    assert_eq!(answer::<Inbox>(&again).messages, first.messages);
    assert_eq!(read_by(&b), ["y"]);
}

fn m3_the_next_incarnation_reads_what_was_not_read(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::new(bench, "a"), Agent::living(bench, "b", &process));
    a.must(&send("b", "read"));
    assert_eq!(read_by(&b), ["read"]);
    a.must(&send("b", "one"));
    a.must(&send("b", "two"));
    bench.kill(&process);
    let next = Agent::on(bench, &SignOn { process: Some(bench.process()), ..sign_on("b") });
    assert_ne!(next.id, b.id);
    assert_eq!(read_by(&next), ["one", "two"]);
    assert!(must(bench, &messages(&b.id.0)).messages.is_empty());
}

fn m4_a_message_to_the_dead_is_reported(bench: &dyn Bench) {
    let process = bench.process();
    let (a, b) = (Agent::new(bench, "a"), Agent::living(bench, "b", &process));
    let ended = Agent::new(bench, "ended");
    ended.must(&sign_off());
    bench.kill(&process);
    let reasons = |sent: &Sent| -> Vec<(String, String)> {
        sent.undelivered.iter().map(|it| (it.name.clone(), it.reason.clone())).collect()
    };
    // The store looks at the process itself: nobody has noticed its death yet.
    let sent = a.must(&send("b", "x"));
    assert_eq!((sent.delivered.len(), reasons(&sent)), (0, vec![("b".into(), "lost".into())]));
    assert_eq!(b.state(), State::Lost);
    let sent = a.must(&send("ended", "x"));
    assert_eq!(reasons(&sent), [("ended".into(), "ended".into())]);
    let events = of_kind(bench, "message.undelivered");
    assert_eq!(events.len(), 2);
    let told = facts(&events[1]);
    assert_eq!(events[1].scope, "session:a");
    assert_eq!(
        (&told["messages"], &told["sessions"][0]["name"]),
        (&json!([sent.message]), &json!("ended"))
    );
}

fn m4_a_session_that_goes_without_reading_is_reported(bench: &dyn Bench) {
    let process = bench.process();
    let (a, c) = (Agent::new(bench, "a"), Agent::new(bench, "c"));
    let (b, lost) = (Agent::new(bench, "b"), Agent::living(bench, "lost", &process));
    a.must(&send("b", "read"));
    assert_eq!(read_by(&b), ["read"]);
    let unread = [a.must(&send("b", "1")).message, a.must(&send("b", "2")).message];
    let other = c.must(&send("b", "3")).message;
    b.must(&sign_off());
    let told: Vec<_> = of_kind(bench, "message.undelivered");
    let by_scope: Vec<_> =
        told.iter().map(|it| (&*it.scope, facts(it)["messages"].clone())).collect();
    assert_eq!(by_scope, [("session:a", json!(unread)), ("session:c", json!([other]))]);
    assert_eq!(facts(&told[0])["sessions"][0]["reason"], "ended");
    let unread = a.must(&send("lost", "1")).message;
    bench.kill(&process);
    a.must(&send("lost", "2"));
    let told: Vec<_> = of_kind(bench, "message.undelivered").iter().skip(2).map(facts).collect();
    assert_eq!((told.len(), &told[0]["messages"]), (2, &json!([unread])), "{told:?}");
    assert_eq!(lost.state(), State::Lost);
}

fn m4_a_full_inbox_is_reported(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    for _ in 0..UNREAD_MAX / 100 {
        let requests = (0..100).map(|_| a.request(send("b", "x"))).collect();
        for outcome in bench.store().submit(requests) {
            assert!(answer::<SendMessage>(&succeeds(outcome, "sending")).undelivered.is_empty());
        }
    }
    assert_eq!(a.must(&send("b", "too much")).undelivered[0].reason, "full");
    b.must(&Inbox { limit: 1, ..inbox() });
    assert!(a.must(&send("b", "fits")).undelivered.is_empty());
}

fn m5_an_acknowledgement_tells_the_sender_once(bench: &dyn Bench) {
    let (a, b, c) = (Agent::new(bench, "a"), Agent::new(bench, "b"), Agent::new(bench, "c"));
    let read = a.must(&send("b", "1")).message;
    assert_eq!(read_by(&b), ["1"]);
    let unread = a.must(&send("b", "2")).message;
    let other = c.must(&send("a", "3")).message;
    let done = b.must(&ack(&[unread, read, other]));
    assert_eq!((done.acknowledged, done.unknown), (vec![read, unread], vec![other]));
    assert_eq!(b.must(&ack(&[read])).already, [read]);
    assert!(read_by(&b).is_empty(), "what is acknowledged was read");
    let told = of_kind(bench, "message.acknowledged");
    assert_eq!((told.len(), &*told[0].scope, &*told[0].name), (1, "session:a", "b"));
    assert_eq!(facts(&told[0])["messages"], json!([read, unread]));
    let all = must(bench, &ListMessages { all: true, ..messages("b") }).messages;
    assert!(all.iter().all(|it| it.state == MessageState::Acknowledged), "{all:?}");
}

fn m6_a_message_ends_with_its_time(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let brief = |text: &str| SendMessage { ttl_ms: Some(10 * MINUTE), ..send("b", text) };
    a.must(&brief("read"));
    assert_eq!(read_by(&b), ["read"]);
    let unread = a.must(&brief("unread")).message;
    a.must(&send("b", "kept"));
    bench.advance(10 * MINUTE);
    assert_eq!(texts(&must(bench, &messages("b")).messages), ["kept"]);
    let all = must(bench, &ListMessages { all: true, ..messages("b") }).messages;
    assert_eq!(texts(&all), ["kept"]);
    assert!(b.must(&ack(&[unread])).acknowledged.is_empty());
    assert_eq!(read_by(&b), ["kept"]);
    let told = of_kind(bench, "message.undelivered");
    assert_eq!(told.len(), 1, "what was read is not missed");
    let told = facts(&told[0]);
    assert_eq!(
        (&told["messages"], &told["sessions"][0]["reason"]),
        (&json!([unread]), &json!("expired"))
    );
    assert_eq!(MESSAGE_TTL_MS, 7 * DAY);
}

fn waiting_for_a_message(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let call = b.start(Inbox { wait_ms: Some(HOUR), ..inbox() });
    a.must(&send("a", "not for b"));
    call.still_waits("b");
    a.must(&send("b", "x"));
    let got = answer::<Inbox>(&succeeds(call.outcome(), "who waited"));
    assert_eq!(texts(&got.messages), ["x"]);
    a.must(&send("b", "y"));
    let got = b.must(&Inbox { wait_ms: Some(HOUR), ..inbox() });
    assert_eq!(texts(&got.messages), ["y"], "what is there needs no wait");
}

fn a_wait_for_a_message_ends(bench: &dyn Bench) {
    let b = Agent::new(bench, "b");
    let call = b.start(Inbox { wait_ms: Some(200), ..inbox() });
    let mut outcome = None;
    until("a wait of 200 ms ends", || {
        bench.advance(1);
        outcome = call.poll();
        outcome.is_some()
    });
    let reply = succeeds(outcome.expect("an outcome"), "a wait of 200 ms");
    assert!(answer::<Inbox>(&reply).messages.is_empty());
}

fn messages_are_listed_page_by_page(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let sent: Vec<Seq> = (0..5).map(|n| a.must(&send("b", &format!("{n}"))).message).collect();
    let first = must(bench, &ListMessages { limit: 2, ..messages("b") });
    assert_eq!((texts(&first.messages), first.next), (vec!["0", "1"], Some(sent[1])));
    let rest = ListMessages { after: first.next, ..messages("b") };
    assert_eq!(texts(&must(bench, &rest).messages), ["2", "3", "4"]);
    b.must(&Inbox { limit: 3, ..inbox() });
    let all = must(bench, &ListMessages { all: true, ..messages("b") });
    assert_eq!((texts(&all.messages), all.next), (vec!["0", "1", "2", "3", "4"], None));
    refuses(bench, &messages("nobody"), Code::NotFound);
    let unknown = ListMessages { session: SessionRef("native:claude:x".into()), ..messages("b") };
    refuses(bench, &unknown, Code::NotFound);
}

fn e5_a_message_that_was_erased_is_gone_from_the_inbox_too(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let id = a.must(&send("b", "the password is hunter2")).message;
    let reply = succeeds(b.send(b.request(inbox()).id("once")), "reading");
    assert!(reply.data.get().contains("hunter2"));
    a.must(&Redact { seq: id, reason: "secret".into() });
    let all = must(bench, &ListMessages { all: true, ..messages("b") }).messages;
    assert_eq!(texts(&all), ["[redacted]"]);
    let again = succeeds(b.send(b.request(inbox()).id("once")), "reading again");
    assert!(!again.data.get().contains("hunter2"), "{}", again.data);
    if let Some(bytes) = bench.raw_bytes() {
        let found = bytes.windows(7).any(|window| window == b"hunter2");
        assert!(!found, "the erased text is still in the store's files");
    }
}
