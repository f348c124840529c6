//! What the objects of a store do, one operation after the other: the contract as small machines.

pub(super) mod brief;
mod claim;
mod data;
mod lease;
mod log;
#[cfg(test)]
mod tests;

pub(super) use brief::Brief;
pub(super) use claim::Claims;
pub(super) use data::Data;
pub(super) use lease::Lease;
pub(super) use log::{Log, with_hindsight};

/// A number that the store drew: a revision or a fence.
///
/// The answer that would have told it may have died with a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Drawn {
    Known(i64),
    /// Somewhere above the greatest that was known when it was drawn.
    Above(i64),
}

impl Drawn {
    /// Whether it can be this number.
    fn can_be(self, number: i64) -> bool {
        match self {
            Self::Known(known) => known == number,
            Self::Above(floor) => number > floor,
        }
    }

    /// Whether it can be another number.
    fn can_differ(self, number: i64) -> bool {
        self != Self::Known(number)
    }

    /// The least that it can be.
    fn least(self) -> i64 {
        match self {
            Self::Known(known) => known,
            Self::Above(floor) => floor + 1,
        }
    }
}
