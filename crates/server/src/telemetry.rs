//! Logs and metrics: names, meanings and how they get out.
//!
//! One place for every metric name of the server (the engine has its own). The
//! recorder belongs to the process: several servers in one process share it.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogFormat, LogSettings};

pub const REQUESTS: &str = "quarterdeck_grpc_requests_total";
pub const LATENCY: &str = "quarterdeck_grpc_request_seconds";
pub const IN_FLIGHT: &str = "quarterdeck_grpc_requests_in_flight";
pub const CONNECTIONS: &str = "quarterdeck_connections";
pub const CONNECTIONS_REFUSED: &str = "quarterdeck_connections_refused_total";
pub const READY: &str = "quarterdeck_ready";
pub const RESIDENT: &str = "quarterdeck_process_resident_bytes";
pub const UPTIME: &str = "quarterdeck_process_uptime_seconds";

/// Upper bounds of latency buckets in seconds, about a factor of two apart.
const LATENCY_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Upper bounds of buckets for counts, such as commits in a batch.
const COUNT_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Why logging does not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "the log filter `{filter}` cannot be read: {problem}. Use directives such as `info` or `info,quarterdeck_engine=debug`."
    )]
    Filter { filter: String, problem: String },
    #[error("logging was started already in this process")]
    Twice,
}

/// Logging lasts as long as the process; keeping the guard to the end of `main`
/// leaves room for a writer that has to be flushed.
#[must_use]
#[derive(Debug)]
pub struct LogGuard(());

/// Starts structured logging to standard error.
pub fn init_logging(log: &LogSettings) -> Result<LogGuard, LogError> {
    let unreadable = |problem: String| LogError::Filter { filter: log.filter.clone(), problem };
    let filter = EnvFilter::builder().parse(&log.filter).map_err(|error| unreadable(error.to_string()))?;
    // It logs the statements that it parses, and what agents want to do may hold secrets.
    let quiet = "sqlparser=warn".parse().map_err(|error: ParseError| unreadable(error.to_string()))?;
    let filter = filter.add_directive(quiet);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are for people; in a file they are in everybody's way.
        .with_ansi(std::io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|_| LogError::Twice)?;
    Ok(LogGuard(()))
}

/// The process's metrics, rendered on demand. `None` where the program has
/// installed a recorder of its own.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &COUNT_BUCKETS)
            })
            .ok()?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        describe();
        quarterdeck_engine::metrics::describe();
        Some(handle)
    };
    HANDLE.get_or_init(install).as_ref()
}

fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "gRPC calls answered, by method and code");
    describe_histogram!(LATENCY, Unit::Seconds, "Time from a call's headers to the end of its answer");
    describe_gauge!(IN_FLIGHT, Unit::Count, "gRPC calls being answered, by method");
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections open");
    describe_counter!(CONNECTIONS_REFUSED, Unit::Count, "Connections closed before a call, by reason");
    describe_gauge!(READY, Unit::Count, "1 while the store answers, else 0");
    describe_gauge!(RESIDENT, Unit::Bytes, "Memory of the process that is in RAM");
    describe_gauge!(UPTIME, Unit::Seconds, "Time since the server started");
}

/// Measures the process for the gauges. `up` is the time since the start.
pub fn measure_process(up: Duration) {
    metrics::gauge!(UPTIME).set(up.as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        metrics::gauge!(RESIDENT).set(bytes as f64);
    }
}

/// From `VmRSS: <n> kB`; unlike statm it needs no page size.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured_and_rendered() {
        let handle = recorder().unwrap();
        measure_process(Duration::from_secs(3));
        let text = handle.render();
        assert!(text.contains(RESIDENT) && text.contains(UPTIME), "{text}");
        assert!(resident_bytes().unwrap() > 1024 * 1024);
    }
}
