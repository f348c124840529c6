//! Takes a value out of a JSON text, with its comma and its layout, but no comment.
//!
//! The syntax tree's own removal takes the comments on the same line along. Those may be somebody
//! else's, so the text is cut here instead.

use std::ops::Range;

use jsonc_parser::cst::{CstContainerNode, CstNode};

use super::SettingsError;
use super::document::{Document, Step, offset};

/// Deletes the value behind some steps, and its key if it has one.
pub(super) fn delete(document: &mut Document, steps: &[Step]) -> Result<(), SettingsError> {
    let Some(value) = document.find(steps) else { return Ok(()) };
    let item = match value.parent() {
        Some(CstContainerNode::ObjectProp(prop)) => CstNode::Container(prop.into()),
        _ => value,
    };
    let Some(container) = item.parent() else { return Ok(()) };
    let siblings = container.children();
    let mut text = document.text();
    let mut cuts = Cuts::new(&siblings, item.child_index(), offset(&container.into())).all();
    cuts.sort_by_key(|cut| cut.start);
    for cut in cuts.into_iter().rev() {
        text.replace_range(cut, "");
    }
    document.replace_text(&text)
}

/// The item to delete among its siblings, brackets and blanks included.
struct Cuts<'a> {
    siblings: &'a [CstNode],
    /// Where each sibling begins in the text, and where the last one ends.
    starts: Vec<usize>,
    item: usize,
}

impl<'a> Cuts<'a> {
    fn new(siblings: &'a [CstNode], item: usize, start: usize) -> Self {
        let mut starts = vec![start];
        for sibling in siblings {
            starts.push(starts[starts.len() - 1] + sibling.to_string().len());
        }
        Self { siblings, starts, item }
    }

    /// The ranges of the text to cut, none overlapping another.
    fn all(&self) -> Vec<Range<usize>> {
        let comma_after = self.comma((self.item + 1)..self.siblings.len());
        // The comma before is needless only if nothing follows that it would separate.
        let comma_before = match comma_after {
            Some(_) => None,
            None => self.comma((0..self.item).rev()),
        };
        if self.alone() {
            // Brackets with nothing in between, however they were laid out around the item.
            return vec![self.bytes(1..self.siblings.len() - 1)];
        }
        // A comment between the item and its comma stays, so they may be two cuts.
        let end = match comma_after {
            Some(comma) if self.blank((self.item + 1)..comma) => comma + 1,
            _ => self.item + 1,
        };
        let mut cuts = vec![self.bytes(self.with_layout(self.item..end))];
        let apart = comma_after.filter(|comma| *comma >= end).or(comma_before);
        cuts.extend(apart.map(|comma| self.bytes(comma..comma + 1)));
        cuts
    }

    /// Widens a range of siblings by the blanks that only make sense with it.
    fn with_layout(&self, range: Range<usize>) -> Range<usize> {
        let spaces = |node: &CstNode| node.is_whitespace();
        let before = (0..range.start).rev().find(|at| !spaces(&self.siblings[*at])).unwrap_or(0);
        let after = (range.end..self.siblings.len())
            .find(|at| !spaces(&self.siblings[*at]))
            .unwrap_or(self.siblings.len() - 1);
        let begins_line = self.siblings[before].is_newline();
        let ends_line = self.siblings[after].is_newline();
        match (begins_line, ends_line) {
            // The whole line goes; the newline after it now ends the line before it.
            (true, true) => before..after,
            // Blanks at the end of a line, or before a closing bracket, would be left over.
            (false, true) => before + 1..after,
            (false, false) if after == self.siblings.len() - 1 => before + 1..range.end,
            (_, false) => range.start..after,
        }
    }

    /// Tells whether the container holds nothing else, neither values nor comments.
    fn alone(&self) -> bool {
        let last = self.siblings.len() - 1;
        (1..last).all(|at| {
            let node = &self.siblings[at];
            at == self.item || node.is_comma() || node.is_whitespace() || node.is_newline()
        })
    }

    /// The comma that comes first on the way, with nothing but blanks and comments before it.
    fn comma(&self, mut way: impl Iterator<Item = usize>) -> Option<usize> {
        let at = way.find(|at| !self.siblings[*at].is_trivia())?;
        self.siblings[at].is_comma().then_some(at)
    }

    fn blank(&self, mut range: Range<usize>) -> bool {
        range.all(|at| self.siblings[at].is_whitespace() || self.siblings[at].is_newline())
    }

    fn bytes(&self, range: Range<usize>) -> Range<usize> {
        self.starts[range.start]..self.starts[range.end]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn without(text: &str, steps: &[Step]) -> String {
        let mut document = Document::parse(Path::new("/s.json"), Some(text.as_bytes())).unwrap();
        delete(&mut document, steps).unwrap();
        document.text()
    }

    fn key(key: &str) -> Step {
        Step::Key(key.to_owned())
    }

    #[test]
    fn a_line_goes_with_its_newline() {
        let text = "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}\n";
        assert_eq!(without(text, &[key("a")]), "{\n  \"b\": 2,\n  \"c\": 3\n}\n");
        assert_eq!(without(text, &[key("b")]), "{\n  \"a\": 1,\n  \"c\": 3\n}\n");
        assert_eq!(without(text, &[key("c")]), "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
    }

    #[test]
    fn a_trailing_comma_is_kept_where_there_was_one() {
        assert_eq!(without("{\n\"a\": 1,\n\"b\": 2,\n}", &[key("b")]), "{\n\"a\": 1,\n}");
    }

    #[test]
    fn an_item_in_a_row_goes_with_its_blank() {
        assert_eq!(without("{\"a\": [1, 2, 3]}", &[key("a"), Step::Index(0)]), "{\"a\": [2, 3]}");
        assert_eq!(without("{\"a\": [1, 2, 3]}", &[key("a"), Step::Index(1)]), "{\"a\": [1, 3]}");
        assert_eq!(without("{\"a\": [1, 2, 3]}", &[key("a"), Step::Index(2)]), "{\"a\": [1, 2]}");
        assert_eq!(without("{\"a\":1,\"b\":2}", &[key("b")]), "{\"a\":1}");
        assert_eq!(without("{\"a\": 1, \"b\": 2\n}", &[key("b")]), "{\"a\": 1\n}");
    }

    #[test]
    fn the_only_item_leaves_empty_brackets() {
        assert_eq!(without("{\r\n  \"a\": 1,\r\n}\r\n", &[key("a")]), "{}\r\n");
        assert_eq!(without("{\"a\": [ 1 ]}", &[key("a"), Step::Index(0)]), "{\"a\": []}");
    }

    #[test]
    fn comments_stay() {
        let text = "{\n  // one\n  \"a\": 1 /* two */, // three\n  \"b\": 2 // four\n}";
        assert_eq!(
            without(text, &[key("a")]),
            "{\n  // one\n  /* two */ // three\n  \"b\": 2 // four\n}"
        );
        assert_eq!(
            without(text, &[key("b")]),
            "{\n  // one\n  \"a\": 1 /* two */ // three\n  // four\n}"
        );
        assert_eq!(without("{ /* x */ \"a\": 1 }", &[key("a")]), "{ /* x */ }");
        assert_eq!(without("{\"a\": 1 // x\n}", &[key("a")]), "{// x\n}");
    }

    #[test]
    fn what_is_not_there_is_not_deleted() {
        assert_eq!(without("{\"a\": 1}", &[key("b")]), "{\"a\": 1}");
    }
}
