//! Names and meanings of the engine's metrics, and nothing else.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

pub const COMMITS: &str = "quarterdeck_commits_total";
pub const BATCHES: &str = "quarterdeck_commit_batches_total";
pub const BATCH_SIZE: &str = "quarterdeck_commit_batch_size";
pub const UNKNOWN: &str = "quarterdeck_commit_unknown_total";
pub const CONFLICTS: &str = "quarterdeck_commit_conflicts_total";
pub const ASSIGNED: &str = "quarterdeck_steps_assigned_total";
pub const FINISHED: &str = "quarterdeck_steps_finished_total";
pub const TASKS_CREATED: &str = "quarterdeck_tasks_created_total";
pub const TASKS_ENDED: &str = "quarterdeck_tasks_ended_total";
pub const SESSIONS: &str = "quarterdeck_sessions_attached";
pub const WATCHES: &str = "quarterdeck_watches_open";
pub const STALE: &str = "quarterdeck_lease_rejections_total";
pub const APPROVALS: &str = "quarterdeck_approvals_total";
pub const INCIDENTS: &str = "quarterdeck_approval_incidents_total";
pub const NOTICES: &str = "quarterdeck_notices_total";

/// Registers the descriptions with whatever recorder is installed.
pub fn describe() {
    describe_counter!(COMMITS, Unit::Count, "Commits written to the log");
    describe_counter!(BATCHES, Unit::Count, "Batches that commits were written in");
    describe_histogram!(BATCH_SIZE, Unit::Count, "Commits in a batch");
    describe_counter!(UNKNOWN, Unit::Count, "Batches whose outcome was lost and had to be resolved");
    describe_counter!(CONFLICTS, Unit::Count, "Commits that lost a race and were decided again");
    describe_counter!(ASSIGNED, Unit::Count, "Steps given to agents");
    describe_counter!(FINISHED, Unit::Count, "Attempts that ended, by outcome");
    describe_counter!(TASKS_CREATED, Unit::Count, "Tasks created");
    describe_counter!(TASKS_ENDED, Unit::Count, "Tasks ended, by state");
    describe_gauge!(SESSIONS, Unit::Count, "Agents' sessions connected to this replica");
    describe_gauge!(WATCHES, Unit::Count, "Watches open on this replica");
    describe_counter!(STALE, Unit::Count, "Agents' messages refused for a stale lease");
    describe_counter!(APPROVALS, Unit::Count, "Changes of approvals, by the state that they came to");
    describe_counter!(INCIDENTS, Unit::Count, "Actions that did more than was approved");
    describe_counter!(NOTICES, Unit::Count, "Notices to webhooks, by what became of a try or an entry");
}

pub fn batch(size: usize) {
    counter!(BATCHES).increment(1);
    counter!(COMMITS).increment(size as u64);
    histogram!(BATCH_SIZE).record(size as f64);
}

pub fn unknown_outcome() {
    counter!(UNKNOWN).increment(1);
}

pub fn conflict() {
    counter!(CONFLICTS).increment(1);
}

pub fn assigned() {
    counter!(ASSIGNED).increment(1);
}

pub fn finished(outcome: &'static str) {
    counter!(FINISHED, "outcome" => outcome).increment(1);
}

pub fn task_created() {
    counter!(TASKS_CREATED).increment(1);
}

pub fn task_ended(state: &'static str) {
    counter!(TASKS_ENDED, "state" => state).increment(1);
}

pub fn sessions(count: usize) {
    gauge!(SESSIONS).set(count as f64);
}

pub fn watches(count: usize) {
    gauge!(WATCHES).set(count as f64);
}

pub fn stale() {
    counter!(STALE).increment(1);
}

pub fn approval(state: &'static str) {
    counter!(APPROVALS, "state" => state).increment(1);
}

pub fn incident() {
    counter!(INCIDENTS).increment(1);
}

pub fn notice(outcome: &'static str) {
    counter!(NOTICES, "outcome" => outcome).increment(1);
}
