//! What is shown of each kind of action, and what it does.

use std::collections::BTreeSet;
use std::ops::Range;

use quarterdeck_core::action::{Action, FileOperation};

use super::draw::{Ink, Shape};
use super::model::{Mark, Preview, Section};
use super::page::{Finished, LINES_MAX, Left, Page};
use crate::action::layout::{Field, Layout, Part};
use crate::action::mask;
use crate::model::{Certainty, Effect, Found, Level, Scope, Undo};
use crate::redact;

/// Lines kept for what the action does, and again for what could not be understood.
const FINDINGS_MAX: usize = 450;
/// Lines kept for where it happens.
const WHERE_MAX: usize = 60;
/// Lines kept for warnings and for what was left out.
const KEPT: usize = 20;
/// Longest title, and longest target of an effect, in bytes.
const TITLE_MAX: usize = 200;
const TARGET_MAX: usize = 1_000;

/// What people are shown. `level` weighs an effect, as [`crate::weigh::level`] does.
pub fn preview(action: &Action, found: &Found, level: impl Fn(&Effect) -> Level) -> Preview {
    let layout = Layout::of(action);
    let hidden = mask::marks(&layout);
    let (masks, risky) = (placed(&layout, &hidden), risky(found, &level, layout.text.len()));
    let shown = Shown {
        strict: Ink::new(&layout.text, &masks, &risky, true),
        loose: Ink::new(&layout.text, &masks, &risky, false),
        targets: mask::Targets::within(&layout, &hidden),
        layout: &layout,
    };
    let does = shown.effects(found, level);
    let gaps = shown.gaps(found);
    let place = place(action);
    let used = does.lines.len() + gaps.lines.len() + place.lines.len() + KEPT;
    let content = shown.content(action, LINES_MAX.saturating_sub(used));
    let mut total = Sum::default();
    let mut sections = Vec::new();
    sections.extend(total.add("Where", place));
    sections.extend(content.into_iter().filter_map(|(heading, page)| total.add(heading, page)));
    sections.extend(total.add("What it does", does));
    sections.extend(total.add("What could not be understood", gaps));
    let title = shown.title(action, &mut total);
    let warnings = total.warnings();
    if !warnings.lines.is_empty() {
        sections.insert(0, Section { heading: "Look twice".to_owned(), lines: warnings.lines });
    }
    if total.left.lines > 0 {
        let mut page = Page::new(1);
        page.text(&format!("NOT SHOWN in all: {}", total.left.words()), Mark::Risky);
        page.end();
        sections.push(Section { heading: "Left out".to_owned(), lines: page.close().lines });
    }
    Preview { title, sections, masked: total.masked }
}

/// What the sections hold together.
#[derive(Default)]
struct Sum {
    left: Left,
    unseen: u32,
    masked: u32,
}

impl Sum {
    fn add(&mut self, heading: &str, page: Finished) -> Option<Section> {
        self.left.lines += page.left.lines;
        self.left.bytes += page.left.bytes;
        self.unseen += page.unseen;
        self.masked += page.masked;
        (!page.lines.is_empty()).then(|| Section { heading: heading.to_owned(), lines: page.lines })
    }

    fn warnings(&self) -> Finished {
        let mut page = Page::new(KEPT);
        if self.left.lines > 0 {
            let text = format!("NOT ALL OF IT IS SHOWN: {} are left out", self.left.words());
            page.text(&text, Mark::Risky);
            page.end();
        }
        if self.unseen > 0 {
            let what = "characters that cannot be seen, or are not what they seem";
            page.text(&format!("it holds {what}: {} of <...> stand for them", self.unseen), Mark::Risky);
            page.end();
        }
        page.close()
    }
}

/// An action's text, and what is known of it.
struct Shown<'a> {
    layout: &'a Layout<'a>,
    /// For names of programs, hosts and paths.
    strict: Ink<'a>,
    loose: Ink<'a>,
    targets: mask::Targets,
}

impl Shown<'_> {
    fn content(&self, action: &Action, room: usize) -> Vec<(&'static str, Finished)> {
        let mut book = Book { room, shown: self, sections: Vec::new() };
        match action {
            Action::Command { argv, .. } if argv.is_empty() => {
                book.lines("Script for a shell", Field::Script, Shape::Lines, true);
            }
            Action::Command { .. } => book.whole("Program and arguments; no shell looks at them"),
            Action::Git { .. } => book.whole("Command"),
            Action::File { operation, .. } => {
                book.fields("File", &[("path: ", Field::Path), ("to: ", Field::Destination)]);
                book.lines("What changes", Field::Change, self.change(*operation), false);
            }
            Action::Code { .. } => book.lines("Source", Field::Source, Shape::Lines, false),
            Action::Sql { .. } => book.lines("Statements", Field::Statements, Shape::Lines, false),
            Action::Http { .. } => {
                book.fields("Call", &[("method: ", Field::Method), ("url: ", Field::Url)]);
                book.headers();
                book.lines("Body", Field::Body, Shape::Lines, false);
            }
            Action::Workflow { operation, .. } => {
                book.fields("Workflow", &[("name: ", Field::Name)]);
                book.lines("Definition", Field::Definition, self.change(*operation), false);
            }
            Action::Tool { .. } => {
                book.fields("Tool", &[("name: ", Field::Name)]);
                book.lines("Arguments", Field::Arguments, Shape::Lines, false);
            }
        }
        book.sections
    }

    /// Whether the change is written as a diff, or is the new content.
    fn change(&self, operation: FileOperation) -> Shape {
        let part = [Field::Change, Field::Definition].into_iter().find_map(|field| self.layout.part(field));
        let diff = part.is_some_and(|part| part.raw.lines().take(50).any(|line| line.starts_with("@@ ")));
        match operation {
            _ if diff => Shape::Diff,
            FileOperation::Write | FileOperation::Append => Shape::New,
            _ => Shape::Lines,
        }
    }

    /// One line made of the structure alone.
    fn title(&self, action: &Action, total: &mut Sum) -> String {
        let part = |index: usize| self.layout.parts.get(index).map(|part| self.short(part, total));
        match action {
            Action::Command { argv, script, .. } if argv.is_empty() => {
                format!("Run a shell script of {}", count(script))
            }
            Action::Command { .. } => with("Run the program", part),
            Action::Git { .. } => with("Run git", part),
            Action::File { operation, .. } => with(&format!("{} the file", verb(*operation)), part),
            Action::Code { language, source } => {
                format!("Run {} of code: {}", count(source), word(language))
            }
            Action::Sql { dialect, text } if dialect.is_empty() => format!("Run SQL of {}", count(text)),
            Action::Sql { dialect, text } => format!("Run SQL of {}: {}", count(text), word(dialect)),
            Action::Http { .. } => {
                let mut part = part;
                let method = part(0).unwrap_or_default();
                format!("Call {method} {}", part(1).unwrap_or_default())
            }
            Action::Workflow { operation, .. } => {
                with(&format!("{} what runs by itself:", verb(*operation)), part)
            }
            Action::Tool { .. } => with("Call a tool that is not known:", part),
        }
    }

    /// A part for a title, cut with a word about it.
    fn short(&self, part: &Part<'_>, total: &mut Sum) -> String {
        let mut page = Page::new(1);
        self.strict.draw(part.at.clone(), Shape::Word, &mut page);
        page.end();
        let finished = page.close();
        total.unseen += finished.unseen;
        let text = finished.lines.first().map(super::Line::text).unwrap_or_default();
        cut(text, TITLE_MAX)
    }

    /// A line for each effect, what weighs most first.
    fn effects(&self, found: &Found, level: impl Fn(&Effect) -> Level) -> Finished {
        let mut page = Page::new(FINDINGS_MAX);
        let mut effects: Vec<_> = found.effects.iter().map(|effect| (level(effect), effect)).collect();
        effects.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        let mut said = BTreeSet::new();
        for (level, effect) in effects {
            let doubt = if effect.certainty == Certainty::Possible { "possible" } else { "certain" };
            let kind = name(&effect.kind);
            let rest =
                format!(" ({}); {}; {doubt}; {}: ", scope(effect.scope), undo(effect.undo), name(&level));
            if !said.insert((kind.clone(), &effect.target, rest.clone(), &effect.why)) {
                continue;
            }
            page.text(&format!("{kind} "), Mark::Label);
            let mark = if level >= Level::Medium { Mark::Risky } else { Mark::Plain };
            self.target(&effect.target, mark, &mut page);
            page.text(&rest, Mark::Label);
            self.words(&effect.why, &mut page);
            page.end();
        }
        if found.effects.is_empty() && found.unresolved.is_empty() {
            page.label("nothing that changes or reads anything was found");
        }
        page.close()
    }

    fn gaps(&self, found: &Found) -> Finished {
        let mut page = Page::new(FINDINGS_MAX);
        let mut said = BTreeSet::new();
        for gap in found.unresolved.iter().filter(|gap| said.insert((&gap.rule, &gap.why, gap.span.start))) {
            let at = self.layout.text.get(..gap.span.start).unwrap_or_default();
            self.words(&gap.why, &mut page);
            page.text(&format!(" (from line {} on)", at.matches('\n').count() + 1), Mark::Label);
            page.end();
        }
        page.close()
    }

    /// What an effect is on, without what was masked.
    fn target(&self, target: &str, mark: Mark, page: &mut Page) {
        let text = self.targets.without_known(target);
        let text = cut(text, TARGET_MAX);
        let masks = mask::plain(&text);
        let risky: Vec<_> = std::iter::once(0..text.len()).filter(|_| mark == Mark::Risky).collect();
        Ink::new(&text, &masks, &risky, true).draw(0..text.len(), Shape::Word, page);
    }

    fn words(&self, why: &str, page: &mut Page) {
        let masks = mask::plain(why);
        let mut inner = Page::new(1);
        Ink::new(why, &masks, &[], false).draw(0..why.len(), Shape::Word, &mut inner);
        inner.end();
        let text = inner.close().lines.first().map(super::Line::text).unwrap_or_default();
        page.text(&text, Mark::Label);
    }
}

/// Sections of the content, which share their room.
struct Book<'a> {
    shown: &'a Shown<'a>,
    room: usize,
    sections: Vec<(&'static str, Finished)>,
}

impl Book<'_> {
    fn add(&mut self, heading: &'static str, page: Page) {
        let page = page.close();
        self.room = self.room.saturating_sub(page.lines.len());
        self.sections.push((heading, page));
    }

    /// All of the text as one line.
    fn whole(&mut self, heading: &'static str) {
        let mut page = Page::new(self.room);
        self.shown.strict.draw(self.shown.layout.all(), Shape::Word, &mut page);
        page.end();
        self.add(heading, page);
    }

    fn lines(&mut self, heading: &'static str, field: Field, shape: Shape, strict: bool) {
        let Some(part) = self.shown.layout.part(field).filter(|part| !part.at.is_empty()) else { return };
        let mut page = Page::new(self.room);
        let ink = if strict { &self.shown.strict } else { &self.shown.loose };
        ink.draw(part.at.clone(), shape, &mut page);
        page.end();
        self.add(heading, page);
    }

    /// A line for each field that there is.
    fn fields(&mut self, heading: &'static str, fields: &[(&str, Field)]) {
        let mut page = Page::new(self.room);
        for (name, field) in fields {
            let Some(part) = self.shown.layout.part(*field) else { continue };
            page.text(name, Mark::Label);
            self.shown.strict.draw(part.at.clone(), Shape::Word, &mut page);
            page.end();
        }
        self.add(heading, page);
    }

    fn headers(&mut self) {
        let mut page = Page::new(self.room);
        for pair in self.shown.layout.parts.windows(2) {
            let [name, value] = pair else { continue };
            if name.field == Field::HeaderName {
                self.shown.strict.draw(name.at.start..value.at.end, Shape::Word, &mut page);
                page.end();
            }
        }
        self.add("Headers", page);
    }
}

/// Directory and environment.
fn place(action: &Action) -> Finished {
    let mut page = Page::new(WHERE_MAX);
    let (Action::Command { cwd, .. } | Action::Git { cwd, .. }) = action else { return page.close() };
    page.text("directory: ", Mark::Label);
    match cwd.is_empty() {
        true => page.text("the project's", Mark::Label),
        false => field(cwd, &mut page),
    }
    page.end();
    if let Action::Command { environment, .. } = action
        && !environment.is_empty()
    {
        page.text("environment: ", Mark::Label);
        for (index, name) in environment.iter().enumerate() {
            page.text(if index > 0 { ", " } else { "" }, Mark::Label);
            field(name, &mut page);
        }
        page.end();
    }
    page.close()
}

fn field(text: &str, page: &mut Page) {
    Ink::new(text, &mask::plain(text), &[], true).draw(0..text.len(), Shape::Word, page);
}

/// What is masked, in bytes of the text.
fn placed(layout: &Layout<'_>, hidden: &[Vec<redact::Mark>]) -> Vec<redact::Mark> {
    let parts = layout.parts.iter().zip(hidden);
    let placed = parts.flat_map(|(part, marks)| {
        let places = part.places(marks.iter().map(|mark| &mark.range));
        marks.iter().zip(places).map(|(mark, range)| redact::Mark { range, kind: mark.kind.clone() })
    });
    placed.collect()
}

/// What findings of some weight point at, in order and apart. One that points at
/// everything says nothing where others point closer.
fn risky(found: &Found, level: &impl Fn(&Effect) -> Level, all: usize) -> Vec<Range<usize>> {
    let effects = found.effects.iter().filter(|effect| level(effect) >= Level::Medium);
    let gaps = found.unresolved.iter().map(|gap| &gap.span);
    let mut spans: Vec<_> = effects.map(|effect| &effect.span).chain(gaps).cloned().collect();
    spans.retain(|span| span.start < span.end);
    if spans.iter().any(|span| span.len() < all) {
        spans.retain(|span| span.len() < all);
    }
    spans.sort_by_key(|span| span.start);
    let mut apart: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match apart.last_mut().filter(|last| span.start <= last.end) {
            Some(last) => last.end = last.end.max(span.end),
            None => apart.push(span),
        }
    }
    apart
}

fn with(head: &str, mut part: impl FnMut(usize) -> Option<String>) -> String {
    format!("{head} {}", part(0).unwrap_or_default())
}

/// A short text on its own, for titles.
fn word(text: &str) -> String {
    let mut page = Page::new(1);
    field(text, &mut page);
    page.end();
    cut(page.close().lines.first().map(super::Line::text).unwrap_or_default(), TITLE_MAX)
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = text.floor_char_boundary(most);
        let left = text.len() - end;
        text.truncate(end);
        text.push_str(&format!(" (NOT SHOWN: {left} more bytes)"));
    }
    text
}

fn count(text: &str) -> String {
    match text.lines().count() {
        1 => "1 line".to_owned(),
        lines => format!("{lines} lines"),
    }
}

const fn verb(operation: FileOperation) -> &'static str {
    match operation {
        FileOperation::Read => "Read",
        FileOperation::Write => "Write",
        FileOperation::Append => "Append to",
        FileOperation::Delete => "Delete",
        FileOperation::Move => "Move",
    }
}

/// The word that the type is written with elsewhere.
fn name(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Temp => "temporary",
        Scope::Project => "in the project",
        Scope::Guard => "guards the project",
        Scope::Home => "outside the project, in the home directory",
        Scope::System => "of the system",
        Scope::Remote => "on another machine",
        Scope::Production => "in production",
        Scope::Unknown => "where is not known",
    }
}

const fn undo(undo: Undo) -> &'static str {
    match undo {
        Undo::Nothing => "changes nothing",
        Undo::Easy => "can be undone",
        Undo::Hard => "only a backup undoes it",
        Undo::Never => "cannot be undone",
    }
}
