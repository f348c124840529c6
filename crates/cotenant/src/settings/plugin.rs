//! Tells whether our plugin is enabled, which brings the hooks and the server already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::Document;

/// Finds our plugin where settings enable it, with the file that does.
///
/// Takes the settings weakest first: a later file overrides an earlier one key by key. Files that
/// cannot be read enable nothing, for the agent ignores them too.
pub(crate) fn enabled_plugin<'a>(
    settings: impl IntoIterator<Item = (&'a Path, &'a [u8])>,
) -> Option<(PathBuf, String)> {
    let mut found = BTreeMap::new();
    for (path, bytes) in settings {
        let Ok(document) = Document::parse(path, Some(bytes)) else { continue };
        let value = document.value().unwrap_or_default();
        for (plugin, enabled) in value["enabledPlugins"].as_object().into_iter().flatten() {
            if plugin.starts_with("cotenant@") {
                found.insert(plugin.clone(), (path.to_owned(), enabled.as_bool() == Some(true)));
            }
        }
    }
    let enabled = found.into_iter().find(|(_, (_, enabled))| *enabled);
    enabled.map(|(plugin, (path, _))| (path, plugin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled(settings: &[&str]) -> Option<(PathBuf, String)> {
        let paths: Vec<PathBuf> = (0..settings.len()).map(|i| format!("/{i}").into()).collect();
        let texts = settings.iter().map(|text| text.as_bytes());
        enabled_plugin(paths.iter().map(PathBuf::as_path).zip(texts))
    }

    #[test]
    fn a_key_of_ours_that_is_true_enables_it() {
        let settings = "{ /* c */ \"enabledPlugins\": {\"cotenant@market\": true,} }";
        assert_eq!(enabled(&["{}", settings]), Some(("/1".into(), "cotenant@market".to_owned())));
    }

    #[test]
    fn anything_else_does_not() {
        for settings in [
            r#"{"enabledPlugins": {"cotenant@market": false}}"#,
            r#"{"enabledPlugins": {"cotenant-x@market": true, "x@cotenant@": true}}"#,
            r#"{"enabledPlugins": ["cotenant@market"]}"#,
            r#"{"enabledPlugins": {"cotenant@market": true}"#,
            "",
        ] {
            assert_eq!(enabled(&[settings]), None, "{settings}");
        }
    }

    #[test]
    fn the_stronger_settings_decide() {
        let on = r#"{"enabledPlugins": {"cotenant@m": true}}"#;
        let off = r#"{"enabledPlugins": {"cotenant@m": false}}"#;
        assert_eq!(enabled(&[on, off]), None);
        assert_eq!(enabled(&[off, on]), Some(("/1".into(), "cotenant@m".to_owned())));
    }
}
