//! What everybody saw, in the order in which it happened.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use quarterdeck_core::Digest;
use quarterdeck_core::approval::Phase;

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
    /// Asks an agent to finish and end.
    Drain {
        agent: String,
    },
    CreateKey {
        request: String,
    },
    RevokeKey {
        request: String,
        key: String,
    },
    /// Shows a key.
    ShowKey {
        key: String,
        text: String,
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
    /// A key; its text only the first time.
    Key {
        key: String,
        text: Option<String>,
    },
    /// Nothing to tell but that it is done.
    Done,
    /// The credential is no longer good.
    Revoked,
    /// The request id was used for another request.
    Reused,
    /// Refused by the rules.
    Refused(String),
    /// Nothing was done, and that is certain.
    NotDone(String),
    /// An error that invites to try again.
    Failed(String),
    /// None came.
    Silence,
    /// An error that must never be seen.
    Defect(String),
}

impl Answer {
    /// Whether the caller has to ask again to know.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::NotDone(_) | Self::Failed(_) | Self::Silence)
    }
}

/// The kind of an agent's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    Progress,
    Complete,
    Fail,
    Refuse,
}

/// An output as an agent was given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// By the digest of its content.
    Content(String),
    Nothing,
    /// It has to be asked for.
    Elsewhere,
}

/// What an agent was told that asked for an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Output(Output),
    /// The lease has ended.
    Stale,
    Failed(String),
    Defect(String),
}

/// What a watch of a project is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Only tasks of this hue.
    pub hue: Option<usize>,
    pub steps: bool,
}

/// Something that somebody did or saw. A lease token is the text that agents see.
#[derive(Clone, Debug)]
pub enum Fact {
    Invoked {
        op: u64,
        client: usize,
        replica: usize,
        call: Call,
    },
    Answered {
        op: u64,
        answer: Answer,
    },
    /// `session` is the one to resume, if any.
    Connecting {
        agent: usize,
        replica: usize,
        session: Option<String>,
    },
    Welcomed {
        agent: usize,
        replica: usize,
        session: String,
        resumed: bool,
        slots: u32,
    },
    Assigned {
        agent: usize,
        session: String,
        token: String,
        task: String,
        step: String,
        attempt: u32,
        /// Outputs of the steps before it, by their names; `None` where nobody noted them.
        outputs: Option<Vec<(String, Output)>>,
    },
    /// Asked for the output of a step before the leased one.
    Looked {
        agent: usize,
        token: String,
        task: String,
        step: String,
        /// When, in microseconds since the beginning.
        asked: i64,
        told: Told,
    },
    Said {
        agent: usize,
        session: String,
        token: String,
        number: i64,
        word: Word,
    },
    Acked {
        agent: usize,
        token: String,
        up_to: i64,
    },
    Rejected {
        agent: usize,
        token: String,
        number: i64,
        stale: bool,
        why: String,
    },
    Revoked {
        agent: usize,
        token: String,
        why: String,
    },
    /// Asked to go: nothing more is assigned on this connection.
    Away {
        agent: usize,
        cause: String,
    },
    Left {
        agent: usize,
        why: String,
    },
    /// Was told that a granted action is its to run.
    Started {
        agent: usize,
        token: String,
        approval: String,
        digest: Digest,
    },
    /// Was told on its session what became of an approval.
    Told {
        agent: usize,
        approval: String,
        phase: Phase,
    },
    /// Was told something that nobody who asks for a yes must hear.
    Baffled {
        agent: usize,
        why: String,
    },
    WatchOpened {
        watch: u64,
        replica: usize,
        task: String,
        resumed: bool,
    },
    WatchSnapshot {
        watch: u64,
        revision: u64,
        ended: bool,
    },
    WatchEvent {
        watch: u64,
        sequence: u64,
        event: String,
    },
    WatchEnded {
        watch: u64,
    },
    WatchBroken {
        watch: u64,
        why: String,
        defect: bool,
    },
    ProjectOpened {
        watch: u64,
        replica: usize,
        wanted: Wanted,
        resumed: bool,
    },
    ProjectSnapshot {
        watch: u64,
        task: String,
    },
    ProjectEvent {
        watch: u64,
        task: String,
        sequence: u64,
        event: String,
    },
    ProjectBroken {
        watch: u64,
        why: String,
        defect: bool,
    },
    Nemesis(String),
}

impl Fact {
    /// Something that is asked of a replica: what seeds are measured in.
    const fn is_operation(&self) -> bool {
        matches!(
            self,
            Self::Invoked { .. }
                | Self::Connecting { .. }
                | Self::Looked { .. }
                | Self::Said { .. }
                | Self::WatchOpened { .. }
                | Self::ProjectOpened { .. }
        )
    }
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
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    entries: Vec<Entry>,
    operations: usize,
}

impl History {
    pub fn new(executor: Executor) -> Self {
        Self { executor, record: Arc::default() }
    }

    pub fn record(&self, fact: Fact) {
        let at = self.executor.now();
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.operations += usize::from(fact.is_operation());
        record.entries.push(Entry { at, fact });
    }

    /// Things asked of replicas so far: calls, words, connections.
    pub fn operations(&self) -> usize {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).operations
    }

    /// Everything so far; from here on the record is empty.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner).entries)
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
