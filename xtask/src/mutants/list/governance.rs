//! What sessions do together: progress, handoff, messages, barriers, instructions, metrics.

use super::{Mutant, case};

pub(super) const MUTANTS: &[Mutant] = &[
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
