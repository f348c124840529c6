//! How a command ends.

use cotenant_core::Code;

/// The exit status of a command. It is never 2, which blocks an agent's tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// All went well.
    pub(crate) const SUCCESS: Self = Self(0);

    /// The status of an error code.
    pub(crate) const fn of(code: Code) -> Self {
        Self(code.exit())
    }
}
