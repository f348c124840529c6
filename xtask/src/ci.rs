//! `cargo xtask ci`: what CI runs. `.ci/run` is `cargo xtask ci --lint`, then `cargo xtask test`.

use anyhow::{Result, bail};

use crate::steps::{Outcome, Steps, execute};
use crate::work::Work;
use crate::{check, licences, test};

/// What the command takes.
pub(crate) const ARGUMENTS: &str = "[--lint]  everything but the tests";

/// Runs the command.
pub(crate) fn run(work: &Work, arguments: &[String]) -> Result<()> {
    let lint_only = match arguments {
        [] => false,
        [option] if option == "--lint" => true,
        _ => bail!("usage: cargo xtask ci {ARGUMENTS}"),
    };
    let before = changes(work)?;
    let mut steps = Steps::default();
    check::add(work, &mut steps);
    steps.run("lints with the testing features", || testing_lints(work));
    steps.run("documentation", || {
        let mut doc = work.cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
        doc.arg("--document-private-items").env("RUSTDOCFLAGS", "-D warnings");
        execute(doc)
    });
    steps.run("licences", || licences::check(work));
    if lint_only {
        return steps.finish();
    }
    test::add(work, &mut steps)?;
    steps.run("a clean tree afterwards", || {
        let after = changes(work)?;
        if after != before {
            bail!("the tests changed the tree:\n{after}");
        }
        Ok(Outcome::Passed)
    });
    steps.finish()
}

fn testing_lints(work: &Work) -> Result<Outcome> {
    let features = test::testing_features(work);
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--features", &features];
    execute(work.cargo(&[&clippy[..], &["--", "-D", "warnings"]].concat()))
}

/// What git sees as changed.
fn changes(work: &Work) -> Result<String> {
    let output = work.command("git", &["status", "--porcelain"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
