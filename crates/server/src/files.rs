//! How many files, and so connections, the process may have open.
//!
//! A shell's default of 1,024 is for programs that use `select`; the kernel lets a
//! process go up to its hard limit by itself, which servers do at their start.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that are no clients' connections: databases, Redis, logs, metrics.
const OTHERS: u64 = 256;

/// Raises the limit of open files as far as it goes. The connections that fit
/// under it: as many as wanted, if possible.
pub fn connections(wanted: u32) -> u32 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() && limit.current.is_some() {
        limit.current = limit.maximum;
        // Some systems have a lower limit elsewhere; then it stays as it is.
        let _ = setrlimit(Resource::Nofile, limit);
        limit = getrlimit(Resource::Nofile);
    }
    let Some(files) = limit.current else { return wanted };
    let fitting = fitting(wanted, files);
    if fitting < wanted {
        tracing::warn!(
            files,
            connections = fitting,
            "the limit of open files allows fewer connections than configured ({wanted}); raise it (`ulimit -Hn`, `LimitNOFILE=`)"
        );
    }
    fitting
}

fn fitting(wanted: u32, files: u64) -> u32 {
    let room = files.saturating_sub(OTHERS).max(files / 2).max(1);
    u32::try_from(room).unwrap_or(u32::MAX).min(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_other_files() {
        for (wanted, files, expected) in [
            (10_000, 20_000, 10_000),
            (10_000, 10_000, 9_744),
            (10_000, 1_024, 768),
            (10_000, 64, 32),
            (5, 64, 5),
        ] {
            assert_eq!(fitting(wanted, files), expected, "{wanted} of {files}");
        }
        assert_eq!(connections(1), 1);
    }
}
