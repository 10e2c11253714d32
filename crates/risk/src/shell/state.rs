//! What the evaluator knows while it walks: variables, functions, files it saw written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use crate::model::{
    Certainty, Context, DEPTH_MAX, Effect, EffectKind, FOUND_MAX, Found, Scope, TEXT_MAX, Undo, Unresolved,
};

use super::eval::Run;
use super::programs::Table;
use super::stream::{Origin, SECRET, Stream, UNKNOWN, blank, secret};
use super::vars::Vars;
use crate::tree::{self, Grammar};
use crate::work;

/// Statements and commands of one script, loops counted as often as they are walked.
pub const STEPS_MAX: usize = 3_000;

/// Bytes that the files and functions of a script hold together.
const HELD_MAX: usize = 1024 * 1024;

pub struct State {
    pub context: Context,
    /// A `cd` led somewhere unknown: relative paths lead nowhere known.
    pub lost: bool,
    pub vars: Vars,
    pub functions: BTreeMap<String, Rc<str>>,
    /// Bodies of functions that were defined anew.
    replaced: Vec<Rc<str>>,
    pub aliases: BTreeMap<String, String>,
    /// What this script wrote, by canonical path.
    pub files: BTreeMap<String, Stream>,
    /// Links that this script made, and where they lead, as canonical paths.
    pub links: BTreeMap<String, String>,
    /// Where a program of the project's own build was told to put what it builds.
    pub built: Vec<String>,
    /// Directories that this script cloned from elsewhere.
    pub foreign: Vec<String>,
    /// The directory before a `cd` that may have failed, with the rest run all the same.
    pub before_cd: Option<String>,
    /// What is run when the script ends or is ended.
    traps: Vec<String>,
    /// The script ends where a command of it fails.
    pub strict: bool,
    /// `$1` and on; `None` where nobody says.
    pub positional: Option<Vec<String>>,
    pub calls: Vec<String>,
    pub called: BTreeSet<String>,
    pub found: Found,
    pub steps: usize,
    /// Bytes of [`Self::files`] and [`Self::functions`].
    held: usize,
    pub depth: u8,
    /// Commands that run commands right now.
    pub nested: usize,
    streams: usize,
}

impl State {
    pub fn new(context: &Context) -> Self {
        Self {
            context: context.clone(),
            lost: false,
            vars: Vars::default(),
            functions: BTreeMap::new(),
            replaced: Vec::new(),
            aliases: BTreeMap::new(),
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            built: Vec::new(),
            foreign: Vec::new(),
            before_cd: None,
            traps: Vec::new(),
            strict: false,
            positional: None,
            calls: Vec::new(),
            called: BTreeSet::new(),
            found: Found::default(),
            steps: 0,
            held: 0,
            depth: context.depth,
            nested: 0,
            streams: 0,
        }
    }

    /// Remembers what runs at the end, with the variables as they are then.
    pub fn keep_trap(&mut self, code: &str, span: &Range<usize>) {
        if self.held + code.len() > HELD_MAX {
            self.gap("limit.work", "The script holds more than is looked at.", span.clone());
            return;
        }
        self.held += code.len();
        self.traps.push(code.to_owned());
    }

    /// Walks functions that nobody called (dead code counts) and gives what was found.
    pub fn finish(mut self, span: Range<usize>) -> Found {
        self.positional = None;
        for code in std::mem::take(&mut self.traps) {
            self.run_stream(&Stream::text(code), span.clone(), &Stream::none());
        }
        let idle: Vec<String> =
            self.functions.keys().filter(|name| !self.called.contains(*name)).cloned().collect();
        for name in idle {
            self.call(&name, &[], &Stream::none(), span.clone(), false);
        }
        for body in std::mem::take(&mut self.replaced) {
            self.positional = None;
            self.run_text(&body, Some(span.clone()), &Stream::none());
        }
        self.found
    }

    /// Parses and walks a text; all it does is at `span`, where one is given.
    pub fn run_text(&mut self, text: &str, span: Option<Range<usize>>, stdin: &Stream) -> Stream {
        let place = span.clone().unwrap_or(0..text.len());
        if text.len() > TEXT_MAX {
            self.gap("shell.too_long", "The script is too long to be looked at.", place);
            return Stream::unknown(Origin::Local);
        }
        if self.depth > DEPTH_MAX {
            self.gap("shell.too_deep", "Scripts lie too deep within scripts.", place);
            return Stream::unknown(Origin::Local);
        }
        let Some(tree) = tree::parse(Grammar::Bash, text) else {
            self.gap("limit.work", "The script takes more looking at than is done.", place);
            return Stream::unknown(Origin::Local);
        };
        self.depth += 1;
        let out = Run::new(self, text, tree.root_node(), span).program(stdin);
        self.depth -= 1;
        out
    }

    /// A script that a stream brings, walked as far as it is known.
    pub fn run_stream(&mut self, script: &Stream, span: Range<usize>, stdin: &Stream) -> Stream {
        if script.absent {
            return Stream::none();
        }
        if script.origin == Origin::Remote {
            let why = "Runs code that comes over the network and that nobody reviewed.";
            self.effect(
                EffectKind::Exec,
                "network",
                Scope::Remote,
                Undo::Never,
                "shell.remote_code",
                why,
                span,
            );
            return Stream::unknown(Origin::Remote);
        }
        if !script.is_known() {
            self.gap("shell.unknown_script", "Runs text that is only known when it runs.", span.clone());
        }
        if blank(&script.text) {
            return Stream::unknown(Origin::Local);
        }
        self.run_text(&script.text, Some(span), stdin)
    }

    /// Calls a function of the script. `given`: the call's words are its parameters.
    pub fn call(
        &mut self,
        name: &str,
        words: &[String],
        stdin: &Stream,
        span: Range<usize>,
        given: bool,
    ) -> Stream {
        if self.calls.iter().any(|call| call == name) {
            let why = "A function that calls itself may use up the machine.";
            self.effect(EffectKind::Control, name, Scope::System, Undo::Hard, "shell.recursion", why, span);
            return Stream::unknown(Origin::Local);
        }
        let Some(body) = self.functions.get(name).cloned() else { return Stream::none() };
        self.called.insert(name.to_owned());
        self.calls.push(name.to_owned());
        let before = self.positional.take();
        self.positional = given.then(|| words.to_vec());
        // A call is no script within a script: it does not count against the depth.
        let depth = self.depth;
        self.depth = depth.saturating_sub(u8::from(self.calls.len() <= 20));
        let out = self.run_text(&body, Some(span), stdin);
        self.depth = depth;
        self.positional = before;
        self.calls.pop();
        out
    }

    /// Counts a command; `false` when there were too many.
    pub fn step(&mut self, span: &Range<usize>) -> bool {
        self.steps += 1;
        if self.steps == STEPS_MAX + 1 {
            self.gap("shell.too_much", "The script does more than is looked at.", span.clone());
        }
        work::spend(work::STEP) && self.steps <= STEPS_MAX
    }

    /// Whether nothing more is looked at.
    pub fn spent(&self) -> bool {
        self.steps > STEPS_MAX || work::spent()
    }

    /// A name under which a stream can be opened, as process substitution gives one.
    pub fn descriptor(&mut self, stream: Stream) -> String {
        self.streams += 1;
        let path = format!("/dev/fd/{}", 62 + self.streams);
        self.keep_file(path.clone(), stream);
        path
    }

    /// Remembers what a file holds; beyond [`HELD_MAX`] it is not known.
    pub fn keep_file(&mut self, path: String, stream: Stream) {
        let stream = match self.held + stream.text.len() > HELD_MAX {
            true => stream.blurred(),
            false => stream,
        };
        self.held += stream.text.len();
        self.files.insert(path, stream);
    }

    /// Remembers a function; what it replaces may have been called all the same, and what is
    /// no more kept is asked.
    pub fn keep_function(&mut self, name: String, body: &str, span: &Range<usize>) {
        if self.held + body.len() > HELD_MAX {
            self.gap("limit.work", "The script holds more than is looked at.", span.clone());
            return;
        }
        self.held += body.len();
        if let Some(before) = self.functions.insert(name, body.into()) {
            self.replaced.push(before);
        }
    }

    pub fn gap(&mut self, rule: &str, why: &str, span: Range<usize>) {
        let gap = Unresolved { rule: rule.to_owned(), why: why.to_owned(), span };
        if self.found.unresolved.len() < FOUND_MAX
            && !self.found.unresolved.iter().rev().take(64).any(|known| *known == gap)
        {
            self.found.unresolved.push(gap);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an effect has that many sides")]
    pub fn effect(
        &mut self,
        kind: EffectKind,
        target: &str,
        scope: Scope,
        undo: Undo,
        rule: &str,
        why: &str,
        span: Range<usize>,
    ) {
        let certainty = match target.contains(UNKNOWN) {
            true => Certainty::Possible,
            false => Certainty::Certain,
        };
        let target = target.replace(UNKNOWN, "?").replace(SECRET, "");
        let (rule, why) = (rule.to_owned(), why.to_owned());
        self.push(Effect { kind, target, scope, undo, certainty, rule, why, span });
    }

    pub fn push(&mut self, effect: Effect) {
        if self.found.effects.len() >= FOUND_MAX {
            if !self.spent() {
                self.steps = STEPS_MAX + 1;
                self.gap("shell.too_much", "The script does more than is looked at.", effect.span);
            }
        } else if !self.found.effects.iter().rev().take(64).any(|known| *known == effect) {
            self.found.effects.push(effect);
        }
    }

    /// What another analyser found, at the place of the command that brings it.
    pub fn adopt(&mut self, found: Found, span: &Range<usize>) {
        let found = found.at(span);
        for effect in found.effects {
            self.push(effect);
        }
        for gap in found.unresolved {
            self.gap(&gap.rule, &gap.why, gap.span);
        }
    }

    /// The context for an analyser of something that lies within this script.
    pub fn inner(&self) -> Context {
        Context { depth: self.depth.saturating_add(1), ..self.context.clone() }
    }

    /// Values of a variable: one, or an array's elements.
    pub fn values(&self, name: &str) -> Vec<String> {
        if let Some(values) = self.vars.get(name) {
            return values.to_vec();
        }
        let known = match name {
            "HOME" => self.context.home.clone(),
            "PWD" if !self.lost => self.context.cwd.clone(),
            "USER" | "LOGNAME" => "agent".to_owned(),
            "SHELL" | "BASH" => "/bin/bash".to_owned(),
            "TMPDIR" => "/tmp".to_owned(),
            "IFS" => " \t\n".to_owned(),
            "UID" | "EUID" => "1000".to_owned(),
            "?" => "0".to_owned(),
            "$" | "!" | "PPID" | "BASHPID" | "RANDOM" | "SECONDS" | "LINENO" | "EPOCHSECONDS" => {
                "1".to_owned()
            }
            "@" | "*" => return self.positional.clone().unwrap_or_else(|| vec![UNKNOWN.to_string()]),
            _ if Table::get().secret_variable(name) => secret(),
            _ => self.parameter(name).unwrap_or_else(|| UNKNOWN.to_string()),
        };
        vec![known]
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let given = self.positional.as_ref()?;
        match (name, name.parse::<usize>()) {
            ("#", _) => Some(given.len().to_string()),
            (_, Ok(0)) | (_, Err(_)) => None,
            (_, Ok(at)) => Some(given.get(at - 1).cloned().unwrap_or_default()),
        }
    }
}
