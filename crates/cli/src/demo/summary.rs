//! What the demo says at its end.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::verify::Report;
use crate::clock;

/// Figures of one run, all measured by it.
#[derive(Debug, Clone)]
pub struct Summary {
    /// File that was written.
    pub output: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// Steps of the plan.
    pub steps: usize,
    /// Attempts started.
    pub attempts: u32,
    /// Attempts after a step's first.
    pub retries: u32,
    /// Events in the task's history, as ListTaskEvents has them.
    pub stored: u64,
    /// Events that the watch's snapshot stood for.
    pub in_snapshot: u64,
    /// Events that the watch delivered after it.
    pub live: u64,
    /// Breaks in the sequence of the watched events.
    pub gaps: u64,
    /// Documents read.
    pub documents: usize,
    /// Sentences looked at.
    pub sentences: u32,
    /// What the fourth step checked.
    pub report: Report,
    /// From the start of the server to the written file.
    pub elapsed: Duration,
}

impl Summary {
    /// Events that reached the watcher.
    pub fn watched(&self) -> u64 {
        self.in_snapshot + self.live
    }

    /// True where the watcher saw exactly what is stored.
    pub fn complete(&self) -> bool {
        self.stored == self.watched() && self.gaps == 0
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:16}{value}");
        };
        row("steps", format!("{}, in {} attempts; retries: {}", self.steps, self.attempts, self.retries));
        let equal = if self.complete() { "the same" } else { "NOT the same" };
        row("events stored", format!("{}, as the task's history has them", self.stored));
        row(
            "events watched",
            format!("{} ({} in the snapshot, {} live): {equal}", self.watched(), self.in_snapshot, self.live),
        );
        row("documents", format!("{}, {} sentences looked at", self.documents, self.sentences));
        row(
            "verified",
            format!(
                "{} citations of {} statements, {} counts, {} files",
                self.report.citations, self.report.statements, self.report.counts, self.report.files
            ),
        );
        row("elapsed", clock::span(self.elapsed));
        row("digest", format!("{} ({} bytes)", self.output.display(), self.bytes));
        text.trim_end().to_owned()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "output": self.output.display().to_string(),
            "bytes": self.bytes,
            "steps": self.steps,
            "attempts": self.attempts,
            "retries": self.retries,
            "eventsStored": self.stored,
            "eventsWatched": self.watched(),
            "documents": self.documents,
            "sentences": self.sentences,
            "citationsChecked": self.report.citations,
            "statementsChecked": self.report.statements,
            "countsChecked": self.report.counts,
            "elapsedSeconds": self.elapsed.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_missed_something_is_not_called_complete() {
        let summary = Summary {
            output: "digest.md".into(),
            bytes: 1,
            steps: 7,
            attempts: 8,
            retries: 1,
            stored: 20,
            in_snapshot: 1,
            live: 19,
            gaps: 0,
            documents: 2,
            sentences: 9,
            report: Report::default(),
            elapsed: Duration::from_millis(1_500),
        };
        assert!(summary.complete() && summary.text().contains("20 (1 in the snapshot, 19 live): the same"));
        let missed = Summary { live: 18, ..summary.clone() };
        assert!(!missed.complete() && missed.text().contains("NOT the same"));
        let disordered = Summary { gaps: 1, ..summary };
        assert!(!disordered.complete());
    }
}
