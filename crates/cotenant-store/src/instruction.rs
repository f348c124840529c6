//! Instructions: add, approve, revoke, list, and what is in force.
//!
//! A row's text never changes; what changes is what became of it. Aliases and the number of the newest
//! change are marks, so that neither costs an index.

use cotenant_core::{
    Code, Error, Result,
    id::{Rev, SessionId},
    instruction::{
        AddInstruction, ApproveInstruction, Conflicts, EFFECTIVE_MAX, Effective, InForce,
        Instruction, InstructionAdded, InstructionRef, InstructionRuled, Instructions,
        ListInstructions, RevokeInstruction, Scope, Standing, Trust, conflicts, rule,
    },
    json::Json,
    name::shown,
};
use serde_json::json;

use crate::{
    lease::{mark, set_mark},
    params,
    sql::{Row, corrupt},
    testing::mutant,
    tx::Tx,
};

/// The kind of mark that gives an alias its entry.
const ALIAS: &str = "instruction";
/// The kind of mark that holds the newest change.
const HEAD: &str = "instruction.head";
const SCOPE: &str = "instruction";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, text, scope, key, alias, source, trust, session, name, \"user\", at_ms, \
             supersedes, superseded_by, approved_by, revoked_by, reason FROM instruction ",
            $rest
        )
    };
}

const SELECT_ONE: &str = select!("WHERE id = $1");
const SELECT_PAGE: &str = select!(
    "WHERE id > $1 AND ($2 = 1 OR (superseded_by IS NULL AND revoked_by IS NULL)) \
     AND ($3 = '' OR scope = $3) ORDER BY id LIMIT $4"
);
const SELECT_IN_FORCE: &str = select!(
    "WHERE superseded_by IS NULL AND revoked_by IS NULL \
     AND (trust = 'human' OR approved_by IS NOT NULL) ORDER BY id DESC LIMIT $1"
);
/// The planted bug: what was revoked counts.
const SELECT_REVOKED_TOO: &str = select!(
    "WHERE superseded_by IS NULL AND (trust = 'human' OR approved_by IS NOT NULL) \
     ORDER BY id DESC LIMIT $1"
);
const SELECT_CONTRADICTING: &str = select!(
    "WHERE superseded_by IS NULL AND revoked_by IS NULL \
     AND (key IS NOT NULL OR supersedes IS NOT NULL) ORDER BY id"
);
const COUNT_PROPOSED: &str = "SELECT COUNT(*) FROM instruction WHERE superseded_by IS NULL \
     AND revoked_by IS NULL AND trust <> 'human' AND approved_by IS NULL";
const SELECT_NEWEST_AUTHOR: &str = "SELECT session FROM instruction ORDER BY id DESC LIMIT 1";
const INSERT: &str = "INSERT INTO instruction (id, text, scope, key, alias, source, trust, session, name, \
     \"user\", at_ms, supersedes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const UPDATE_SUPERSEDED: &str =
    "UPDATE instruction SET superseded_by = $1 WHERE id = $2 AND superseded_by IS NULL";
const UPDATE_APPROVED: &str = "UPDATE instruction SET approved_by = $1 WHERE id = $2";
const UPDATE_REVOKED: &str = "UPDATE instruction SET revoked_by = $1, reason = $2 WHERE id = $3";

fn instruction(mut row: Row) -> Result<Instruction> {
    let (id, text, scope) = (row.int()?, row.text()?, row.text()?);
    let scope: Scope =
        scope.parse().map_err(|_| corrupt(format!("instruction {id} has the scope `{scope}`")))?;
    let (key, alias, source) = (row.optional_text()?, row.optional_text()?, row.optional_text()?);
    let trust = Trust::of(&row.text()?);
    let (session, name, user, at_ms) = (row.text()?, row.text()?, row.text()?, row.int()?);
    let (supersedes, superseded_by) = (row.optional_int()?, row.optional_int()?);
    let (approved_by, revoked_by) = (row.optional_text()?, row.optional_text()?);
    let standing = if revoked_by.is_some() {
        Standing::Revoked
    } else if superseded_by.is_some() {
        Standing::Superseded
    } else if trust == Trust::Human || approved_by.is_some() {
        Standing::InForce
    } else {
        Standing::Proposed
    };
    Ok(Instruction {
        id: Rev(id),
        text,
        scope,
        key,
        alias,
        source,
        trust,
        standing,
        session: SessionId(session),
        name,
        user,
        at: Tx::at(at_ms),
        supersedes: supersedes.map(Rev),
        superseded_by: superseded_by.map(Rev),
        approved_by,
        revoked_by,
        reason: row.optional_text()?,
    })
}

/// Finds an entry by number or alias, or fails.
fn require(tx: &mut Tx<'_>, reference: &InstructionRef) -> Result<Instruction> {
    let id = match reference.number() {
        Some(id) => Some(id.0),
        None => mark(tx, ALIAS, reference.alias())?,
    };
    let found = match id {
        Some(id) => tx.sql.rows(SELECT_ONE, params![id])?.pop().map(instruction).transpose()?,
        None => None,
    };
    found.ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no instruction `{}`", shown(&reference.0)))
            .hint("`cotenant instruction list --history` shows all")
    })
}

fn superseded(entry: &Instruction, by: Rev) -> Error {
    Error::new(
        Code::RevMismatch,
        format!("instruction {} was superseded by {by} already", entry.id),
    )
    .detail("superseded_by", by)
    .hint("read that one and decide anew")
}

fn revoked(entry: &Instruction) -> Error {
    let by = entry.revoked_by.as_deref().unwrap_or("a person");
    Error::new(Code::Gone, format!("instruction {} was revoked by {}", entry.id, shown(by)))
        .hint("add it anew")
}

/// The entry that has this alias, if it says the same.
fn known(tx: &mut Tx<'_>, op: &AddInstruction) -> Result<Option<InstructionAdded>> {
    let Some(alias) = &op.alias else { return Ok(None) };
    let Some(id) = mark(tx, ALIAS, alias)? else { return Ok(None) };
    let entry = require(tx, &InstructionRef(id.to_string()))?;
    if entry.text != op.text {
        return Err(Error::new(
            Code::RevMismatch,
            format!("`{}` is instruction {id}, which says something else", shown(alias)),
        )
        .detail("id", id)
        .hint(format!("supersede it: `cotenant instruction supersede {id} TEXT`")));
    }
    Ok(Some(InstructionAdded {
        id: entry.id,
        trust: entry.trust,
        in_force: entry.standing == Standing::InForce,
        already: true,
    }))
}

/// The entry that a new one takes the place of, if it may.
fn predecessor(tx: &mut Tx<'_>, op: &AddInstruction, trust: Trust) -> Result<Option<Rev>> {
    let Some(reference) = &op.supersedes else { return Ok(None) };
    let before = require(tx, reference)?;
    if before.standing == Standing::Revoked {
        return Err(revoked(&before));
    }
    let binding = before.trust == Trust::Human || before.approved_by.is_some();
    if binding && trust != Trust::Human {
        return Err(Error::new(
            Code::Forbidden,
            format!("instruction {} is in force; only a person may supersede it", before.id),
        )
        .hint("add yours with the same key; a person decides between the two"));
    }
    if let Some(by) = before.superseded_by
        && !op.contest
        && !mutant("superseded_twice")
    {
        return Err(superseded(&before, by));
    }
    Ok(Some(before.id))
}

pub(crate) fn add(tx: &mut Tx<'_>, op: &AddInstruction) -> Result<InstructionAdded> {
    if let Some(added) = known(tx, op)? {
        return Ok(added);
    }
    let most = Trust::of(tx.trust());
    let said = op.trust.unwrap_or(most);
    let trust = if mutant("agent_raises_trust") { said } else { said.min(most) };
    let supersedes = predecessor(tx, op, trust)?;
    let facts = json!({
        "text": op.text,
        "scope": op.scope,
        "key": op.key,
        "alias": op.alias,
        "source": op.source,
        "trust": trust,
        "supersedes": supersedes,
    });
    let actor = tx.actor()?.clone();
    let id = tx.event("instruction.added", SCOPE, &Json::of(&facts))?.0;
    // The planted bug: as in a file that each session reads and writes back whole.
    let lost = mutant("adds_overwrite")
        && tx
            .sql
            .rows(SELECT_NEWEST_AUTHOR, &[])?
            .pop()
            .is_some_and(|mut row| row.text().is_ok_and(|author| author != actor.id));
    if !lost {
        let wall = tx.wall_ms;
        tx.sql.run(
            INSERT,
            params![
                id,
                &op.text,
                &op.scope.to_string(),
                op.key.as_ref(),
                op.alias.as_ref(),
                op.source.as_ref(),
                trust.word(),
                &actor.id,
                &actor.name,
                &actor.user,
                wall,
                supersedes.map(|rev| rev.0),
            ],
        )?;
    }
    if let Some(before) = supersedes {
        tx.sql.run(UPDATE_SUPERSEDED, params![id, before.0])?;
    }
    if let Some(alias) = &op.alias {
        set_mark(tx, ALIAS, alias, id)?;
    }
    set_mark(tx, HEAD, "", id)?;
    Ok(InstructionAdded { id: Rev(id), trust, in_force: trust == Trust::Human, already: false })
}

pub(crate) fn approve(tx: &mut Tx<'_>, op: &ApproveInstruction) -> Result<InstructionRuled> {
    let entry = require(tx, &op.id)?;
    match (entry.standing, entry.superseded_by) {
        (Standing::Revoked, _) => return Err(revoked(&entry)),
        (Standing::Superseded, Some(by)) => return Err(superseded(&entry, by)),
        (Standing::InForce, _) => return Ok(InstructionRuled { id: entry.id, already: true }),
        _ => {}
    }
    let user = tx.actor()?.user.clone();
    tx.sql.run(UPDATE_APPROVED, params![&user, entry.id.0])?;
    rule_event(tx, "instruction.approved", &json!({"id": entry.id}))?;
    Ok(InstructionRuled { id: entry.id, already: false })
}

pub(crate) fn revoke(tx: &mut Tx<'_>, op: &RevokeInstruction) -> Result<InstructionRuled> {
    let entry = require(tx, &op.id)?;
    if entry.standing == Standing::Revoked {
        return Ok(InstructionRuled { id: entry.id, already: true });
    }
    let user = tx.actor()?.user.clone();
    tx.sql.run(UPDATE_REVOKED, params![&user, op.reason.as_ref(), entry.id.0])?;
    rule_event(tx, "instruction.revoked", &json!({"id": entry.id, "reason": op.reason}))?;
    Ok(InstructionRuled { id: entry.id, already: false })
}

fn rule_event(tx: &mut Tx<'_>, kind: &str, facts: &serde_json::Value) -> Result<()> {
    let seq = tx.event(kind, SCOPE, &Json::of(facts))?;
    set_mark(tx, HEAD, "", seq.0)
}

pub(crate) fn list(tx: &mut Tx<'_>, op: &ListInstructions) -> Result<Instructions> {
    let scope = op.scope.as_ref().map(Scope::to_string).unwrap_or_default();
    let (after, history) = (op.after.map_or(0, |rev| rev.0), i64::from(op.history));
    let limit = i64::from(op.limit) + 1;
    let rows = tx.sql.rows(SELECT_PAGE, params![after, history, &scope, limit])?;
    let mut entries = rows.into_iter().map(instruction).collect::<Result<Vec<_>>>()?;
    let more = entries.len() > op.limit as usize;
    entries.truncate(op.limit as usize);
    let next = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(Instructions { entries, next })
}

pub(crate) fn effective(tx: &mut Tx<'_>, op: &Effective) -> Result<InForce> {
    let head = Rev(mark(tx, HEAD, "")?.unwrap_or(0));
    if op.since == Some(head) {
        return Ok(InForce { head, unchanged: true, rulings: Vec::new(), proposed: 0 });
    }
    let select = if mutant("revoked_in_force") { SELECT_REVOKED_TOO } else { SELECT_IN_FORCE };
    let rows = tx.sql.rows(select, params![EFFECTIVE_MAX as i64])?;
    let mut entries = rows.into_iter().map(instruction).collect::<Result<Vec<_>>>()?;
    entries.reverse();
    if mutant("revoked_in_force") {
        for entry in &mut entries {
            entry.standing = Standing::InForce;
        }
    }
    let proposed = tx.sql.rows(COUNT_PROPOSED, &[])?.pop().map(|mut row| row.int()).transpose()?;
    Ok(InForce {
        head,
        unchanged: false,
        rulings: rule(entries, op.path.as_deref()),
        proposed: proposed.unwrap_or(0) as u64,
    })
}

pub(crate) fn list_conflicts(tx: &mut Tx<'_>) -> Result<Conflicts> {
    let rows = tx.sql.rows(SELECT_CONTRADICTING, &[])?;
    let entries = rows.into_iter().map(instruction).collect::<Result<Vec<_>>>()?;
    Ok(Conflicts { conflicts: conflicts(&entries) })
}
