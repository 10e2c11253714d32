//! Resident memory of processes, from /proc.

use std::fs;

use crate::report::rounded;

/// Resident memory of a process, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resident {
    pub now: f64,
    /// The most there ever was.
    pub peak: f64,
}

/// `None` if the process is gone.
pub fn of(process: u32) -> Option<Resident> {
    status(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn status(text: &str) -> Option<Resident> {
    let mib = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(rounded(kib / 1_024.0, 1))
    };
    Some(Resident { now: mib("VmRSS:")?, peak: mib("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_mebibytes() {
        let text = "Name:\ta\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\nRssAnon:\t  9 kB\n";
        assert_eq!(status(text), Some(Resident { now: 2.0, peak: 4.0 }));
        assert!(of(std::process::id()).is_some_and(|resident| resident.now > 0.0));
    }
}
