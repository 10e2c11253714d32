//! What an AWK program does beside printing: `system()`, pipes, files.

use std::ops::Range;

use super::state::State;
use super::stream::{Origin, Stream, UNKNOWN};
use crate::path::Operation;

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    Word(String),
    Sign(char),
    /// `||`, `>=`, `>>`.
    Pair(char, char),
}

impl State {
    pub fn awk_program(&mut self, text: &str, span: &Range<usize>) {
        if text.contains(UNKNOWN) {
            self.gap(
                "shell.unknown_script",
                "Runs an AWK program that is only known when it runs.",
                span.clone(),
            );
        }
        let tokens = tokens(text);
        let mut prints = false;
        for (at, token) in tokens.iter().enumerate() {
            let next = tokens.get(at + 1);
            match token {
                Token::Word(word) if word == "system" => {
                    self.awk_runs(tokens.get(at + 2), tokens.get(at + 3), span)
                }
                Token::Word(word) if word == "print" || word == "printf" => prints = true,
                Token::Sign(';' | '}' | '\n') => prints = false,
                Token::Sign('|') => match (next, at.checked_sub(1).and_then(|at| tokens.get(at))) {
                    (Some(Token::Word(word)), before) if word == "getline" => {
                        self.awk_runs(before, None, span);
                    }
                    (Some(Token::Sign('&')), _) => self.awk_feeds(tokens.get(at + 2), span),
                    (after, _) => self.awk_feeds(after, span),
                },
                Token::Sign('>') | Token::Pair('>', '>') if prints => self.awk_writes(next, span),
                _ => {}
            }
        }
    }

    fn awk_runs(&mut self, text: Option<&Token>, behind: Option<&Token>, span: &Range<usize>) {
        let whole = matches!(behind, None | Some(Token::Sign(')')));
        match text {
            Some(Token::Text(text)) => {
                if !whole {
                    self.gap("awk.system", "Runs a command that AWK puts together.", span.clone());
                }
                self.run_stream(&Stream::text(text.clone()), span.clone(), &Stream::none());
            }
            _ => self.gap("awk.system", "Runs a command that AWK puts together.", span.clone()),
        }
    }

    /// A pipe: the command reads what AWK prints.
    fn awk_feeds(&mut self, text: Option<&Token>, span: &Range<usize>) {
        match text {
            Some(Token::Text(text)) => {
                let script = Stream::text(text.clone());
                self.run_stream(&script, span.clone(), &Stream::unknown(Origin::Local));
            }
            _ => self.awk_runs(None, None, span),
        }
    }

    fn awk_writes(&mut self, target: Option<&Token>, span: &Range<usize>) {
        let path = match target {
            Some(Token::Text(text)) => text.clone(),
            // A name that AWK puts together begins in the current directory, or nobody knows where.
            _ => UNKNOWN.to_string(),
        };
        self.path_effect(Operation::Write, &path, "awk.writes", span);
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '"' => tokens.push(Token::Text(delimited(&chars, &mut at, '"'))),
            '/' if pattern_may_begin(tokens.last()) => {
                delimited(&chars, &mut at, '/');
                tokens.push(Token::Word("pattern".to_owned()));
            }
            '#' => {
                while chars.get(at).is_some_and(|c| *c != '\n') {
                    at += 1;
                }
            }
            ' ' | '\t' | '\r' => {}
            c if c.is_alphanumeric() || c == '_' || c == '$' => {
                let mut word = String::from(c);
                while let Some(c) = chars.get(at).filter(|c| c.is_alphanumeric() || **c == '_') {
                    word.push(*c);
                    at += 1;
                }
                tokens.push(Token::Word(word));
            }
            c => match chars.get(at) {
                Some(&d) if matches!((c, d), ('|', '|') | ('>', '=' | '>')) => {
                    at += 1;
                    tokens.push(Token::Pair(c, d));
                }
                _ => tokens.push(Token::Sign(c)),
            },
        }
    }
    tokens
}

/// A slash divides behind a value, and begins a pattern elsewhere.
fn pattern_may_begin(before: Option<&Token>) -> bool {
    !matches!(before, Some(Token::Word(_) | Token::Text(_) | Token::Sign(')' | ']')))
}

fn delimited(chars: &[char], at: &mut usize, stop: char) -> String {
    let mut text = String::new();
    while let Some(&c) = chars.get(*at) {
        *at += 1;
        match c {
            '\\' => {
                if let Some(&next) = chars.get(*at) {
                    *at += 1;
                    text.push(if next == 'n' { '\n' } else { next });
                }
            }
            c if c == stop => break,
            c => text.push(c),
        }
    }
    text
}
