//! Instructions on their way to an agent: all in force at the start, then whatever changes, once.

use cotenant_core::{
    Result,
    id::Rev,
    instruction::{Effective, InForce, Instruction, Trust},
    render::{Approval, Part, for_agent},
};

use super::{
    call::{Call, Once},
    member::Member,
};

/// How much is said of instructions, in bytes: a client takes in about 10,000 with all else.
const BYTES_MAX: usize = 6_000;

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
        by: entry.writer().to_owned(),
        approved: entry
            .approved_by
            .clone()
            .filter(|_| entry.trust != Trust::Human)
            .map(|by| Approval { by, trust: entry.trust.word().to_owned() }),
        scope: entry.scope.to_string(),
        text: entry.text.clone(),
    };
    let mut parts = vec![Part::Fact(heading.to_owned())];
    let mut bytes = 0;
    let fits = found.rulings.iter().take_while(|ruling| {
        let entry = &ruling.instruction;
        bytes += entry.text.len() + 60;
        bytes += entry.approved_by.as_ref().map_or(0, |_| entry.writer().len().min(200) + 60);
        bytes <= BYTES_MAX
    });
    parts.extend(fits.map(|ruling| part(&ruling.instruction)));
    let more = found.rulings.len() + 1 - parts.len();
    if more > 0 {
        parts.push(Part::Fact(format!("and {more} more: `cotenant instruction effective`")));
    }
    Ok(Some(for_agent(&parts, &crate::token::request_id()?)))
}

#[cfg(test)]
mod tests {
    use cotenant_core::{
        id::SessionId,
        instruction::{Ruling, Scope, Standing},
    };

    use super::*;

    fn found(texts: &[String]) -> InForce {
        let ruling = |(index, text): (usize, &String)| Ruling {
            instruction: Instruction {
                id: Rev(index as i64 + 1),
                text: text.clone(),
                scope: Scope::Project,
                key: None,
                alias: None,
                source: None,
                trust: Trust::Human,
                standing: Standing::InForce,
                session: SessionId("s".into()),
                name: "a".into(),
                user: "ann".into(),
                at: String::new(),
                supersedes: None,
                superseded_by: None,
                approved_by: None,
                revoked_by: None,
                reason: None,
            },
            over: Vec::new(),
        };
        let rulings = texts.iter().enumerate().map(ruling).collect();
        InForce { head: Rev(9), unchanged: false, rulings, proposed: 0 }
    }

    #[test]
    fn nothing_is_said_unless_something_was_in_force() {
        assert_eq!(text(&found(&[]), false).unwrap(), None);
        let gone = text(&found(&[]), true).unwrap().unwrap();
        assert!(gone.contains("no instruction of this project is in force any more"), "{gone}");
    }

    #[test]
    fn very_many_are_counted() {
        let told = text(&found(&vec!["x".repeat(1_000); 20]), false).unwrap().unwrap();
        assert!(told.len() < 8_000, "{}", told.len());
        assert!(told.ends_with("and 15 more: `cotenant instruction effective`\n"), "{told}");
    }
}
