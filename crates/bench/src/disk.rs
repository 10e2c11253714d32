//! What one durable write costs on a disk: the floor under every commit.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock;

/// As much as a small commit writes.
const APPEND: [u8; 4096] = [0x51; 4096];
const APPENDS_MAX: usize = 400;

/// Median time in milliseconds of appending 4 KiB and `fdatasync`, in `directory`.
/// Takes about `budget`, and at least a few appends.
///
/// # Errors
/// A disk that is full or not writable.
pub fn sync_ms(directory: &Path, budget: Duration) -> Result<f64> {
    let path = directory.join("sync");
    let measured = measure(&path, budget).with_context(|| format!("cannot write in {}", directory.display()));
    let _ = std::fs::remove_file(&path); // The directory goes away anyway.
    measured
}

fn measure(path: &Path, budget: Duration) -> Result<f64> {
    let mut file = File::create_new(path)?;
    let mut times = Vec::with_capacity(APPENDS_MAX);
    let begun = clock::now();
    while times.len() < APPENDS_MAX && (times.len() < 5 || begun.elapsed() < budget) {
        let before = clock::now();
        file.write_all(&APPEND)?;
        file.sync_data()?;
        times.push(before.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1_000.0)
}
