//! What is known, and what is looked at.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use quarterdeck_client::api::approvals::v1::{Action, Approval, GetApprovalResponse, RiskLevel, Vote};

use crate::approval::{self, Line, sheet};

/// Most approvals that are kept; the server sends no more in a snapshot.
pub const ITEMS_MAX: usize = 1_000;
/// Most letters of a comment, as the contract says.
pub const COMMENT_MAX: usize = 1_000;

/// All of the inbox.
#[derive(Debug, Clone)]
pub struct State {
    /// What is pending, by id.
    pub items: BTreeMap<String, Approval>,
    /// What was fetched to be shown, by id.
    pub looks: BTreeMap<String, Look>,
    /// The one under the cursor.
    pub cursor: Option<String>,
    /// Until a key is pressed, the cursor stays on what weighs most; then it moves under
    /// nobody's finger.
    pub touched: bool,
    /// Those that were picked.
    pub picked: BTreeSet<String>,
    /// Only of at least this level.
    pub filter: RiskLevel,
    pub mode: Mode,
    /// The last thing that was said.
    pub status: String,
    /// Calls that have not been answered.
    pub busy: usize,
    pub now: SystemTime,
    /// Columns and rows.
    pub size: (u16, u16),
}

/// What is shown of one approval.
#[derive(Debug, Clone)]
pub struct Look {
    pub answer: GetApprovalResponse,
    /// Lines that are above the screen.
    pub above: usize,
    /// Its last line was on the screen.
    pub read: bool,
    /// The action without masks, where somebody asked for it.
    pub revealed: Option<Action>,
}

/// What keys mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    List,
    /// One approval from top to bottom.
    Look(String),
    /// A line is being typed.
    Type {
        what: Typing,
        text: String,
    },
    /// A yes waits for `y`; these exactly, with the digests that were shown.
    Confirm(Vec<Target>),
    /// A letter chooses the level.
    Filter,
    Help,
}

/// What a typed line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typing {
    /// Why these are denied.
    Deny(Vec<Target>),
    /// Why its secrets are needed.
    Reveal(String),
}

/// An approval and the digest that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub id: String,
    pub digest: Vec<u8>,
}

/// What happens to the inbox.
#[derive(Debug, Clone)]
pub enum Event {
    Key(Key),
    /// An approval as it is now.
    News(Box<Approval>),
    /// Answers of the server.
    Looked(Box<GetApprovalResponse>),
    Decided(Vec<Approval>),
    Revealed(String, Box<Action>),
    Edited(String, Box<Approval>),
    /// A call or the editor came to nothing.
    Failed(String),
    Tick(SystemTime),
    Resized(u16, u16),
}

/// A key, apart from the terminal that it was pressed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Tab,
    Escape,
    Backspace,
    Char(char),
    Interrupt,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Look(String),
    Decide {
        targets: Vec<Target>,
        vote: Vote,
        comment: String,
    },
    Reveal {
        id: String,
        reason: String,
    },
    /// The action to begin with.
    Edit {
        id: String,
        digest: Vec<u8>,
        action: Box<Action>,
    },
    Quit,
}

impl State {
    /// An empty inbox.
    pub fn new(now: SystemTime, size: (u16, u16)) -> Self {
        Self {
            items: BTreeMap::new(),
            looks: BTreeMap::new(),
            cursor: None,
            touched: false,
            picked: BTreeSet::new(),
            filter: RiskLevel::Unspecified,
            mode: Mode::List,
            status: "? for help".to_owned(),
            busy: 0,
            now,
            size,
        }
    }

    /// Those in sight: what weighs most first, then what came first.
    pub fn listed(&self) -> Vec<&Approval> {
        let fits = |item: &&Approval| approval::level(item) >= self.filter;
        let mut listed: Vec<&Approval> = self.items.values().filter(fits).collect();
        listed.sort_by_key(|item| (Reverse(approval::level(item)), item.id.clone()));
        listed
    }

    /// Pending ones of low, medium and high level, whatever is in sight.
    pub fn counts(&self) -> [usize; 3] {
        let count = |level| self.items.values().filter(|item| approval::level(item) == level).count();
        [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High].map(count)
    }

    /// Lines of what is shown of an approval, as wide as the screen.
    pub fn lines(&self, id: &str) -> Vec<Line> {
        let Some(look) = self.looks.get(id) else { return Vec::new() };
        let approval = look.answer.approval.clone().unwrap_or_default();
        let mut lines = sheet(&approval, look.answer.preview.as_ref(), self.now);
        if let Some(action) = &look.revealed {
            lines.push(Line::default());
            lines.push(Line::of("Without masks", approval::Tone::Heading));
            let text = crate::edit::written(action).unwrap_or_default();
            lines.extend(text.lines().map(|line| Line::of(&format!("  {line}"), approval::Tone::Plain)));
        }
        lines.iter().flat_map(|line| wrapped(line, usize::from(self.size.0))).collect()
    }

    /// Rows between the head and the foot.
    pub fn rows(&self) -> usize {
        usize::from(self.size.1).saturating_sub(4).max(1)
    }

    /// The approval with the digest that was shown, if it was shown to its end and is
    /// still the same.
    pub fn read(&self, id: &str) -> Option<Target> {
        let look = self.looks.get(id).filter(|look| look.read)?;
        let shown = look.answer.approval.as_ref()?;
        let same = self.items.get(id).is_some_and(|item| item.digest == shown.digest);
        same.then(|| Target { id: id.to_owned(), digest: shown.digest.to_vec() })
    }
}

/// A line cut into as many as it takes; letters count by how wide a terminal draws them.
fn wrapped(line: &Line, width: usize) -> Vec<Line> {
    let width = width.max(10);
    let mut lines = vec![Line::default()];
    let mut used = 0;
    for (text, tone) in &line.0 {
        let mut piece = String::new();
        for letter in text.chars() {
            let wide = ratatui::text::Span::raw(letter.encode_utf8(&mut [0; 4]) as &str).width();
            if used + wide > width {
                push(&mut lines, &mut piece, *tone);
                lines.push(Line::default());
                used = 0;
            }
            piece.push(letter);
            used += wide;
        }
        push(&mut lines, &mut piece, *tone);
    }
    lines
}

fn push(lines: &mut [Line], piece: &mut String, tone: approval::Tone) {
    if let Some(last) = lines.last_mut().filter(|_| !piece.is_empty()) {
        last.0.push((std::mem::take(piece), tone));
    }
}
