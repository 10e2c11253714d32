//! What a `sed` script does beside editing text: `w`, `r`, `e`.

use std::ops::Range;

use super::state::State;
use super::stream::{Stream, UNKNOWN};
use crate::path::Operation;

struct Script {
    chars: Vec<char>,
    at: usize,
}

impl State {
    pub fn sed_script(&mut self, text: &str, span: &Range<usize>) {
        if text.chars().all(|c| c == UNKNOWN) {
            self.gap(
                "shell.unknown_script",
                "Runs a sed script that is only known when it runs.",
                span.clone(),
            );
            return;
        }
        let mut script = Script { chars: text.chars().collect(), at: 0 };
        while let Some(letter) = script.command() {
            match letter {
                's' => self.substitute(&mut script, span),
                'y' => {
                    script.delimited_pair();
                }
                'w' | 'W' => self.path_effect(Operation::Write, &script.line(), "sed.writes", span),
                'r' | 'R' => self.path_effect(Operation::Read, &script.line(), "sed.reads", span),
                'e' => {
                    let line = script.line();
                    match line.is_empty() {
                        true => self.gap("sed.runs", "Runs what the text says.", span.clone()),
                        false => {
                            self.run_stream(&Stream::text(line), span.clone(), &Stream::none());
                        }
                    }
                }
                'a' | 'i' | 'c' | ':' | 'b' | 't' | 'T' => {
                    script.line_or(letter);
                }
                _ => {}
            }
        }
    }

    fn substitute(&mut self, script: &mut Script, span: &Range<usize>) {
        script.delimited_pair();
        loop {
            match script.peek() {
                Some('w') => {
                    script.at += 1;
                    let path = script.line();
                    self.path_effect(Operation::Write, &path, "sed.writes", span);
                    return;
                }
                Some('e') => {
                    script.at += 1;
                    self.gap("sed.runs", "Runs what the text says.", span.clone());
                }
                Some(c) if c.is_ascii_alphanumeric() => script.at += 1,
                _ => return,
            }
        }
    }
}

impl Script {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// The next command's letter, behind its address.
    fn command(&mut self) -> Option<char> {
        loop {
            let c = self.peek()?;
            self.at += 1;
            match c {
                '/' => self.delimited('/'),
                '\\' => {
                    let stop = self.peek()?;
                    self.at += 1;
                    self.delimited(stop);
                }
                '#' => {
                    self.line();
                }
                c if c.is_ascii_digit() || c.is_whitespace() || "$,~+;{}!IM".contains(c) => {}
                c => return Some(c),
            }
        }
    }

    fn delimited(&mut self, stop: char) {
        let mut class = false;
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '\\' => self.at += 1,
                '[' => class = true,
                ']' => class = false,
                c if c == stop && !class => return,
                c if c == stop && !self.chars.get(self.at..).unwrap_or_default().contains(&']') => return,
                _ => {}
            }
        }
    }

    fn delimited_pair(&mut self) {
        let Some(stop) = self.peek() else { return };
        self.at += 1;
        self.delimited(stop);
        self.delimited(stop);
    }

    fn line(&mut self) -> String {
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let line: String = rest.iter().take_while(|c| **c != '\n').collect();
        self.at += line.chars().count();
        line.trim().to_owned()
    }

    /// Labels end at `;` as well, texts do not.
    fn line_or(&mut self, letter: char) {
        let text = "aic".contains(letter);
        while let Some(c) = self.peek() {
            self.at += 1;
            if c == '\n' || (!text && (c == ';' || c == '}')) {
                return;
            }
        }
    }
}
