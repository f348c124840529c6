//! Values of the command line, read by the rules of the core.

use cotenant_core::{
    Error,
    claim::Item,
    clock::parse_duration,
    id::{Fence, TaskId},
    instruction::Scope,
    json::Json,
    name::{Addressee, shown},
    offer::OfferItem,
    task::TaskState,
};

/// What clap shows of an error: the message, and the hint if there is one.
fn told(error: Error) -> String {
    match error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message,
    }
}

/// A duration such as `90s`, in milliseconds.
pub(super) fn duration(text: &str) -> Result<u64, String> {
    parse_duration(text).map_err(told)
}

/// An item such as `issue:15`.
pub(super) fn item(text: &str) -> Result<Item, String> {
    text.parse().map_err(told)
}

/// A fence.
pub(super) fn fence(text: &str) -> Result<Fence, String> {
    text.parse().map_err(told)
}

/// The number of a task.
pub(super) fn task(text: &str) -> Result<TaskId, String> {
    text.strip_prefix("task:").unwrap_or(text).parse().map_err(told)
}

/// The state of a task.
pub(super) fn task_state(text: &str) -> Result<TaskState, String> {
    TaskState::of(text).ok_or_else(|| {
        let all: Vec<&str> = TaskState::ALL.iter().map(|state| state.word()).collect();
        format!("there is no such state, only {}", all.join(", "))
    })
}

/// A percentage, with its sign or without.
pub(super) fn percent(text: &str) -> Result<u8, String> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    match digits.parse::<u8>() {
        Ok(percent) if percent <= 100 => Ok(percent),
        _ => Err("write a whole number from 0 to 100".to_owned()),
    }
}

/// A JSON text.
pub(super) fn json(text: &str) -> Result<Json, Error> {
    Json::parse(text)
}

/// Something to hand over, such as `issue:15` or `lease:deploy`.
pub(super) fn offer_item(text: &str) -> Result<OfferItem, String> {
    text.parse().map_err(told)
}

/// A session, `label:WORD` or `everybody`.
pub(super) fn addressee(text: &str) -> Result<Addressee, String> {
    text.parse().map_err(told)
}

/// Where an instruction holds.
pub(super) fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(told)
}

/// A name and a number, such as `messages=8`.
pub(super) fn number(text: &str) -> Result<(String, i64), String> {
    let (name, number) = text.split_once('=').ok_or("write NAME=NUMBER")?;
    let number = number.parse().map_err(|_| format!("`{}` is no whole number", shown(number)))?;
    Ok((name.to_owned(), number))
}
