//! Which of several instructions wins, and which contradict each other.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{
    About, Beaten, Conflict, Effective, InForce, Instruction, Ruling, Scope, Standing, Trust, Why,
};
use crate::id::Rev;

/// Which of two entries wins: the one in force, the one a person wrote, the narrower one, the newer one.
fn precedence(one: &Instruction, other: &Instruction) -> (Ordering, Why) {
    let in_force = |it: &Instruction| it.standing == Standing::InForce;
    let steps = [
        (in_force(one).cmp(&in_force(other)), Why::InForceOverProposed),
        ((one.trust == Trust::Human).cmp(&(other.trust == Trust::Human)), Why::HumanOverApproved),
        (one.scope.narrowness().cmp(&other.scope.narrowness()), Why::Narrower),
    ];
    steps
        .into_iter()
        .find(|(order, _)| order.is_ne())
        .unwrap_or((one.id.cmp(&other.id), Why::Newer))
}

/// Decides among entries in force. At a path each key has one winner; without one, each key in each scope.
pub fn rule(entries: Vec<Instruction>, path: Option<&str>) -> Vec<Ruling> {
    let here = |it: &Instruction| it.standing == Standing::InForce && it.scope.holds_at(path);
    let mut groups: Vec<Vec<Instruction>> = Vec::new();
    for entry in entries.into_iter().filter(here) {
        let same = |group: &&mut Vec<Instruction>| {
            let known = &group[0];
            entry.key.is_some()
                && known.key == entry.key
                && (path.is_some() || known.scope == entry.scope)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(entry),
            None => groups.push(vec![entry]),
        }
    }
    let decide = |mut group: Vec<Instruction>| {
        group.sort_by(|one, other| precedence(other, one).0);
        let instruction = group.remove(0);
        let beaten = |it: &Instruction| Beaten {
            id: it.id,
            scope: it.scope.clone(),
            why: precedence(&instruction, it).1,
        };
        let over = group.iter().map(beaten).collect();
        Ruling { instruction, over }
    };
    groups.into_iter().map(decide).collect()
}

impl InForce {
    /// Together with what is in force in another history, that of the organisation. Both were asked for all.
    #[must_use]
    pub fn with(self, shared: Self, op: &Effective) -> Self {
        // Neither goes back, so the sum differs whenever one of them does.
        let head = Rev(self.head.0 + shared.head.0);
        if op.since == Some(head) {
            return Self { head, unchanged: true, rulings: Vec::new(), proposed: 0 };
        }
        let mut before: Vec<Ruling> = self.rulings.into_iter().chain(shared.rulings).collect();
        let entries = before.iter().map(|ruling| ruling.instruction.clone()).collect();
        let mut rulings = rule(entries, op.path.as_deref());
        for ruling in &mut rulings {
            let beaten = std::mem::take(&mut ruling.over);
            let mut take = |id: Rev, scope: &Scope| {
                let of =
                    |it: &&mut Ruling| it.instruction.id == id && it.instruction.scope == *scope;
                before
                    .iter_mut()
                    .find(of)
                    .map(|it| std::mem::take(&mut it.over))
                    .unwrap_or_default()
            };
            ruling.over = take(ruling.instruction.id, &ruling.instruction.scope);
            for one in beaten {
                let why = one.why;
                let theirs = take(one.id, &one.scope);
                ruling.over.push(one);
                ruling.over.extend(theirs.into_iter().map(|it| Beaten { why, ..it }));
            }
        }
        Self { head, unchanged: false, rulings, proposed: self.proposed + shared.proposed }
    }
}

/// Finds live entries that contradict each other.
pub fn conflicts(entries: &[Instruction]) -> Vec<Conflict> {
    // Numbers of the organisation are of another history on a server.
    let mut groups: BTreeMap<(About, bool), Vec<&Instruction>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_live()) {
        if let Some(key) = &entry.key {
            groups.entry((About::Key(key.clone()), false)).or_default().push(entry);
        }
        if let Some(predecessor) = entry.supersedes {
            let of_org = entry.scope == Scope::Org;
            groups.entry((About::Superseded(predecessor), of_org)).or_default().push(entry);
        }
    }
    let conflict = |((about, _), mut group): ((About, bool), Vec<&Instruction>)| {
        if let About::Key(_) = about {
            let contradicts = |one: &&Instruction| {
                group.iter().any(|other| other.text != one.text && other.scope.overlaps(&one.scope))
            };
            group = group.iter().copied().filter(contradicts).collect();
        }
        group.sort_by(|one, other| precedence(other, one).0);
        let [first, second, ..] = group[..] else { return None };
        let why = precedence(first, second).1;
        Some(Conflict { about, why, entries: group.into_iter().cloned().collect() })
    };
    groups.into_iter().filter_map(conflict).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::SessionId;

    fn entry(id: i64, scope: &str, key: Option<&str>, trust: Trust) -> Instruction {
        Instruction {
            id: Rev(id),
            text: format!("text {id}"),
            scope: scope.parse().unwrap(),
            key: key.map(str::to_owned),
            alias: None,
            source: None,
            trust,
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
        }
    }

    fn winner(entries: Vec<Instruction>, path: Option<&str>) -> (i64, Vec<(i64, Why)>) {
        let mut rulings = rule(entries, path);
        assert_eq!(rulings.len(), 1);
        let ruling = rulings.remove(0);
        (ruling.instruction.id.0, ruling.over.into_iter().map(|it| (it.id.0, it.why)).collect())
    }

    #[test]
    fn precedence_is_as_documented() {
        use Trust::{Agent, Human};
        let one = |id, scope, trust| entry(id, scope, Some("k"), trust);
        let over = |entries, path| winner(entries, path);
        assert_eq!(
            over(vec![one(1, "project", Human), one(2, "project", Agent)], None),
            (1, vec![(2, Why::HumanOverApproved)])
        );
        assert_eq!(
            over(vec![one(1, "path:src", Human), one(2, "project", Human)], Some("src/a")),
            (1, vec![(2, Why::Narrower)])
        );
        assert_eq!(
            over(vec![one(1, "project", Human), one(2, "org", Human)], Some(".")),
            (1, vec![(2, Why::Narrower)])
        );
        assert_eq!(
            over(vec![one(1, "path:src/a", Human), one(2, "path:src", Human)], Some("src/a/b")),
            (1, vec![(2, Why::Narrower)])
        );
        assert_eq!(
            over(vec![one(1, "project", Human), one(2, "project", Human)], None),
            (2, vec![(1, Why::Newer)])
        );
        assert_eq!(
            over(vec![one(1, "org", Human), one(2, "path:src", Agent)], Some("src")),
            (1, vec![(2, Why::HumanOverApproved)])
        );
    }

    #[test]
    fn only_what_holds_there_is_told() {
        let all = vec![
            entry(1, "path:src", None, Trust::Human),
            entry(2, "path:doc", None, Trust::Human),
            Instruction { standing: Standing::Proposed, ..entry(3, "project", None, Trust::Agent) },
        ];
        let ids =
            |path| rule(all.clone(), path).iter().map(|it| it.instruction.id.0).collect::<Vec<_>>();
        assert_eq!(ids(Some("src/a.rs")), [1]);
        assert_eq!(ids(Some("src2")), [0; 0]);
        assert_eq!(ids(None), [1, 2]);
    }

    #[test]
    fn conflicts_are_those_of_a_key_or_of_a_predecessor() {
        let mut successors =
            vec![entry(5, "project", None, Trust::Human), entry(6, "project", None, Trust::Human)];
        for it in &mut successors {
            it.supersedes = Some(Rev(1));
        }
        let found = conflicts(&successors);
        assert_eq!((found.len(), &found[0].about), (1, &About::Superseded(Rev(1))));
        assert_eq!(found[0].entries[0].id, Rev(6));
        let of_key = vec![
            entry(1, "path:a", Some("k"), Trust::Human),
            entry(2, "path:b", Some("k"), Trust::Human),
        ];
        assert_eq!(conflicts(&of_key), []);
        let same = |text: &str| Instruction {
            text: text.into(),
            ..entry(3, "project", Some("k"), Trust::Agent)
        };
        assert_eq!(conflicts(&[same("x"), same("x")]), []);
        assert_eq!(conflicts(&[same("x"), same("y")]).len(), 1);
        let over = |standing| Instruction { standing, ..same("z") };
        assert_eq!(
            conflicts(&[same("x"), over(Standing::Revoked), over(Standing::Superseded)]),
            []
        );
    }

    #[test]
    fn two_histories_are_told_as_one() {
        let history = |head: i64, entries: Vec<Instruction>, path: Option<&str>| InForce {
            head: Rev(head),
            unchanged: false,
            rulings: rule(entries, path),
            proposed: 1,
        };
        let told = |op: &Effective| {
            let path = op.path.as_deref();
            let own = vec![
                entry(3, "project", Some("k"), Trust::Human),
                entry(4, "project", None, Trust::Human),
            ];
            let shared = vec![
                entry(2, "org", Some("k"), Trust::Human),
                entry(3, "org", Some("k"), Trust::Human),
            ];
            history(9, own, path).with(history(5, shared, path), op)
        };
        let all = told(&Effective::default());
        assert_eq!((all.head, all.proposed, all.rulings.len()), (Rev(14), 2, 3));
        assert!(told(&Effective { path: None, since: Some(Rev(14)) }).unchanged);
        assert!(!told(&Effective { path: None, since: Some(Rev(13)) }).unchanged);
        let here = told(&Effective { path: Some("src".into()), since: None });
        let names: Vec<_> =
            here.rulings[0].over.iter().map(|it| (it.reference(), it.why)).collect();
        assert_eq!(here.rulings[0].instruction.reference(), "3");
        assert_eq!(
            names,
            [("org:3".to_owned(), Why::Narrower), ("org:2".to_owned(), Why::Narrower)]
        );
    }

    proptest! {
        #[test]
        fn of_each_key_one_wins_whatever_the_order(order in Just((1..7).collect::<Vec<i64>>()).prop_shuffle()) {
            let scopes = ["org", "project", "path:a", "path:a/b", "project", "org"];
            let trusts = [Trust::Human, Trust::Agent, Trust::Agent, Trust::Human, Trust::Human, Trust::Agent];
            let all = order.iter().map(|id| {
                let index = usize::try_from(*id).unwrap() - 1;
                entry(*id, scopes[index], Some("k"), trusts[index])
            });
            let (id, over) = winner(all.collect(), Some("a/b/c"));
            prop_assert_eq!(id, 4);
            prop_assert_eq!(over.len(), 5);
        }
    }
}
