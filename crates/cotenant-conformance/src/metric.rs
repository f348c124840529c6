//! Section 10: metrics.

use cotenant_core::{
    Code,
    clock::{DAY, MINUTE},
    metric::{
        By, KEPT_MAX, METRICS_MAX, Numbers, ReportMetrics, SessionMetrics, ShowMetrics,
        TASKS_LOOKED_UP_MAX, TASKS_NEWEST_MAX, Threshold, Total, names,
    },
    name::SessionRef,
    pressure::pressure,
    session::{ChangeNative, SignOn, State},
    task::{NewTask, TASKS_MAX},
};

use crate::{
    Bench,
    ask::{Agent, count, event, head_seq, must, refuses},
    sample::{add, metrics, sign_off, sign_on},
    task::{added, done, q, take},
};

cases! {
    n6_a_counter_never_goes_down,
    n6_a_gauge_is_that_of_the_highest_sequence,
    n6_sessions_never_share_what_they_used,
    n6_totals_are_sums_of_counters_and_of_nothing_else,
    n6_the_figures_of_two_sessions_are_never_blended,
    n6_what_a_session_used_is_kept_per_conversation,
    n9_a_threshold_is_crossed_once_per_session,
    n9_a_threshold_and_its_report_are_one_transaction,
    n10_open_tasks_are_those_that_a_session_runs_or_added,
    n10_only_so_many_tasks_are_looked_at,
    a_report_is_a_sign_of_life,
    a_report_has_limits,
}

fn of(bench: &dyn Bench, agent: &Agent<'_>) -> SessionMetrics {
    let show = ShowMetrics { session: Some(agent.reference()), ..ShowMetrics::default() };
    must(bench, &show).sessions.pop().expect("it is shown")
}

fn numbers(numbers: &[(&str, i64)]) -> Numbers {
    numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
}

fn threshold(name: &str, metric: &str, at_least: i64) -> Threshold {
    Threshold { name: name.into(), metric: metric.into(), at_least }
}

fn n6_a_counter_never_goes_down(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for (seq, counter) in [(1, 10), (3, 40), (2, 25), (3, 40), (1, 10)] {
        a.must(&metrics(seq, &[("tokens_output", counter)], &[]));
    }
    assert_eq!(of(bench, &a).counters, numbers(&[("tokens_output", 40)]), "a counter went down");
    // Another source counts something of its own.
    a.must(&ReportMetrics { source: "other".into(), ..metrics(1, &[("tool_calls", 3)], &[]) });
    let shown = of(bench, &a);
    assert_eq!(shown.counters, numbers(&[("tokens_output", 40), ("tool_calls", 3)]));
}

fn n6_a_gauge_is_that_of_the_highest_sequence(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    for (seq, gauge) in [(1, 100), (3, 20), (2, 90), (3, 70), (1, 100)] {
        a.must(&metrics(seq, &[], &[("context_tokens", gauge)]));
    }
    assert_eq!(of(bench, &a).gauges, numbers(&[("context_tokens", 20)]), "a gauge went back");
}

fn n6_sessions_never_share_what_they_used(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    a.must(&metrics(1, &[("messages", 8)], &[("context_tokens", 29_414)]));
    b.must(&metrics(1, &[("messages", 42)], &[("context_tokens", 85_000)]));
    let (of_a, of_b) = (of(bench, &a), of(bench, &b));
    assert_eq!((of_a.counters["messages"], of_a.gauges["context_tokens"]), (8, 29_414));
    assert_eq!((of_b.counters["messages"], of_b.gauges["context_tokens"]), (42, 85_000));
    assert_eq!((of_a.session, of_b.name), (a.id.0.clone(), "b".to_owned()));
    refuses(
        bench,
        &ShowMetrics { session: Some(SessionRef("nobody".into())), ..ShowMetrics::default() },
        Code::NotFound,
    );
    let unnamed =
        ShowMetrics { session: Some(SessionRef(String::new())), ..ShowMetrics::default() };
    refuses(bench, &unnamed, Code::Invalid);
}

fn n6_totals_are_sums_of_counters_and_of_nothing_else(bench: &dyn Bench) {
    let labelled = |name: &str, user: &str, labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let sign_on = SignOn { ttl_ms: Some(DAY), labels, user: user.into(), ..sign_on(name) };
        Agent::on(bench, &sign_on)
    };
    let a = labelled("a", "ann", &["backend", "hot"]);
    let b = labelled("b", "ann", &[]);
    let c = labelled("c", "bob", &["backend"]);
    let report = |model: &str, tokens| ReportMetrics {
        model: Some(model.into()),
        ..metrics(1, &[("tokens_output", tokens)], &[("context_tokens", 1_000)])
    };
    bench.set_wall(1_795_000_000_000);
    a.must(&report("opus", 100));
    b.must(&report("opus", 20));
    c.must(&report("sonnet", 3));
    bench.set_wall(1_795_000_000_000 + 86_400_000);
    c.must(&report("sonnet", 10));
    let totals = |by| {
        let shown = must(bench, &ShowMetrics { by: Some(by), ..ShowMetrics::default() });
        assert_eq!(shown.sessions.len(), 3);
        let part = |it: Total| {
            assert_eq!(it.counters.len(), 1, "a gauge has no total: {it:?}");
            (it.of, it.sessions, it.counters["tokens_output"])
        };
        shown.totals.into_iter().map(part).collect::<Vec<_>>()
    };
    let is = |totals: Vec<(String, u64, i64)>, expected: &[(&str, u64, i64)]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(of, sessions, sum)| ((*of).to_owned(), *sessions, *sum))
            .collect();
        assert_eq!(totals, expected);
    };
    is(totals(By::User), &[("ann", 2, 120), ("bob", 1, 10)]);
    is(totals(By::Model), &[("opus", 2, 120), ("sonnet", 1, 10)]);
    is(totals(By::Label), &[("", 1, 20), ("backend", 2, 110), ("hot", 1, 100)]);
    is(totals(By::Day), &[("2026-11-18", 3, 123), ("2026-11-19", 1, 7)]);
    c.must(&sign_off());
    let live = must(bench, &ShowMetrics { by: Some(By::User), ..ShowMetrics::default() });
    assert_eq!(
        (live.sessions.len(), live.totals.len()),
        (2, 1),
        "those that are over are left out"
    );
    let all = must(bench, &ShowMetrics { all: true, ..ShowMetrics::default() });
    assert_eq!(all.sessions.len(), 3);
}

/// The two sessions of the architecture paper.
fn n6_the_figures_of_two_sessions_are_never_blended(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let report = |messages, tokens| {
        let gauges = [(names::CONTEXT_TOKENS, tokens), (names::CONTEXT_WINDOW, 200_000)];
        metrics(messages, &[(names::MESSAGES, messages)], &gauges)
    };
    for step in 1..=8 {
        a.must(&report(step, 29_414 * step / 8));
        b.must(&report(step * 5, 85_000 * step / 8));
    }
    b.must(&report(42, 85_000));
    let shown = must(bench, &ShowMetrics { by: Some(By::User), ..ShowMetrics::default() });
    let figures: Vec<_> = shown
        .sessions
        .iter()
        .map(|it| {
            (it.name.as_str(), it.counters["messages"], pressure(&it.filling(), &[]).percent())
        })
        .collect();
    assert_eq!(figures, [("b", 42, "42.5".to_owned()), ("a", 8, "14.7".to_owned())]);
    assert_eq!(shown.totals[0].counters, numbers(&[("messages", 50)]));
}

fn n6_what_a_session_used_is_kept_per_conversation(bench: &dyn Bench) {
    let sign_on = SignOn { native_id: Some("n1".into()), ttl_ms: Some(DAY), ..sign_on("a") };
    let a = Agent::on(bench, &sign_on);
    a.must(&metrics(1, &[("messages", 8)], &[("context_tokens", 100)]));
    a.must(&ChangeNative { native_id: "n2".into() });
    let shown = of(bench, &a);
    assert_eq!((&shown.conversation, &shown.gauges), (&Numbers::new(), &Numbers::new()));
    a.must(&metrics(1, &[("messages", 2)], &[("context_tokens", 10)]));
    let shown = of(bench, &a);
    assert_eq!(shown.counters, numbers(&[("messages", 10)]), "the session used both");
    assert_eq!(shown.conversation, numbers(&[("messages", 2)]));
    assert_eq!(shown.gauges, numbers(&[("context_tokens", 10)]));
}

fn n9_a_threshold_is_crossed_once_per_session(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let report = |seq, tokens| ReportMetrics {
        thresholds: vec![
            threshold("tokens-25", "context_tokens", 50_000),
            threshold("tokens-50", "context_tokens", 100_000),
            threshold("calls", "tool_calls", 5),
        ],
        ..metrics(seq, &[("tool_calls", 1)], &[("context_tokens", tokens)])
    };
    let crossed = |agent: &Agent<'_>, seq, tokens| agent.must(&report(seq, tokens)).crossed;
    assert_eq!(crossed(&a, 1, 49_999), [""; 0]);
    assert_eq!(crossed(&a, 2, 50_000), ["tokens-25"]);
    assert_eq!(crossed(&a, 3, 60_000), [""; 0], "it is crossed once");
    // After a compaction it is crossed from below once more, which is no news.
    assert_eq!(crossed(&a, 4, 5_000), [""; 0]);
    assert_eq!(crossed(&a, 5, 120_000), ["tokens-50"]);
    assert_eq!(crossed(&b, 1, 120_000), ["tokens-25", "tokens-50"]);
    assert_eq!(count(bench, "budget.threshold"), 4);
    let known = of(bench, &a).crossed;
    assert_eq!(known.keys().collect::<Vec<_>>(), ["tokens-25", "tokens-50"]);
    let logged = event(bench, known["tokens-25"]);
    assert_eq!((logged.session, logged.scope.as_str()), (a.id.0.clone(), "session:a"));
    let facts = logged.payload.and_then(|it| it.value().ok()).expect("it has facts");
    assert_eq!((&facts["threshold"], &facts["value"]), (&"tokens-25".into(), &50_000.into()));
}

fn n9_a_threshold_and_its_report_are_one_transaction(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let report = || ReportMetrics {
        thresholds: vec![threshold("t", "messages", 5)],
        ..metrics(1, &[("messages", 9)], &[])
    };
    let before = head_seq(bench);
    let reply = crate::ask::succeeds(a.send(a.request(report()).id("once")), "a report");
    assert_eq!(reply.seq.0, before + 1, "its event is in the log when it is answered");
    let again = crate::ask::succeeds(a.send(a.request(report()).id("once")), "a repeat");
    assert!(again.replayed);
    let answer = |reply| crate::ask::answer::<ReportMetrics>(reply).crossed;
    assert_eq!(answer(&again), answer(&reply), "a repeat is told the same");
    assert_eq!(a.must(&report()).crossed, [""; 0]);
    // Without thresholds a report writes nothing into the log.
    a.must(&metrics(2, &[("messages", 99)], &[]));
    assert_eq!(head_seq(bench), before + 1);
}

/// Open tasks and the longest chain that those need.
fn unfinished(bench: &dyn Bench, agent: &Agent<'_>) -> (i64, i64) {
    let gauges = of(bench, agent).gauges;
    let gauge = |name| gauges.get(name).copied().unwrap_or_default();
    (gauge(names::OPEN_TASKS), gauge(names::DEPENDENCY_DEPTH))
}

fn n10_open_tasks_are_those_that_a_session_runs_or_added(bench: &dyn Bench) {
    bench.set_wall(1_795_000_000_000);
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let both = || (unfinished(bench, &a), unfinished(bench, &b));
    assert_eq!(both(), ((0, 0), (0, 0)));
    let first = added(&a, q());
    let second = added(&a, NewTask { needs: vec![first], ..q() });
    added(&a, NewTask { needs: vec![first, second], ..q() });
    added(&a, NewTask { priority: -1, ..q() });
    assert_eq!(both(), ((4, 2), (0, 0)));
    let taken = take(&b);
    assert_eq!(taken.task, first);
    assert_eq!(both(), ((3, 2), (1, 0)), "what another session runs is that one's work");
    b.must(&done(&taken));
    assert_eq!(both(), ((3, 1), (0, 0)), "a finished task is part of no chain");
    assert_eq!(of(bench, &a).complexity(), 3 * 3 + 5);
    // What somebody counts otherwise and reports stands.
    a.must(&metrics(1, &[], &[(names::OPEN_TASKS, 9)]));
    assert_eq!(unfinished(bench, &a), (9, 1));
    added(&b, q());
    assert_eq!(unfinished(bench, &b), (1, 0));
    b.must(&sign_off());
    assert_eq!(unfinished(bench, &b), (0, 0), "it is over");
    bench.set_wall(1_795_000_060_000);
    let next = Agent::new(bench, "b");
    assert_eq!(unfinished(bench, &next), (0, 0), "its name alone makes nothing its own");
}

fn n10_only_so_many_tasks_are_looked_at(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let mut last = None;
    for _ in 0..2 {
        let mut tasks = vec![q(); TASKS_MAX];
        tasks[0].needs.extend(last);
        for (place, task) in (0..).zip(tasks.iter_mut().skip(1)) {
            task.needs_new.push(place);
        }
        last = a.must(&add(&tasks)).tasks.last().map(|added| added.task);
    }
    let deepest = TASKS_NEWEST_MAX + TASKS_LOOKED_UP_MAX as i64 - 1;
    assert_eq!(unfinished(bench, &a), (TASKS_NEWEST_MAX, deepest));
}

fn a_report_is_a_sign_of_life(bench: &dyn Bench) {
    let a = Agent::brief(bench, "a", 10 * MINUTE);
    for _ in 0..3 {
        bench.advance(7 * MINUTE);
        assert_eq!(a.must(&metrics(1, &[("c", 1)], &[])).expires_in_ms, 10 * MINUTE);
    }
    assert_eq!(a.state(), State::Active);
}

fn a_report_has_limits(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let many = |from: usize, to: usize| {
        let names: Vec<String> = (from..to).map(|index| format!("c{index}")).collect();
        let counters: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        metrics(1, &counters, &[])
    };
    a.refused(&many(0, METRICS_MAX + 1), Code::TooLarge);
    for first in (0..KEPT_MAX).step_by(METRICS_MAX) {
        a.must(&many(first, first + METRICS_MAX));
    }
    a.refused(&many(KEPT_MAX, KEPT_MAX + 1), Code::Quota);
    a.must(&many(0, 1));
    for wrong in [
        metrics(1, &[], &[]),
        metrics(-1, &[("c", 1)], &[]),
        metrics(1, &[("c", -1)], &[]),
        metrics(1, &[("", 1)], &[]),
        metrics(1, &[], &[("g", i64::MAX)]),
        ReportMetrics { source: String::new(), ..metrics(1, &[("c", 1)], &[]) },
    ] {
        a.refused(&wrong, Code::Invalid);
    }
}
