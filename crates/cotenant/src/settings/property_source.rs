//! Generates settings: any layout, comments anywhere, hooks of others and older ones of ours.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// A JSON value that knows which parts of it are ours.
#[derive(Clone, Debug)]
enum Node {
    Scalar(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
    Ours(Box<Node>),
}

impl Node {
    fn holds_ours(&self) -> bool {
        match self {
            Self::Scalar(_) => false,
            Self::Array(items) => items.iter().any(Self::holds_ours),
            Self::Object(members) => members.iter().any(|(_, node)| node.holds_ours()),
            Self::Ours(_) => true,
        }
    }
}

/// A whole file, and the comments in it that are not inside something of ours.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) text: String,
    pub(super) comments: Vec<String>,
}

/// Prints a value, taking every decision about layout from a list of numbers.
struct Printer<'a> {
    source: Source,
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    newline: &'static str,
    indent: &'static str,
    comments: bool,
    trailing_commas: bool,
    depth: usize,
    in_ours: bool,
    printed: usize,
}

impl Printer<'_> {
    fn print(&mut self, node: &Node) {
        match node {
            Node::Scalar(text) => self.source.text.push_str(text),
            Node::Ours(node) => {
                let outside = std::mem::replace(&mut self.in_ours, true);
                self.print(node);
                self.in_ours = outside;
            }
            Node::Array(items) => self.list("[", "]", items, Self::print),
            Node::Object(members) => self.list("{", "}", members, |printer, (key, node)| {
                printer.source.text.push_str(&Value::from(key.as_str()).to_string());
                // A key goes with its value, and with it what is written around the colon.
                let outside = printer.in_ours;
                printer.in_ours |= node.holds_ours();
                printer.trivia();
                printer.source.text.push(':');
                printer.trivia();
                printer.in_ours = outside;
                printer.print(node);
            }),
        }
    }

    fn list<T>(&mut self, open: &str, close: &str, items: &[T], print: fn(&mut Self, &T)) {
        self.source.text.push_str(open);
        self.depth += 1;
        let in_lines = self.choose(4) > 0;
        for (index, item) in items.iter().enumerate() {
            if in_lines {
                self.line();
            }
            self.trivia();
            print(self, item);
            self.trivia();
            if index + 1 < items.len() || self.trailing_commas {
                self.source.text.push(',');
            }
            self.trivia();
        }
        self.depth -= 1;
        if in_lines {
            self.line();
        } else {
            self.trivia();
        }
        self.source.text.push_str(close);
    }

    fn line(&mut self) {
        self.source.text.push_str(self.newline);
        let odd = usize::from(self.choose(8) == 0);
        self.source.text.push_str(&self.indent.repeat(self.depth + odd));
    }

    fn trivia(&mut self) {
        match self.choose(12) {
            0..=2 => self.source.text.push(' '),
            3 if self.comments => self.comment("/* ", " */"),
            4 if self.comments => {
                self.comment("// ", "");
                self.line();
            }
            5 => {
                self.source.text.push_str(self.newline);
                self.line();
            }
            _ => {}
        }
    }

    fn comment(&mut self, open: &str, close: &str) {
        self.printed += 1;
        let comment = format!("{open}{{\"[,:{}-{close}", self.printed);
        self.source.text.push_str(&comment);
        if !self.in_ours {
            self.source.comments.push(comment);
        }
    }

    fn choose(&mut self, among: u8) -> u8 {
        self.choices.next().expect("a cycle over a list that is not empty") % among
    }
}

fn scalar() -> impl Strategy<Value = Node> {
    const TEXTS: &[&str] =
        &["0", "-1.5", "true", "null", r#""""#, r#""a\"\\/{}[],:// \u00fc ü""#, r#""cotenant""#];
    select(TEXTS).prop_map(|text| Node::Scalar(text.to_owned()))
}

fn anything() -> impl Strategy<Value = Node> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Node::Array),
            prop::collection::btree_map(select(&["a", "b c", "hooks", "ü"]), inner, 0..3)
                .prop_map(object),
        ]
    })
}

fn object<K: ToString>(members: impl IntoIterator<Item = (K, Node)>) -> Node {
    Node::Object(members.into_iter().map(|(key, node)| (key.to_string(), node)).collect())
}

fn string(text: &str) -> Node {
    Node::Scalar(Value::from(text).to_string())
}

fn hook(command: &str) -> Node {
    object([("type", string("command")), ("command", string(command))])
}

fn foreign_hook() -> impl Strategy<Value = Node> {
    select(&["lint", "echo cotenant hook Stop", "'my cotenant' hook x"]).prop_map(hook)
}

fn our_hook() -> impl Strategy<Value = Node> {
    const COMMANDS: &[&str] = &["cotenant hook Stop", "'/old dir/cotenant' hook Stop --fast"];
    select(COMMANDS).prop_map(|command| Node::Ours(Box::new(hook(command))))
}

fn group() -> impl Strategy<Value = Node> {
    let matcher = prop::option::of(select(&["", "*", "Bash", "Edit|Write"]));
    let grouped = |matcher: Option<&str>, hooks: Vec<Node>| {
        let matcher = matcher.map(|matcher| ("matcher", string(matcher)));
        object(matcher.into_iter().chain([("hooks", Node::Array(hooks))]))
    };
    prop_oneof![
        4 => (matcher.clone(), prop::collection::vec(foreign_hook(), 1..3))
            .prop_map(move |(matcher, hooks)| grouped(matcher, hooks)),
        2 => (matcher.clone(), prop::collection::vec(our_hook(), 1..3))
            .prop_map(move |(matcher, hooks)| Node::Ours(Box::new(grouped(matcher, hooks)))),
        2 => (matcher, foreign_hook(), our_hook(), any::<bool>())
            .prop_map(move |(matcher, foreign, ours, first)| {
                grouped(matcher, if first { vec![ours, foreign] } else { vec![foreign, ours] })
            }),
        1 => anything(),
    ]
}

fn hooks() -> impl Strategy<Value = Node> {
    let event = select(&["Stop", "PreToolUse", "PostToolUse", "SessionEnd", "Notification", "Ü"]);
    prop::collection::btree_map(
        event,
        prop::collection::vec(group(), 0..4).prop_map(Node::Array),
        0..4,
    )
    .prop_map(object)
}

fn permissions() -> impl Strategy<Value = Node> {
    let rules = select(&["Bash(ls)", "mcp__cotenant", "mcp__cotenant__x"]).prop_map(string);
    let allow = prop::option::of(prop::collection::vec(rules, 0..3).prop_map(Node::Array));
    (allow, prop::option::of(anything())).prop_map(|(allow, deny)| {
        let allow = allow.map(|allow| ("allow", allow));
        object(deny.map(|deny| ("deny", deny)).into_iter().chain(allow))
    })
}

fn servers() -> impl Strategy<Value = Node> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(ours, other, env)| {
        let mut fields =
            vec![("command", string("/old/cotenant")), ("args", Node::Array(vec![string("mcp")]))];
        if env {
            fields.push(("env", object([("A", string("b"))])));
        }
        let ours = ours.then(|| ("cotenant", Node::Ours(Box::new(object(fields)))));
        let other = other.then(|| ("other", object([("command", string("x"))])));
        object(ours.into_iter().chain(other))
    })
}

prop_compose! {
    pub(super) fn source()(
        hooks in prop::option::of(hooks()),
        permissions in prop::option::of(permissions()),
        servers in prop::option::of(servers()),
        foreign in prop::collection::btree_map(select(&["model", "x y", "env"]), anything(), 0..3),
        turn in any::<Index>(),
        choices in prop::collection::vec(any::<u8>(), 1..200),
        newline in select(&["\n", "\r\n"]),
        indent in select(&["  ", "    ", "\t", " ", ""]),
        (bom, comments, trailing_commas, last_newline) in any::<(bool, bool, bool, bool)>(),
    ) -> Source {
        let mut members: Vec<(String, Node)> =
            foreign.into_iter().map(|(key, node)| (key.to_owned(), node)).collect();
        members.extend(hooks.map(|node| ("hooks".to_owned(), node)));
        members.extend(permissions.map(|node| ("permissions".to_owned(), node)));
        members.extend(servers.map(|node| ("mcpServers".to_owned(), node)));
        let count = members.len().max(1);
        members.rotate_left(turn.index(count) % count);
        let mut printer = Printer {
            source: Source { text: String::new(), comments: Vec::new() },
            choices: choices.iter().cycle(),
            newline, indent, comments, trailing_commas,
            depth: 0, in_ours: false, printed: 0,
        };
        printer.trivia();
        printer.print(&Node::Object(members));
        printer.trivia();
        let mut source = printer.source;
        if last_newline {
            source.text.push_str(newline);
        }
        if bom {
            source.text.insert(0, '\u{feff}');
        }
        source
    }
}
