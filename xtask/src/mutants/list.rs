//! The planted bugs: what each does, what catches it, and what that must say.

use super::harness::Harness;
use crate::storm::Storm;

/// A planted bug and the harness that must catch it.
#[derive(Debug)]
pub(super) struct Mutant {
    pub(super) name: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    pub(super) harness: Harness,
    /// What a fault must say, so that the bug is caught for what it does.
    pub(super) shows: &'static str,
}

const fn mutant(
    name: &'static str,
    about: &'static str,
    harness: Harness,
    shows: &'static str,
) -> Mutant {
    Mutant { name, about, harness, shows }
}

/// One that a case of the contract catches.
const fn case(
    name: &'static str,
    about: &'static str,
    case: &'static str,
    shows: &'static str,
) -> Mutant {
    mutant(name, about, Harness::Case(case), shows)
}

/// One that a test on a server catches.
const fn server(
    name: &'static str,
    about: &'static str,
    test: &'static str,
    shows: &'static str,
) -> Mutant {
    mutant(name, about, Harness::Test("postgres", test), shows)
}

/// One that a test of batches catches.
const fn batching(
    name: &'static str,
    about: &'static str,
    test: &'static str,
    shows: &'static str,
) -> Mutant {
    mutant(name, about, Harness::Test("lib", test), shows)
}

/// One that a test of carried stores catches.
const fn transfer(
    name: &'static str,
    about: &'static str,
    test: &'static str,
    shows: &'static str,
) -> Mutant {
    mutant(name, about, Harness::Test("transfer", test), shows)
}

const KILL: Harness = Harness::Storm(Storm::Kill, 11);
const STOP: Harness = Harness::Storm(Storm::Stop, 12);
const CLOCK: Harness = Harness::Storm(Storm::Clock, 13);
const RACE: Harness = Harness::Storm(Storm::Linearizability, 14);
const FAILPOINTS: Harness = Harness::Storm(Storm::Failpoints, 15);
const COMBINE: Harness = Harness::Storm(Storm::Combine, 16);
const POWER: Harness = Harness::Storm(Storm::Power, 1);
const CORRUPT: Harness = Harness::Storm(Storm::Corrupt, 21);
const FULL: Harness = Harness::Storm(Storm::Full, 3);
const MIXED: Harness = Harness::Storm(Storm::Mixed, 7);

pub(super) const MUTANTS: &[Mutant] = &[
    // The write transaction.
    mutant("no_gate_transaction", "a write runs without gate and transaction", KILL, "doctor: "),
    server(
        "no_gate_transaction",
        "a write on a server runs without its turn",
        "of_many_writers_none_is_lost",
        "duplicate key value violates unique constraint",
    ),
    mutant(
        "guard_outside_transaction",
        "guards are checked before the transaction",
        STOP,
        "the guarded write of a holder that slept",
    ),
    mutant(
        "event_outside_transaction",
        "events follow in a transaction of their own",
        FAILPOINTS,
        "txn.after_commit=eio: doctor: ",
    ),
    mutant(
        "no_idempotency",
        "a repeated request is done again",
        KILL,
        "was committed, then done again",
    ),
    case(
        "request_ids_of_everybody",
        "request ids are not those of their actor",
        "s4_ids_belong_to_their_actor",
        "IDEMPOTENCY_MISMATCH",
    ),
    case(
        "token_unchecked",
        "any token opens a session",
        "n5_only_the_digest_of_the_token_opens_a_session",
        "a token of nobody must fail with UNAUTHENTICATED",
    ),
    mutant("no_settle", "what has expired is left as it is", STOP, ", not COOLING"),
    case(
        "settles_the_newest_first",
        "of what has expired the newest is settled first",
        "s1_at_most_64_rows_are_settled_at_once_oldest_first",
        "the oldest come first, but",
    ),
    case(
        "refusal_undoes_settling",
        "a refusal undoes what was settled for it",
        "s1_a_failure_keeps_what_was_settled",
        "a refusal undid what was settled",
    ),
    case(
        "batch_keeps_what_failed",
        "a request that failed in a batch leaves its first writes",
        "a_failure_in_a_batch_undoes_its_own_request_only",
        "what failed left a write",
    ),
    case(
        "gap_after_a_failure",
        "a request that failed in a batch uses up a number of the log",
        "a_failure_in_a_batch_undoes_its_own_request_only",
        "the log has no gap",
    ),
    case(
        "shown_as_stored",
        "reads show what is stored instead of what holds now",
        "s5_reads_show_what_has_expired_and_write_nothing",
        "a dead session has Holding",
    ),
    // The combiner.
    mutant(
        "combine_runs_what_was_given_up",
        "a combiner carries out what its client gave up",
        COMBINE,
        "a refused request took effect",
    ),
    mutant(
        "combine_repeats_under_another_id",
        "a client that gave up repeats under another id",
        COMBINE,
        "2 additions made",
    ),
    mutant(
        "combine_leaves_messages",
        "a freed slot keeps its message",
        COMBINE,
        "a message stays in the table",
    ),
    // Time.
    mutant("wall_clock", "the wall clock decides what has expired", CLOCK, " s off, a"),
    server(
        "ahead_is_never_stale",
        "a batch goes by what it read before it wrote",
        "a_batch_sees_what_waits_to_be_written_and_not_what_was_read_before",
        "the second claim does not see the first",
    ),
    server(
        "behind_is_never_due",
        "a query does not see what waits to be written",
        "a_batch_sees_what_waits_to_be_written_and_not_what_was_read_before",
        "the second claim does not see the first",
    ),
    server(
        "step_unbounded",
        "the clock of a server takes any step",
        "refusals_alone_carry_a_clock_with_small_steps_to_an_expiry",
        "one write took more than 30 s",
    ),
    server(
        "cut_step_undone",
        "a refusal undoes the step of the clock",
        "refusals_alone_carry_a_clock_with_small_steps_to_an_expiry",
        "it never expires",
    ),
    server(
        "short_grants_of_many",
        "machines that share a store may hold for less than two steps of its clock",
        "what_machines_share_has_other_bounds",
        "it must fail with INVALID",
    ),
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
    // The connection to a server.
    server(
        "commit_without_flush",
        "a server acknowledges what is not on its disk",
        "every_write_has_its_limits",
        "left: \"10s 5s 5s off\"",
    ),
    server(
        "broken_line_is_kept",
        "a connection that broke while idle fails the next request",
        "a_connection_that_broke_while_idle_is_replaced_unseen",
        "terminating connection due to administrator command",
    ),
    server(
        "full_queue_excuses_all",
        "what the server refused as too large is told as done",
        "what_was_refused_in_the_round_trip_of_the_commit_was_not_done",
        "it must fail with INTERNAL",
    ),
    // Requests of many threads in one transaction.
    batching(
        "batch_newest_first",
        "of many threads the last one to come is served first",
        "batching::tests::what_comes_meanwhile_shares_one_transaction_in_order",
        "they came in this order",
    ),
    batching(
        "batch_crosses_outcomes",
        "a thread is told another one's outcome",
        "batching::tests::each_has_the_outcome_of_its_own_request",
        "assertion `left == right` failed",
    ),
    batching(
        "batch_panics_together",
        "a request that panics ends those that share its transaction",
        "batching::tests::a_transaction_that_panics_is_carried_out_one_by_one",
        "a transaction with others panicked",
    ),
    // Carrying a store.
    transfer(
        "import_skips_chain_check",
        "the chain of a log that arrives is not verified",
        "file::b6_a_log_whose_chain_does_not_hold_does_not_arrive",
        "a log whose chain does not hold arrived",
    ),
    transfer(
        "move_does_not_look_again",
        "the old store is closed without a last look",
        "moving::b7_a_session_that_signs_on_meanwhile_is_noticed",
        "the store was moved away from a live session",
    ),
    transfer(
        "move_leaves_the_old_store_open",
        "the old store can be written after a move",
        "moving::b7_a_store_that_was_moved_away_says_so_and_can_still_be_copied",
        "the old store can still be used",
    ),
    // The disk.
    mutant("no_sync", "a commit is not flushed", POWER, "signed on and lost"),
    mutant("no_directory_sync", "the name of the log is not flushed", POWER, "signed on and lost"),
    mutant(
        "replays_are_not_flushed",
        "a result that is remembered is told although its commit is not on the disk",
        POWER,
        "acknowledged and lost",
    ),
    mutant(
        "replays_take_no_turn",
        "a result that is remembered is told without a turn, in which its commit would be flushed",
        Harness::Test("faults", "a_remembered_result_is_told_in_a_turn_only"),
        "told without a turn",
    ),
    mutant(
        "unflushed_frames_stay",
        "a commit that was refused for a failed flush is recovered later",
        FULL,
        "the counters are",
    ),
    mutant(
        "doctor_trusts_values",
        "the doctor does not compare values with their events",
        CORRUPT,
        "a wrong answer that passes the doctor",
    ),
    // Versions and servers.
    mutant(
        "no_schema_gate",
        "the schema is not looked at",
        MIXED,
        "an old program still writes after the migration",
    ),
    mutant(
        "clock_steps_any_length",
        "the clock of a server is believed whatever it says",
        Harness::StormOnServer(Storm::Clock, 7),
        "a held lease answers",
    ),
    mutant(
        "repeats_under_another_id",
        "a request is repeated under another id",
        FAILPOINTS,
        "then repeated with",
    ),
    // Progress, handoff, messages, barriers.
    case(
        "progress_of_a_held_item",
        "anybody reports on an item that another holds",
        "g2_an_item_that_another_holds_is_not_reported_on",
        "`progress.set` must fail with CLAIMED",
    ),
    case(
        "progress_overwritten_silently",
        "who overwrites a report is not told",
        "g1_the_last_report_stands_and_names_what_it_replaced",
        "what b overwrites",
    ),
    case(
        "offer_accepted_twice",
        "an offer is accepted by whoever comes",
        "h1_an_accepted_offer_is_gone",
        "`handoff.accept` must fail with GONE",
    ),
    case(
        "giver_keeps_its_fence",
        "what was handed over is still the giver's too",
        "h1_what_moves_gets_new_fences_and_the_givers_are_void",
        "`data.put` must fail with FENCED",
    ),
    case(
        "expired_offer_accepted",
        "an offer is accepted after its time",
        "h3_an_offer_ends_with_its_time",
        "`handoff.accept` must fail with GONE",
    ),
    case(
        "offered_twice",
        "an item is put into two offers",
        "an_item_is_in_one_open_offer",
        "`handoff.offer` must fail with OFFERED",
    ),
    case(
        "giver_keeps_its_attempt",
        "what the giver of a task says of it still counts after the handoff",
        "h6_a_running_task_goes_on_in_other_hands",
        "taken.fence > given.fence",
    ),
    case(
        "handing_over_counts_an_attempt",
        "a task that is handed over loses an attempt",
        "h6_a_running_task_goes_on_in_other_hands",
        "assertion `left == right` failed",
    ),
    case(
        "anybodys_task_is_handed_over",
        "a task that somebody else works on by now is taken from them",
        "h7_a_task_that_others_run_or_that_is_over_does_not_move",
        "task: Some(TakenTask",
    ),
    case(
        "offered_path_of_any_tree",
        "who holds a path in another work tree keeps it from the acceptor",
        "h8_a_path_moves_with_its_tree",
        "in another tree nobody is in the way",
    ),
    case(
        "offered_items_unmentioned",
        "who claims what is in an open offer is not told of it",
        "h9_who_claims_what_is_offered_is_told",
        "assertion `left == right` failed",
    ),
    case(
        "moved_as_offered",
        "what the giver holds moves as it was when it was offered",
        "h10_what_the_giver_holds_moves_as_it_is_now",
        "an advisory claim is in nobody's way",
    ),
    case(
        "offered_slots_win",
        "a lease that was given up moves with its slots, whatever others agreed on since",
        "h10_what_was_given_up_moves_only_beside_others",
        "one slot is no place for two",
    ),
    case(
        "own_term_is_lost",
        "a session that accepts what it holds gets the giver's term for its own",
        "h11_what_the_acceptor_holds_is_not_weakened",
        "it ends in ",
    ),
    case(
        "held_is_counted",
        "what the acceptor holds already counts against its limit once more",
        "h12_an_acceptor_is_refused_for_what_it_would_add",
        "`handoff.accept` failed",
    ),
    case(
        "message_handed_out_twice",
        "a message that was handed out stays unread",
        "m2_a_message_is_handed_out_once",
        "(80, [Seq(",
    ),
    case(
        "messages_to_the_dead",
        "a message to a dead session counts as delivered",
        "m4_a_message_to_the_dead_is_reported",
        "left: (1, [])",
    ),
    case(
        "heirs_get_no_messages",
        "unread messages end with their session",
        "m3_the_next_incarnation_reads_what_was_not_read",
        "left: []",
    ),
    case(
        "barrier_opens_early",
        "a barrier opens before its last party",
        "y1_a_barrier_opens_with_its_last_party",
        "assertion failed: !b.must",
    ),
    case(
        "barrier_waits_for_the_lost",
        "a barrier waits for a party that was lost",
        "y3_a_party_that_is_lost_breaks_the_barrier",
        "`barrier.arrive` must fail with CANCELLED",
    ),
    // Instructions and metrics.
    case(
        "adds_overwrite",
        "of two instructions that are added after each other by different sessions one is lost",
        "i1_concurrent_additions_are_all_kept_each_with_its_author",
        "an instruction was lost",
    ),
    case(
        "agent_raises_trust",
        "an agent's instruction has the trust that it claims",
        "i2_nobody_raises_the_trust_of_a_text_by_adding_it",
        "an agent raised its trust",
    ),
    case(
        "agents_approve",
        "an agent approves an instruction",
        "i2_what_an_agent_adds_is_in_force_when_a_person_approves_it",
        "`instruction.approve` must fail with FORBIDDEN",
    ),
    case(
        "superseded_twice",
        "an instruction is superseded twice",
        "i3_an_entry_is_superseded_once",
        "`instruction.add` must fail with REV_MISMATCH",
    ),
    case(
        "revoked_in_force",
        "an instruction that was revoked stays in force",
        "i4_what_has_not_changed_is_not_told_again",
        "what was revoked is in force",
    ),
    case(
        "counter_goes_down",
        "a late report takes a counter back",
        "n6_a_counter_never_goes_down",
        "a counter went down",
    ),
    case(
        "gauge_goes_back",
        "a late report takes a gauge back",
        "n6_a_gauge_is_that_of_the_highest_sequence",
        "a gauge went back",
    ),
    case(
        "sessions_share_metrics",
        "sessions without a conversation id share a row of metrics",
        "n6_sessions_never_share_what_they_used",
        "left: (42, 29414)",
    ),
    case(
        "threshold_fires_twice",
        "a threshold is crossed again",
        "n9_a_threshold_is_crossed_once_per_session",
        "it is crossed once",
    ),
    case(
        "what_others_run_counts",
        "a task that another session runs is an open task of who added it",
        "n10_open_tasks_are_those_that_a_session_runs_or_added",
        "what another session runs is that one's work",
    ),
    case(
        "finished_tasks_are_a_chain",
        "finished tasks are links of the chain that a task needs",
        "n10_open_tasks_are_those_that_a_session_runs_or_added",
        "a finished task is part of no chain",
    ),
    case(
        "status_shows_all_holdings",
        "the status shows what sessions hold that it does not show",
        "the_status_shows_what_those_hold_whom_it_shows",
        "one holds something that is not shown",
    ),
];
