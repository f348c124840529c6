//! Section 8a: how far pieces of work are.

use cotenant_core::{
    Code,
    claim::{Claim, Mode},
    event::Read,
    progress::{Progress, SetProgress, ShowProgress},
    status::ShowStatus,
};

use crate::{
    Bench,
    ask::{Agent, head_seq, log, must},
    sample::{claim, progress, read, show_progress, sign_off},
};

cases! {
    g1_the_last_report_stands_and_names_what_it_replaced,
    g2_an_item_that_another_holds_is_not_reported_on,
    g3_every_report_is_one_event_in_the_scope_of_its_subject,
    progress_outlives_its_writer_and_is_shown_page_by_page,
    the_status_shows_what_is_not_done,
}

fn shown(bench: &dyn Bench, subject: &str) -> Option<Progress> {
    must(bench, &show_progress(Some(subject))).progress.pop()
}

fn g1_the_last_report_stands_and_names_what_it_replaced(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let first = a.must(&progress("issue:15", "analysis", 25));
    assert_eq!((first.subject.as_str(), first.before), ("issue:15", None));
    let report = SetProgress {
        message: Some("writing tests".into()),
        ..progress("issue:15", "testing", 75)
    };
    let before = b.must(&report).before.expect("what b overwrites");
    assert_eq!((before.phase.as_str(), before.percent), ("analysis", 25));
    assert_eq!((before.updated_by.as_str(), &before.session), ("a", &a.id));
    let now = shown(bench, "issue:15").expect("a report");
    assert_eq!((now.phase.as_str(), now.percent), ("testing", 75));
    assert_eq!(now.message.as_deref(), Some("writing tests"));
    assert_eq!((now.updated_by.as_str(), &now.session), ("b", &b.id));
    let event = log(bench).pop().expect("an event");
    let facts = event.payload.expect("a payload").value().expect("JSON");
    assert_eq!(facts["before"]["updated_by"], "a", "{facts}");
    // Work can turn out to be less far than it seemed.
    assert_eq!(a.must(&progress("issue:15", "testing", 50)).before.map(|it| it.percent), Some(75));
    assert_eq!(shown(bench, "issue:15").map(|it| it.percent), Some(50));
}

fn g2_an_item_that_another_holds_is_not_reported_on(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&claim(&["issue:15", "branch:x"]));
    let before = head_seq(bench);
    let error = b.refused(&progress("issue:15", "done", 100), Code::Claimed);
    assert!(serde_json::Value::from(error.details).to_string().contains("\"a\""));
    assert_eq!(head_seq(bench), before);
    a.must(&progress("issue:15", "analysis", 10));
    // What is claimed beside others, or only reads like it, keeps nobody out.
    b.must(&progress("issue:1", "analysis", 10));
    b.must(&progress("release", "analysis", 10));
    a.must(&Claim { mode: Mode::Advisory, ..claim(&["issue:2"]) });
    b.must(&progress("issue:2", "analysis", 10));
    a.must(&sign_off());
    let before = b.must(&progress("issue:15", "testing", 60)).before.expect("a's report");
    assert_eq!(before.updated_by, "a");
}

fn g3_every_report_is_one_event_in_the_scope_of_its_subject(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let before = head_seq(bench);
    a.must(&progress("issue:15", "analysis", 25));
    a.must(&progress("issue:15", "analysis", 25));
    assert_eq!(head_seq(bench), before + 2);
    let wanted =
        Read { kind: Some("progress.set".into()), scope: Some("issue:15".into()), ..read("start") };
    let events = must(bench, &wanted).events;
    assert_eq!(events.len(), 2);
    let facts = events[0].payload.as_ref().expect("a payload").value().expect("JSON");
    assert_eq!((&facts["phase"], &facts["percent"]), (&"analysis".into(), &25.into()), "{facts}");
}

fn progress_outlives_its_writer_and_is_shown_page_by_page(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for n in 0..5 {
        a.must(&progress(&format!("issue:{n}"), "analysis", n * 10));
    }
    a.must(&progress("release", "analysis", 0));
    a.must(&sign_off());
    let subjects = |show: &ShowProgress| -> Vec<String> {
        must(bench, show).progress.into_iter().map(|it| it.subject).collect()
    };
    let issues = show_progress(Some("issue:*"));
    assert_eq!(subjects(&issues), ["issue:0", "issue:1", "issue:2", "issue:3", "issue:4"]);
    assert_eq!(subjects(&show_progress(None)).len(), 6);
    let first = must(bench, &ShowProgress { limit: 2, ..issues.clone() });
    assert_eq!(first.next.as_deref(), Some("issue:1"));
    let rest = ShowProgress { after: first.next, ..issues };
    assert_eq!(subjects(&rest), ["issue:2", "issue:3", "issue:4"]);
    assert_eq!(must(bench, &rest).next, None);
}

fn the_status_shows_what_is_not_done(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    a.must(&progress("issue:1", "analysis", 10));
    a.must(&progress("issue:2", "testing", 70));
    a.must(&progress("issue:3", "complete", 100));
    let shown = must(bench, &ShowStatus::default()).progress;
    let subjects: Vec<_> = shown.iter().map(|it| (&*it.subject, it.percent)).collect();
    assert_eq!(subjects, [("issue:2", 70), ("issue:1", 10)]);
}
