//! The search for a sequential order that explains a concurrent history (Wing and Gong, "Testing
//! and verifying concurrent objects", 1993; the memory of visited states is Lowe's, "Testing for
//! linearizability", 2017).
//!
//! It is our own because our models are not deterministic: an operation whose answer died with its
//! process drew a revision or a fence that nobody has seen, and a later answer reveals it.

use std::collections::HashSet;
use std::fmt::{Debug, Write as _};
use std::hash::Hash;
use std::rc::Rc;

/// What one object does, one operation after the other.
pub(crate) trait Model {
    /// An operation with its answer, or without one if its process died.
    type Op: Debug;
    /// What the object remembers.
    type State: Clone + Eq + Hash + Debug;

    /// The object before the first operation.
    fn start(&self) -> Self::State;

    /// The states that an operation can lead to with the answer it got; none if it cannot have got
    /// this answer.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Vec<Self::State>;
}

/// An operation and when it happened.
#[derive(Debug)]
pub(crate) struct Timed<Op> {
    /// What was done.
    pub(crate) op: Op,
    /// When it was asked for.
    pub(crate) call: u64,
    /// When the answer came; never, if the process died. Then it may take effect at any time after
    /// the call, or not at all.
    pub(crate) end: Option<u64>,
    /// When it can take effect at the latest, if that is known.
    pub(crate) latest: Option<u64>,
}

/// What the search found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none; how far the best attempt came, in words.
    Violated(String),
    /// More states than allowed were visited.
    Undecided,
}

/// Which operations have been put in order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Box<[u64]>);

impl Done {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into())
    }

    fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    fn with(&self, index: usize) -> Self {
        let mut more = self.clone();
        more.0[index / 64] |= 1 << (index % 64);
        more
    }
}

/// Looks for an order, visiting at most so many states.
pub(crate) fn search<M: Model>(model: &M, history: &[Timed<M::Op>], most: usize) -> Verdict {
    let answered = history.iter().filter(|timed| timed.end.is_some()).count();
    let mut open = vec![(Done::none(history.len()), Rc::new(model.start()), 0)];
    let mut seen: HashSet<(Done, Rc<M::State>)> = HashSet::new();
    let mut best = (0, open[0].0.clone(), Rc::clone(&open[0].1));
    while let Some((done, state, count)) = open.pop() {
        if count == answered {
            return Verdict::Linearizable;
        }
        if count > best.0 {
            best = (count, done.clone(), Rc::clone(&state));
        }
        let mut next = candidates(history, &done);
        // The likeliest is visited first, so it is pushed last: what ended first came first.
        next.sort_by_key(|index| std::cmp::Reverse(history[*index].end.unwrap_or(u64::MAX)));
        for index in next {
            for after in model.step(&state, &history[index].op) {
                let pending = history[index].end.is_none();
                if pending && after == *state {
                    continue;
                }
                let node = (done.with(index), Rc::new(after));
                if seen.contains(&node) {
                    continue;
                }
                if seen.len() == most {
                    return Verdict::Undecided;
                }
                seen.insert(node.clone());
                open.push((node.0, node.1, count + usize::from(!pending)));
            }
        }
    }
    Verdict::Violated(explain(history, &best.1, &best.2, answered))
}

/// The operations that can come next: nothing else had ended before they began.
fn candidates<Op>(history: &[Timed<Op>], done: &Done) -> Vec<usize> {
    let left = || (0..history.len()).filter(|index| !done.has(*index));
    let first_end = left().filter_map(|index| history[index].end).min().unwrap_or(u64::MAX);
    let done = (0..history.len()).filter(|index| done.has(*index));
    let last_call = done.map(|index| history[index].call).max().unwrap_or_default();
    let can_come = |index: &usize| {
        let timed = &history[*index];
        timed.call <= first_end && timed.latest.is_none_or(|latest| latest >= last_call)
    };
    left().filter(can_come).collect()
}

fn explain<Op: Debug>(
    history: &[Timed<Op>],
    done: &Done,
    state: &impl Debug,
    answered: usize,
) -> String {
    let ordered = (0..history.len()).filter(|index| done.has(*index)).count();
    let mut text =
        format!("{ordered} of {answered} operations in order lead to {state:?}, then no");
    for index in candidates(history, done).into_iter().take(8) {
        // Writing to a text cannot fail.
        let _ = write!(text, "\n        {:?}", history[index].op);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register: a write, or a read of a value.
    struct Register;

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Write(u8),
        Read(u8),
    }

    impl Model for Register {
        type Op = Op;
        type State = u8;

        fn start(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, op: &Op) -> Vec<u8> {
            match op {
                Op::Write(value) => vec![*value],
                Op::Read(value) if value == state => vec![*state],
                Op::Read(_) => Vec::new(),
            }
        }
    }

    fn check(history: &[(Op, u64, Option<u64>)]) -> Verdict {
        let timed = |(op, call, end): &(Op, u64, Option<u64>)| Timed {
            op: *op,
            call: *call,
            end: *end,
            latest: None,
        };
        search(&Register, &history.iter().map(timed).collect::<Vec<_>>(), 10_000)
    }

    #[test]
    fn overlapping_operations_may_come_in_any_order() {
        let history =
            [(Op::Write(1), 0, Some(10)), (Op::Read(0), 1, Some(2)), (Op::Read(1), 3, Some(4))];
        assert_eq!(check(&history), Verdict::Linearizable);
    }

    #[test]
    fn a_read_does_not_go_back() {
        let history =
            [(Op::Write(1), 0, Some(10)), (Op::Read(1), 1, Some(2)), (Op::Read(0), 3, Some(4))];
        assert!(matches!(check(&history), Verdict::Violated(_)));
    }

    #[test]
    fn a_write_whose_answer_was_lost_may_take_effect_late_or_never() {
        let late = [(Op::Write(1), 0, None), (Op::Read(0), 1, Some(2)), (Op::Read(1), 3, Some(4))];
        assert_eq!(check(&late), Verdict::Linearizable);
        let never = [(Op::Write(1), 0, None), (Op::Read(0), 5, Some(6))];
        assert_eq!(check(&never), Verdict::Linearizable);
        let early = [(Op::Read(1), 0, Some(1)), (Op::Write(1), 2, None)];
        assert!(matches!(check(&early), Verdict::Violated(_)));
    }

    #[test]
    fn what_died_takes_effect_soon_or_never() {
        let history = |latest| {
            [
                Timed { op: Op::Write(7), call: 0, end: None, latest },
                Timed { op: Op::Read(0), call: 20, end: Some(30), latest: None },
                Timed { op: Op::Read(7), call: 40, end: Some(50), latest: None },
            ]
        };
        assert_eq!(search(&Register, &history(Some(25)), 100), Verdict::Linearizable);
        assert!(matches!(search(&Register, &history(Some(10)), 100), Verdict::Violated(_)));
    }

    #[test]
    fn a_search_that_takes_too_long_says_so() {
        let history: Vec<_> = (0..12).map(|value| (Op::Write(value), 0, Some(100))).collect();
        let timed: Vec<_> = history
            .iter()
            .map(|(op, call, end)| Timed { op: *op, call: *call, end: *end, latest: None })
            .chain([Timed { op: Op::Read(99), call: 0, end: Some(100), latest: None }])
            .collect();
        assert_eq!(search(&Register, &timed, 50), Verdict::Undecided);
    }
}
