//! Checks of this machine: nothing here talks to anybody.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::finding::Finding;

/// Open files that a server with some hundred agents needs.
const FILES_WANTED: u64 = 4_096;
/// No clock that is right shows a time before this: 2025-01-01.
const YOUNGEST: Duration = Duration::from_secs(1_735_689_600);

/// Which build this is.
pub fn build() -> Finding {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let words = format!("quarterdeck {} ({profile} build)", env!("CARGO_PKG_VERSION"));
    if cfg!(debug_assertions) {
        return Finding::warn("build", words, "build with --release where speed matters");
    }
    Finding::ok("build", words)
}

/// Settings that contradict each other.
pub fn settings(key: bool, key_file: bool) -> Finding {
    if key && key_file {
        return Finding::warn(
            "settings",
            "both a key and a key file are given; the file is used",
            "unset QUARTERDECK_API_KEY or QUARTERDECK_API_KEY_FILE",
        );
    }
    Finding::ok("settings", "no contradiction")
}

/// The clock, as far as it can be judged alone.
pub fn clock(now: SystemTime) -> Finding {
    match now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) if since > YOUNGEST => Finding::ok("clock", "plausible"),
        _ => Finding::fail(
            "clock",
            "shows a time in the past",
            "set the clock; leases and tokens depend on it",
        ),
    }
}

/// The limit on open files of this process.
pub fn open_files() -> Finding {
    match std::fs::read_to_string("/proc/self/limits") {
        Ok(limits) => judge_open_files(&limits),
        Err(_) => Finding::skipped("open files", "this system has no /proc/self/limits"),
    }
}

fn judge_open_files(limits: &str) -> Finding {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    match soft.parse::<u64>() {
        Ok(count) if count < FILES_WANTED => Finding::warn(
            "open files",
            format!("at most {count}; each connection takes one"),
            format!("ulimit -n {FILES_WANTED}, or LimitNOFILE={FILES_WANTED} in the systemd unit"),
        ),
        Ok(count) => Finding::ok("open files", format!("at most {count}")),
        Err(_) if soft == "unlimited" => Finding::ok("open files", "unlimited"),
        Err(_) => Finding::skipped("open files", "the limit cannot be read"),
    }
}

/// Whether the data directory of `quarterdeck dev` can be used.
pub fn data_directory(path: &Path) -> Finding {
    const CHECK: &str = "data directory";
    if !path.exists() {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return match tempfile::tempfile_in(parent) {
            Ok(_) => Finding::ok(CHECK, format!("{} is not there yet and can be made", path.display())),
            Err(error) => Finding::fail(
                CHECK,
                format!("{} cannot be made: {error}", path.display()),
                "name a directory with --data that you may write to",
            ),
        };
    }
    match tempfile::tempfile_in(path) {
        Ok(_) => Finding::ok(CHECK, format!("{} can be written to", path.display())),
        Err(error) => Finding::fail(
            CHECK,
            format!("{} cannot be written to: {error}", path.display()),
            format!("chown -R $USER {}", path.display()),
        ),
    }
}

/// Whether a secret's file is closed to others.
pub fn secret_file(flag: &'static str, path: &Path) -> Finding {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) => {
            let words = format!("{}: {error}", path.display());
            return Finding::fail(flag, words, "create the file, or name another one");
        }
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let words = format!("{} can be read by others (mode {mode:03o})", path.display());
            return Finding::fail(flag, words, format!("chmod 600 {}", path.display()));
        }
    }
    if meta.len() == 0 {
        return Finding::fail(flag, format!("{} is empty", path.display()), "write the secret into it");
    }
    Finding::ok(flag, format!("{} is closed to others", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn few_open_files_are_a_warning() {
        let limits =
            |soft: &str| format!("Limit  Soft Hard\nMax open files            {soft}   4096   files\n");
        assert_eq!(judge_open_files(&limits("1024")).state, State::Warn);
        assert_eq!(judge_open_files(&limits("65536")).state, State::Ok);
        assert_eq!(judge_open_files(&limits("unlimited")).state, State::Ok);
        assert_eq!(judge_open_files("").state, State::Skipped);
    }

    #[test]
    fn a_clock_in_the_past_fails() {
        assert_eq!(clock(SystemTime::UNIX_EPOCH).state, State::Fail);
        assert_eq!(clock(SystemTime::UNIX_EPOCH + YOUNGEST * 2).state, State::Ok);
    }

    #[cfg(unix)]
    #[test]
    fn an_open_secret_file_fails() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "x").unwrap();
        for (mode, state) in [(0o644, State::Fail), (0o640, State::Fail), (0o600, State::Ok)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(secret_file("--x", &path).state, state, "{mode:o}");
        }
        assert_eq!(secret_file("--x", &directory.path().join("none")).state, State::Fail);
    }

    #[test]
    fn a_missing_data_directory_is_judged_by_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(data_directory(directory.path()).state, State::Ok);
        assert_eq!(data_directory(&directory.path().join("new")).state, State::Ok);
        assert_eq!(data_directory(&directory.path().join("no/new")).state, State::Fail);
    }
}
