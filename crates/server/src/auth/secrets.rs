//! Secrets from files. A weak, public or forgotten secret stops the start with
//! words that say what, where and how to mend it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use quarterdeck_core::digest::Canonical;
use secrecy::{ExposeSecret, SecretString};

/// Fewest characters of a secret: 32 hexadecimal digits are 128 bits.
const LENGTH_MIN: usize = 32;
/// Most bytes that are read of a file.
const SIZE_MAX: u64 = 64 * 1024;
/// Words that show that nobody chose the secret.
const PLACEHOLDERS: [&str; 14] = [
    "changeme",
    "change-me",
    "change_me",
    "secret",
    "password",
    "passwort",
    "example",
    "placeholder",
    "default",
    "insert",
    "replace",
    "your-",
    "todo",
    "xxxx",
];

/// Where a secret comes from.
#[derive(Clone)]
pub enum SecretSource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// Made by this process, for embedded servers and tests.
    Given(SecretString),
}

/// Why a secret is not accepted. No variant holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the {what} cannot be read from {}: {source}. Create it with `(umask 077; openssl rand -hex 32 > {})`.", path.display(), path.display())]
    Unreadable { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the {what} in {} can be read by others (mode {mode:03o}). Run `chmod 600 {}`.", path.display(), path.display())]
    Open { what: &'static str, path: PathBuf, mode: u32 },
    #[error("the {what} in {place} {problem}. Make one with `openssl rand -hex 32`.")]
    Weak { what: &'static str, place: String, problem: String },
}

impl SecretSource {
    /// The secret, without white space around it. `what` names it in errors.
    pub fn read(&self, what: &'static str) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => {
                let text = read_private(what, path)?;
                let secret = SecretString::from(text.expose_secret().trim().to_owned());
                check(what, &path.display().to_string(), secret.expose_secret())?;
                Ok(secret)
            }
            Self::Given(secret) => {
                check(what, "this process", secret.expose_secret())?;
                Ok(secret.clone())
            }
        }
    }
}

/// The pepper of an installation that states none: a hash of its bootstrap secret.
pub fn pepper_from(bootstrap: &SecretString) -> Vec<u8> {
    let digest = Canonical::new("quarterdeck.pepper.v1").text(bootstrap.expose_secret()).finish();
    digest.as_bytes().to_vec()
}

/// Reads a file that nobody but its owner may read. The mode is that of the
/// opened file, so it cannot be exchanged in between.
fn read_private(what: &'static str, path: &Path) -> Result<SecretString, SecretError> {
    let unreadable = |source| SecretError::Unreadable { what, path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(SecretError::Open { what, path: path.to_owned(), mode: mode & 0o777 });
    }
    let mut text = String::new();
    file.take(SIZE_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text.into())
}

fn check(what: &'static str, place: &str, secret: &str) -> Result<(), SecretError> {
    let weak = |problem: String| Err(SecretError::Weak { what, place: place.to_owned(), problem });
    if secret.is_empty() {
        return weak("is empty".to_owned());
    }
    if secret.chars().count() < LENGTH_MIN {
        return weak(format!("has fewer than {LENGTH_MIN} characters"));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return weak(
            "has characters that cannot stand in a header (white space, control or non-ASCII)".to_owned(),
        );
    }
    let lower = secret.to_ascii_lowercase();
    if let Some(word) = PLACEHOLDERS.iter().find(|word| lower.contains(*word)) {
        return weak(format!("looks like a placeholder (it contains `{word}`)"));
    }
    if lower.starts_with("test") || lower.starts_with("demo") {
        return weak("looks like a placeholder (it begins with `test` or `demo`)".to_owned());
    }
    let mut seen: Vec<char> = secret.chars().collect();
    seen.sort_unstable();
    seen.dedup();
    // 32 random hexadecimal digits have fewer than 6 different ones about once in 10^12.
    if seen.len() < 6 {
        return weak(format!("repeats {} characters", seen.len()));
    }
    Ok(())
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Given(_) => f.write_str("made by this process"),
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const GOOD: &str = "9f86d081884c7d659a2feaa0c55ad015";

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, SecretSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bootstrap");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, SecretSource::File(path))
    }

    #[test]
    fn a_good_secret_is_read_without_the_newline() {
        for mode in [0o600, 0o400] {
            let (_dir, source) = file(&format!("{GOOD}\n"), mode);
            assert_eq!(source.read("bootstrap secret").unwrap().expose_secret(), GOOD);
        }
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o644, 0o666, 0o620] {
            let (_dir, source) = file(GOOD, mode);
            let error = source.read("bootstrap secret").unwrap_err();
            assert!(matches!(error, SecretError::Open { .. }), "{mode:o}: {error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn placeholders_and_short_or_dull_secrets_are_refused_without_showing_them() {
        let long = |word: &str| format!("{word}{GOOD}");
        let cases = [
            (String::new(), "is empty"),
            ("  \n".to_owned(), "is empty"),
            (GOOD[..31].to_owned(), "fewer than 32"),
            (long("changeme"), "placeholder"),
            (long("My-SECRET-"), "placeholder"),
            (long("password"), "placeholder"),
            (long("example"), "placeholder"),
            (long("test"), "placeholder"),
            ("a".repeat(40), "repeats 1"),
            ("ab".repeat(20), "repeats 2"),
            (format!("{GOOD} {GOOD}"), "cannot stand in a header"),
        ];
        for (content, problem) in cases {
            let (_dir, source) = file(&content, 0o600);
            let text = source.read("bootstrap secret").unwrap_err().to_string();
            assert!(text.contains(problem) && text.contains("openssl rand"), "{content}: {text}");
            assert!(content.trim().len() < 8 || !text.contains(content.trim()), "{text}");
        }
    }

    #[test]
    fn a_missing_file_is_named_with_the_command_that_makes_it() {
        let error = SecretSource::File("/nonexistent/file".into()).read("pepper").unwrap_err().to_string();
        assert!(error.contains("/nonexistent/file") && error.contains("umask 077"), "{error}");
    }
}
