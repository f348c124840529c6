//! The store: transactions, combining, time, servers, disks, versions.

use super::{
    CLOCK, COMBINE, CORRUPT, FAILPOINTS, FULL, KILL, MIXED, Mutant, POWER, STOP, batching, case,
    mutant, server, transfer,
};
use crate::mutants::harness::Harness;
use crate::storm::Storm;

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
    // The connection to a server.
    server(
        "commit_without_flush",
        "a server acknowledges what is not on its disk",
        "connection::every_write_has_its_limits",
        "left: \"10s 5s 5s off\"",
    ),
    server(
        "broken_line_is_kept",
        "a connection that broke while idle fails the next request",
        "connection::a_connection_that_broke_while_idle_is_replaced_unseen",
        "terminating connection due to administrator command",
    ),
    server(
        "full_queue_excuses_all",
        "what the server refused as too large is told as done",
        "connection::what_was_refused_in_the_round_trip_of_the_commit_was_not_done",
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
    batching(
        "rehearsals_queue_up",
        "a thread whose answer is there waits until others tried their requests",
        "batching::tests::an_answer_waits_for_nobody_who_tries_its_request",
        "it waits for another one to be tried",
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
        "busy_ends_a_wait",
        "who waits for an hour is refused when its turn does not come in 5 s",
        Harness::Test("faults", "a_busy_store_ends_no_wait_that_has_time_left"),
        "it had time left",
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
];
