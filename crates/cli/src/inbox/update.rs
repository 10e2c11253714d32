//! From a key or news to a new state and what is to be done. Pure.

use quarterdeck_client::api::approvals::v1::{Approval, ApprovalState, GetApprovalResponse, RiskLevel, Vote};
use quarterdeck_risk::preview::visible;

use super::state::{COMMENT_MAX, Effect, Event, ITEMS_MAX, Key, Look, Mode, State, Target, Typing};
use crate::approval;

/// Most approvals of one decision, as the contract says.
const TARGETS_MAX: usize = 100;

/// Takes an event in.
pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    let effects = match event {
        Event::Key(Key::Interrupt) => vec![Effect::Quit],
        Event::Key(key) => {
            state.touched = true;
            pressed(state, key)
        }
        Event::News(approval) => {
            news(state, *approval);
            Vec::new()
        }
        Event::Looked(answer) => {
            state.busy = state.busy.saturating_sub(1);
            looked(state, *answer);
            Vec::new()
        }
        Event::Decided(approvals) => {
            state.busy = state.busy.saturating_sub(1);
            state.status = said(&approvals);
            approvals.into_iter().for_each(|approval| news(state, approval));
            Vec::new()
        }
        Event::Revealed(id, action) => {
            state.busy = state.busy.saturating_sub(1);
            if let Some(look) = state.looks.get_mut(&id) {
                look.revealed = Some(*action);
                // There is more to read now.
                look.read = false;
            }
            state.status = "without masks, at the end; this is on record".to_owned();
            Vec::new()
        }
        Event::Edited(id, new) => {
            state.busy = state.busy.saturating_sub(1);
            state.status = visible(&format!("{} took the place of {id}; others decide on it", new.id));
            forget(state, &id);
            news(state, *new);
            Vec::new()
        }
        Event::Failed(words) => {
            state.busy = state.busy.saturating_sub(1);
            state.status = visible(&words);
            Vec::new()
        }
        Event::Tick(now) => {
            state.now = now;
            Vec::new()
        }
        Event::Resized(width, height) => {
            state.size = (width, height);
            Vec::new()
        }
    };
    settle(state);
    state.busy += effects.iter().filter(|effect| **effect != Effect::Quit).count();
    effects
}

/// An approval as it is now: what is not pending is not in the inbox.
fn news(state: &mut State, approval: Approval) {
    let known = state.items.get(&approval.id);
    if known.is_some_and(|known| known.revision > approval.revision) {
        return;
    }
    if approval.state() != ApprovalState::Pending {
        forget(state, &approval.id.clone());
        return;
    }
    // A snapshot that comes again may hold what was decided since; time clears it up.
    if known.is_none() && state.items.len() >= ITEMS_MAX {
        state.status = format!("there are more than {ITEMS_MAX}; the others come as these are decided");
        return;
    }
    state.items.insert(approval.id.clone(), approval);
}

fn forget(state: &mut State, id: &str) {
    state.items.remove(id);
    state.picked.remove(id);
    let gone = match &state.mode {
        Mode::Look(shown) | Mode::Type { what: Typing::Reveal(shown), .. } => shown == id,
        Mode::Confirm(targets) | Mode::Type { what: Typing::Deny(targets), .. } => {
            targets.iter().any(|target| target.id == id)
        }
        Mode::List | Mode::Filter | Mode::Help => false,
    };
    if gone {
        state.mode = Mode::List;
        if state.busy == 0 {
            state.status = visible(&format!("{id} is not pending any more"));
        }
    }
    state.looks.remove(id);
}

fn looked(state: &mut State, answer: GetApprovalResponse) {
    let Some(approval) = answer.approval.clone() else { return };
    let id = approval.id.clone();
    news(state, approval);
    if state.items.contains_key(&id) {
        let look = Look { answer, above: 0, read: false, revealed: None };
        state.looks.insert(id, look);
    }
}

/// What holds after every event: the cursor is on something, and what was shown to its
/// end is known to have been.
fn settle(state: &mut State) {
    let listed: Vec<String> = state.listed().into_iter().map(|item| item.id.clone()).collect();
    let there = state.cursor.as_ref().is_some_and(|id| listed.contains(id));
    if !there || !state.touched {
        state.cursor = listed.first().cloned();
    }
    let Mode::Look(id) = state.mode.clone() else { return };
    let (lines, rows) = (state.lines(&id).len(), state.rows());
    if let Some(look) = state.looks.get_mut(&id) {
        look.above = look.above.min(lines.saturating_sub(rows));
        look.read |= look.above + rows >= lines;
    }
}

fn said(approvals: &[Approval]) -> String {
    let words = approvals.iter().map(|it| format!("{} is {}", it.id, approval::state(it)));
    visible(&words.collect::<Vec<_>>().join(", "))
}

fn pressed(state: &mut State, key: Key) -> Vec<Effect> {
    match state.mode.clone() {
        Mode::List => in_list(state, key),
        Mode::Look(id) => in_look(state, &id, key),
        Mode::Type { what, text } => typed(state, what, text, key),
        Mode::Confirm(targets) => {
            state.mode = Mode::List;
            match key {
                Key::Char('y' | 'Y') => {
                    return vec![Effect::Decide { targets, vote: Vote::Approve, comment: String::new() }];
                }
                _ => state.status = "nothing was decided".to_owned(),
            }
            Vec::new()
        }
        Mode::Filter => {
            state.filter = match key {
                Key::Char('l') => RiskLevel::Low,
                Key::Char('m') => RiskLevel::Medium,
                Key::Char('h') => RiskLevel::High,
                _ => RiskLevel::Unspecified,
            };
            state.mode = Mode::List;
            Vec::new()
        }
        Mode::Help => {
            state.mode = Mode::List;
            Vec::new()
        }
    }
}

fn in_list(state: &mut State, key: Key) -> Vec<Effect> {
    let page = state.rows() as isize;
    match key {
        Key::Up | Key::Char('k') => move_by(state, -1),
        Key::Down | Key::Char('j') => move_by(state, 1),
        Key::PageUp => move_by(state, -page),
        Key::PageDown => move_by(state, page),
        Key::Home | Key::Char('g') => move_by(state, isize::MIN / 2),
        Key::End | Key::Char('G') => move_by(state, isize::MAX / 2),
        Key::Enter | Key::Tab => return look(state),
        Key::Char(' ') => {
            if let Some(id) = state.cursor.clone() {
                if !state.picked.remove(&id) {
                    state.picked.insert(id);
                }
                move_by(state, 1);
            }
        }
        Key::Char('A') => approve_picked(state),
        Key::Char('/') => state.mode = Mode::Filter,
        Key::Char('?') => state.mode = Mode::Help,
        Key::Char('q') => return vec![Effect::Quit],
        Key::Escape => state.picked.clear(),
        Key::Char(letter) => {
            let id = state.cursor.clone();
            return id.map_or_else(Vec::new, |id| on_one(state, &id, letter));
        }
        Key::Backspace | Key::Interrupt => {}
    }
    Vec::new()
}

fn in_look(state: &mut State, id: &str, key: Key) -> Vec<Effect> {
    let page = state.rows();
    let Some(look) = state.looks.get_mut(id) else {
        // Still on its way.
        if matches!(key, Key::Escape | Key::Tab | Key::Enter | Key::Char('q')) {
            state.mode = Mode::List;
        }
        return Vec::new();
    };
    match key {
        Key::Up | Key::Char('k') => look.above = look.above.saturating_sub(1),
        Key::Down | Key::Char('j') => look.above += 1,
        Key::PageUp => look.above = look.above.saturating_sub(page),
        Key::PageDown | Key::Char(' ') => look.above += page,
        Key::Home | Key::Char('g') => look.above = 0,
        // Jumping to the end is not reading.
        Key::End | Key::Char('G') => look.above += page,
        Key::Escape | Key::Tab | Key::Enter | Key::Char('q') => state.mode = Mode::List,
        Key::Char(letter) => return on_one(state, id, letter),
        Key::Backspace | Key::Interrupt => {}
    }
    Vec::new()
}

/// Keys that do something to one approval.
fn on_one(state: &mut State, id: &str, letter: char) -> Vec<Effect> {
    match letter {
        'a' => match state.read(id) {
            Some(target) => state.mode = Mode::Confirm(vec![target]),
            None if state.mode == Mode::List => {
                state.status = "look at it to its end first, then press a".to_owned();
                return look(state);
            }
            None => state.status = "read it to its end first (space)".to_owned(),
        },
        'd' => {
            if let Some(item) = state.items.get(id) {
                let target = Target { id: id.to_owned(), digest: item.digest.to_vec() };
                state.mode = Mode::Type { what: Typing::Deny(vec![target]), text: String::new() };
            }
        }
        'r' if state.looks.contains_key(id) => {
            state.mode = Mode::Type { what: Typing::Reveal(id.to_owned()), text: String::new() };
        }
        'e' if state.looks.contains_key(id) => return edit(state, id),
        'r' | 'e' => {
            state.status = "look at it first".to_owned();
            return look(state);
        }
        _ => {}
    }
    Vec::new()
}

fn edit(state: &mut State, id: &str) -> Vec<Effect> {
    let Some(look) = state.looks.get(id) else { return Vec::new() };
    let Some(approval) = &look.answer.approval else { return Vec::new() };
    let masked = look.answer.preview.as_ref().is_some_and(|preview| preview.masked > 0);
    match (look.revealed.clone().or_else(|| approval.action.clone()), masked && look.revealed.is_none()) {
        (Some(action), false) => {
            let (id, digest) = (id.to_owned(), approval.digest.to_vec());
            vec![Effect::Edit { id, digest, action: Box::new(action) }]
        }
        _ => {
            state.status = "parts are masked and would be lost: reveal it first (r)".to_owned();
            Vec::new()
        }
    }
}

/// Exactly those that were picked, if each was read to its end.
fn approve_picked(state: &mut State) {
    let read: Vec<Target> = state.picked.iter().filter_map(|id| state.read(id)).collect();
    let left = state.picked.len() - read.len();
    if state.picked.is_empty() {
        state.status = "pick some first (space)".to_owned();
    } else if left > 0 {
        state.status = format!("{left} of those picked were not read to their end");
    } else if read.len() > TARGETS_MAX {
        state.status = format!("{TARGETS_MAX} are the most at a time");
    } else {
        state.mode = Mode::Confirm(read);
    }
}

fn typed(state: &mut State, what: Typing, mut text: String, key: Key) -> Vec<Effect> {
    match key {
        Key::Escape => {
            state.mode = Mode::List;
            state.status = "nothing was done".to_owned();
            return Vec::new();
        }
        Key::Enter if text.trim().is_empty() => state.status = "say why".to_owned(),
        Key::Enter => {
            let text = text.trim().to_owned();
            return match what {
                Typing::Deny(targets) => {
                    state.mode = Mode::List;
                    vec![Effect::Decide { targets, vote: Vote::Deny, comment: text }]
                }
                Typing::Reveal(id) => {
                    state.mode = Mode::Look(id.clone());
                    vec![Effect::Reveal { id, reason: text }]
                }
            };
        }
        Key::Backspace => {
            text.pop();
        }
        Key::Char(letter) if text.chars().count() < COMMENT_MAX && !letter.is_control() => text.push(letter),
        _ => {}
    }
    state.mode = Mode::Type { what, text };
    Vec::new()
}

fn move_by(state: &mut State, by: isize) {
    let listed: Vec<String> = state.listed().into_iter().map(|item| item.id.clone()).collect();
    let at = state.cursor.as_ref().and_then(|id| listed.iter().position(|other| other == id)).unwrap_or(0);
    let to = at.saturating_add_signed(by).min(listed.len().saturating_sub(1));
    state.cursor = listed.get(to).cloned();
}

/// Shows the one under the cursor; fetched anew where it changed since.
fn look(state: &mut State) -> Vec<Effect> {
    let Some(id) = state.cursor.clone() else { return Vec::new() };
    state.mode = Mode::Look(id.clone());
    let item = state.items.get(&id);
    let shown = state.looks.get(&id).and_then(|look| look.answer.approval.as_ref());
    match shown.is_some_and(|shown| item.is_some_and(|item| item.revision == shown.revision)) {
        true => Vec::new(),
        false => vec![Effect::Look(id)],
    }
}
