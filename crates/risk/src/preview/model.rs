//! Previews as data, in the shape of the contract's messages.

use quarterdeck_core::digest::{Canonical, Digest};
use serde::{Deserialize, Serialize};

/// An action as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// One line.
    pub title: String,
    pub sections: Vec<Section>,
    /// Pieces that were masked.
    pub masked: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    pub heading: String,
    pub lines: Vec<Line>,
}

/// One line, in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub spans: Vec<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub text: String,
    pub mark: Mark,
}

/// How a piece is to be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Plain,
    /// A finding of level medium or high points here.
    Risky,
    /// Stands for a character that cannot be seen, or changes how others are seen.
    Invisible,
    /// Stands for a secret or personal data.
    Masked,
    Added,
    Removed,
    /// Not of the action: names of fields, explanations.
    Label,
}

impl Mark {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Risky => "risky",
            Self::Invisible => "invisible",
            Self::Masked => "masked",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Label => "label",
        }
    }
}

impl Preview {
    /// SHA-256 over the canonical encoding of all of it.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("quarterdeck.preview.v1");
        canonical.text(&self.title).int(self.sections.len() as i64);
        for section in &self.sections {
            canonical.text(&section.heading).int(section.lines.len() as i64);
            for line in &section.lines {
                canonical.int(line.spans.len() as i64);
                for span in &line.spans {
                    canonical.text(&span.text).text(span.mark.word());
                }
            }
        }
        canonical.int(i64::from(self.masked)).finish()
    }

    /// Lines of all sections.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.sections.iter().flat_map(|section| &section.lines)
    }
}

impl Line {
    /// Its text without marks.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }
}
