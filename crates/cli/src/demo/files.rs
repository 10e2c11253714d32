//! Which files of a directory are documents, and reading them.
//!
//! Invariants: nothing outside the root is read (no symbolic links, no `..`); how much
//! is read is bounded; the result is sorted by path, whatever the file system's order.
//!
//! Everything here blocks: call it off the async threads.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use super::compose::MARK;
use super::prose::extension;
use super::split::SourceFile;

/// Files taken at most.
pub const FILES: usize = 200;
/// Bytes taken at most, over all files.
pub const TOTAL: u64 = 2_000_000;
/// Largest file taken.
pub const LARGEST: u64 = 512_000;
/// Directory entries looked at, at most.
const ENTRIES: usize = 20_000;
/// Directories are followed this deep.
const DEPTH: usize = 12;

/// The repository's own documents: what is read where no directory was named.
pub const OWN_DOCUMENTS: &[&str] = &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs"];

/// Directories that hold no documents of the project itself.
const NOT_OURS: &[&str] = &["target", "node_modules", "vendor", "__pycache__", "venv", "site-packages"];

/// Text by its encoding, but nothing to read: code, data and what programs write.
#[rustfmt::skip]
const NOT_PROSE: &[&str] = &[
    "avro", "bat", "bib", "c", "cc", "cfg", "conf", "cpp", "cs", "css", "csv", "diff", "env", "go",
    "graphql", "h", "hpp", "htm", "html", "ini", "ipynb", "java", "js", "json", "jsonl", "jsx", "key",
    "kt", "lock", "log", "lua", "map", "patch", "pem", "php", "pl", "properties", "proto", "ps1", "py",
    "r", "rb", "rs", "scala", "scss", "sh", "sql", "sum", "svelte", "svg", "swift", "toml", "ts", "tsv",
    "tsx", "vue", "xml", "yaml", "yml",
];

/// What was found in a directory.
#[derive(Debug, Default)]
pub struct Found {
    /// Documents, by path.
    pub files: Vec<SourceFile>,
    /// Files that were not taken, by reason.
    pub skipped: BTreeMap<String, u32>,
}

/// Reads the documents of a directory; `include` narrows it to these paths below it, if any.
///
/// # Errors
/// The directory itself cannot be read. Files below it that cannot are counted as skipped.
pub fn read_directory(root: &Path, include: &[String]) -> io::Result<Found> {
    let mut walk = Walk::default();
    if include.is_empty() {
        walk.directory(root, "", 0)?;
    }
    for entry in include {
        let path = inside(root, entry)?;
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => walk.directory(&path, entry.trim_end_matches('/'), 1)?,
            Ok(meta) if meta.is_file() => walk.paths.push((entry.clone(), path, meta.len())),
            Ok(_) | Err(_) => {}
        }
    }
    walk.paths.sort();
    walk.paths.dedup();
    let mut found = Found { files: Vec::new(), skipped: walk.skipped };
    let mut total = 0;
    for (path, file, size) in walk.paths {
        let reason = if size > LARGEST {
            "too large"
        } else if found.files.len() == FILES || total + size > TOTAL {
            "beyond the limit"
        } else {
            match read_text(&file)? {
                Some(text) if text.starts_with(MARK) => "an earlier digest",
                Some(text) if text.trim().is_empty() => "empty",
                Some(text) => {
                    total += size;
                    found.files.push(SourceFile { path, text });
                    continue;
                }
                None => "not UTF-8 text",
            }
        };
        *found.skipped.entry(reason.to_owned()).or_default() += 1;
    }
    Ok(found)
}

/// Reads one document again.
///
/// # Errors
/// The path leads outside, or the file cannot be read as text.
pub fn read_document(root: &Path, path: &str) -> io::Result<String> {
    let text = read_text(&inside(root, path)?)?;
    text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} is no text any more")))
}

/// A path below `root`; anything that leads out of it is refused.
///
/// # Errors
/// `path` is absolute, has `..` in it, or goes through a link to somewhere else.
pub fn inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let relative = Path::new(path);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let full = root.join(relative);
    // What does not exist leads nowhere; reading it will say so.
    let stays = full
        .canonicalize()
        .map_or(Ok(true), |real| root.canonicalize().map(|root| real.starts_with(root)))?;
    if relative.components().all(plain) && stays {
        return Ok(full);
    }
    let words = format!("{path} leads outside of {}", root.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, words))
}

/// The file's text; `None` where it is something else. The size is bounded again here,
/// for a file may have grown since it was listed.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST || bytes.contains(&0) {
        return Ok(None);
    }
    Ok(String::from_utf8(bytes).ok())
}

#[derive(Default)]
struct Walk {
    /// Path below the root, path, size.
    paths: Vec<(String, PathBuf, u64)>,
    skipped: BTreeMap<String, u32>,
    entries: usize,
}

impl Walk {
    fn skip(&mut self, reason: &str) {
        *self.skipped.entry(reason.to_owned()).or_default() += 1;
    }

    fn directory(&mut self, directory: &Path, below: &str, depth: usize) -> io::Result<()> {
        let mut entries: Vec<fs::DirEntry> = fs::read_dir(directory)?.take(ENTRIES).flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            self.entries += 1;
            if self.entries > ENTRIES {
                self.skip("beyond the limit");
                return Ok(());
            }
            let Ok(kind) = entry.file_type() else { continue };
            if name.starts_with('.') {
                continue;
            }
            if kind.is_dir() {
                let own = !NOT_OURS.contains(&name.as_str()) && depth < DEPTH;
                // A directory that may not be entered must not end the whole walk.
                if own && self.directory(&entry.path(), &path, depth + 1).is_err() {
                    self.skip("not readable");
                }
            } else if kind.is_file() && is_prose(&name) {
                let size = entry.metadata().map_or(0, |meta| meta.len());
                self.paths.push((path, entry.path(), size));
            }
        }
        Ok(())
    }
}

fn is_prose(name: &str) -> bool {
    NOT_PROSE.binary_search(&extension(name).as_str()).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_sorted_so_that_they_are_found() {
        assert!(NOT_PROSE.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(is_prose("README.md") && is_prose("LICENSE") && is_prose("a.rst"));
        assert!(!is_prose("main.rs") && !is_prose("Cargo.lock"));
    }

    #[test]
    fn documents_are_found_and_everything_else_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("b.md", b"B.");
        write("docs/a.txt", b"A.");
        write("docs/binary", &[0, 159, 146]);
        write("docs/latin.txt", &[0xff, 0xfe, 0x41]);
        write("docs/code.rs", b"fn main() {}");
        write("empty.md", b"\n");
        write("digest.md", format!("{MARK}\n").as_bytes());
        write("target/x.md", b"X.");
        write(".hidden/x.md", b"X.");
        write("big.txt", &vec![b'a'; usize::try_from(LARGEST).unwrap() + 1]);
        let found = read_directory(root.path(), &[]).unwrap();
        let paths: Vec<_> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, vec!["b.md", "docs/a.txt"]);
        let skipped: Vec<_> = found.skipped.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        let expected = [("an earlier digest", 1), ("empty", 1), ("not UTF-8 text", 2), ("too large", 1)];
        assert_eq!(skipped, expected);
        let narrowed = read_directory(root.path(), &["docs".to_owned(), "missing.md".to_owned()]).unwrap();
        assert_eq!(narrowed.files.len(), 1);
    }

    #[test]
    fn nothing_outside_of_the_root_is_read() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/passwd", "a/../../x"] {
            assert!(read_document(root.path(), path).is_err());
            assert!(inside(root.path(), path).is_err(), "{path}");
            assert!(read_directory(root.path(), &[path.to_owned()]).is_err());
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc", root.path().join("link")).unwrap();
            assert!(read_directory(root.path(), &[]).unwrap().files.is_empty());
            assert!(read_document(root.path(), "link/hostname").is_err());
            assert!(read_directory(root.path(), &["link".to_owned()]).is_err());
        }
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        assert!(read_directory(Path::new("/no/such/directory"), &[]).is_err());
    }
}
