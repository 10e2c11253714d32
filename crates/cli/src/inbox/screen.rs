//! The terminal itself, the server, the editor.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use quarterdeck_client::api::approvals::v1::{
    Action, Approval, DecideApprovalsRequest, DecisionTarget, RevealActionRequest, WatchApprovalsRequest,
};
use quarterdeck_client::{Client, Error, Frame};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::draw::draw;
use super::state::{Effect, Event, Key, State, Target};
use super::update::update;
use crate::failure::Failure;
use crate::{clock, edit, output};

/// Keys that wait to be looked at.
const KEYS_MAX: usize = 64;
/// How often the time that is left is drawn anew, and how long a key may wait.
const TICK: Duration = Duration::from_secs(1);
/// How long the keyboard is asked at a time.
const POLL: Duration = Duration::from_millis(50);

type Calls<'a> = FuturesUnordered<BoxFuture<'a, Event>>;

/// Follows a project's approvals until the person leaves.
///
/// # Errors
/// The terminal cannot be had, or the server stays away.
pub async fn run(client: &Client, project: &str) -> Result<(), Failure> {
    let mut terminal = ratatui::try_init()?;
    let ended = Box::pin(live(&mut terminal, client, project)).await;
    ratatui::try_restore()?;
    ended
}

async fn live(terminal: &mut DefaultTerminal, client: &Client, project: &str) -> Result<(), Failure> {
    let size = terminal.size()?;
    let mut state = State::new(clock::now(), (size.width, size.height));
    let request = WatchApprovalsRequest { project: project.to_owned(), ..Default::default() };
    let mut watch = client.watch_approvals(request);
    let mut calls: Calls<'_> = FuturesUnordered::new();
    let mut keyboard = Keyboard::open();
    let mut tick = tokio::time::interval(TICK);
    let colour = output::colour_of_data();
    loop {
        terminal.draw(|frame| draw(&state, frame, colour))?;
        let event = tokio::select! {
            frame = watch.next_frame() => news(frame)?,
            Some(event) = calls.next(), if !calls.is_empty() => event,
            event = keyboard.next() => event,
            _ = tick.tick() => Event::Tick(clock::now()),
        };
        for effect in update(&mut state, event) {
            match effect {
                Effect::Quit => return Ok(()),
                Effect::Edit { id, digest, action } => {
                    // The editor has the terminal and the keyboard for itself.
                    keyboard.close().await;
                    let edited = edited(terminal, &action);
                    keyboard = Keyboard::open();
                    calls.push(sent(client, id, digest, edited));
                }
                Effect::Look(id) => calls.push(Box::pin(looked(client, id))),
                Effect::Decide { targets, vote, comment } => {
                    let targets = targets.into_iter().map(target).collect();
                    let request =
                        DecideApprovalsRequest { targets, vote: vote.into(), comment, ..Default::default() };
                    calls.push(Box::pin(async move {
                        client.decide_approvals(request).await.map_or_else(failed, Event::Decided)
                    }));
                }
                Effect::Reveal { id, reason } => calls.push(Box::pin(revealed(client, id, reason))),
            }
        }
    }
}

fn news(frame: Option<Result<Frame<Approval>, Error>>) -> Result<Event, Failure> {
    match frame {
        Some(frame) => Ok(Event::News(Box::new(frame?.kind))),
        None => Ok(Event::Failed("the server sends no news any more".to_owned())),
    }
}

fn target(target: Target) -> DecisionTarget {
    DecisionTarget { approval_id: target.id, digest: target.digest.into() }
}

fn failed(error: Error) -> Event {
    let failure = Failure::from(error);
    let fix = failure.fix.first().map(|fix| format!("; {fix}")).unwrap_or_default();
    Event::Failed(format!("{}{fix}", failure.what))
}

async fn looked(client: &Client, id: String) -> Event {
    client.get_approval(id).await.map_or_else(failed, |answer| Event::Looked(Box::new(answer)))
}

async fn revealed(client: &Client, id: String, reason: String) -> Event {
    let request = RevealActionRequest { approval_id: id.clone(), reason };
    let answer = client.reveal_action(request).await;
    answer.map_or_else(failed, |answer| Event::Revealed(id, Box::new(answer.action.unwrap_or_default())))
}

/// Gives the terminal away and takes it back.
fn edited(terminal: &mut DefaultTerminal, action: &Action) -> Result<Action, Failure> {
    ratatui::try_restore()?;
    let edited = edit::in_editor(action);
    *terminal = ratatui::try_init()?;
    terminal.clear()?;
    edited
}

fn sent<'a>(
    client: &'a Client,
    id: String,
    digest: Vec<u8>,
    action: Result<Action, Failure>,
) -> BoxFuture<'a, Event> {
    Box::pin(async move {
        let action = match action {
            Ok(action) => action,
            Err(failure) => return Event::Failed(failure.what),
        };
        let replaced = Approval { id: id.clone(), digest: digest.into(), ..Default::default() };
        let request = edit::request(&replaced, action, "", "");
        let new = client.edit_approval(request).await;
        new.map_or_else(failed, |new| Event::Edited(id, Box::new(new)))
    })
}

/// Reads keys on a thread of its own: the terminal has no other way.
struct Keyboard {
    keys: mpsc::Receiver<Event>,
    thread: tokio::task::JoinHandle<()>,
}

impl Keyboard {
    fn open() -> Self {
        let (sender, keys) = mpsc::channel(KEYS_MAX);
        let thread = tokio::task::spawn_blocking(move || {
            while !sender.is_closed() {
                if !event::poll(POLL).unwrap_or(false) {
                    continue;
                }
                let Some(event) = event::read().ok().and_then(read) else { continue };
                if sender.blocking_send(event).is_err() {
                    return;
                }
            }
        });
        Self { keys, thread }
    }

    async fn next(&mut self) -> Event {
        self.keys.recv().await.unwrap_or(Event::Key(Key::Interrupt))
    }

    /// Waits until the thread reads no more.
    async fn close(&mut self) {
        self.keys.close();
        while self.keys.try_recv().is_ok() {}
        // It cannot panic, and if it did, nobody reads the keyboard either.
        let _ = (&mut self.thread).await;
    }
}

fn read(event: event::Event) -> Option<Event> {
    match event {
        event::Event::Resize(width, height) => Some(Event::Resized(width, height)),
        event::Event::Key(key) if key.kind != KeyEventKind::Release => {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            self::key(key.code, control).map(Event::Key)
        }
        _ => None,
    }
}

fn key(code: KeyCode, control: bool) -> Option<Key> {
    Some(match code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Tab => Key::Tab,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
