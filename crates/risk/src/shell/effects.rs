//! What operations do to paths of which only a part may be known.

use std::ops::Range;

use super::state::State;
use super::stream::{Origin, UNKNOWN, guessed};
use crate::model::{Certainty, EffectKind, Scope, Undo};
use crate::path::{self, Operation};
use crate::work;

impl State {
    /// The path as the path analyser writes it.
    pub fn canonical(&self, path: &str) -> String {
        match path.starts_with("/dev/") {
            true => path.to_owned(),
            false => path::locate(path, &self.context).path,
        }
    }

    /// The path behind a link that the script made.
    fn through_links(&self, path: &str) -> Option<String> {
        if self.links.is_empty() {
            return None;
        }
        let place = self.canonical(&guessed(path));
        self.links.iter().find_map(|(link, target)| {
            let rest = place.strip_prefix(link.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{target}{rest}"))
        })
    }

    /// Reads a directory with all that lies in it.
    pub fn read_tree(&mut self, path: &str, rule: &str, span: &Range<usize>) {
        self.path_effect(Operation::Read, path, rule, span);
        if self.adrift(path) {
            return;
        }
        let place = path::locate(&guessed(path), &self.context).path;
        let place = place.trim_end_matches("/*");
        let above = place.is_empty() || place == "/" || self.context.home.starts_with(&format!("{place}/"));
        if above || place == self.context.home || place == "/root" {
            let why = "Reads whole home directories, with the keys and logins in them.";
            let rule = "path.secret.home";
            self.effect(EffectKind::Credential, path, Scope::Home, Undo::Nothing, rule, why, span.clone());
        }
    }

    /// Whether nothing is known of where the path begins.
    fn adrift(&self, path: &str) -> bool {
        path.starts_with(UNKNOWN) || (self.lost && !path.starts_with(['/', '~']))
    }

    pub fn path_effect(&mut self, operation: Operation, path: &str, rule: &str, span: &Range<usize>) {
        let descriptor = path.starts_with("/dev/fd/");
        if path.is_empty() || path == "-" || descriptor || !work::spend(2 * work::STEP) {
            return;
        }
        if self.adrift(path) {
            self.adrift_effect(operation, path, rule, span);
            return;
        }
        if let Some(behind) = self.through_links(path) {
            let found = path::operation(operation, &behind, &self.context);
            self.adopt(found, span);
        }
        let mut found = path::operation(operation, &guessed(path), &self.context);
        if path.contains(UNKNOWN) {
            found.effects.iter_mut().for_each(|effect| effect.certainty = Certainty::Possible);
        }
        self.adopt(found, span);
    }

    fn adrift_effect(&mut self, operation: Operation, path: &str, rule: &str, span: &Range<usize>) {
        let (kind, why) = match operation {
            Operation::Read => return,
            Operation::Write | Operation::Append => {
                (EffectKind::Write, "Writes to a place that is only known when it runs.")
            }
            Operation::Delete => (EffectKind::Delete, "Deletes something that is only known when it runs."),
        };
        self.effect(kind, path, Scope::Unknown, Undo::Hard, rule, why, span.clone());
    }

    /// A new directory or an empty file: nothing is lost, but the place counts.
    pub fn create(&mut self, path: &str, rule: &str, span: &Range<usize>) {
        if !self.adrift(path) {
            self.path_effect(Operation::Append, path, rule, span);
        }
    }

    /// Modes, owners and access lists of a path.
    pub fn mode_effect(&mut self, path: &str, mode: Mode, span: &Range<usize>) {
        let adrift = self.adrift(path);
        let place = path::locate(&guessed(path), &self.context);
        let scope = if adrift { Scope::Unknown } else { place.scope };
        let target = if adrift { path.to_owned() } else { place.path.clone() };
        let ours = matches!(scope, Scope::Project | Scope::Temp);
        if mode.gains_rights {
            let why = "Lets whoever runs the file act as its owner.";
            self.effect(EffectKind::Privilege, &target, scope, Undo::Hard, "chmod.setuid", why, span.clone());
        }
        if mode.opens && place.secret && !adrift {
            let why = "Opens a place of secrets to others.";
            self.effect(
                EffectKind::Credential,
                &target,
                scope,
                Undo::Hard,
                "chmod.secret",
                why,
                span.clone(),
            );
        }
        if mode.runs && self.files.get(&place.path).is_some_and(|stream| stream.origin == Origin::Remote) {
            let why = "Makes a file runnable that came over the network.";
            self.effect(
                EffectKind::Exec,
                &target,
                Scope::Remote,
                Undo::Hard,
                "chmod.download",
                why,
                span.clone(),
            );
        }
        let undo = if mode.everybody || !ours || mode.owner { Undo::Hard } else { Undo::Easy };
        let why = if mode.everybody { "Lets everybody write there." } else { "Changes who may use it." };
        self.effect(EffectKind::Chmod, &target, scope, undo, "chmod.mode", why, span.clone());
    }
}

/// What a change of mode means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Others than the owner may write.
    pub everybody: bool,
    /// Others may read.
    pub opens: bool,
    pub gains_rights: bool,
    pub runs: bool,
    pub owner: bool,
}

impl Mode {
    /// Of `755`, `u+s`, `a=rw,o-x`; a mode that is not known is taken for the worst.
    pub fn parse(text: &str) -> Self {
        if let Ok(bits) = u32::from_str_radix(text, 8) {
            return Self {
                everybody: bits & 0o002 != 0,
                opens: bits & 0o044 != 0,
                gains_rights: bits & 0o6000 != 0,
                runs: bits & 0o111 != 0,
                owner: false,
            };
        }
        let mut mode = Self { everybody: text.contains(UNKNOWN), ..Self::default() };
        for clause in text.split(',') {
            let Some(at) = clause.find(['+', '=', '-']) else { continue };
            let (who, what) = clause.split_at(at);
            if what.starts_with('-') {
                continue;
            }
            let all = who.contains(['a', 'o']);
            mode.everybody |= all && what.contains('w');
            mode.opens |= (all || who.contains('g') || who.is_empty()) && what.contains('r');
            mode.gains_rights |= what.contains('s');
            mode.runs |= what.contains(['x', 'X']);
        }
        mode
    }
}
