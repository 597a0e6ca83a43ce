//! What every registry must do, run on each of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bed;
mod follow;
mod lease;
mod report;
mod set;
mod standing;

/// Runs each named test on the registry in memory, with time paused, and on a real PostgreSQL.
macro_rules! on_both {
    ($($module:ident: $($test:ident),+ $(,)?;)+) => {
        mod memory {
            $(mod $module {
                $(#[tokio::test(start_paused = true)]
                async fn $test() {
                    crate::$module::$test(&crate::bed::Bed::memory()).await;
                })+
            })+
        }
        mod postgres {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$module::$test(&crate::bed::Bed::postgres().await).await;
                })+
            })+
        }
    };
}

on_both! {
    set:
        equal_filters_meet_in_one_query,
        same_use_again_is_no_change,
        largest_limit_counts_and_changing_it_is_a_change,
        lane_stays_while_the_query_exists,
        query_goes_with_its_last_use,
        removed_query_that_comes_back_is_told_once,
        changes_of_a_call_are_made_in_order,
        hundreds_of_changes_are_one_revision,
        pipelines_do_not_meet,
        forgotten_removals_make_the_reader_reload,
        reader_from_the_future_reloads,
        what_cannot_be_kept_is_refused,
        reader_that_follows_misses_nothing;
    lease:
        handler_without_a_lease_is_refused,
        renewal_states_the_whole_set,
        renewal_of_the_same_set_is_no_change,
        leaving_releases_everything,
        dead_handler_is_swept,
        newcomer_does_not_judge,
        outage_of_three_leases_removes_nothing,
        handlers_that_come_back_at_different_times_are_safe,
        gap_of_its_own_takes_the_right_to_judge,
        frozen_handler_states_its_set_again,
        longer_lease_is_waited_for;
    standing:
        standing_query_keeps_its_row_without_viewers,
        changed_filter_moves_the_reference,
        new_generation_is_a_change,
        suspended_query_is_not_matched,
        stale_generation_is_refused,
        changes_of_one_transaction_are_made_in_order,
        query_made_again_under_its_name_replaces_the_former,
        sink_reaches_readers_with_the_revision_of_its_change,
        list_names_standing_queries;
    report:
        processes_count_while_they_report,
        standing_rates_are_summed_over_live_workers,
        sink_troubles_are_summed_over_live_workers,
        first_partition_counts_stay,
        catalogue_is_merged_and_bounded;
    follow:
        follower_keeps_in_step,
        caught_up_means_read_after_the_call,
        dropped_follower_ends;
}
