//! What one check says.

use serde_json::{Value, json};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// Not looked at, because something else is missing.
    Skipped,
    /// Works, but somebody should look.
    Warn,
    /// Does not work.
    Fail,
}

impl State {
    /// In one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skip",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it went.
    pub state: State,
    /// What was found.
    pub found: String,
    /// How to fix it; empty where nothing is to fix.
    pub fix: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), fix: String::new() }
    }

    /// Not looked at.
    pub fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, state: State::Skipped, found: why.into(), fix: String::new() }
    }

    /// Works, but somebody should look.
    pub fn warn(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, state: State::Warn, found: found.into(), fix: fix.into() }
    }

    /// Does not work.
    pub fn fail(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, state: State::Fail, found: found.into(), fix: fix.into() }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({"check": self.check, "state": self.state.word().to_lowercase(), "found": self.found, "fix": self.fix})
    }
}
