//! F1: names, resources, items, guards, patterns, and what is shown of them.

use cotenant_core::{
    claim::Item,
    data::glob,
    lease::Resource,
    name::{NAME_BYTES_MAX, check_name, is_deceptive, shown},
    render::for_terminal,
    store::Guard,
};

use crate::{check_refusal, input::texts};

pub(crate) fn names(bytes: &[u8]) {
    let [name, pattern] = texts(bytes);
    check(&name);
    let seen = shown(&name);
    assert!(seen.chars().count() <= 61 && !seen.chars().any(is_deceptive), "{seen:?}");
    let printed = for_terminal(&name);
    assert!(!printed.contains('\u{1b}') && for_terminal(&printed) == printed, "{printed:?}");
    resource(&name);
    match name.parse::<Item>() {
        Ok(item) => assert_eq!(item.to_string(), name),
        Err(error) => check_refusal(&error),
    }
    match name.parse::<Guard>() {
        Ok(guard) => {
            assert!(guard.fence.0 >= 0);
            assert!(name.starts_with(&format!("{}=", guard.resource)));
        }
        Err(error) => check_refusal(&error),
    }
    assert_eq!(glob(&pattern, &name), is_like(pattern.as_bytes(), name.as_bytes()), "{pattern:?}");
    assert!(glob("*", &name) && glob(&name.replace('*', "_"), &name.replace('*', "_")));
}

fn check(name: &str) {
    match check_name("name", name) {
        Ok(()) => {
            assert!((1..=NAME_BYTES_MAX).contains(&name.len()), "{name:?}");
            assert!(!name.starts_with('-') && !name.chars().any(is_deceptive), "{name:?}");
            let odd = |segment: &str| matches!(segment, "" | "." | "..");
            assert!(!name.split('/').any(odd), "{name:?}");
            assert_eq!(shown(name).trim_end_matches('…'), &name[..shown_bytes(name)]);
        }
        Err(error) => check_refusal(&error),
    }
}

/// How many bytes the first 60 characters have.
fn shown_bytes(name: &str) -> usize {
    name.char_indices().nth(60).map_or(name.len(), |(at, _)| at)
}

/// A resource is written in one form, which names it again.
fn resource(text: &str) {
    match Resource::parse(text) {
        Ok(resource) => {
            let written = resource.to_string();
            let again = Resource::parse(&written).expect("its one form is a resource");
            assert_eq!(again, resource, "{text:?} {written:?}");
            assert_eq!(again.to_string(), written);
        }
        Err(error) => check_refusal(&error),
    }
}

/// A plain matcher, a row of the pattern's places at a time.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let mut row: Vec<bool> = vec![true];
    row.extend(pattern.iter().scan(true, |open, byte| {
        *open &= *byte == b'*';
        Some(*open)
    }));
    for byte in text {
        let mut next = vec![false];
        for (place, wanted) in pattern.iter().enumerate() {
            let matches = match wanted {
                b'*' => row[place + 1] || next[place],
                wanted => row[place] && wanted == byte,
            };
            next.push(matches);
        }
        row = next;
    }
    row[pattern.len()]
}
