//! Files of a project that tools run by themselves, where the script has just written them.

use std::ops::Range;

use serde_json::Value;

use super::invoke::Command;
use super::state::State;
use super::stream::Stream;
use crate::code::{self, Language};

const UNSEEN: &str = "shell.unknown_script";
const UNSEEN_WHY: &str = "Runs what a file holds that is only known when it runs.";

impl State {
    /// Walks what of these files runs, as far as this script wrote them.
    pub fn written_before(&mut self, command: &Command<'_>) {
        let span = command.span;
        let makefile = command.program.runs.contains("Makefile");
        if let Some(file) = command.args.value("-f --file").filter(|_| makefile) {
            let stream = match file {
                "-" | "/dev/stdin" => Some(command.stdin.clone()),
                file => self.files.get(&self.canonical(file)).cloned(),
            };
            match stream.filter(|stream| !stream.absent) {
                Some(stream) if stream.is_known() => self.recipes(&stream.text, span),
                Some(_) => self.gap(UNSEEN, UNSEEN_WHY, span.clone()),
                None => {}
            }
        }
        for file in command.program.runs.split_whitespace() {
            let Some(stream) = self.files.get(&self.canonical(file)).cloned() else { continue };
            if !stream.is_known() {
                self.gap(UNSEEN, UNSEEN_WHY, span.clone());
                continue;
            }
            match file {
                "package.json" => self.package_scripts(&stream.text, span),
                "Gemfile" | "Rakefile" => self.own_code(Language::Ruby, &stream.text, span),
                "setup.py" | "conftest.py" => self.own_code(Language::Python, &stream.text, span),
                _ => self.recipes(&stream.text, span),
            }
        }
    }

    fn own_code(&mut self, language: Language, text: &str, span: &Range<usize>) {
        let found = code::source(language, text, &self.inner());
        self.adopt(found, span);
    }

    /// Any of the scripts: hooks of an installation run without being named.
    fn package_scripts(&mut self, text: &str, span: &Range<usize>) {
        let package: Value = serde_json::from_str(text).unwrap_or_default();
        let scripts = package.get("scripts").and_then(Value::as_object);
        for script in scripts.into_iter().flat_map(|scripts| scripts.values()).filter_map(Value::as_str) {
            self.run_stream(&Stream::text(script), span.clone(), &Stream::none());
        }
    }

    /// Lines of a makefile that begin with a tab are commands.
    fn recipes(&mut self, text: &str, span: &Range<usize>) {
        for line in text.lines().filter_map(|line| line.strip_prefix('\t')) {
            let line = line.trim_start_matches(['@', '-', '+', ' ']).replace("$$", "$");
            self.run_stream(&Stream::text(line), span.clone(), &Stream::none());
        }
    }
}
