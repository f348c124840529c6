//! Questions to the person at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use cotenant_core::{Error, Result};

use crate::output::Screen;

/// Asks whether to go on; anything but a yes is a no. Where nobody can be asked, fails with what
/// would have been agreed to and the option that agrees beforehand.
pub(crate) fn consent(screen: &mut Screen, question: &str, option: &str) -> Result<bool> {
    let streams =
        [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
    if screen.json() || streams.contains(&false) {
        return Err(Error::invalid(format!("this needs your consent: {question}"))
            .hint(format!("nobody can be asked here; repeat with `{option}` to agree")));
    }
    screen.flush()?;
    let mut stderr = io::stderr().lock();
    let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let heard = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    Ok(heard.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
