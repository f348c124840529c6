//! F2: repository paths, and which of them are in each other's way.

use cotenant_core::name::{
    PATH_BYTES_MAX, directories_above, is_deceptive, normal_path, paths_overlap,
};

use crate::{check_refusal, input::texts};

pub(crate) fn paths(bytes: &[u8]) {
    let written: [String; 3] = texts(bytes);
    let normal: Vec<String> = written.iter().filter_map(|path| one(path)).collect();
    for one in &normal {
        for other in &normal {
            pair(one, other);
            for third in &normal {
                let chain = is_above(one, other) && is_above(other, third);
                assert!(!chain || is_above(one, third), "{one:?} {other:?} {third:?}");
            }
        }
    }
}

fn one(path: &str) -> Option<String> {
    let normal = match normal_path(path) {
        Ok(normal) => normal,
        Err(error) => {
            check_refusal(&error);
            return None;
        }
    };
    assert!((1..=PATH_BYTES_MAX).contains(&normal.len()) && !normal.chars().any(is_deceptive));
    assert_eq!(normal_path(&normal).expect("a normal path is one"), normal);
    assert!(!normal.starts_with('/') && !normal.ends_with('/'), "{normal:?}");
    let odd = |segment: &str| matches!(segment, "" | "." | "..");
    assert!(normal == "." || !normal.split('/').any(odd), "{normal:?}");
    Some(normal)
}

/// Whether one is a directory above the other, segment by segment.
fn is_above(one: &str, other: &str) -> bool {
    if one == "." {
        return other != ".";
    }
    let (above, below): (Vec<_>, Vec<_>) = (one.split('/').collect(), other.split('/').collect());
    above.len() < below.len() && below[..above.len()] == above[..]
}

fn pair(one: &str, other: &str) {
    let expected = one == other || is_above(one, other) || is_above(other, one);
    assert_eq!(paths_overlap(one, other), expected, "{one:?} {other:?}");
    assert_eq!(paths_overlap(other, one), expected, "{one:?} {other:?}");
    assert_eq!(directories_above(other).contains(&one), is_above(one, other), "{one:?} {other:?}");
    if one != "." {
        // The range of names in which the store looks for what is below a directory.
        let (first, end) = (format!("{one}/"), format!("{one}0"));
        let in_range = *first <= *other && *other < *end;
        assert_eq!(in_range, is_above(one, other), "{one:?} {other:?}");
    }
}
