//! Lines in pieces.

use quarterdeck_client::api::approvals::v1::PreviewMark;
use quarterdeck_risk::preview::visible;

/// How a piece is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Names of fields, explanations.
    Label,
    /// Heads of parts.
    Heading,
    /// Something risky points here.
    Risky,
    /// Stands for a character that cannot be seen.
    Invisible,
    /// Stands for a secret.
    Masked,
    /// A line that is new.
    Added,
    /// A line that goes.
    Removed,
    /// Of level medium.
    Medium,
    /// Of level high.
    High,
}

/// One line, in pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(pub Vec<(String, Tone)>);

impl Line {
    /// A line of one piece.
    pub fn of(text: &str, tone: Tone) -> Self {
        Self::default().and(text, tone)
    }

    /// With one more piece; what a terminal would act on becomes visible.
    #[must_use]
    pub fn and(mut self, text: &str, tone: Tone) -> Self {
        if !text.is_empty() {
            self.0.push((visible(text), tone));
        }
        self
    }
}

impl Tone {
    /// The code of the terminal (ECMA-48, SGR).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Label => "2",
            Self::Heading => "1",
            Self::Risky => "1;31",
            Self::Invisible => "30;43",
            Self::Masked => "36",
            Self::Added => "32",
            Self::Removed => "31",
            Self::Medium => "33",
            Self::High => "1;31",
        }
    }
}

impl From<PreviewMark> for Tone {
    fn from(mark: PreviewMark) -> Self {
        match mark {
            PreviewMark::Unspecified | PreviewMark::Plain => Self::Plain,
            PreviewMark::Risky => Self::Risky,
            PreviewMark::Invisible => Self::Invisible,
            PreviewMark::Masked => Self::Masked,
            PreviewMark::Added => Self::Added,
            PreviewMark::Removed => Self::Removed,
            PreviewMark::Label => Self::Label,
        }
    }
}

/// With the terminal's codes.
pub fn painted(lines: &[Line]) -> String {
    written(lines, |text, tone| match tone.code() {
        "" => text.to_owned(),
        code => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
    })
}

/// Without colours; what would be lost with them is said in brackets.
pub fn plain(lines: &[Line]) -> String {
    written(lines, |text, tone| match tone {
        Tone::Risky => format!("«{text}»"),
        _ => text.to_owned(),
    })
}

fn written(lines: &[Line], piece: impl Fn(&str, Tone) -> String) -> String {
    let line = |line: &Line| line.0.iter().map(|(text, tone)| piece(text, *tone)).collect::<String>();
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}
