//! The directory that a run keeps its database in, on the disk that is measured.
//! It is made new and removed at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};

use crate::account::Account;
use crate::arguments::StoreKind;

const DEFAULT: &str = "target/bench";
/// Used where the account of PostgreSQL cannot enter the default.
const OPEN: &str = "/var/tmp";
/// Directories that this process made.
static MADE: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// `wanted`: the directory to make it in, if somebody chose one.
    ///
    /// # Errors
    /// Where it cannot be made, or the database's account cannot enter it.
    pub fn make(wanted: Option<&Path>, store: StoreKind) -> Result<Self> {
        let parent = wanted.unwrap_or(Path::new(DEFAULT));
        let directory = Self::within(parent)?;
        let account = match store {
            StoreKind::Sqlite => None,
            StoreKind::Postgres => Account::unprivileged()?,
        };
        let directory = match account {
            Some(account) if !account.owns(directory.path())? => {
                if wanted.is_some() {
                    bail!(
                        "the account that PostgreSQL runs as cannot enter {}; choose another --data",
                        parent.display()
                    );
                }
                let open = Self::within(Path::new(OPEN))?;
                if !account.owns(open.path())? {
                    bail!(
                        "the account that PostgreSQL runs as can use neither {DEFAULT} nor {OPEN}; choose with --data"
                    );
                }
                eprintln!(
                    "data is in {} because PostgreSQL's account cannot enter {}",
                    OPEN,
                    parent.display()
                );
                open
            }
            _ => directory,
        };
        if let Some(kind) = file_system(directory.path()).filter(|kind| kind == "tmpfs" || kind == "ramfs") {
            eprintln!(
                "warning: {} is {kind}, memory and no disk: syncs cost nothing there",
                parent.display()
            );
        }
        Ok(directory)
    }

    fn within(parent: &Path) -> Result<Self> {
        let made = || {
            fs::create_dir_all(parent)?;
            // Processes that run at the same time have different ids, and one process
            // may keep several.
            let count = MADE.fetch_add(1, Ordering::Relaxed);
            let name = format!("quarterdeck-bench-{}-{count}", std::process::id());
            let path = parent.canonicalize()?.join(name);
            fs::create_dir(&path)?;
            Ok::<_, std::io::Error>(path)
        };
        Ok(Self(made().with_context(|| format!("cannot make a directory in {}", parent.display()))?))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Type of the file system that holds `path`.
fn file_system(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.len() > 2 && path.starts_with(fields[1]))
        .max_by_key(|fields| fields[1].len())
        .map(|fields| fields[2].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_gone_with_its_value() {
        let parent = std::env::temp_dir();
        let directory = Directory::make(Some(&parent), StoreKind::Sqlite).unwrap();
        let path = directory.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_system_of_proc_is_proc() {
        assert_eq!(file_system(Path::new("/proc/self")).as_deref(), Some("proc"));
    }
}
