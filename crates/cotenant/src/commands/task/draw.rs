//! A graph of tasks as lines of text.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_core::{
    id::TaskId,
    render::for_terminal,
    task::{
        TaskState,
        view::{GraphNode, TaskGraph},
    },
};

/// How deep the tree goes; a chain of thousands would be wider than any screen.
const DEPTH_MAX: usize = 40;

/// As a tree: each task below the first one that it needs.
pub(super) fn text(graph: &TaskGraph) -> Vec<String> {
    let tree = Tree::of(graph);
    let mut lines = Vec::new();
    let mut shown = BTreeSet::new();
    for node in &graph.nodes {
        if !tree.needs.contains_key(&node.task) {
            tree.branch(node.task, &mut shown, &mut lines);
        }
    }
    lines
}

struct Tree<'a> {
    nodes: BTreeMap<TaskId, &'a GraphNode>,
    needs: BTreeMap<TaskId, Vec<TaskId>>,
    needed_by: BTreeMap<TaskId, Vec<TaskId>>,
}

impl<'a> Tree<'a> {
    fn of(graph: &'a TaskGraph) -> Self {
        let nodes = graph.nodes.iter().map(|node| (node.task, node)).collect();
        let (mut needs, mut needed_by) = (BTreeMap::new(), BTreeMap::new());
        for edge in &graph.edges {
            needs.entry(edge.task).or_insert_with(Vec::new).push(edge.needs);
            needed_by.entry(edge.needs).or_insert_with(Vec::new).push(edge.task);
        }
        Self { nodes, needs, needed_by }
    }

    /// A task and all below it, the first ones first.
    fn branch(&self, root: TaskId, shown: &mut BTreeSet<TaskId>, lines: &mut Vec<String>) {
        let mut open = vec![(root, 0)];
        while let Some((task, depth)) = open.pop() {
            let Some(node) = self.nodes.get(&task) else { continue };
            let indent = "  ".repeat(depth.min(DEPTH_MAX));
            if !shown.insert(task) {
                lines.push(format!("{indent}{} (above)", node.task));
                continue;
            }
            let others = self.needs.get(&task).map_or(0, |needs| needs.len().saturating_sub(1));
            let also = match others {
                0 => String::new(),
                others => format!(", needs {others} more"),
            };
            let about = for_terminal(&node.about);
            lines.push(format!("{indent}{} {about} ({}{also})", node.task, node.state.word()));
            let below = self.needed_by.get(&task).into_iter().flatten().rev();
            open.extend(below.map(|task| (*task, depth + 1)));
        }
    }
}

const fn colour(state: TaskState) -> &'static str {
    match state {
        TaskState::Blocked | TaskState::Delayed => "lightgray",
        TaskState::Ready => "lightyellow",
        TaskState::Running => "lightblue",
        TaskState::Failed => "orange",
        TaskState::Done => "lightgreen",
        TaskState::Dead => "salmon",
        TaskState::Cancelled => "white",
    }
}

/// In the language of Graphviz.
pub(super) fn dot(graph: &TaskGraph) -> Vec<String> {
    let mut lines = vec![
        "digraph tasks {".to_owned(),
        "  rankdir=LR;".to_owned(),
        "  node [shape=box, style=filled];".to_owned(),
    ];
    for node in &graph.nodes {
        let about = for_terminal(&node.about).replace('\\', "\\\\").replace('"', "\\\"");
        let (task, state) = (node.task, node.state.word());
        lines.push(format!(
            "  t{task} [label=\"{task} {about}\\n{state}\", fillcolor={}];",
            colour(node.state)
        ));
    }
    lines.extend(graph.edges.iter().map(|edge| format!("  t{} -> t{};", edge.needs, edge.task)));
    lines.push("}".to_owned());
    lines
}

/// In the language of Mermaid.
pub(super) fn mermaid(graph: &TaskGraph) -> Vec<String> {
    let mut lines = vec!["graph LR".to_owned()];
    for node in &graph.nodes {
        // Whatever could end the label or begin a tag is written as an entity.
        let about: String = for_terminal(&node.about)
            .chars()
            .map(|letter| match letter {
                '"' | '#' | '<' | '>' | '&' | '`' | ';' | '\\' => {
                    format!("#{};", u32::from(letter))
                }
                letter => letter.to_string(),
            })
            .collect();
        let (task, state) = (node.task, node.state.word());
        lines.push(format!("  t{task}[\"{task} {about}<br/>{state}\"]:::{state}"));
    }
    lines.extend(graph.edges.iter().map(|edge| format!("  t{} --> t{}", edge.needs, edge.task)));
    let states: BTreeSet<TaskState> = graph.nodes.iter().map(|node| node.state).collect();
    lines.extend(
        states.iter().map(|state| format!("  classDef {} fill:{}", state.word(), colour(*state))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use cotenant_core::task::view::GraphEdge;

    use super::*;

    fn graph() -> TaskGraph {
        let node = |task: i64, state, about: &str| GraphNode {
            task: TaskId(task),
            queue: "q".into(),
            state,
            about: about.into(),
        };
        let edge = |task: i64, needs: i64| GraphEdge { task: TaskId(task), needs: TaskId(needs) };
        TaskGraph {
            nodes: vec![
                node(1, TaskState::Done, "build"),
                node(2, TaskState::Ready, "say \"<hi>\"; x"),
                node(3, TaskState::Blocked, "publish"),
            ],
            edges: vec![edge(2, 1), edge(3, 1), edge(3, 2)],
            more: false,
        }
    }

    #[test]
    fn a_tree_shows_each_task_once() {
        assert_eq!(
            text(&graph()),
            [
                "1 build (done)",
                "  2 say \"<hi>\"; x (ready)",
                "    3 publish (blocked, needs 1 more)",
                "  3 (above)",
            ]
        );
    }

    #[test]
    fn a_text_cannot_leave_its_label() {
        let drawn = dot(&graph()).join("\n");
        assert!(drawn.contains("t2 [label=\"2 say \\\"<hi>\\\"; x\\nready\""), "{drawn}");
        assert!(drawn.contains("t1 -> t3;"), "{drawn}");
        let drawn = mermaid(&graph()).join("\n");
        assert!(
            drawn.contains("t2[\"2 say #34;#60;hi#62;#34;#59; x<br/>ready\"]:::ready"),
            "{drawn}"
        );
        assert!(drawn.contains("t2 --> t3"), "{drawn}");
    }

    #[test]
    fn a_long_chain_is_drawn_without_a_deep_stack() {
        let task = |number: i64| GraphNode {
            task: TaskId(number),
            queue: "q".into(),
            state: TaskState::Blocked,
            about: "x".into(),
        };
        let edges = (1..5_000).map(|n| GraphEdge { task: TaskId(n + 1), needs: TaskId(n) });
        let graph = TaskGraph {
            nodes: (1..=5_000).map(task).collect(),
            edges: edges.collect(),
            more: false,
        };
        assert_eq!(text(&graph).len(), 5_000);
    }
}
