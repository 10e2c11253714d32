use std::time::Duration;

use quarterdeck_client::api::approvals::v1::{
    Action, Approval, ApprovalState, GetApprovalResponse, RiskLevel, Vote,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw::draw;
use super::state::{Effect, Event, Key, Mode, State, Target};
use super::update::update;
use crate::approval::tests::{now, pending};

/// An inbox of three, on a terminal of 80x24; the preview of the high one is long.
fn inbox() -> State {
    let mut state = State::new(now(), (80, 24));
    for (id, level) in [("low", RiskLevel::Low), ("high", RiskLevel::High), ("medium", RiskLevel::Medium)] {
        update(&mut state, Event::News(Box::new(pending(id, level, 1).0)));
    }
    state
}

fn answer(id: &str, level: RiskLevel, lines: usize) -> Event {
    let (approval, preview) = pending(id, level, lines);
    Event::Looked(Box::new(GetApprovalResponse { approval: Some(approval), preview: Some(preview) }))
}

/// Presses keys and says what is to be done; `<` is escape, `!` enter.
fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let key = |letter| match letter {
        '<' => Key::Escape,
        '!' => Key::Enter,
        letter => Key::Char(letter),
    };
    keys.chars().flat_map(|letter| update(state, Event::Key(key(letter)))).collect()
}

fn screen(state: &State) -> String {
    let mut terminal = Terminal::new(TestBackend::new(state.size.0, state.size.1)).unwrap();
    terminal.draw(|frame| draw(state, frame, true)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let rows = buffer.content().chunks(usize::from(state.size.0));
    let rows = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n")
}

fn target(id: &str) -> Target {
    Target { id: format!("apr_{id}"), digest: vec![7; 32] }
}

fn yes(ids: &[&str]) -> Effect {
    let targets = ids.iter().map(|id| target(id)).collect();
    Effect::Decide { targets, vote: Vote::Approve, comment: String::new() }
}

#[test]
fn what_weighs_most_comes_first_with_its_time_left() {
    let text = screen(&inbox());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "inbox  high 1  medium 1  low 1");
    assert_eq!(lines[2], ">   high      1h  1/2   builder<U+00  rm -rf high");
    assert!(lines[3].contains("medium") && lines[4].contains("low"), "{text}");
    assert!(lines[22].starts_with("enter look  a yes"), "{text}");
}

#[test]
fn nothing_is_approved_before_it_was_read_to_its_end() {
    let mut state = inbox();
    assert_eq!(press(&mut state, "a"), [Effect::Look("apr_high".into())]);
    assert_eq!(press(&mut state, "a"), []);
    update(&mut state, answer("high", RiskLevel::High, 100));
    assert!(screen(&state).contains("MORE LINES BELOW"), "{}", screen(&state));
    assert_eq!(press(&mut state, "ay"), []);
    assert_eq!(state.mode, Mode::Look("apr_high".into()));
    let mut pages = 0;
    while !state.looks["apr_high"].read {
        press(&mut state, " ");
        pages += 1;
        assert!(pages < 20);
    }
    assert!(pages > 3 && !screen(&state).contains("MORE LINES"), "{}", screen(&state));
    assert_eq!(press(&mut state, "a"), []);
    let text = screen(&state);
    assert!(text.contains("Say yes to exactly this one?") && text.contains("070707070707  high"), "{text}");
    assert_eq!(press(&mut state, "y"), [yes(&["high"])]);
}

#[test]
fn any_other_key_than_y_decides_nothing() {
    for key in ["n", "<", "!", "a", "q", " "] {
        let mut state = inbox();
        press(&mut state, "!");
        update(&mut state, answer("high", RiskLevel::High, 1));
        press(&mut state, "a");
        assert_eq!(press(&mut state, key), [], "{key}");
        assert_eq!(state.status, "nothing was decided");
    }
}

#[test]
fn a_yes_is_for_the_action_that_was_shown() {
    let mut state = inbox();
    press(&mut state, "!");
    update(&mut state, answer("high", RiskLevel::High, 1));
    press(&mut state, "<");
    let (mut other, _) = pending("high", RiskLevel::High, 1);
    other.digest = vec![8; 32].into();
    other.revision = 2;
    update(&mut state, Event::News(Box::new(other)));
    // It was shown, but with another digest.
    assert_eq!(press(&mut state, "a"), [Effect::Look("apr_high".into())]);
    assert_eq!(press(&mut state, "y"), []);
}

#[test]
fn exactly_those_picked_are_approved_and_only_if_each_was_read() {
    let mut state = inbox();
    assert_eq!(press(&mut state, "A"), []);
    assert_eq!(state.status, "pick some first (space)");
    press(&mut state, "  A");
    assert_eq!(state.status, "2 of those picked were not read to their end");
    for (keys, id, level) in [("g!", "high", RiskLevel::High), ("gj!", "medium", RiskLevel::Medium)] {
        press(&mut state, keys);
        update(&mut state, answer(id, level, 1));
        press(&mut state, "<");
    }
    press(&mut state, "A");
    let text = screen(&state);
    assert!(text.contains("Say yes to exactly these 2?") && !text.contains("rm -rf low"), "{text}");
    assert_eq!(press(&mut state, "y"), [yes(&["high", "medium"])]);
}

#[test]
fn a_no_needs_a_reason() {
    let mut state = inbox();
    assert_eq!(press(&mut state, "d!"), []);
    assert_eq!(state.status, "say why");
    assert_eq!(press(&mut state, "no\u{8}q"), []);
    update(&mut state, Event::Key(Key::Backspace));
    assert!(screen(&state).contains("say no, why? no_"), "{}", screen(&state));
    let effects = press(&mut state, "!");
    let comment = "no".to_owned();
    assert_eq!(effects, [Effect::Decide { targets: vec![target("high")], vote: Vote::Deny, comment }]);
    assert_eq!(press(&mut state, "d<"), []);
}

#[test]
fn masks_are_lifted_for_a_reason_and_edited_only_then() {
    let mut state = inbox();
    press(&mut state, "!");
    let (approval, mut preview) = pending("high", RiskLevel::High, 1);
    preview.masked = 1;
    let digest = approval.digest.to_vec();
    let answer = GetApprovalResponse { approval: Some(approval), preview: Some(preview) };
    update(&mut state, Event::Looked(Box::new(answer)));
    assert_eq!(press(&mut state, "e"), []);
    assert!(state.status.contains("reveal it first"));
    let effects = press(&mut state, "rwhy!");
    assert_eq!(effects, [Effect::Reveal { id: "apr_high".into(), reason: "why".into() }]);
    update(&mut state, Event::Revealed("apr_high".into(), Box::default()));
    assert!(screen(&state).contains("Without masks"), "{}", screen(&state));
    let action = Box::new(Action::default());
    assert_eq!(press(&mut state, "e"), [Effect::Edit { id: "apr_high".into(), digest, action }]);
}

#[test]
fn what_ends_elsewhere_leaves_the_inbox_and_any_question_about_it() {
    let mut state = inbox();
    press(&mut state, " g!");
    update(&mut state, answer("high", RiskLevel::High, 1));
    press(&mut state, "a");
    let (mut ended, _) = pending("high", RiskLevel::High, 1);
    ended.state = ApprovalState::Denied.into();
    ended.revision = 2;
    update(&mut state, Event::News(Box::new(ended)));
    assert_eq!((state.mode.clone(), state.items.len(), state.picked.len()), (Mode::List, 2, 0));
    assert_eq!(press(&mut state, "y"), []);
    // Old news change nothing.
    update(&mut state, Event::News(Box::new(pending("low", RiskLevel::High, 1).0)));
    let newer = Approval { revision: 5, ..pending("low", RiskLevel::Low, 1).0 };
    update(&mut state, Event::News(Box::new(newer)));
    update(&mut state, Event::News(Box::new(pending("low", RiskLevel::High, 1).0)));
    assert_eq!(state.counts(), [1, 1, 0]);
}

#[test]
fn the_list_is_filtered_by_level() {
    let mut state = inbox();
    press(&mut state, "/m");
    let text = screen(&state);
    assert!(text.contains("shown: medium and above") && !text.contains("rm -rf low"), "{text}");
    press(&mut state, "/h");
    assert_eq!(state.listed().len(), 1);
    press(&mut state, "/<");
    assert_eq!(state.listed().len(), 3);
}

#[test]
fn many_are_walked_through() {
    let mut state = State::new(now(), (80, 24));
    for number in 0..100 {
        update(&mut state, Event::News(Box::new(pending(&format!("{number:03}"), RiskLevel::Low, 1).0)));
    }
    press(&mut state, "jjjk");
    assert_eq!(state.cursor.as_deref(), Some("apr_002"));
    update(&mut state, Event::Key(Key::PageDown));
    assert_eq!(state.cursor.as_deref(), Some("apr_022"));
    assert!(
        screen(&state).contains(">   low       1h  1/2   builder<U+00  rm -rf 022"),
        "{}",
        screen(&state)
    );
    press(&mut state, "G");
    assert!(screen(&state).contains("rm -rf 099"), "{}", screen(&state));
    press(&mut state, "g");
    assert_eq!(state.cursor.as_deref(), Some("apr_000"));
}

#[test]
fn time_goes_on_and_failures_are_said() {
    let mut state = inbox();
    update(&mut state, Event::Tick(now() + Duration::from_secs(3_000)));
    assert!(screen(&state).contains("10m"), "{}", screen(&state));
    update(&mut state, Event::Failed("no\u{1b}[2J".into()));
    assert!(screen(&state).contains("no<U+001B>[2J"), "{}", screen(&state));
    assert_eq!(press(&mut state, "q"), [Effect::Quit]);
    assert_eq!(update(&mut state, Event::Key(Key::Interrupt)), [Effect::Quit]);
}

#[test]
fn every_mode_is_drawn_on_every_size() {
    for size in [(80, 24), (20, 5), (1, 1), (200, 60)] {
        for keys in ["", "?", "/", "!", "d", " "] {
            let mut state = inbox();
            update(&mut state, Event::Resized(size.0, size.1));
            press(&mut state, keys);
            update(&mut state, answer("high", RiskLevel::High, 40));
            screen(&state);
        }
    }
}
