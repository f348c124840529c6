//! Under which licences the crates come that are built into the program, and from where.

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::steps::Outcome;
use crate::work::Work;

/// What may be combined with our own licences, and asks for no more than a notice.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Where crates may come from, as cargo writes it in the lock file.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Fails if a crate has another licence, or comes from elsewhere.
pub(crate) fn check(work: &Work) -> Result<Outcome> {
    let output = work.cargo(&["metadata", "--locked", "--format-version=1"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().map_or(&[][..], Vec::as_slice) {
        let (name, version) = (&package["name"], &package["version"]);
        let licence = package["license"].as_str().unwrap_or("none");
        if !allows(licence) {
            faults.push(format!("{name} {version} has the licence {licence}"));
        }
        let source = package["source"].as_str().unwrap_or(REGISTRY);
        if source != REGISTRY {
            faults.push(format!("{name} {version} comes from {source}"));
        }
    }
    if faults.is_empty() {
        return Ok(Outcome::Passed);
    }
    bail!("{}", faults.join("\n"))
}

/// Whether an expression can be met: some alternative asks for allowed licences only.
fn allows(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    match expression.strip_prefix('(').and_then(|rest| rest.split_once(") AND ")) {
        Some((choice, rest)) => allows(choice) && allows(rest),
        None => match expression.split_once(" AND (") {
            Some((first, rest)) => allows(first) && allows(rest.trim_end_matches(')')),
            None => expression.split(" OR ").any(|alternative| {
                alternative.split(" AND ").all(|it| ALLOWED.contains(&it.trim()))
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_one_of_its_alternatives() {
        let met = [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Unicode-3.0 AND (MIT OR Apache-2.0)",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0",
        ];
        assert_eq!(met.map(allows), [true; 7]);
        let unmet = ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "none"];
        assert_eq!(unmet.map(allows), [false; 4]);
    }
}
