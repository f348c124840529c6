//! What a storm found: a table for people, JSON for programs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

/// How many faults are printed; all are in the JSON.
const FAULTS_SHOWN: usize = 12;

/// The result of one storm.
#[derive(Debug)]
pub(crate) struct Report {
    /// Which storm.
    pub(crate) name: String,
    /// What repeats its choices.
    pub(crate) seed: u64,
    /// What must not be, in words.
    pub(crate) faults: Vec<String>,
    /// Why it could not be done here.
    pub(crate) skipped: Option<String>,
    facts: Map<String, Value>,
    begun: Instant,
    took: Duration,
}

impl Report {
    /// A storm that begins now.
    pub(crate) fn begin(name: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            seed,
            faults: Vec::new(),
            skipped: None,
            facts: Map::new(),
            begun: Instant::now(),
            took: Duration::ZERO,
        }
    }

    /// Records a figure.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Records what must not be.
    pub(crate) fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// Records a fault unless something holds.
    pub(crate) fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(what());
        }
    }

    /// The end of a storm that cannot be done here, which is a fault where all must be done.
    pub(crate) fn skip(mut self, why: &str) -> Self {
        println!("\nSKIPPED: storm {}: {why}", self.name);
        if std::env::var_os("CI").is_some() {
            self.fault(why);
        } else {
            self.skipped = Some(why.to_owned());
        }
        self
    }

    /// The end. A storm that broke off is a fault, too.
    pub(crate) fn end(mut self, outcome: Result<()>) -> Self {
        if let Err(why) = outcome {
            self.fault(format!("the storm broke off: {why:#}"));
        }
        self.took = self.begun.elapsed();
        self
    }

    /// Whether nothing was found.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// The table.
    pub(crate) fn print(&self) {
        let word = match (&self.skipped, self.is_clean()) {
            (Some(why), _) => format!("SKIPPED: {why}"),
            (None, true) => "ok".to_owned(),
            (None, false) => format!("FAILED, {} faults", self.faults.len()),
        };
        println!(
            "\nstorm {}, seed {}: {word} ({:.1} s)",
            self.name,
            self.seed,
            self.took.as_secs_f32()
        );
        let wide = self.facts.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        for (name, value) in &self.facts {
            match value {
                Value::Object(parts) => {
                    let parts =
                        parts.iter().map(|(part, value)| format!("{part} {}", shown(value)));
                    println!("  {name:wide$}  {}", parts.collect::<Vec<_>>().join(", "));
                }
                value => println!("  {name:wide$}  {}", shown(value)),
            }
        }
        for fault in self.faults.iter().take(FAULTS_SHOWN) {
            println!("  FAULT {fault}");
        }
        if self.faults.len() > FAULTS_SHOWN {
            println!("  and {} more faults", self.faults.len() - FAULTS_SHOWN);
        }
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        json!({
            "storm": self.name, "seed": self.seed, "ok": self.is_clean(), "skipped": self.skipped,
            "seconds": self.took.as_secs_f64(), "figures": self.facts, "faults": self.faults,
        })
    }

    /// Writes the JSON beside those of other storms.
    pub(crate) fn keep(&self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("{}.json", self.name));
        Ok(fs::write(path, serde_json::to_string_pretty(&self.json())? + "\n")?)
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
