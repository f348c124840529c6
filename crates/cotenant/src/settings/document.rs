//! A JSON text that is edited in place, through its concrete syntax tree.

use std::path::{Path, PathBuf};

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{
    CstArray, CstContainerNode, CstInputValue, CstLeafNode, CstNode, CstObject, CstRootNode,
};
use serde_json::Value;

use super::SettingsError;

const BOM: &str = "\u{feff}";

/// What the agents read: JSON, plus comments and trailing commas.
const SYNTAX: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// One step from a value to a value inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element of an array.
    Index(usize),
}

/// A parsed JSON file.
pub(super) struct Document {
    path: PathBuf,
    bom: bool,
    root: CstRootNode,
}

impl Document {
    /// Parses a file's bytes; a file that does not exist counts as an empty object.
    pub(super) fn parse(path: &Path, bytes: Option<&[u8]>) -> Result<Self, SettingsError> {
        let (bom, text) = decode(path, bytes.unwrap_or(b"{}\n"))?;
        let document = Self { path: path.to_owned(), bom, root: parse(path, text)? };
        if let Some(value) = document.root.value()
            && value.as_object().is_none()
        {
            return Err(document.shape(&value, "the whole file", "an object"));
        }
        Ok(document)
    }

    /// The bytes to write.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let bom = if self.bom { BOM } else { "" };
        format!("{bom}{}", self.root).into_bytes()
    }

    pub(super) fn text(&self) -> String {
        self.root.to_string()
    }

    pub(super) fn replace_text(&mut self, text: &str) -> Result<(), SettingsError> {
        self.root = parse(&self.path, text)?;
        Ok(())
    }

    /// The whole content as a value, or `None` if there is nothing but blanks and comments.
    pub(super) fn value(&self) -> Option<Value> {
        self.root.value()?.to_serde_value()
    }

    /// Tells whether only an empty object, or nothing at all, is left, without comments.
    pub(super) fn is_blank(&self) -> bool {
        let blank = |nodes: Vec<CstNode>| {
            nodes.iter().all(|node| node.is_whitespace() || node.is_newline() || node.is_token())
        };
        self.root.children().iter().all(|node| match node.as_object() {
            Some(object) => blank(object.children()),
            None => node.is_whitespace() || node.is_newline(),
        })
    }

    /// Finds the value behind some steps, if it is there.
    pub(super) fn find(&self, steps: &[Step]) -> Option<CstNode> {
        steps.iter().try_fold(self.root.value()?, |node, step| match step {
            Step::Key(key) => node.as_object()?.get(key)?.value(),
            Step::Index(index) => node.as_array()?.elements().get(*index).cloned(),
        })
    }

    /// Finds the object behind some keys; anything else there is an error.
    pub(super) fn find_object(&self, keys: &[&str]) -> Result<Option<CstObject>, SettingsError> {
        let Some(mut object) = self.root.object_value() else { return Ok(None) };
        for (depth, key) in keys.iter().enumerate() {
            let Some(value) = self.member(&object, key, &keys[..=depth])? else { return Ok(None) };
            let name = keys[..=depth].join(".");
            object = value.as_object().ok_or_else(|| self.shape(&value, &name, "an object"))?;
        }
        Ok(Some(object))
    }

    /// Finds the array behind some keys; anything else there is an error.
    pub(super) fn find_array(&self, keys: &[&str]) -> Result<Option<CstArray>, SettingsError> {
        let Some((last, parents)) = keys.split_last() else { return Ok(None) };
        let Some(object) = self.find_object(parents)? else { return Ok(None) };
        let Some(value) = self.member(&object, last, keys)? else { return Ok(None) };
        let array = value.as_array();
        array.map(Some).ok_or_else(|| self.shape(&value, &keys.join("."), "an array"))
    }

    /// Finds the object behind some keys, creating what is missing.
    pub(super) fn require_object(&self, keys: &[&str]) -> Result<CstObject, SettingsError> {
        let Some((last, parents)) = keys.split_last() else {
            let root = self.root.object_value_or_create();
            return Ok(root.expect("`parse` lets no other root pass than an object or none"));
        };
        if let Some(object) = self.find_object(keys)? {
            return Ok(object);
        }
        let prop = self.require_object(parents)?.append(last, CstInputValue::Object(Vec::new()));
        Ok(prop.object_value_or_set())
    }

    /// Finds the array behind some keys, creating what is missing.
    pub(super) fn require_array(&self, keys: &[&str]) -> Result<CstArray, SettingsError> {
        if let Some(array) = self.find_array(keys)? {
            return Ok(array);
        }
        let (last, parents) = keys.split_last().expect("the root is an object, not an array");
        let prop = self.require_object(parents)?.append(last, CstInputValue::Array(Vec::new()));
        Ok(prop.array_value_or_set())
    }

    /// The error for another program's server under our name.
    pub(super) fn name_taken(&self, node: &CstNode, key: String) -> SettingsError {
        let (line, column) = self.position(node);
        SettingsError::NameTaken { path: self.path.clone(), line, column, key }
    }

    /// The value of a key, which must not occur twice: the tree would take the first, and the
    /// agents take the last.
    fn member(
        &self,
        object: &CstObject,
        key: &str,
        name: &[&str],
    ) -> Result<Option<CstNode>, SettingsError> {
        let mut same = object
            .properties()
            .into_iter()
            .filter(|prop| prop.decoded_name().as_deref() == Some(key));
        let first = same.next();
        if let Some(second) = same.next() {
            let (line, column) = self.position(&CstContainerNode::from(second).into());
            let (path, key) = (self.path.clone(), name.join("."));
            return Err(SettingsError::DuplicateKey { path, line, column, key });
        }
        Ok(first.and_then(|prop| prop.value()))
    }

    fn shape(&self, node: &CstNode, key: &str, expected: &'static str) -> SettingsError {
        let (line, column) = self.position(node);
        SettingsError::Shape {
            path: self.path.clone(),
            line,
            column,
            key: key.to_owned(),
            expected,
            found: kind(node),
        }
    }

    fn position(&self, node: &CstNode) -> (usize, usize) {
        position(&self.text(), offset(node))
    }
}

/// The steps that follow some keys.
pub(super) fn steps(keys: &[&str]) -> Vec<Step> {
    keys.iter().map(|&key| Step::Key(key.to_owned())).collect()
}

/// Where a node's text begins in the text of the whole document.
pub(super) fn offset(node: &CstNode) -> usize {
    let before: usize = node.previous_siblings().map(|node| node.to_string().len()).sum();
    before + node.parent().map_or(0, |parent| offset(&parent.into()))
}

/// Line and column of a byte offset, both from 1, the column in characters.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// Splits off the byte order mark and checks that the rest is UTF-8.
pub(super) fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<(bool, &'a str), SettingsError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let (line, column) = position(&valid, valid.len());
        SettingsError::NotUtf8 { path: path.to_owned(), line, column }
    })?;
    Ok(text.strip_prefix(BOM).map_or((false, text), |rest| (true, rest)))
}

fn parse(path: &Path, text: &str) -> Result<CstRootNode, SettingsError> {
    CstRootNode::parse(text, &SYNTAX).map_err(|error| {
        let (line, column) = position(text, error.range().start.min(text.len()));
        let message = error.kind().to_string();
        let mut letters = message.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        let message = first.into_iter().chain(letters).collect();
        SettingsError::Parse { path: path.to_owned(), line, column, message }
    })
}

fn kind(node: &CstNode) -> &'static str {
    match node {
        CstNode::Container(CstContainerNode::Object(_)) => "an object",
        CstNode::Container(CstContainerNode::Array(_)) => "an array",
        CstNode::Leaf(CstLeafNode::StringLit(_)) => "a string",
        CstNode::Leaf(CstLeafNode::NumberLit(_)) => "a number",
        CstNode::Leaf(CstLeafNode::BooleanLit(_)) => "a boolean",
        CstNode::Leaf(CstLeafNode::NullKeyword(_)) => "null",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, SettingsError> {
        Document::parse(Path::new("/s.json"), Some(text.as_bytes()))
    }

    fn message<T>(result: Result<T, SettingsError>) -> String {
        result.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn an_unedited_text_comes_back_byte_by_byte() {
        for text in [
            "",
            " \r\n",
            "// only a comment",
            "{}",
            "\u{feff}{\r\n\t\"a\" : [1 , 2,],\r\n}\r\n\r\n",
            "{ /* a */ \"ü\\u00e9\": 1e400, // b\n\n }\n// c",
            "{\"a\":1,\r\"b\":2}\r",
        ] {
            assert_eq!(parse(text).unwrap().bytes(), text.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn a_syntax_error_names_file_line_and_column() {
        assert_eq!(
            message(parse("{\n  \"ü\": 1 2\n}")),
            "cannot parse `/s.json` at line 2, column 9: expected comma"
        );
        assert!(message(parse("{\"a\": 1} x")).contains("line 1, column 10"));
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_named() {
        let result = Document::parse(Path::new("/s.json"), Some(b"{\n  \"\xff\": 1}"));
        assert_eq!(message(result), "`/s.json` is not UTF-8: invalid byte at line 2, column 4");
    }

    #[test]
    fn a_root_that_is_no_object_is_refused() {
        assert_eq!(
            message(parse("\n [1]")),
            "`the whole file` in `/s.json` at line 2, column 2 is an array, expected an object"
        );
    }

    #[test]
    fn a_wrong_type_on_the_way_is_refused() {
        let document = parse("{\n  \"hooks\": \"x\"\n}").unwrap();
        assert_eq!(
            message(document.require_array(&["hooks", "Stop"])),
            "`hooks` in `/s.json` at line 2, column 12 is a string, expected an object"
        );
        let document = parse("{\"hooks\": {\"Stop\": null}}").unwrap();
        assert_eq!(
            message(document.require_array(&["hooks", "Stop"])),
            "`hooks.Stop` in `/s.json` at line 1, column 20 is null, expected an array"
        );
    }

    #[test]
    fn a_key_that_occurs_twice_is_refused() {
        let document = parse("{\"hooks\": {},\n \"h\\u006foks\": {}}").unwrap();
        assert_eq!(
            message(document.require_object(&["hooks"])),
            "`hooks` occurs twice in `/s.json`, again at line 2, column 2"
        );
    }

    #[test]
    fn only_an_empty_object_without_comments_is_blank() {
        for text in ["", "{}", " { \n } \n"] {
            assert!(parse(text).unwrap().is_blank(), "{text:?}");
        }
        for text in ["{} // a", "{ /* a */ }", "{\"a\": 1}", "// a"] {
            assert!(!parse(text).unwrap().is_blank(), "{text:?}");
        }
    }
}
