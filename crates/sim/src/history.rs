//! What everybody saw, in the order in which it happened.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::executor::Executor;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `body` stands for everything that makes this request this one.
    Create {
        request: String,
        body: u64,
    },
    Cancel {
        request: String,
        task: String,
    },
    Retry {
        request: String,
        task: String,
    },
    Get {
        task: String,
    },
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Task {
        task: String,
        revision: u64,
        state: String,
    },
    /// The request id was used for another request.
    Reused,
    /// Refused by the rules.
    Refused(String),
    /// An error that invites to try again.
    Failed(String),
    /// None came.
    Silence,
    /// An error that must never be seen.
    Defect(String),
}

/// The kind of an agent's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    Progress,
    Complete,
    Fail,
    Refuse,
}

/// Something that somebody did or saw. A lease token is the text that agents see.
#[derive(Clone, Debug)]
pub enum Fact {
    Invoked { op: u64, client: usize, replica: usize, call: Call },
    Answered { op: u64, answer: Answer },
    Welcomed { agent: usize, replica: usize, session: String, resumed: bool, slots: u32 },
    Assigned { agent: usize, session: String, token: String, task: String, step: String, attempt: u32 },
    Said { agent: usize, session: String, token: String, number: i64, word: Word },
    Acked { agent: usize, token: String, up_to: i64 },
    Rejected { agent: usize, token: String, number: i64, stale: bool, why: String },
    Revoked { agent: usize, token: String, why: String },
    Left { agent: usize, why: String },
    WatchOpened { watch: u64, replica: usize, task: String, resumed: bool },
    WatchSnapshot { watch: u64, revision: u64, ended: bool },
    WatchEvent { watch: u64, sequence: u64, event: String },
    WatchEnded { watch: u64 },
    WatchBroken { watch: u64, why: String, defect: bool },
    Nemesis(String),
}

/// A fact and when it was.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Microseconds since the beginning.
    pub at: i64,
    pub fact: Fact,
}

/// The record; clones write to the same one.
#[derive(Clone)]
pub struct History {
    executor: Executor,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl History {
    pub fn new(executor: Executor) -> Self {
        Self { executor, entries: Arc::default() }
    }

    pub fn record(&self, fact: Fact) {
        let at = self.executor.now();
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(Entry { at, fact });
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One line a fact.
pub fn lines(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:>12} {:?}", entry.at, entry.fact);
    }
    text
}
