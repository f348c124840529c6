//! What a command prints: the answer on stdout, the talk on stderr.
//!
//! Texts of sessions are stripped of everything that can move a cursor or hide words before they
//! reach a terminal. Colour never carries meaning alone.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use cotenant_core::{
    Code, Error, Operation, Result,
    id::{Seq, Tick},
    render::for_terminal,
    store::{Envelope, Reply},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{context::decode, env};

mod table;
mod words;

pub(crate) use table::Table;
pub(crate) use words::{ago, bar, holding_line, in_time, item_words, since};

/// How a piece of text looks on a terminal that shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As it is.
    Plain,
    /// What the eye should find first.
    Strong,
    /// What can be skipped.
    Faint,
    /// All is well.
    Good,
    /// Worth a look.
    Warning,
}

impl Look {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\u{1b}[1m",
            Self::Faint => "\u{1b}[2m",
            Self::Good => "\u{1b}[32m",
            Self::Warning => "\u{1b}[33m",
        }
    }
}

/// The answer of a command on its way to stdout.
pub(crate) struct Screen {
    text: String,
    json: bool,
    terminal: bool,
    colour: bool,
}

impl Screen {
    /// A screen for this process's stdout. With `json` it carries result envelopes and nothing
    /// else.
    pub(crate) fn new(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colour = terminal
            && !env::is_set(env::NO_COLOR)
            && env::text(env::TERM).is_none_or(|term| term != "dumb");
        Self { text: String::new(), json, terminal, colour }
    }

    /// Whether the answer is an envelope.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Prints the answer of an operation: its envelope, or what `human` makes of it.
    pub(crate) fn answer<O: Operation>(
        &mut self,
        reply: &Reply,
        human: impl FnOnce(&mut Self, O::Answer),
    ) -> Result<()> {
        if self.json {
            self.envelope(reply);
        } else {
            human(self, decode::<O>(reply)?);
        }
        Ok(())
    }

    /// Prints the envelope of a success.
    pub(crate) fn envelope(&mut self, reply: &Reply) {
        self.text.push_str(&Envelope::success(reply).line());
        self.text.push('\n');
    }

    /// Prints the envelope of an answer that was put together from several operations.
    pub(crate) fn data(&mut self, data: &impl Serialize, seq: Seq, tick: Tick) -> Result<()> {
        let data: Box<RawValue> = to_raw_value(data)
            .map_err(|error| Error::internal("an answer cannot be written").caused_by(error))?;
        self.envelope(&Reply { data, seq, tick, replayed: false });
        Ok(())
    }

    /// Prints a line of our own words, which may hold texts that went through `for_terminal`.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    /// Says whose holding goes on although a key that tells of it was deleted.
    pub(crate) fn holder_goes_on(&mut self, holder: Option<&str>) {
        if let Some(name) = holder {
            self.line(format!("it tells of {}, who goes on", for_terminal(name)));
        }
    }

    /// Prints an empty line, unless nothing was printed yet.
    pub(crate) fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// Prints a table.
    pub(crate) fn table(&mut self, table: &Table) {
        let text = table.render(|look, text| self.paint(look, text));
        self.text.push_str(&text);
    }

    /// Prints a stored text byte for byte, except on a terminal, where it must not act.
    pub(crate) fn verbatim(&mut self, text: &str) {
        if self.terminal {
            let lines: Vec<String> = text.split('\n').map(for_terminal).collect();
            self.line(lines.join("\n"));
        } else {
            self.line(text);
        }
    }

    /// A text in colour, where there are colours.
    pub(crate) fn paint(&self, look: Look, text: &str) -> String {
        if self.colour && look != Look::Plain {
            format!("{}{text}\u{1b}[0m", look.code())
        } else {
            text.to_owned()
        }
    }

    /// Sends what was printed on its way. Answers whether somebody still reads.
    pub(crate) fn flush(&mut self) -> Result<bool> {
        let mut stdout = std::io::stdout().lock();
        let outcome = stdout.write_all(self.text.as_bytes()).and_then(|()| stdout.flush());
        self.text.clear();
        match outcome {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                Err(Error::new(Code::StoreIo, format!("cannot write to stdout: {error}"))
                    .caused_by(error))
            }
        }
    }
}

/// Prints a line to stderr. Nobody can be told if that fails.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Reports a failure: its envelope on stdout, or what is wrong, who holds it and what to do on
/// stderr.
pub(crate) fn report(error: &Error, json: bool) {
    if json {
        // Nobody can be told if stdout is gone too; the exit status says it.
        let _ = writeln!(std::io::stdout(), "{}", Envelope::failure(error).line());
        return;
    }
    talk(&format!("error: {}", for_terminal(&error.message)));
    for line in words::holder_lines(error) {
        talk(&format!("  {line}"));
    }
    for line in words::ready_lines(error) {
        talk(&format!("  {line}"));
    }
    let mut cause = error.cause.as_deref().map(|cause| cause as &dyn std::error::Error);
    while let Some(inner) = cause {
        let text = for_terminal(&inner.to_string());
        if !error.message.contains(&text) {
            talk(&format!("  because: {text}"));
        }
        cause = inner.source();
    }
    if let Some(hint) = &error.hint {
        talk(&format!("hint: {}", for_terminal(hint)));
    }
}
