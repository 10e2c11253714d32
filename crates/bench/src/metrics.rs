//! Reads counters from the server's metrics port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use quarterdeck_engine::metrics::{BATCHES, COMMITS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(10);
const SIZE_MAX: u64 = 8 * 1024 * 1024;
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Counters of the committer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commits {
    pub commits: u64,
    pub batches: u64,
}

impl Commits {
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
        // A counter that nothing has moved yet is not there.
        Ok(Self { commits: counter(&text, COMMITS), batches: counter(&text, BATCHES) })
    }

    /// What came since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            commits: self.commits.saturating_sub(earlier.commits),
            batches: self.batches.saturating_sub(earlier.batches),
        }
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

fn counter(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse::<f64>().ok()).map_or(0, |value| value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_whole_name() {
        let text = "# TYPE a_total counter\na_total_of_b 9\na_total 120\nb_total 1e3\n";
        for (name, expected) in [("a_total", 120), ("b_total", 1_000), ("c_total", 0)] {
            assert_eq!(counter(text, name), expected, "{name}");
        }
    }
}
