//! What an agent tells a hook: one JSON object, read tolerantly.
//!
//! Claude Code and Codex send the same names. Unknown fields are skipped without being kept, a
//! field of the wrong type counts as absent, and a file's content is never stored.

use std::marker::PhantomData;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// The most bytes that are read; a longer payload is not understood.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// The most files of one edit that are looked at.
const FILES_MAX: usize = 64;

/// The events that hooks act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    SessionStart,
    UserPromptSubmit,
    PreToolUse,
    PostToolUse,
    PostToolUseFailure,
    PreCompact,
    Stop,
    SubagentStop,
    SessionEnd,
}

impl Event {
    /// The event of a name; most names of an agent mean nothing here.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "SessionStart" => Self::SessionStart,
            "UserPromptSubmit" => Self::UserPromptSubmit,
            "PreToolUse" => Self::PreToolUse,
            "PostToolUse" => Self::PostToolUse,
            "PostToolUseFailure" => Self::PostToolUseFailure,
            "PreCompact" => Self::PreCompact,
            "Stop" => Self::Stop,
            "SubagentStop" => Self::SubagentStop,
            "SessionEnd" => Self::SessionEnd,
            _ => return None,
        })
    }

    /// The name in payloads and answers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SessionStart => "SessionStart",
            Self::UserPromptSubmit => "UserPromptSubmit",
            Self::PreToolUse => "PreToolUse",
            Self::PostToolUse => "PostToolUse",
            Self::PostToolUseFailure => "PostToolUseFailure",
            Self::PreCompact => "PreCompact",
            Self::Stop => "Stop",
            Self::SubagentStop => "SubagentStop",
            Self::SessionEnd => "SessionEnd",
        }
    }
}

/// The fields that hooks use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Payload {
    #[serde(deserialize_with = "text")]
    pub(crate) session_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) transcript_path: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) cwd: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) hook_event_name: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) source: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) reason: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) tool_name: Option<String>,
    #[serde(deserialize_with = "fields")]
    pub(crate) tool_input: ToolInput,
    #[serde(deserialize_with = "text")]
    pub(crate) tool_use_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) agent_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) agent_transcript_path: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) error: Option<String>,
    #[serde(deserialize_with = "flag")]
    pub(crate) stop_hook_active: bool,
    #[serde(deserialize_with = "text")]
    pub(crate) turn_id: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) model: Option<String>,
}

/// The arguments of a tool that hooks use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ToolInput {
    #[serde(deserialize_with = "text")]
    pub(crate) file_path: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) notebook_path: Option<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) command: Option<String>,
}

impl Payload {
    /// Reads a payload; `None` if it is not a JSON object.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let read = serde_json::from_slice::<Lenient<Self>>(bytes).ok();
        // That reading ends where a name stands twice, of which others take the last.
        let read = read.or_else(|| {
            let plain = serde_json::from_slice::<serde_json::Value>(bytes).ok()?;
            serde_json::from_value(plain).ok()
        });
        read.map(|payload| payload.0)
    }

    /// The event: what the payload says, else the word on the command line.
    pub(crate) fn event(&self, argument: Option<&str>) -> Option<Event> {
        self.hook_event_name.as_deref().or(argument).and_then(Event::of)
    }

    /// The agent's conversation id, if it can be one.
    pub(crate) fn native_id(&self) -> Option<&str> {
        self.session_id
            .as_deref()
            .filter(|id| cotenant_core::name::check_name("native id", id).is_ok())
    }

    /// Which agent sends this. Both send the same names; Codex also sends the turn, and keeps its
    /// transcripts under another name.
    pub(crate) fn kind(&self, inside_claude_code: bool) -> &'static str {
        let rollout = self
            .transcript_path
            .as_deref()
            .and_then(|path| path.rsplit('/').next())
            .map(|file| file.starts_with("rollout-"));
        let codex = match rollout {
            Some(rollout) => rollout,
            None => self.turn_id.is_some() || (self.model.is_some() && !inside_claude_code),
        };
        if codex { "codex" } else { "claude" }
    }

    /// The files that the tool is about to write; none for a tool that edits no file.
    pub(crate) fn edited_files(&self) -> Vec<&str> {
        let input = &self.tool_input;
        match self.tool_name.as_deref() {
            Some("Edit" | "Write" | "MultiEdit" | "NotebookEdit") => {
                input.file_path.iter().chain(&input.notebook_path).map(String::as_str).collect()
            }
            Some("apply_patch") => input.command.as_deref().map(patched_files).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Whether the tool is one of our MCP server, installed by `init` or by the plugin.
    pub(crate) fn is_our_tool(&self) -> bool {
        self.tool_name
            .as_deref()
            .and_then(|name| name.strip_prefix("mcp__"))
            .and_then(|rest| rest.split_once("__"))
            .is_some_and(|(server, _)| server == "cotenant" || server.ends_with("_cotenant"))
    }
}

/// The files that a Codex patch names.
fn patched_files(patch: &str) -> Vec<&str> {
    const HEADERS: [&str; 4] =
        ["*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: "];
    let mut files = Vec::new();
    for line in patch.lines() {
        let file = HEADERS.iter().find_map(|header| line.strip_prefix(header)).map(str::trim);
        if let Some(file) = file.filter(|file| !file.is_empty() && !files.contains(file)) {
            files.push(file);
            if files.len() == FILES_MAX {
                break;
            }
        }
    }
    files
}

/// A text, or nothing where something else stands.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(Text)
}

/// Whether something is true.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde_json::Value::deserialize(deserializer).map(|value| value == true)
}

/// An object's fields, or their defaults where something else stands.
fn fields<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Lenient::<T>::deserialize(deserializer).map(|lenient| lenient.0)
}

/// Implements the visits of what is not wanted: it is read and dropped.
macro_rules! drop_others {
    ($value:expr; $($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok($value)
        })*

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok($value)
        }
    };
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    drop_others!(None; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
}

/// A struct read from an object, or its default from anything else.
struct Lenient<T>(T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries))
    }

    drop_others!(T::default(); visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::Value;

    use super::*;

    fn fixtures() -> impl Iterator<Item = (String, String)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hooks");
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.flat_map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let payloads = match path.extension().unwrap().to_str().unwrap() {
                "jsonl" => text.lines().map(str::to_owned).collect(),
                _ => vec![text],
            };
            payloads.into_iter().map(move |payload| (name.clone(), payload))
        })
    }

    fn decode(text: &str) -> Payload {
        Payload::decode(text.as_bytes()).unwrap()
    }

    /// Every payload that the agents were seen to send is understood as a plain reading of its
    /// JSON says.
    #[test]
    fn recorded_payloads_are_read() {
        let mut count = 0;
        for (name, text) in fixtures() {
            let payload = decode(&text);
            let plain: Value = serde_json::from_str(&text).unwrap();
            let field = |name: &str| plain[name].as_str().map(str::to_owned);
            let input = |name: &str| plain["tool_input"][name].as_str().map(str::to_owned);
            let expected = Payload {
                session_id: field("session_id"),
                transcript_path: field("transcript_path"),
                cwd: field("cwd"),
                hook_event_name: field("hook_event_name"),
                source: field("source"),
                reason: field("reason"),
                tool_name: field("tool_name"),
                tool_input: ToolInput {
                    file_path: input("file_path"),
                    notebook_path: input("notebook_path"),
                    command: input("command"),
                },
                tool_use_id: field("tool_use_id"),
                agent_id: field("agent_id"),
                agent_transcript_path: field("agent_transcript_path"),
                error: field("error"),
                stop_hook_active: plain["stop_hook_active"] == true,
                turn_id: field("turn_id"),
                model: field("model"),
            };
            assert_eq!(payload, expected, "{name}");
            let kind = if name == "codex" { "codex" } else { "claude" };
            assert_eq!(payload.kind(true), kind, "{name}");
            assert_eq!(payload.kind(false), kind, "{name}");
            assert!(payload.native_id().is_some(), "{name}");
            let event = name.split('.').next().unwrap();
            if kind == "claude" {
                assert_eq!(
                    payload.event(Some("Stop")).map(Event::name),
                    Event::of(event).map(Event::name)
                );
            }
            count += 1;
        }
        assert!(count > 40, "{count}");
    }

    #[test]
    fn the_payload_names_the_event_before_the_command_line() {
        assert_eq!(
            decode("{\"hook_event_name\":\"Stop\"}").event(Some("PreToolUse")),
            Some(Event::Stop)
        );
        assert_eq!(decode("{}").event(Some("PreToolUse")), Some(Event::PreToolUse));
        assert_eq!(decode("{\"hook_event_name\":\"Setup\"}").event(Some("PreToolUse")), None);
        assert_eq!(decode("{}").event(None), None);
    }

    #[test]
    fn a_field_of_another_type_counts_as_absent() {
        let odd = r#"{"session_id":{"a":[1,2]},"cwd":7,"tool_name":null,"tool_use_id":[[]],
            "tool_input":"x","agent_id":true,"prompt":1e3,"reason":""}"#;
        assert_eq!(decode(odd), Payload::default());
        let odd = r#"{"session_id":"s","tool_input":{"file_path":["a"],"content":{}}}"#;
        assert_eq!(decode(odd).session_id.as_deref(), Some("s"));
        for nothing in ["null", "7", "\"x\"", "[{}]", "true"] {
            assert_eq!(decode(nothing), Payload::default(), "{nothing}");
        }
    }

    #[test]
    fn of_a_name_that_stands_twice_the_last_counts() {
        let twice = r#"{"cwd":"/a","tool_input":{"command":"a","command":"b"},"cwd":"/b"}"#;
        let payload = decode(twice);
        assert_eq!(payload.cwd.as_deref(), Some("/b"));
        assert_eq!(payload.tool_input.command.as_deref(), Some("b"));
    }

    #[test]
    fn an_id_that_is_no_name_is_no_id() {
        for bad in ["../x", "a\\u0000b", "a\\nb", "-x"] {
            let payload = decode(&format!("{{\"session_id\":\"{bad}\"}}"));
            assert_eq!(payload.native_id(), None, "{bad}");
        }
    }

    #[test]
    fn edits_name_their_files() {
        let edit = |tool: &str, input: &str| {
            let text = format!("{{\"tool_name\":\"{tool}\",\"tool_input\":{input}}}");
            decode(&text).edited_files().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        for tool in ["Edit", "Write", "MultiEdit"] {
            assert_eq!(edit(tool, r#"{"file_path":"/a b"}"#), ["/a b"]);
        }
        assert_eq!(edit("NotebookEdit", r#"{"notebook_path":"n.ipynb"}"#), ["n.ipynb"]);
        assert!(edit("Read", r#"{"file_path":"/a"}"#).is_empty());
        assert!(edit("Bash", r#"{"command":"*** Update File: a"}"#).is_empty());
        let patch = "*** Begin Patch\\n*** Update File: a.rs\\n*** Move to: b.rs\\n@@\\n-x\\n\
            *** Add File: c.rs\\n+*** Update File: not.rs\\n*** Delete File: a.rs\\n*** End Patch";
        assert_eq!(
            edit("apply_patch", &format!("{{\"command\":\"{patch}\"}}")),
            ["a.rs", "b.rs", "c.rs"]
        );
    }

    #[test]
    fn our_own_tools_are_known_however_they_are_installed() {
        let ours = |tool: &str| decode(&format!("{{\"tool_name\":\"{tool}\"}}")).is_our_tool();
        assert!(ours("mcp__cotenant__claim"));
        assert!(ours("mcp__plugin_cotenant_cotenant__claim"));
        assert!(!ours("mcp__other__cotenant"));
        assert!(!ours("Bash"));
    }

    /// Truncations and single changed bytes of real payloads, and plain noise.
    #[test]
    fn garbage_never_panics() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = move |limit: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::from(u16::from_le_bytes([seed.to_le_bytes()[3], seed.to_le_bytes()[5]])) % limit
        };
        let bytes_of_json = b"{}[]\",:\\\x00\xff";
        for (_, text) in fixtures() {
            for _ in 0..200 {
                let mut bytes = text.clone().into_bytes();
                let at = below(bytes.len());
                match below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes[at] = bytes_of_json[below(10)],
                    _ => bytes.insert(at, bytes_of_json[below(10)]),
                }
                if let Some(payload) = Payload::decode(&bytes) {
                    let _ = (payload.event(None), payload.edited_files(), payload.native_id());
                    let _ = (payload.kind(false), payload.is_our_tool());
                }
            }
        }
        for _ in 0..2_000 {
            let noise: Vec<u8> = (0..below(64)).map(|_| bytes_of_json[below(10)]).collect();
            let _ = Payload::decode(&noise);
        }
        assert_eq!(Payload::decode("[".repeat(1 << 20).as_bytes()), None);
    }
}
