//! Section 5: fences, and what renews, checks and admits them.

use cotenant_core::{
    Code,
    claim::{Holding, HoldingState},
    clock::{MINUTE, SECOND},
    data::Put,
    id::Fence,
    lease::{Acquire, LOCK_DELAY_MS, ListLeases, Renew},
};
use serde_json::json;

use crate::{
    Bench,
    ask::{Agent, granted, head_seq, must},
    sample::{TTL, acquire, admit, check, claim, guard, note, put, release, renew},
};

cases! {
    l2_fences_ascend_over_release_expiry_and_loss,
    l2_fences_ascend_over_leases_and_claims_alike,
    l2_fences_follow_the_wall_clock_and_never_go_back,
    l3_a_renewal_keeps_the_fence,
    l3_only_the_holder_renews,
    l4_check_is_advisory,
    l5_admission_is_monotone,
    l5_a_claim_is_admitted_under_each_of_its_names,
}

fn held(bench: &dyn Bench, resource: &str) -> Vec<Holding> {
    let all = must(bench, &ListLeases { pattern: Some(resource.into()) }).holdings;
    all.into_iter().filter(|holding| holding.state == HoldingState::Held).collect()
}

fn l2_fences_ascend_over_release_expiry_and_loss(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let mut last = Fence(0);
    let mut ascends = |fence: Fence| {
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        fence
    };
    let fence = ascends(a.must(&acquire("r")).fence);
    a.must(&release("r", fence));
    ascends(a.must(&acquire("r")).fence);
    bench.advance(TTL + LOCK_DELAY_MS);
    ascends(a.must(&acquire("r")).fence);
    let process = bench.process();
    let b = Agent::living(bench, "b", &process);
    ascends(b.must(&acquire("s")).fence);
    bench.kill(&process);
    a.refused(&acquire("s"), Code::Cooling);
    bench.advance(LOCK_DELAY_MS);
    ascends(a.must(&acquire("s")).fence);
    bench.reboot();
    let other = bench.second();
    let answered = (*other).call(&acquire("t"), |request| request.by(a.actor()));
    ascends(granted::<Acquire, _>(answered).answer.fence);
}

fn l2_fences_ascend_over_leases_and_claims_alike(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let fences = [
        a.must(&acquire("r1")).fence,
        a.must(&claim(&["issue:1"])).items[0].fence,
        a.must(&acquire("r2")).fence,
        a.must(&claim(&["issue:2"])).items[0].fence,
    ];
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    let several = a.must(&claim(&["issue:3", "issue:4", "branch:x"])).items;
    let mut of_several: Vec<_> = several.iter().map(|item| item.fence).collect();
    of_several.sort_unstable();
    of_several.dedup();
    assert!(of_several.len() == 3 && of_several[0] > fences[3], "{several:?}");
}

fn l2_fences_follow_the_wall_clock_and_never_go_back(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    bench.set_wall(4_000_000_000_000);
    let first = a.must(&acquire("r1")).fence;
    assert!((4_000_000_000_000..4_000_000_600_000).contains(&first.0), "{first}");
    bench.set_wall(1_000);
    let second = a.must(&acquire("r2")).fence;
    assert_eq!(second, Fence(first.0 + 1));
}

fn l3_a_renewal_keeps_the_fence(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let fence = a.must(&acquire("r")).fence;
    for _ in 0..3 {
        bench.advance(TTL / 2);
        assert_eq!(a.must(&renew("r", fence)).expires_in_ms, TTL);
    }
    assert_eq!(held(bench, "r")[0].fence, fence);
    let longer = Renew { ttl_ms: Some(10 * MINUTE), ..renew("r", fence) };
    assert_eq!(a.must(&longer).expires_in_ms, 10 * MINUTE);
    bench.advance(9 * MINUTE);
    granted::<Put, _>(a.guarded(&put("s", "k", "1"), guard("r", fence)));
}

fn l3_only_the_holder_renews(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    let fence = a.must(&acquire("r")).fence;
    b.refused(&renew("r", fence), Code::Fenced);
    a.refused(&renew("r", Fence(fence.0 - 1)), Code::Fenced);
    a.refused(&renew("free", fence), Code::Fenced);
    bench.advance(TTL + SECOND);
    a.refused(&renew("r", fence), Code::Fenced);
    bench.advance(LOCK_DELAY_MS);
    let again = a.must(&acquire("r")).fence;
    a.refused(&renew("r", fence), Code::Fenced);
    a.must(&renew("r", again));
}

fn l4_check_is_advisory(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let fence = a.must(&acquire("r")).fence;
    let before = head_seq(bench);
    let checked = must(bench, &check("r", fence));
    let left = checked.expires_in_ms.expect("a time to live");
    assert!(checked.valid && (1..=TTL).contains(&left), "{checked:?}");
    assert!(!must(bench, &check("r", Fence(fence.0 + 1))).valid);
    assert!(!must(bench, &check("other", fence)).valid);
    assert_eq!(head_seq(bench), before);
    bench.advance(TTL);
    a.fenced_by(&note("what was valid is no longer"), guard("r", fence));
}

fn l5_admission_is_monotone(bench: &dyn Bench) {
    let (a, b) = (Agent::new(bench, "a"), Agent::new(bench, "b"));
    assert_eq!(a.must(&admit("r", 10)).highest, Fence(10));
    assert_eq!(b.must(&admit("r", 10)).highest, Fence(10));
    let refused = a.refused(&admit("r", 9), Code::Fenced);
    assert_eq!(refused.details["highest"], json!(10));
    assert_eq!(a.must(&admit("other", 1)).highest, Fence(1));
    assert_eq!(b.must(&admit("r", 12)).highest, Fence(12));
    let refused = b.refused(&admit("r", 11), Code::Fenced);
    assert_eq!(refused.details["highest"], json!(12));
    let fence = a.must(&acquire("r")).fence;
    assert_eq!(a.must(&admit("r", fence.0)).highest, fence);
}

fn l5_a_claim_is_admitted_under_each_of_its_names(bench: &dyn Bench) {
    let a = Agent::new(bench, "a");
    let fence = a.must(&claim(&["issue:15"])).items[0].fence;
    a.must(&admit("issue:15", fence.0));
    a.refused(&admit("claim/issue/15", fence.0 - 1), Code::Fenced);
    a.refused(&admit("issue:15", fence.0 - 1), Code::Fenced);
    a.must(&admit("issue:1", 1));
}
