//! Instructions on their way to an agent: all in force at the start, then whatever changes, once.

use cotenant_core::{
    Result,
    id::Rev,
    instruction::{Effective, InForce, Instruction},
    render::{Part, for_agent},
};

use super::{
    call::{Call, Once},
    member::Member,
};

impl Call<'_> {
    /// What is in force, if the agent was not told so yet. Remembers that it is told now.
    pub(crate) fn instructions(&self, member: &mut Member) -> Result<Option<String>> {
        let since = member.mark.instructions.map(Rev);
        let found = self.ask(&Effective { path: None, since }, None, Once::PerCall)?;
        if found.unchanged {
            return Ok(None);
        }
        member.mark.instructions = Some(found.head.0);
        let text = text(&found, since.is_some())?;
        Ok(text)
    }
}

/// The text for an agent; none if there is nothing to say.
fn text(found: &InForce, changed: bool) -> Result<Option<String>> {
    let heading = match (found.rulings.is_empty(), changed) {
        (true, false) => return Ok(None),
        (true, true) => "cotenant: no instruction of this project is in force any more.",
        (false, false) => "cotenant: these instructions of people are in force in this project:",
        (false, true) => {
            "cotenant: the instructions of people in this project have changed; these are in force now:"
        }
    };
    let part = |entry: &Instruction| Part::Instruction {
        by: entry.approved_by.clone().unwrap_or_else(|| entry.user.clone()),
        scope: entry.scope.to_string(),
        text: entry.text.clone(),
    };
    let entries = found.rulings.iter().map(|ruling| part(&ruling.instruction));
    let parts: Vec<Part> = [Part::Fact(heading.to_owned())].into_iter().chain(entries).collect();
    Ok(Some(for_agent(&parts, &crate::token::request_id()?)))
}
