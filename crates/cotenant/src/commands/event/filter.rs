//! Which events are meant, and how one is shown.

use cotenant_core::{
    Result,
    data::PAGE_MAX,
    event::{Event, Read},
    name::SessionRef,
    render::{cut, for_terminal},
    session::ShowSession,
};

use crate::{
    complete,
    context::Context,
    output::{Look, Screen},
};

/// The options that choose events.
#[derive(clap::Args)]
pub(super) struct Filter {
    /// Only kinds that match, e.g. `claim.*`
    #[arg(long, value_name = "PATTERN")]
    kind: Option<String>,
    /// Only scopes that match, e.g. `issue:*`
    #[arg(long, value_name = "PATTERN")]
    scope: Option<String>,
    /// Only those of this session
    #[arg(long, value_name = "SESSION", add = complete::sessions())]
    by: Option<String>,
}

impl Filter {
    /// The reading of these events, for the caller to say from where.
    pub(super) fn read(self, context: &Context) -> Result<Read> {
        let session = match self.by {
            Some(by) => {
                let shown = context.call(&ShowSession { session: SessionRef(by) })?;
                Some(shown.answer.session.session)
            }
            None => None,
        };
        Ok(Read {
            after: None,
            last: None,
            kind: self.kind,
            scope: self.scope,
            session,
            limit: PAGE_MAX,
            wait_ms: None,
        })
    }
}

/// The longest payload that is shown, in bytes.
const PAYLOAD_BYTES_MAX: usize = 400;

/// Prints one event in a line.
pub(super) fn print(screen: &mut Screen, event: &Event) {
    let payload = match &event.payload {
        Some(payload) => {
            let text = for_terminal(payload.text());
            let short = cut(&text, PAYLOAD_BYTES_MAX);
            if short.len() < text.len() { format!("{short}…") } else { text }
        }
        None => "[erased]".to_owned(),
    };
    let who = if event.name.is_empty() { "-".to_owned() } else { for_terminal(&event.name) };
    let seq = screen.paint(Look::Faint, &format!("{:>6}", event.seq.0));
    let kind = screen.paint(Look::Strong, &format!("{:<16}", for_terminal(&event.kind)));
    screen.line(format!(
        "{seq} {} {kind} {who} {} {payload}",
        event.at,
        for_terminal(&event.scope)
    ));
}
