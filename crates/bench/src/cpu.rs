//! Processor time of processes, from /proc.

use std::fs;
use std::time::Duration;

/// Unit of the times in /proc; fixed by Linux for user space on all common machines.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of one process so far; `None` if it is gone.
pub fn of(process: u32) -> Option<Duration> {
    stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?).map(|(_, used)| used)
}

/// The same of a process and its children, such as PostgreSQL's backends.
pub fn of_family(process: u32) -> Option<Duration> {
    let entries = fs::read_dir("/proc").ok()?;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let family = ids.filter_map(|id| {
        let (parent, used) = stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?;
        (id == process || parent == process).then_some(used)
    });
    Some(family.sum())
}

/// Parent and processor time. The name in brackets may hold anything.
fn stat(line: &str) -> Option<(u32, Duration)> {
    let (_, after_name) = line.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    Some((fields.get(1)?.parse().ok()?, Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_moves_nothing() {
        let line = "77 (a) b (c) S 12 77 77 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(stat(line), Some((12, Duration::from_secs(3))));
    }

    #[test]
    fn this_process_is_found() {
        assert!(of(std::process::id()).is_some());
        assert!(of_family(std::process::id()).is_some());
    }
}
