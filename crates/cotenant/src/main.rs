//! `cotenant`: many coding-agent sessions in one codebase.

mod context;
mod env;
mod identity;
mod output;
mod project;
#[cfg(test)]
mod testing;
mod token;
mod tree;

fn main() {}
