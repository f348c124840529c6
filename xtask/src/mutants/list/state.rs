//! What sessions hold and keep: leases, claims, tasks, data, the log.

use super::{Mutant, RACE, case, mutant, server};
use crate::mutants::harness::Harness;

pub(super) const MUTANTS: &[Mutant] = &[
    // Sessions.
    case(
        "conversation_twice",
        "two live processes sign on with one conversation",
        "another_live_process_is_refused_the_conversation",
        "must fail with AGENT_BUSY",
    ),
    mutant(
        "pid_alone",
        "a process is known by its id alone, which is used again",
        Harness::Test(
            "lib",
            "host::tests::this_process_is_alive_and_its_id_with_another_start_is_not",
        ),
        "left: Alive",
    ),
    case(
        "lineage_cycle",
        "a session comes from its own child",
        "n7_who_takes_the_name_of_its_child_does_not_come_from_it",
        "lineage leads one way",
    ),
    case(
        "ephemeral_keys_stay",
        "ephemeral keys survive their session",
        "k5_ephemeral_keys_go_with_their_session",
        "should have gone with",
    ),
    case(
        "heirs_keep_fences",
        "the next incarnation inherits without new fences",
        "the_next_incarnation_inherits_what_was_held",
        "new fences: ",
    ),
    // Leases and fences.
    case(
        "a_slot_too_many",
        "a resource has one holder more than slots",
        "l1_one_of_many_gets_a_lease",
        "`r` has 2 holders and 1 slots",
    ),
    case(
        "cooling_slots_differ",
        "a lease is granted with other slots than one that cools down",
        "l6_what_cools_keeps_its_slots",
        "must fail with COOLING",
    ),
    case(
        "bounds_outlive_others",
        "what a session holds at most is remembered though another process granted more",
        "a_limit_counts_what_others_granted",
        "QUOTA",
    ),
    mutant("fence_not_monotonic", "a fence is used twice", RACE, "fence fell from"),
    mutant(
        "restore_forgets_fences",
        "a restore forgets the fences given out since",
        Harness::Test("faults", "l2_fences_ascend_over_a_restore_although_the_wall_clock_fell"),
        " after 9000000000",
    ),
    case(
        "no_lock_delay",
        "a lost grant is free at once",
        "l6_a_lease_cools_after_an_involuntary_end",
        "must fail with COOLING",
    ),
    case(
        "tickets_without_order",
        "who comes later passes who waits",
        "l7_nobody_passes_an_earlier_ticket",
        "who drew no ticket must fail with HELD",
    ),
    case(
        "deadlock_unnoticed",
        "nobody looks for cycles of waits",
        "l8_two_who_wait_for_each_other_are_a_deadlock",
        "a ticket closes a cycle",
    ),
    case(
        "renewal_revives",
        "a renewal revives a grant that has expired",
        "l3_only_the_holder_renews",
        "`lease.renew` must fail with FENCED",
    ),
    case(
        "release_by_anybody",
        "whoever knows the fence gives a lease back",
        "only_the_holder_releases",
        "`lease.release` must fail with FENCED",
    ),
    case(
        "guard_takes_old_fences",
        "a guard lets an earlier grant of the actor pass",
        "a_guard_stops_who_does_not_hold_any_more",
        "`data.put` must fail with FENCED",
    ),
    case(
        "admission_falls",
        "a lower fence is admitted after a higher one",
        "l5_admission_is_monotone",
        "`lease.admit` must fail with FENCED",
    ),
    // Claims.
    case(
        "claims_one_by_one",
        "a claim of several takes what is free",
        "a_claim_of_several_takes_all_or_none",
        "`claim` must fail with CLAIMED",
    ),
    case(
        "paths_by_bytes",
        "a path is above all that begin with its name",
        "l11_paths_beside_each_other_do_not_conflict",
        "src2/a.rs and src",
    ),
    mutant(
        "deny_in_another_tree",
        "a path claim excludes the same path in another tree",
        RACE,
        "claims path is not linearizable",
    ),
    case(
        "any_takes_all",
        "a claim of any item takes all that are free",
        "any_of_several_items_is_claimed",
        "one of them",
    ),
    // Tasks.
    case(
        "stale_completion_accepted",
        "an attempt finishes a task that was given to somebody else",
        "q3_only_the_newest_attempt_finishes_a_task",
        "`task.done` must fail with FENCED",
    ),
    case(
        "attempts_not_counted",
        "a task that kills its workers never ends",
        "q4_an_attempt_counts_when_it_begins",
        "attempt 1 is counted",
    ),
    case(
        "dependants_stay_blocked",
        "what waited for a task is not made ready when it is done",
        "q5_a_task_is_ready_when_all_that_it_needs_is_done",
        "waits for nothing",
    ),
    case(
        "priority_ignored",
        "the oldest task comes first, however urgent others are",
        "q6_urgent_tasks_come_first_then_those_that_wait_longest",
        "urgent ones come first",
    ),
    case(
        "retry_without_delay",
        "a task that failed is tried again at once",
        "q7_a_retry_waits_as_task_and_attempt_say",
        "of task",
    ),
    case(
        "dedupe_for_ever",
        "a dedupe key keeps others out although its task is over",
        "a_dedupe_key_adds_a_task_once_while_it_is_open",
        "a task that is over has no key",
    ),
    case(
        "visibility_never_ends",
        "an attempt never runs out of time",
        "q3_only_the_newest_attempt_finishes_a_task",
        "a task is ready",
    ),
    case(
        "task_guard_of_anybody",
        "a task's fence guards whoever knows it",
        "a_task_is_a_guard_for_who_works_on_it",
        "must fail with FENCED",
    ),
    // Data.
    case(
        "txn_compares_one",
        "a transaction looks at its first condition only",
        "k3_a_txn_says_which_conditions_failed",
        "{\"failed\": Array [Number(0)]}",
    ),
    case(
        "update_outside_transaction",
        "an addition is a read, then a write",
        "k4_no_addition_is_lost",
        "right: Number(432)",
    ),
    case(
        "merge_replaces",
        "a merge forgets what was there",
        "an_update_adds_appends_and_merges",
        "left: Object {\"a\": Object {\"e\": Array [Number(1)]}}",
    ),
    case(
        "scopes_by_prefix",
        "deleting below a scope takes all that begin with its name",
        "deleting_recursively_takes_what_is_below",
        "left: 8",
    ),
    case(
        "page_skips",
        "a page of keys begins behind the first that was left out",
        "keys_are_listed_page_by_page",
        "every key is on one page",
    ),
    // Conventional keys.
    case(
        "projections_win",
        "what an operation says hides what is stored under its key",
        "k7_what_is_stored_wins",
        "left: (\"\\\"a\\\"\", \"a\", true)",
    ),
    case(
        "projects_the_dead",
        "sessions that were lost are seen under their conventional keys",
        "k6_what_is_lost_or_ended_shows_nothing",
        "`data.get` must fail with NOT_FOUND, but answered",
    ),
    case(
        "projects_what_was_taken_over",
        "a session whose offer was accepted is still seen as ready for a handoff",
        "k6_who_left_an_offer_is_ready_for_a_handoff",
        "`data.get` must fail with NOT_FOUND, but answered",
    ),
    case(
        "projects_free_slots",
        "a lease with a free slot is seen as a lock",
        "k6_a_lease_without_a_free_slot_shows_in_its_lock",
        "`data.get` must fail with NOT_FOUND, but answered",
    ),
    case(
        "scopes_twice",
        "a scope that is stored and projected is listed twice",
        "k8_scopes_of_a_convention_are_listed_once_in_order",
        "\"session:b\", \"session:b\"",
    ),
    // How many there are.
    case(
        "any_number_signs_on",
        "more sessions sign on than may be live",
        "n8_no_more_sessions_are_live_than_may_be",
        "`session.sign_on` must fail with QUOTA, but answered",
    ),
    case(
        "the_dead_count",
        "a session whose process died keeps others out",
        "n8_those_whose_process_died_do_not_count",
        "\"code\":\"QUOTA\"",
    ),
    // What is left behind.
    case(
        "gc_orphans",
        "a session goes although others came from it",
        "r1_those_that_others_came_from_stay",
        "left: 0",
    ),
    case(
        "gc_takes_new_keys",
        "keys go that were written since",
        "r1_what_was_written_since_stays",
        "left: (3, None)",
    ),
    // The log.
    case(
        "hash_without_trust",
        "the chain leaves a field out",
        "e4_every_hash_follows_from_the_one_before",
        "assertion `left == right` failed: at 2",
    ),
    case(
        "cursor_skips",
        "a cursor stands behind events that were not delivered",
        "e2_a_cursor_goes_on_where_it_stopped",
        "every event is on one page",
    ),
    case(
        "consumer_goes_back",
        "a consumer acknowledges less than before",
        "a_consumer_commits_only_forward",
        "must fail with CURSOR_BEHIND",
    ),
    case(
        "erased_stays_on_disk",
        "an erased payload stays in the database's free pages",
        "e5_redaction_erases_every_byte",
        "the secret is still there",
    ),
    server(
        "erased_while_seen",
        "an erased payload that a transaction still sees counts as gone",
        "an_erased_payload_is_gone_from_the_tables_file",
        "it must fail with BUSY",
    ),
];
