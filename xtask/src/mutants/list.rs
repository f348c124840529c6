//! The planted bugs: what each does, what catches it, and what that must say.

mod governance;
mod state;
mod store;

use super::harness::Harness;
use crate::storm::Storm;

/// A planted bug and the harness that must catch it.
#[derive(Debug)]
pub(super) struct Mutant {
    pub(super) name: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    pub(super) harness: Harness,
    /// What a fault must say, so that the bug is caught for what it does.
    pub(super) shows: &'static str,
}

const fn mutant(
    name: &'static str,
    about: &'static str,
    harness: Harness,
    shows: &'static str,
) -> Mutant {
    Mutant { name, about, harness, shows }
}

/// One that a case of the contract catches.
const fn case(
    name: &'static str,
    about: &'static str,
    case: &'static str,
    shows: &'static str,
) -> Mutant {
    mutant(name, about, Harness::Case(case), shows)
}

/// One that a test on a server catches.
const fn server(
    name: &'static str,
    about: &'static str,
    test: &'static str,
    shows: &'static str,
) -> Mutant {
    mutant(name, about, Harness::Test("postgres", test), shows)
}

/// One that a test of batches catches.
const fn batching(
    name: &'static str,
    about: &'static str,
    test: &'static str,
    shows: &'static str,
) -> Mutant {
    mutant(name, about, Harness::Test("lib", test), shows)
}

/// One that a test of carried stores catches.
const fn transfer(
    name: &'static str,
    about: &'static str,
    test: &'static str,
    shows: &'static str,
) -> Mutant {
    mutant(name, about, Harness::Test("transfer", test), shows)
}

const KILL: Harness = Harness::Storm(Storm::Kill, 11);
const STOP: Harness = Harness::Storm(Storm::Stop, 12);
const CLOCK: Harness = Harness::Storm(Storm::Clock, 13);
const RACE: Harness = Harness::Storm(Storm::Linearizability, 14);
const FAILPOINTS: Harness = Harness::Storm(Storm::Failpoints, 15);
const COMBINE: Harness = Harness::Storm(Storm::Combine, 16);
const POWER: Harness = Harness::Storm(Storm::Power, 1);
const CORRUPT: Harness = Harness::Storm(Storm::Corrupt, 21);
const FULL: Harness = Harness::Storm(Storm::Full, 3);
const MIXED: Harness = Harness::Storm(Storm::Mixed, 7);

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Mutant> {
    [store::MUTANTS, state::MUTANTS, governance::MUTANTS].into_iter().flatten()
}
