//! Reads counters from the server's metrics port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use quarterdeck_engine::metrics::{
    BATCHES, COMMITS, CONFLICTS, FINISHED, SESSIONS, STALE, TASKS_CREATED, TASKS_ENDED, UNKNOWN, WATCHES,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(10);
const SIZE_MAX: u64 = 8 * 1024 * 1024;
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// What a server has counted since it started; the last two are how many are now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub commits: u64,
    pub batches: u64,
    /// Batches whose outcome was lost.
    pub unknown: u64,
    /// Commits that lost a race.
    pub conflicts: u64,
    pub created: u64,
    pub succeeded: u64,
    /// Tasks that ended in any other way.
    pub ended_otherwise: u64,
    pub steps_succeeded: u64,
    /// Attempts that ended without success.
    pub attempts_lost: u64,
    /// Messages refused for a stale lease.
    pub stale: u64,
    pub sessions: u64,
    pub watches: u64,
}

impl Counters {
    /// As they are now.
    ///
    /// # Errors
    /// A port that does not answer.
    pub async fn read(address: SocketAddr) -> Result<Self> {
        let text = tokio::time::timeout(TIMEOUT, scrape(address))
            .await
            .context("no answer in time")
            .and_then(|read| read)
            .with_context(|| format!("cannot read the metrics at {address}"))?;
        Ok(Self::of(&text))
    }

    fn of(text: &str) -> Self {
        let (ended, succeeded) =
            (counter(text, TASKS_ENDED, ""), counter(text, TASKS_ENDED, "state=\"succeeded\""));
        let (attempts, steps_succeeded) =
            (counter(text, FINISHED, ""), counter(text, FINISHED, "outcome=\"succeeded\""));
        Self {
            commits: counter(text, COMMITS, ""),
            batches: counter(text, BATCHES, ""),
            unknown: counter(text, UNKNOWN, ""),
            conflicts: counter(text, CONFLICTS, ""),
            created: counter(text, TASKS_CREATED, ""),
            succeeded,
            ended_otherwise: ended - succeeded,
            steps_succeeded,
            attempts_lost: attempts - steps_succeeded,
            stale: counter(text, STALE, ""),
            sessions: counter(text, SESSIONS, ""),
            watches: counter(text, WATCHES, ""),
        }
    }

    fn each(self, other: Self, with: fn(u64, u64) -> u64) -> Self {
        Self {
            commits: with(self.commits, other.commits),
            batches: with(self.batches, other.batches),
            unknown: with(self.unknown, other.unknown),
            conflicts: with(self.conflicts, other.conflicts),
            created: with(self.created, other.created),
            succeeded: with(self.succeeded, other.succeeded),
            ended_otherwise: with(self.ended_otherwise, other.ended_otherwise),
            steps_succeeded: with(self.steps_succeeded, other.steps_succeeded),
            attempts_lost: with(self.attempts_lost, other.attempts_lost),
            stale: with(self.stale, other.stale),
            sessions: with(self.sessions, other.sessions),
            watches: with(self.watches, other.watches),
        }
    }

    /// What came since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    /// With those of another server.
    pub fn and(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    pub fn mean_batch(self) -> f64 {
        self.commits as f64 / self.batches.max(1) as f64
    }
}

async fn scrape(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut text = String::new();
    stream.take(SIZE_MAX).read_to_string(&mut text).await?;
    if !text.starts_with("HTTP/1.1 200 ") {
        bail!("it answered {}", text.lines().next().unwrap_or("nothing"));
    }
    Ok(text)
}

/// Sum of a counter over all its labels that contain `label`. One that nothing has
/// moved yet is not there.
fn counter(text: &str, name: &str, label: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => ("", rest),
        };
        let value = value.strip_prefix(' ')?.trim().parse::<f64>().ok()?;
        labels.contains(label).then_some(value as u64)
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_whole_name_and_summed_over_labels() {
        let text = "# TYPE a_total counter\na_total_of_b 9\na_total 120\nb_total 1e3\n\
                    d_total{state=\"good\"} 4\nd_total{state=\"bad\",by=\"x\"} 3\n";
        for (name, label, expected) in [
            ("a_total", "", 120),
            ("b_total", "", 1_000),
            ("c_total", "", 0),
            ("d_total", "", 7),
            ("d_total", "state=\"good\"", 4),
            ("d_total", "state=\"worse\"", 0),
        ] {
            assert_eq!(counter(text, name, label), expected, "{name} {label}");
        }
    }

    #[test]
    fn what_did_not_succeed_is_told_apart() {
        let text = "quarterdeck_tasks_ended_total{state=\"succeeded\"} 5\n\
                    quarterdeck_tasks_ended_total{state=\"failed\"} 2\n\
                    quarterdeck_steps_finished_total{outcome=\"succeeded\"} 5\n\
                    quarterdeck_steps_finished_total{outcome=\"agent_lost\"} 1\n";
        let found = Counters::of(text);
        assert_eq!((found.succeeded, found.ended_otherwise, found.attempts_lost), (5, 2, 1));
    }
}
