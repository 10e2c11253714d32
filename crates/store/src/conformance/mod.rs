//! The suite that every store has to pass: one function per promise.
//!
//! A backend gives a function that makes a [`Fixture`] (or `None` where it is not
//! there) and names it to [`conformance_suite!`], which makes a test of each case.
//! Cases panic where a promise is broken. They wait on conditions with a deadline,
//! never for a fixed time.

// These are tests, though they are compiled as a library.
#![allow(clippy::unwrap_used, clippy::cloned_ref_to_slice_refs)]

pub mod appends;
pub mod approvals;
pub mod audit;
pub mod batches;
pub mod catalog;
pub mod dispatch;
mod fixture;
pub mod given;
pub mod postgres;
pub mod races;
pub mod sessions;
pub mod webhooks;

pub use fixture::{Fixture, run};

/// Makes a test of every case of the suite: `conformance_suite!(fresh)` with
/// `async fn fresh() -> Option<impl Fixture>`.
#[macro_export]
macro_rules! conformance_suite {
    ($fresh:path) => {
        $crate::conformance_suite! { @cases $fresh;
            appends: [
                an_append_opens_a_stream_and_advances_it,
                a_wrong_head_is_a_conflict_and_leaves_nothing,
                several_streams_are_written_all_or_nothing,
                a_guard_that_moved_refuses,
                a_guard_that_holds_lets_through,
                a_guard_of_a_missing_stream_refuses,
                a_commit_past_its_valid_until_is_stale_and_leaves_nothing,
                a_commit_before_its_valid_until_applies,
                a_request_happens_once_and_is_readable,
                a_stale_duplicate_is_stale_and_a_moved_stale_one_a_conflict,
                requests_are_forgotten_by_age,
                events_load_from_within_a_row,
                heads_and_positions_are_told,
                payloads_are_kept_by_digest,
                large_bodies_come_back,
                escaped_nul_and_all_of_unicode_come_back,
                time_does_not_fall,
            ],
            batches: [
                a_batch_answers_one_outcome_per_commit_in_order,
                a_conflicting_commit_fails_alone,
                a_poisonous_commit_fails_alone,
                several_poisonous_commits_fail_alone,
                a_request_key_twice_in_a_batch_is_a_duplicate,
                a_commit_submitted_again_is_done_at_the_same_position,
                a_commit_submitted_again_is_done_though_the_stream_moved_on,
                a_commit_with_a_request_submitted_again_is_done,
                another_commit_at_the_same_place_is_a_conflict,
                a_batch_of_a_hundred_and_fifty_large_tasks_is_written,
                an_empty_batch_is_nothing,
            ],
            races: [
                concurrent_writers_never_fork_a_stream,
                two_handles_opening_one_stream_make_one,
                a_request_racing_on_two_handles_happens_once,
                a_follower_sees_every_commit_once_while_writers_race,
                a_guard_is_not_passed_by_a_racing_writer,
                the_same_commit_racing_itself_is_done_once,
            ],
            dispatch: [
                ready_steps_come_in_order_and_go,
                queues_do_not_mix,
                leases_are_told_by_session,
                a_row_changed_twice_in_a_commit_ends_as_last_said,
                leases_of_ended_sessions_are_orphaned,
                timers_are_set_replaced_cleared_and_due_in_order,
                rows_are_corrected_under_a_guard_without_an_event,
            ],
            sessions: [
                a_session_opens_and_is_told,
                opening_again_after_a_lost_answer_is_the_same_session,
                renewal_extends_and_is_for_the_holder_only,
                a_session_expires_once_and_for_good,
                a_session_past_its_lease_is_not_renewed_even_before_it_is_marked,
                resuming_moves_the_session,
                resuming_needs_the_right_token_and_a_running_lease,
                closing_is_for_the_holder_and_final,
                draining_marks_one_or_all_of_an_agent,
                sessions_are_listed_newest_first_with_what_they_hold,
                ended_sessions_are_forgotten_unless_they_hold_leases,
            ],
            catalog: [
                a_task_is_listed_from_opening_to_end,
                a_task_that_ends_as_it_opens_is_listed_as_ended,
                pages_neither_overlap_nor_skip_while_tasks_are_created,
                filters_hold_alone_and_together,
                projects_do_not_see_each_others_tasks,
                a_filter_that_matches_little_looks_at_a_bounded_number,
                projects_are_listed_by_name_and_replaced,
                keys_are_listed_newest_first_and_by_coverage,
            ],
            approvals: [
                approvals_are_listed_newest_first_by_what_they_are,
                pending_approvals_are_counted_by_level_and_told_oldest_first,
                approvals_are_due_in_order_until_they_end,
                a_gate_is_unsettled_until_its_approval_is_where_it_waits,
                an_approval_is_orphaned_when_its_gate_or_lease_is_over,
                approvals_are_followed_apart_from_tasks_and_read_in_one_go,
            ],
            audit: [
                entries_come_in_commit_order_and_go_on_from_any_place,
                a_head_is_stored_once_and_found_by_size,
            ],
            webhooks: [
                a_webhook_is_due_once_there_is_something_behind_it,
                a_webhook_is_taken_by_one_at_a_time,
                what_came_of_a_try_counts_only_while_the_claim_holds,
                a_webhook_of_a_refused_commit_is_not_there_and_a_removed_one_is_gone,
            ],
        }
    };
    (@cases $fresh:path; $($area:ident: [$($case:ident,)*],)*) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let Some(fixture) = $fresh().await else { return };
            $crate::conformance::run(&fixture, $crate::conformance::$area::$case(&fixture)).await;
        }
    )*)*};
}
