//! Who a process is, so that a reused process id is never mistaken for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    name::{NAME_BYTES_MAX, is_deceptive, shown},
};

/// A process, told apart from all others of the same host, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessIdentity {
    /// The host, stable over reboots.
    pub host: String,
    /// The boot of that host.
    pub boot: String,
    /// The process id name space.
    pub namespace: String,
    /// The process id in it.
    pub pid: u32,
    /// The kernel's start time of the process, in clock ticks since boot.
    pub started: u64,
}

impl ProcessIdentity {
    /// Checks what is kept as an alias of its session: each part of at most 256 bytes, and of characters
    /// that can be seen.
    pub fn check(&self) -> Result<()> {
        for (what, text) in
            [("host", &self.host), ("boot", &self.boot), ("name space", &self.namespace)]
        {
            if text.len() > NAME_BYTES_MAX || text.chars().any(is_deceptive) {
                return Err(Error::invalid(format!(
                    "the {what} `{}` of the process is longer than {NAME_BYTES_MAX} bytes or has a control character",
                    shown(text)
                )));
            }
        }
        Ok(())
    }
}

/// What can be said of a process from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Alive,
    /// It has ended, or another process has its id now.
    Dead,
    /// It lives in another name space, boot or host, or cannot be looked at.
    Unverifiable,
    /// It belongs to an earlier boot of this host.
    Rebooted,
}

/// Looks at processes of this host. The store asks it before it answers that something is held.
pub trait Processes: Send + Sync {
    /// The state of a process.
    fn liveness(&self, process: &ProcessIdentity) -> Liveness;
}
