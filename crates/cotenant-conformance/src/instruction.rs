//! Section 10: instructions.

use std::{collections::BTreeSet, thread};

use cotenant_core::{
    Code,
    id::Rev,
    instruction::{
        About, AddInstruction, ApproveInstruction, Effective, Instruction, ListConflicts,
        ListInstructions, RevokeInstruction, Ruling, Scope, Standing, Trust, Why,
    },
    json::Json,
    name::TEXT_BYTES_MAX,
};

use crate::{
    Bench,
    ask::{Agent, count, event, head_seq, must, refuses},
    sample::{instruct, note, number},
};

cases! {
    i1_concurrent_additions_are_all_kept_each_with_its_author,
    i1_an_entry_says_who_gave_it_when_and_where_from,
    i1_an_entry_is_never_changed_or_forgotten,
    i2_what_an_agent_adds_is_in_force_when_a_person_approves_it,
    i2_nobody_raises_the_trust_of_a_text_by_adding_it,
    i2_an_agent_supersedes_nothing_that_is_in_force,
    i3_an_entry_is_superseded_once,
    i3_a_contested_entry_has_two_successors,
    i3_what_was_revoked_stays_revoked,
    i4_of_one_key_one_entry_wins_and_it_is_told_why,
    i4_what_has_not_changed_is_not_told_again,
    i5_live_entries_that_contradict_each_other_are_listed,
    i6_an_alias_names_one_entry,
    an_instruction_has_limits,
    a_list_of_instructions_has_pages,
    b4_secrets_are_taken_out_of_free_text,
}

fn in_force(bench: &dyn Bench, path: Option<&str>) -> Vec<Ruling> {
    must(bench, &Effective { path: path.map(str::to_owned), since: None }).rulings
}

fn ids(rulings: &[Ruling]) -> Vec<Rev> {
    rulings.iter().map(|ruling| ruling.instruction.id).collect()
}

fn history(bench: &dyn Bench) -> Vec<Instruction> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let list = ListInstructions { history: true, scope: None, after, limit: 1_000 };
        let page = must(bench, &list);
        all.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

fn approve(id: Rev) -> ApproveInstruction {
    ApproveInstruction { id: number(id) }
}

fn revoke(id: Rev) -> RevokeInstruction {
    RevokeInstruction { id: number(id), reason: Some("outdated".into()) }
}

fn successor(text: &str, of: Rev) -> AddInstruction {
    AddInstruction { supersedes: Some(number(of)), ..instruct(text) }
}

fn keyed(text: &str, key: &str, scope: Scope) -> AddInstruction {
    AddInstruction { key: Some(key.into()), scope, ..instruct(text) }
}

fn path(name: &str) -> Scope {
    Scope::Path(name.into())
}

fn i1_concurrent_additions_are_all_kept_each_with_its_author(bench: &dyn Bench) {
    const EACH: usize = 20;
    let agents: Vec<_> = (0..4).map(|index| Agent::new(bench, &format!("a{index}"))).collect();
    thread::scope(|scope| {
        for agent in &agents {
            let store = bench.second();
            scope.spawn(move || {
                for index in 0..EACH {
                    let text = format!("{} {index}", agent.name);
                    let added = store.call(&instruct(&text), |it| it.by(agent.actor()));
                    added.expect("an addition is never refused for another one");
                }
            });
        }
    });
    let all = history(bench);
    let said: BTreeSet<_> = all.iter().map(|it| it.text.as_str()).collect();
    assert_eq!((all.len(), said.len()), (4 * EACH, 4 * EACH), "an instruction was lost");
    assert!(all.iter().all(|it| it.text.starts_with(&format!("{} ", it.name))), "{all:?}");
    assert_eq!(count(bench, "instruction.added"), 4 * EACH);
}

fn i1_an_entry_says_who_gave_it_when_and_where_from(bench: &dyn Bench) {
    let ann = Agent::human(bench, "ann");
    let scope = path("src/parser");
    let add = AddInstruction {
        source: Some("CLAUDE.md".into()),
        alias: Some("inst_001".into()),
        ..keyed("small functions", "style", scope.clone())
    };
    let answered = ann.answered(&add);
    assert_eq!(answered.answer.id.0, answered.seq.0, "its id is the number of its event");
    assert!(answered.answer.in_force && answered.answer.trust == Trust::Human);
    let mut all = history(bench);
    let entry = all.pop().expect("it was added");
    assert_eq!(
        (entry.text.as_str(), &entry.scope, entry.key.as_deref(), entry.source.as_deref()),
        ("small functions", &scope, Some("style"), Some("CLAUDE.md"))
    );
    assert_eq!((&entry.session, &entry.name, &entry.user), (&ann.id, &ann.name, &ann.view().user));
    assert_eq!((entry.standing, entry.alias.as_deref()), (Standing::InForce, Some("inst_001")));
    let logged = event(bench, answered.seq);
    assert_eq!((logged.at, logged.kind.as_str()), (entry.at, "instruction.added"));
    let facts = logged.payload.as_ref().and_then(|it| it.value().ok()).expect("it has facts");
    assert_eq!(
        (&facts["text"], &facts["scope"]),
        (&"small functions".into(), &"path:src/parser".into())
    );
}

fn i1_an_entry_is_never_changed_or_forgotten(bench: &dyn Bench) {
    let ann = Agent::human(bench, "ann");
    let first = ann.must(&instruct("tabs")).id;
    let second = ann.must(&successor("spaces", first)).id;
    ann.must(&revoke(second));
    let texts: Vec<_> = history(bench).into_iter().map(|it| (it.text, it.standing)).collect();
    assert_eq!(
        texts,
        [("tabs".to_owned(), Standing::Superseded), ("spaces".to_owned(), Standing::Revoked)]
    );
    let list = ListInstructions { history: false, scope: None, after: None, limit: 10 };
    assert_eq!(must(bench, &list).entries, [], "only the history shows what is over");
}

fn i2_what_an_agent_adds_is_in_force_when_a_person_approves_it(bench: &dyn Bench) {
    let (a, ann) = (Agent::new(bench, "a"), Agent::human(bench, "ann"));
    let added = a.must(&instruct("never push to main"));
    assert!(!added.in_force && added.trust == Trust::Agent);
    assert_eq!(in_force(bench, None), [], "nobody approved it");
    assert_eq!(must(bench, &Effective::default()).proposed, 1);
    a.refused(&approve(added.id), Code::Forbidden);
    a.refused(&revoke(added.id), Code::Forbidden);
    assert!(!ann.must(&approve(added.id)).already);
    let rulings = in_force(bench, None);
    assert_eq!(ids(&rulings), [added.id]);
    let entry = &rulings[0].instruction;
    assert_eq!(entry.approved_by, Some(ann.view().user), "it is told who approved it");
    assert_eq!(entry.trust, Trust::Agent, "approving does not change who wrote it");
    assert!(ann.must(&approve(added.id)).already);
    assert_eq!(count(bench, "instruction.approved"), 1);
}

fn i2_nobody_raises_the_trust_of_a_text_by_adding_it(bench: &dyn Bench) {
    let (a, ann) = (Agent::new(bench, "a"), Agent::human(bench, "ann"));
    let claiming = |trust| AddInstruction { trust: Some(trust), ..instruct("obey") };
    assert_eq!(a.must(&claiming(Trust::Human)).trust, Trust::Agent, "an agent raised its trust");
    assert_eq!(a.must(&claiming(Trust::External)).trust, Trust::External);
    let outside = ann.must(&claiming(Trust::External));
    assert!(outside.trust == Trust::External && !outside.in_force);
    assert_eq!(in_force(bench, None), []);
}

fn i2_an_agent_supersedes_nothing_that_is_in_force(bench: &dyn Bench) {
    let (a, ann) = (Agent::new(bench, "a"), Agent::human(bench, "ann"));
    let given = ann.must(&instruct("ask before deleting")).id;
    a.refused(&successor("delete freely", given), Code::Forbidden);
    let approved = a.must(&instruct("run the tests")).id;
    ann.must(&approve(approved));
    a.refused(&successor("skip the tests", approved), Code::Forbidden);
    assert_eq!(ids(&in_force(bench, None)), [given, approved]);
    let own = a.must(&instruct("draft")).id;
    a.must(&successor("better draft", own));
}

fn i3_an_entry_is_superseded_once(bench: &dyn Bench) {
    let (ann, bob) = (Agent::human(bench, "ann"), Agent::human(bench, "bob"));
    let first = ann.must(&instruct("tabs")).id;
    let second = ann.must(&successor("spaces", first)).id;
    let before = head_seq(bench);
    let error = bob.refused(&successor("both", first), Code::RevMismatch);
    assert_eq!(error.details["superseded_by"], second.0);
    assert_eq!(head_seq(bench), before, "a refusal has no effect");
    ann.refused(&approve(first), Code::RevMismatch);
    assert_eq!(ids(&in_force(bench, None)), [second]);
    ann.refused(&successor("x", Rev(0)), Code::NotFound);
    ann.refused(&approve(Rev(0)), Code::NotFound);
    ann.refused(&revoke(Rev(0)), Code::NotFound);
    // An event that is no instruction is none.
    let noted = ann.must(&note("x")).seq;
    ann.refused(&approve(Rev(noted.0)), Code::NotFound);
}

fn i3_a_contested_entry_has_two_successors(bench: &dyn Bench) {
    let (ann, bob) = (Agent::human(bench, "ann"), Agent::human(bench, "bob"));
    let first = ann.must(&instruct("tabs")).id;
    let second = ann.must(&successor("spaces", first)).id;
    let third = bob.must(&AddInstruction { contest: true, ..successor("both", first) }).id;
    assert_eq!(ids(&in_force(bench, None)), [second, third]);
    let found = must(bench, &ListConflicts {}).conflicts;
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].about, found[0].why), (&About::Superseded(first), Why::Newer));
    bob.must(&revoke(second));
    assert_eq!(must(bench, &ListConflicts {}).conflicts, [], "revoking one decides");
}

fn i3_what_was_revoked_stays_revoked(bench: &dyn Bench) {
    let ann = Agent::human(bench, "ann");
    let first = ann.must(&instruct("tabs")).id;
    let second = ann.must(&successor("spaces", first)).id;
    assert!(!ann.must(&revoke(second)).already);
    assert_eq!(in_force(bench, None), [], "revoking revives nothing");
    assert!(ann.must(&revoke(second)).already);
    assert_eq!(count(bench, "instruction.revoked"), 1);
    ann.refused(&approve(second), Code::Gone);
    ann.refused(&successor("x", second), Code::Gone);
    let entry = history(bench).pop().expect("it is in the history");
    assert_eq!(
        (entry.revoked_by, entry.reason.as_deref()),
        (Some(ann.view().user), Some("outdated"))
    );
}

fn i4_of_one_key_one_entry_wins_and_it_is_told_why(bench: &dyn Bench) {
    let (a, ann) = (Agent::new(bench, "a"), Agent::human(bench, "ann"));
    let old = ann.must(&keyed("tabs", "style", Scope::Project)).id;
    let new = ann.must(&keyed("spaces", "style", Scope::Project)).id;
    let narrow = ann.must(&keyed("none", "style", path("src/gen"))).id;
    let org = ann.must(&keyed("any", "style", Scope::Org)).id;
    let approved = a.must(&keyed("both", "style", path("src/gen"))).id;
    ann.must(&approve(approved));
    let other = ann.must(&instruct("be brief")).id;
    let decided = |place: &str| {
        let rulings = in_force(bench, Some(place));
        let style = rulings.iter().find(|it| it.instruction.key.is_some()).expect("there is one");
        assert!(ids(&rulings).contains(&other), "what has no key holds too");
        let why = |id| style.over.iter().find(|it| it.id == id).map(|it| it.why);
        (style.instruction.id, [old, new, narrow, org, approved].map(why))
    };
    let (winner, why) = decided("src/gen/a.rs");
    assert_eq!(winner, narrow);
    let narrower = Some(Why::Narrower);
    assert_eq!(why, [narrower, narrower, None, narrower, Some(Why::HumanOverApproved)]);
    let (winner, why) = decided("src/main.rs");
    assert_eq!((winner, why), (new, [Some(Why::Newer), None, None, narrower, None]));
    refuses(bench, &Effective { path: Some("../x".into()), since: None }, Code::Invalid);
}

fn i4_what_has_not_changed_is_not_told_again(bench: &dyn Bench) {
    let (a, ann) = (Agent::new(bench, "a"), Agent::human(bench, "ann"));
    let first = must(bench, &Effective::default());
    assert_eq!((first.head, first.unchanged), (Rev(0), false));
    let since = |head| must(bench, &Effective { path: None, since: Some(head) });
    assert!(since(first.head).unchanged);
    let added = a.must(&instruct("x")).id;
    let second = since(first.head);
    assert_eq!((second.head, second.unchanged, second.proposed), (added, false, 1));
    a.must(&note("something else"));
    assert!(since(second.head).unchanged);
    ann.must(&approve(added));
    let third = since(second.head);
    assert_eq!((third.unchanged, ids(&third.rulings)), (false, vec![added]));
    ann.must(&revoke(added));
    let fourth = since(third.head);
    assert!(!fourth.unchanged && fourth.rulings.is_empty(), "what was revoked is in force");
    refuses(bench, &Effective { path: None, since: Some(Rev(-1)) }, Code::Invalid);
}

fn i5_live_entries_that_contradict_each_other_are_listed(bench: &dyn Bench) {
    let (a, ann) = (Agent::new(bench, "a"), Agent::human(bench, "ann"));
    let tabs = ann.must(&keyed("tabs", "style", Scope::Project)).id;
    let spaces = a.must(&keyed("spaces", "style", Scope::Project)).id;
    ann.must(&keyed("same", "words", Scope::Project));
    a.must(&keyed("same", "words", Scope::Project));
    let found = must(bench, &ListConflicts {}).conflicts;
    assert_eq!(found.len(), 1, "{found:?}");
    let entries: Vec<_> = found[0].entries.iter().map(|it| it.id).collect();
    assert_eq!((&found[0].about, entries), (&About::Key("style".into()), vec![tabs, spaces]));
    assert_eq!(found[0].why, Why::InForceOverProposed);
    ann.must(&successor("spaces", tabs));
    assert_eq!(must(bench, &ListConflicts {}).conflicts, [], "what is over contradicts nothing");
}

fn i6_an_alias_names_one_entry(bench: &dyn Bench) {
    let (ann, bob) = (Agent::human(bench, "ann"), Agent::human(bench, "bob"));
    let imported = |text: &str| AddInstruction {
        alias: Some("inst_019".into()),
        trust: Some(Trust::External),
        ..instruct(text)
    };
    let first = ann.must(&imported("use the logger"));
    let before = head_seq(bench);
    let again = bob.must(&imported("use the logger"));
    assert!(again.already && again.id == first.id && !first.already);
    assert_eq!(head_seq(bench), before, "adding it again adds nothing");
    let error = bob.refused(&imported("use print"), Code::RevMismatch);
    assert_eq!(error.details["id"], first.id.0);
    let by_alias = |id: &str| cotenant_core::instruction::InstructionRef(id.into());
    assert_eq!(ann.must(&ApproveInstruction { id: by_alias("inst_019") }).id, first.id);
    ann.refused(&ApproveInstruction { id: by_alias("inst_020") }, Code::NotFound);
    assert!(ann.must(&imported("use the logger")).in_force);
    for bad in ["12", "#a", "-x"] {
        let wrong = AddInstruction { alias: Some(bad.into()), ..instruct("x") };
        ann.refused(&wrong, Code::Invalid);
    }
}

fn an_instruction_has_limits(bench: &dyn Bench) {
    let ann = Agent::human(bench, "ann");
    ann.must(&instruct(&"x".repeat(TEXT_BYTES_MAX)));
    ann.refused(&instruct(&"x".repeat(TEXT_BYTES_MAX + 1)), Code::TooLarge);
    ann.refused(&instruct("  \n"), Code::Invalid);
    ann.refused(&AddInstruction { contest: true, ..instruct("x") }, Code::Invalid);
    let empty = cotenant_core::instruction::InstructionRef(String::new());
    ann.refused(&ApproveInstruction { id: empty.clone() }, Code::Invalid);
    ann.refused(&RevokeInstruction { id: empty.clone(), reason: None }, Code::Invalid);
    let long =
        RevokeInstruction { id: number(Rev(1)), reason: Some("x".repeat(TEXT_BYTES_MAX + 1)) };
    ann.refused(&long, Code::TooLarge);
}

fn a_list_of_instructions_has_pages(bench: &dyn Bench) {
    let ann = Agent::human(bench, "ann");
    let all: Vec<_> = (0..5).map(|index| ann.must(&instruct(&format!("{index}"))).id).collect();
    let narrow = ann.must(&keyed("x", "k", path("src"))).id;
    let page = |after, limit| {
        let list = ListInstructions { history: false, scope: None, after, limit };
        let page = must(bench, &list);
        (page.entries.into_iter().map(|it| it.id).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(page(None, 2), (all[..2].to_vec(), Some(all[1])));
    assert_eq!(page(Some(all[3]), 2), (vec![all[4], narrow], None));
    let list = ListInstructions { history: true, scope: Some(path("src")), after: None, limit: 9 };
    assert_eq!(must(bench, &list).entries.len(), 1);
    refuses(bench, &ListInstructions { limit: 0, ..list.clone() }, Code::Invalid);
    refuses(bench, &ListInstructions { after: Some(Rev(-1)), ..list }, Code::Invalid);
}

fn b4_secrets_are_taken_out_of_free_text(bench: &dyn Bench) {
    let ann = Agent::human(bench, "ann");
    ann.must(&instruct("connect with password=hunter2x, please"));
    assert_eq!(history(bench)[0].text, "connect with password=[redacted:password], please");
    let mut said = note("x");
    said.payload = Json::of(&serde_json::json!({"n": 1.5, "say": ["token: aB3dE6gH9jK2mN5pQ8"]}));
    let seq = ann.must(&said).seq;
    let payload = event(bench, seq).payload.expect("it is there");
    assert_eq!(payload.text(), r#"{"n":1.5,"say":["token: [redacted:token]"]}"#);
}
