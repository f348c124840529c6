//! Shell completion with what is live in the store: sessions, leases, claims, scopes.
//!
//! A completion never fails and never makes a store; where nothing can be read, nothing is offered.

use std::ffi::OsStr;

use clap::Command;
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCompleter, CompletionCandidate},
};
use cotenant_core::{
    Operation,
    claim::{Holding, Who},
    data::ListScopes,
    lease::ListLeases,
    session::ListSessions,
    task::view::{ListTasks, TaskView, about},
};

use crate::{
    context::{Context, Options},
    env,
    exit::Exit,
    output::ago,
};

/// Answers the shell's question of what can come next.
pub(crate) fn answer(command: fn() -> Command) -> Exit {
    CompleteEnv::with_factory(command).bin("cotenant").complete();
    Exit::SUCCESS
}

/// Completes the names of live sessions.
pub(crate) fn sessions() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let operation = ListSessions {
            all: false,
            kind: None,
            label: None,
            silent_for_ms: None,
            handoff_ready: false,
            after: None,
            limit: 200,
        };
        let found = ask(&operation).map(|answer| answer.sessions).unwrap_or_default();
        offer(
            typed,
            found.into_iter().map(|session| {
                let help = session.purpose.unwrap_or_else(|| {
                    format!("{}, last heard of {}", session.kind, ago(session.heartbeat_age_ms))
                });
                (session.name, help)
            }),
        )
    })
}

/// Completes the names of leases.
pub(crate) fn leases() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let found = ask(&ListLeases { pattern: None }).map(|answer| answer.holdings);
        offer(typed, found.unwrap_or_default().into_iter().map(held))
    })
}

/// Completes claimed items.
pub(crate) fn claims() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let found = ask(&Who::default()).map(|answer| answer.holdings);
        offer(typed, found.unwrap_or_default().into_iter().map(held))
    })
}

/// Completes scopes that hold something.
pub(crate) fn scopes() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let pattern = format!("{}*", typed.to_string_lossy());
        let found =
            ask(&ListScopes { pattern, after: None, limit: 200 }).map(|answer| answer.scopes);
        offer(typed, found.unwrap_or_default().into_iter().map(|scope| (scope, String::new())))
    })
}

/// Completes tasks that are not over.
pub(crate) fn tasks() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let task = |task: TaskView| {
            (task.task.to_string(), format!("{}, {}", task.state.word(), about(&task.payload)))
        };
        offer(typed, open_tasks().into_iter().map(task))
    })
}

/// Completes queues that have such tasks.
pub(crate) fn queues() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        offer(typed, open_tasks().into_iter().map(|task| (task.queue, String::new())))
    })
}

fn open_tasks() -> Vec<TaskView> {
    let operation = ListTasks { limit: 200, ..ListTasks::default() };
    ask(&operation).map(|answer| answer.tasks).unwrap_or_default()
}

fn held(holding: Holding) -> (String, String) {
    let help = format!("held by {}", holding.name);
    (holding.resource, help)
}

fn ask<O: Operation>(operation: &O) -> Option<O::Answer> {
    let options = Options { quiet: true, ..Options::default() };
    let context = Box::leak(Box::new(Context::new(options, env::working_directory().ok()?)));
    Some(context.call(operation).ok()?.answer)
}

fn offer(typed: &OsStr, found: impl Iterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let mut found: Vec<(String, String)> =
        found.filter(|(value, _)| value.starts_with(typed.as_ref())).collect();
    found.sort();
    found.dedup_by(|one, other| one.0 == other.0);
    found
        .into_iter()
        .map(|(value, help)| {
            let help = cotenant_core::render::for_terminal(&help);
            CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into()))
        })
        .collect()
}
