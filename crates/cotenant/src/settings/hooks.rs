//! Our hooks in a JSON document, below `hooks.<event>[].hooks[]`.

use jsonc_parser::cst::{CstInputValue, CstObject};
use serde_json::{Value, json};

use super::SettingsError;
use super::command::is_our_hook;
use super::delete::delete;
use super::document::{Document, Step, steps};
use super::entries::prune;

/// A hook to install.
pub(super) struct Hook<'a> {
    pub(super) event: &'a str,
    pub(super) matcher: Option<&'a str>,
    pub(super) command: &'a str,
    pub(super) timeout: u32,
}

impl Hook<'_> {
    fn value(&self) -> Value {
        json!({ "type": "command", "command": self.command, "timeout": self.timeout })
    }

    /// The same for the syntax tree, which keeps the order of the keys.
    fn input(&self) -> CstInputValue {
        CstInputValue::Object(vec![
            ("type".to_owned(), "command".into()),
            ("command".to_owned(), self.command.into()),
            ("timeout".to_owned(), self.timeout.into()),
        ])
    }
}

/// Installs a hook: over an older form of it where there is one, else in a group of its own.
pub(super) fn install(document: &mut Document, hook: &Hook<'_>) -> Result<(), SettingsError> {
    let groups = document.require_array(&["hooks", hook.event])?;
    let mut places = places(document, hook.event, &[hook.command]);
    if let Some(kept) = kept(document, &places, hook.matcher) {
        places.retain(|place| *place != kept);
        replace(document, &kept, hook);
        set_matcher(document, &kept[..3], hook.matcher);
    } else {
        let hooks = ("hooks".to_owned(), CstInputValue::Array(vec![hook.input()]));
        let matcher = hook.matcher.map(|matcher| ("matcher".to_owned(), matcher.into()));
        groups.ensure_multiline();
        groups.append(CstInputValue::Object(matcher.into_iter().chain([hooks]).collect()));
    }
    remove(document, &places)
}

/// Removes our hooks from events other than those wanted: an older version listened to them.
pub(super) fn remove_stale(document: &mut Document, wanted: &[&str]) -> Result<(), SettingsError> {
    for event in events(document)?.iter().filter(|event| !wanted.contains(&event.as_str())) {
        remove_from(document, event, &[], None)?;
    }
    Ok(())
}

/// Removes our hooks from all events, and what is empty for it that `original` did not have.
pub(super) fn remove_all(
    document: &mut Document,
    commands: &[&str],
    original: Option<&Document>,
) -> Result<(), SettingsError> {
    for event in events(document)? {
        remove_from(document, &event, commands, original)?;
    }
    Ok(())
}

fn remove_from(
    document: &mut Document,
    event: &str,
    commands: &[&str],
    original: Option<&Document>,
) -> Result<(), SettingsError> {
    let ours = places(document, event, commands);
    if ours.is_empty() {
        return Ok(());
    }
    remove(document, &ours)?;
    prune(document, &["hooks", event], original)
}

/// The hook of ours to keep in place: one in a group that already has the matcher, else one that
/// has its group to itself, since changing the matcher of other people's hooks is not for us.
fn kept(document: &Document, ours: &[Vec<Step>], matcher: Option<&str>) -> Option<Vec<Step>> {
    let group =
        |steps: &[Step]| document.find(&steps[..3]).and_then(|group| group.to_serde_value());
    let suited =
        ours.iter().find(|steps| group(steps).is_some_and(|group| is_matcher(&group, matcher)));
    let alone = || {
        ours.iter().find(|steps| {
            group(steps)
                .is_some_and(|group| group["hooks"].as_array().is_some_and(|all| all.len() == 1))
        })
    };
    suited.or_else(alone).cloned()
}

/// Compares matchers by what they match: a missing, an empty and a `*` matcher match everything.
fn is_matcher(group: &Value, matcher: Option<&str>) -> bool {
    let found = group.get("matcher").map_or(Some(""), Value::as_str);
    let plain = |matcher: &str| if matcher == "*" { String::new() } else { matcher.to_owned() };
    found.map(plain) == Some(plain(matcher.unwrap_or_default()))
}

fn set_matcher(document: &Document, group: &[Step], matcher: Option<&str>) {
    let Some(node) = document.find(group) else { return };
    let (Some(object), Some(value)) = (node.as_object(), node.to_serde_value()) else { return };
    if is_matcher(&value, matcher) {
        return;
    }
    match (object.get("matcher"), matcher) {
        (Some(prop), matcher) => prop.set_value(matcher.unwrap_or("*").into()),
        (None, Some(matcher)) => {
            object.insert(0, "matcher", matcher.into());
        }
        (None, None) => {}
    }
}

fn replace(document: &Document, place: &[Step], hook: &Hook<'_>) {
    let Some(node) = document.find(place) else { return };
    if node.to_serde_value() != Some(hook.value())
        && let Some(object) = node.as_object()
    {
        object.replace_with(hook.input());
    }
}

/// The places of our hooks on an event: `hooks.<event>[group].hooks[hook]`. Groups of a form we
/// do not know are somebody else's.
fn places(document: &Document, event: &str, commands: &[&str]) -> Vec<Vec<Step>> {
    let groups = document.find(&steps(&["hooks", event])).and_then(|node| node.to_serde_value());
    let is_ours = |hook: &Value| {
        let command = hook["command"].as_str().unwrap_or_default();
        is_our_hook(command) || commands.contains(&command)
    };
    let mut places = Vec::new();
    for (group_index, group) in groups.iter().filter_map(Value::as_array).flatten().enumerate() {
        for (hook_index, hook) in group["hooks"].as_array().into_iter().flatten().enumerate() {
            if is_ours(hook) {
                let mut place = steps(&["hooks", event]);
                place.push(Step::Index(group_index));
                place.push(Step::Key("hooks".to_owned()));
                place.push(Step::Index(hook_index));
                places.push(place);
            }
        }
    }
    places
}

/// Deletes hooks, and the groups that hold nothing else.
fn remove(document: &mut Document, places: &[Vec<Step>]) -> Result<(), SettingsError> {
    // Backwards, so that the indexes of those still to go stay true.
    for place in places.iter().rev() {
        delete(document, place)?;
        let left = document.find(&place[..4]).and_then(|hooks| hooks.as_array());
        if left.is_some_and(|hooks| hooks.elements().is_empty()) {
            delete(document, &place[..3])?;
        }
    }
    Ok(())
}

fn events(document: &Document) -> Result<Vec<String>, SettingsError> {
    let hooks = document.find_object(&["hooks"])?;
    let events = hooks.iter().flat_map(CstObject::properties);
    Ok(events.filter_map(|event| event.decoded_name()).collect())
}
