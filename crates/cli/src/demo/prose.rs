//! From a document's text to its sentences, each with the line it starts on, and to its words.
//!
//! Invariants: a sentence never crosses a paragraph, list item or heading; code,
//! tables, raw HTML and link targets never become part of one; the same text gives
//! the same sentences.
//!
//! What it does not do: judge sentences (see `analyse`) or read files.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// How a file marks up its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// CommonMark with tables and front matter.
    Markdown,
    /// Paragraphs between blank lines; reStructuredText counts as this too.
    Plain,
}

impl Format {
    /// The format by a file's name.
    pub fn of(path: &str) -> Self {
        match extension(path).as_str() {
            "md" | "markdown" | "mdx" => Self::Markdown,
            _ => Self::Plain,
        }
    }
}

/// The extension in lower case; empty where there is none.
pub fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension.to_lowercase(),
        _ => String::new(),
    }
}

/// One sentence as it reads without markup (but with backticks around code).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Its text, white space collapsed.
    pub text: String,
    /// Line of the file on which it starts, from 1.
    pub line: u32,
    /// True for the first sentence of its paragraph.
    pub opens: bool,
    /// True where it ends like a sentence, false for a list item without full stop.
    pub closed: bool,
}

/// A heading and the line it stands on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Its text without markup.
    pub text: String,
    /// Line of the file, from 1.
    pub line: u32,
    /// 1 is the highest.
    pub level: u8,
}

/// What a document consists of, in the order of the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Prose {
    /// Sentences of paragraphs and list items.
    pub sentences: Vec<Sentence>,
    /// Headings.
    pub headings: Vec<Heading>,
}

/// Splits a document.
pub fn split(text: &str, format: Format) -> Prose {
    match format {
        Format::Markdown => markdown(text),
        Format::Plain => plain(text),
    }
}

/// Words of a text in lower case: runs of letters, digits and underscores, as `grep -w` sees them.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// A sentence without its code spans, for names in code are not its topic.
pub fn without_code(sentence: &str) -> String {
    sentence.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Text of one block, with the source line of each of its parts.
#[derive(Default)]
struct Block {
    text: String,
    /// (offset in `text`, line): from this offset on, text comes from this line.
    lines: Vec<(usize, u32)>,
}

impl Block {
    fn push(&mut self, piece: &str, line: u32) {
        if self.lines.last().is_none_or(|(_, last)| *last != line) {
            self.lines.push((self.text.len(), line));
        }
        self.text.push_str(piece);
    }

    fn line_at(&self, offset: usize) -> u32 {
        let after = self.lines.partition_point(|(start, _)| *start <= offset);
        self.lines.get(after.saturating_sub(1)).map_or(1, |(_, line)| *line)
    }

    /// Ends the block: its sentences are added to `prose`.
    fn finish(&mut self, prose: &mut Prose) {
        let mut opens = true;
        for (start, end) in sentence_ranges(&self.text) {
            let raw = &self.text[start..end];
            let text = collapse(raw);
            if text.is_empty() {
                continue;
            }
            let lead = raw.len() - raw.trim_start().len();
            let closed = ends_like_a_sentence(&text);
            prose.sentences.push(Sentence { text, line: self.line_at(start + lead), opens, closed });
            opens = false;
        }
        self.text.clear();
        self.lines.clear();
    }
}

fn markdown(text: &str) -> Prose {
    let starts = line_starts(text);
    let line_of = |offset: usize| starts.partition_point(|start| *start <= offset) as u32;
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut prose = Prose::default();
    let mut block = Block::default();
    let mut heading: Option<Heading> = None;
    // Depth of containers whose text is not prose: code, tables, HTML, metadata, images.
    let mut silent = 0_u32;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        let line = line_of(range.start);
        match event {
            Event::Start(tag) if is_silent(&tag) => {
                if !matches!(tag, Tag::Image { .. }) {
                    block.finish(&mut prose);
                }
                silent += 1;
            }
            Event::End(tag) if is_silent_end(&tag) => silent = silent.saturating_sub(1),
            _ if silent > 0 => {}
            Event::Start(Tag::Heading { level, .. }) => {
                block.finish(&mut prose);
                let level = level as u8;
                let text = String::new();
                heading = Some(Heading { text, line, level });
            }
            Event::End(TagEnd::Heading(_)) => prose.headings.extend(heading.take().map(|mut heading| {
                heading.text = collapse(&heading.text);
                heading
            })),
            Event::Start(Tag::Paragraph | Tag::Item | Tag::List(_) | Tag::BlockQuote(_))
            | Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::List(_) | TagEnd::BlockQuote(_)) => {
                block.finish(&mut prose);
            }
            Event::Text(words) => match &mut heading {
                Some(heading) => heading.text.push_str(&words),
                None => block.push(&words, line),
            },
            Event::Code(code) => match &mut heading {
                Some(heading) => heading.text.push_str(&code),
                None => block.push(&format!("`{code}`"), line),
            },
            Event::SoftBreak | Event::HardBreak => block.push(" ", line),
            _ => {}
        }
    }
    block.finish(&mut prose);
    prose
}

fn is_silent(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::CodeBlock(_) | Tag::Table(_) | Tag::HtmlBlock | Tag::MetadataBlock(_) | Tag::Image { .. }
    )
}

fn is_silent_end(tag: &TagEnd) -> bool {
    matches!(
        tag,
        TagEnd::CodeBlock | TagEnd::Table | TagEnd::HtmlBlock | TagEnd::MetadataBlock(_) | TagEnd::Image
    )
}

/// Plain text and reStructuredText: paragraphs are runs of lines at one indentation.
fn plain(text: &str) -> Prose {
    let mut prose = Prose::default();
    let mut block = Block::default();
    let mut previous = String::new();
    // Inside a directive or a literal block everything deeper than this is skipped.
    let mut skip_deeper_than: Option<usize> = None;
    for (line, number) in text.lines().zip(1_u32..) {
        let words = line.trim();
        let indent = line.len() - line.trim_start().len();
        if words.is_empty() {
            if block.text.trim_end().ends_with("::") {
                skip_deeper_than = Some(indent_of(&previous));
            }
            block.finish(&mut prose);
            previous.clear();
            continue;
        }
        match skip_deeper_than {
            Some(depth) if indent > depth => continue,
            _ => skip_deeper_than = None,
        }
        if is_rule(words) {
            // An underline makes the line above it a heading.
            if !previous.is_empty() && block.lines.len() == 1 {
                let text = collapse(&block.text);
                prose.headings.push(Heading { text, line: number - 1, level: rule_level(words) });
                block = Block::default();
            } else {
                block.finish(&mut prose);
            }
            previous.clear();
            continue;
        }
        if words.starts_with(".. ") {
            block.finish(&mut prose);
            skip_deeper_than = Some(indent);
            continue;
        }
        let item = item_text(words);
        if item.is_some() || (!previous.is_empty() && indent_of(&previous) > indent + 3) {
            block.finish(&mut prose);
        }
        if !block.text.is_empty() {
            block.push(" ", number);
        }
        block.push(item.unwrap_or(words), number);
        previous.clear();
        previous.push_str(line);
    }
    block.finish(&mut prose);
    prose
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_rule(words: &str) -> bool {
    let mut chars = words.chars();
    match chars.next() {
        Some(first) if "=-~^\"'`#*+_.:".contains(first) => words.len() >= 3 && chars.all(|c| c == first),
        _ => false,
    }
}

fn rule_level(words: &str) -> u8 {
    if words.starts_with('=') { 1 } else { 2 }
}

/// The text of a list item without its bullet.
fn item_text(words: &str) -> Option<&str> {
    for bullet in ["- ", "* ", "+ ", "• "] {
        if let Some(rest) = words.strip_prefix(bullet) {
            return Some(rest.trim_start());
        }
    }
    let digits = words.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=2).contains(&digits) {
        let rest = &words[digits..];
        return rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") ")).map(str::trim_start);
    }
    None
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// White space collapsed to single blanks, none at the ends.
pub fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Words before a full stop that do not end a sentence.
#[rustfmt::skip]
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "vs", "cf", "dr", "mr", "mrs", "ms", "prof", "fig", "no", "vol", "pp", "p",
    "st", "approx", "incl", "resp", "bzw", "z.b", "d.h", "u.a", "ca", "nr", "sec", "ed", "al", "art",
    "para",
];

fn sentence_ranges(text: &str) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut start = 0;
    let mut in_code = false;
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut index = 0;
    while index < chars.len() {
        let (at, c) = chars[index];
        index += 1;
        if c == '`' {
            in_code = !in_code;
        }
        if in_code || !matches!(c, '.' | '!' | '?' | '。' | '！' | '？') {
            continue;
        }
        // Closing quotes and brackets belong to the sentence they end.
        while chars
            .get(index)
            .is_some_and(|(_, c)| matches!(c, '.' | '!' | '?' | ')' | '"' | '\'' | '”' | '’' | '»'))
        {
            index += 1;
        }
        let end = chars.get(index).map_or(text.len(), |(offset, _)| *offset);
        let wide = matches!(c, '。' | '！' | '？');
        if wide || (breaks_after(&text[..at], c) && begins_anew(&chars[index..])) {
            ranges.push((start, end));
            start = end;
        }
    }
    if !text[start..].trim().is_empty() {
        ranges.push((start, text.len()));
    }
    ranges
}

/// False after abbreviations and initials.
fn breaks_after(before: &str, mark: char) -> bool {
    if mark != '.' {
        return true;
    }
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("");
    let lower = word.to_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    !initial && !ABBREVIATIONS.contains(&lower.as_str())
}

/// True at the end, or where white space and something that may open a sentence follow.
fn begins_anew(rest: &[(usize, char)]) -> bool {
    let mut rest = rest.iter().map(|(_, c)| *c);
    match rest.next() {
        None => true,
        Some(c) if c.is_whitespace() => match rest.find(|c| !c.is_whitespace()) {
            None => true,
            Some(next) => !next.is_lowercase() && !matches!(next, ',' | ';' | ')' | '-' | '–'),
        },
        Some(_) => false,
    }
}

fn ends_like_a_sentence(text: &str) -> bool {
    let bare = text.trim_end_matches([')', '"', '\'', '”', '’', '»', '`', '*', '_']);
    bare.ends_with(['.', '!', '?', '。', '！', '？', '…'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, format: Format) -> Vec<(u32, String)> {
        split(text, format).sentences.into_iter().map(|s| (s.line, s.text)).collect()
    }

    #[test]
    fn sentences_know_the_line_they_start_on() {
        let text = "# Title\n\nFirst one here. Second starts\nand goes on, e.g. like *this*.\nThird `a. b` one.\n\n- an item\n  over two lines. And more.\n";
        assert_eq!(
            found(text, Format::Markdown),
            vec![
                (3, "First one here.".to_owned()),
                (3, "Second starts and goes on, e.g. like this.".to_owned()),
                (5, "Third `a. b` one.".to_owned()),
                (7, "an item over two lines.".to_owned()),
                (8, "And more.".to_owned()),
            ]
        );
    }

    #[test]
    fn code_tables_html_images_and_link_targets_are_no_prose() {
        let text = "---\ntitle: x\n---\nA [link](http://x.y/z.Z) stays text.\n\n```sh\nrun. This.\n```\n\n| a | b |\n|---|---|\n| Cell. | Two. |\n\n<p>Raw. Html.</p>\n\n![alt. Text](x.png)\n\n    indented. Code.\n";
        assert_eq!(found(text, Format::Markdown), vec![(4, "A link stays text.".to_owned())]);
    }

    #[test]
    fn headings_give_sections_and_no_sentences() {
        let prose = split("# One `x`\n\nText.\n\nTwo\n---\nMore.\n", Format::Markdown);
        let headings: Vec<_> = prose.headings.iter().map(|h| (h.text.as_str(), h.line, h.level)).collect();
        assert_eq!(headings, vec![("One x", 1, 1), ("Two", 5, 2)]);
        assert_eq!(prose.sentences.len(), 2);
    }

    #[test]
    fn plain_text_and_restructured_text_are_split_at_paragraphs() {
        let text = "Guide\n=====\n\nOne sentence. Another\none.\n\n.. code-block:: sh\n\n   no. Prose.\n\nLook::\n\n   literal. Text.\n\n* item one\n* item two. Longer.\n";
        assert_eq!(
            found(text, Format::Plain),
            vec![
                (4, "One sentence.".to_owned()),
                (4, "Another one.".to_owned()),
                (11, "Look::".to_owned()),
                (15, "item one".to_owned()),
                (16, "item two.".to_owned()),
                (16, "Longer.".to_owned()),
            ]
        );
        assert_eq!(split(text, Format::Plain).headings[0].text, "Guide");
    }

    #[test]
    fn abbreviations_initials_and_numbers_do_not_end_a_sentence() {
        for text in [
            "See Dr. Smith about it.",
            "J. Doe wrote version 1.2 of it.",
            "It is small, i.e. Tiny, they say.",
            "Run `a. B` now.",
        ] {
            assert_eq!(found(text, Format::Markdown), vec![(1, text.to_owned())]);
        }
        assert_eq!(found("一句話。另一句！", Format::Markdown).len(), 2);
    }

    #[test]
    fn words_are_what_grep_sees() {
        let all: Vec<_> = words("The lease_token, Lease-time: 15 s.").collect();
        assert_eq!(all, vec!["the", "lease_token", "lease", "time", "15", "s"]);
        assert_eq!(without_code("Run `a b` and `c`."), "Run   and  .");
    }
}
