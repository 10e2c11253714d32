//! The book of leases: what the agent holds, and what it said that is not durable yet.
//!
//! Invariants: messages of a lease are numbered from 1 without gaps; a number, once
//! given, belongs to its message for ever, and that message stays here until it is
//! acknowledged or the lease ends. A lease holds at most one progress message that is on its
//! way, one that waits, what of that had to go ahead of the end, and one final message:
//! the book is bounded by the slots and the limit of partial output.

use std::collections::{BTreeMap, VecDeque};

use quarterdeck_api::errors::v1::Reason;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::session_request::Message;
use tokio_util::sync::CancellationToken;

use super::outcome::{Draft, Outcome};

/// Leases by token.
#[derive(Default)]
pub(super) struct Book {
    leases: BTreeMap<String, Lease>,
}

struct Lease {
    /// Tells the handler to stop.
    cancel: CancellationToken,
    next_number: i64,
    unacknowledged: VecDeque<Message>,
    /// Waits until the progress before it is acknowledged; a later one takes its place.
    waiting: Option<Draft>,
    /// Bytes of partial output that were sent.
    shown: usize,
    /// True once the final message is among the unacknowledged.
    finished: bool,
}

impl Book {
    /// Enters a new lease; false where it is there already.
    pub(super) fn enter(&mut self, token: &str, cancel: CancellationToken) -> bool {
        if self.leases.contains_key(token) {
            return false;
        }
        let lease = Lease {
            cancel,
            next_number: 1,
            unacknowledged: VecDeque::new(),
            waiting: None,
            shown: 0,
            finished: false,
        };
        self.leases.insert(token.to_owned(), lease);
        true
    }

    pub(super) fn contains(&self, token: &str) -> bool {
        self.leases.contains_key(token)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Leases whose handler is at work.
    pub(super) fn unfinished(&self) -> usize {
        self.leases.values().filter(|lease| !lease.finished).count()
    }

    /// Tokens to list at a resume; those at work first, for the list is limited.
    pub(super) fn held(&self, limit: usize) -> Vec<String> {
        let mut held: Vec<_> = self.leases.iter().collect();
        held.sort_by_key(|(_, lease)| lease.finished);
        held.into_iter().take(limit).map(|(token, _)| token.clone()).collect()
    }

    /// Takes a word on progress; answers what is to be sent now.
    pub(super) fn progress(&mut self, token: &str, draft: Draft) -> Vec<Message> {
        let Some(lease) = self.leases.get_mut(token).filter(|lease| !lease.finished) else {
            return Vec::new();
        };
        lease.waiting = Some(match lease.waiting.take() {
            Some(earlier) => earlier.superseded_by(draft),
            None => draft,
        });
        lease.release(token).into_iter().collect()
    }

    /// Takes the end of a step; answers what is to be sent now.
    pub(super) fn finish(&mut self, token: &str, outcome: Outcome) -> Vec<Message> {
        let Some(lease) = self.leases.get_mut(token).filter(|lease| !lease.finished) else {
            return Vec::new();
        };
        let mut messages = Vec::new();
        // Of the progress that waits partial output matters still, and to a next attempt a checkpoint.
        let failed = matches!(outcome, Outcome::Fail { .. });
        lease.waiting.take_if(|draft| draft.partial.is_empty() && !(failed && draft.checkpoint.is_some()));
        while let Some(draft) = lease.waiting.take() {
            messages.push(lease.word(token, draft));
        }
        lease.finished = true;
        messages.push(lease.number(|number| ended(token, number, outcome)));
        messages
    }

    /// Everything of a lease up to a number is durable; answers what is to be sent now.
    pub(super) fn acknowledged(&mut self, token: &str, up_to: i64) -> Vec<Message> {
        let Some(lease) = self.leases.get_mut(token) else {
            return Vec::new();
        };
        lease.unacknowledged.retain(|message| number_of(message) > up_to);
        if lease.finished && lease.unacknowledged.is_empty() {
            self.leases.remove(token);
            return Vec::new();
        }
        lease.release(token).into_iter().collect()
    }

    /// A message does not count. Usually the lease is gone, and nothing more is
    /// said about it. Where the message itself was at fault the step must not hang
    /// on it: a completion is turned into a failure, other words are forgotten.
    pub(super) fn rejected(&mut self, reject: &pb::Reject) -> Vec<Message> {
        let token = &reject.lease_token;
        let Some(lease) = self.leases.get_mut(token) else {
            return Vec::new();
        };
        let was = lease.unacknowledged.iter().position(|m| number_of(m) == reject.number);
        let at_fault = [Reason::FieldsInvalid, Reason::MessageTooLarge, Reason::MessageMalformed]
            .iter()
            .any(|reason| reason.as_str_name().trim_start_matches("REASON_") == reject.reason);
        match was.and_then(|index| lease.unacknowledged.remove(index)) {
            Some(Message::Progress(_)) if at_fault => lease.release(token).into_iter().collect(),
            Some(Message::Complete(_)) if at_fault => {
                let outcome = Outcome::Fail {
                    reason: "OUTPUT_INVALID".to_owned(),
                    message: reject.message.chars().take(1_000).collect(),
                    not_retryable: true,
                    retry_after: None,
                };
                vec![lease.number(|number| ended(token, number, outcome))]
            }
            _ => {
                self.drop_lease(token);
                Vec::new()
            }
        }
    }

    /// Ends a lease: its handler is told to stop, and nothing more is sent for it.
    pub(super) fn drop_lease(&mut self, token: &str) {
        if let Some(lease) = self.leases.remove(token) {
            lease.cancel.cancel();
        }
    }

    /// Ends all leases.
    pub(super) fn drop_all(&mut self) {
        for lease in std::mem::take(&mut self.leases).into_values() {
            lease.cancel.cancel();
        }
    }

    /// Everything that is not acknowledged, each lease's messages in their order.
    pub(super) fn unacknowledged(&self) -> Vec<Message> {
        self.leases.values().flat_map(|lease| lease.unacknowledged.iter().cloned()).collect()
    }
}

impl Lease {
    /// Sends the progress that waits, unless one is on its way.
    fn release(&mut self, token: &str) -> Option<Message> {
        if self.finished || !self.unacknowledged.is_empty() {
            return None;
        }
        let draft = self.waiting.take()?;
        Some(self.word(token, draft))
    }

    /// A message of this draft; what does not fit into it waits on.
    fn word(&mut self, token: &str, mut draft: Draft) -> Message {
        self.waiting = draft.cut();
        let offset = self.shown as i64;
        self.shown += draft.partial.len();
        self.number(|number| progress(token, number, offset, draft))
    }

    fn number(&mut self, message: impl FnOnce(i64) -> Message) -> Message {
        let message = message(self.next_number);
        self.next_number += 1;
        self.unacknowledged.push_back(message.clone());
        message
    }
}

fn progress(token: &str, number: i64, partial_offset: i64, draft: Draft) -> Message {
    Message::Progress(pb::Progress {
        lease_token: token.to_owned(),
        number,
        fraction: draft.fraction,
        message: draft.message,
        checkpoint: draft.checkpoint,
        partial_output: draft.partial,
        partial_offset,
    })
}

fn ended(token: &str, number: i64, outcome: Outcome) -> Message {
    let lease_token = token.to_owned();
    match outcome {
        Outcome::Complete(output) => {
            Message::Complete(pb::Complete { lease_token, number, output: Some(output) })
        }
        Outcome::Fail { reason, message, not_retryable, retry_after } => Message::Fail(pb::Fail {
            lease_token,
            number,
            reason,
            message,
            not_retryable,
            retry_after: retry_after.and_then(|wait| wait.try_into().ok()),
        }),
        Outcome::Refuse { message } => Message::Refuse(pb::Refuse { lease_token, number, message }),
    }
}

fn number_of(message: &Message) -> i64 {
    match message {
        Message::Progress(progress) => progress.number,
        Message::Complete(complete) => complete.number,
        Message::Fail(fail) => fail.number,
        Message::Refuse(refuse) => refuse.number,
        Message::Hello(_)
        | Message::Credit(_)
        | Message::AwaitApproval(_)
        | Message::Ping(_)
        | Message::Bye(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use crate::worker::outcome::StepError;

    fn book() -> (Book, CancellationToken) {
        let (mut book, cancel) = (Book::default(), CancellationToken::new());
        assert!(book.enter("l", cancel.clone()));
        (book, cancel)
    }

    fn at(fraction: f64) -> Draft {
        Draft::new(fraction, "", None)
    }

    fn done() -> Outcome {
        Outcome::of(Ok(Payload::text("done")))
    }

    fn numbers(messages: &[Message]) -> Vec<i64> {
        messages.iter().map(number_of).collect()
    }

    #[test]
    fn a_lease_is_entered_once() {
        let (mut book, _) = book();
        assert!(!book.enter("l", CancellationToken::new()));
    }

    #[test]
    fn progress_that_waits_is_superseded_without_a_gap_in_the_numbers() {
        let (mut book, _) = book();
        assert_eq!(numbers(&book.progress("l", at(0.1))), [1]);
        assert!(book.progress("l", at(0.2)).is_empty());
        assert!(book.progress("l", at(0.3)).is_empty());
        let released = book.acknowledged("l", 1);
        let [Message::Progress(progress)] = released.as_slice() else { panic!("{released:?}") };
        assert_eq!((progress.number, progress.fraction), (2, 0.3));
        assert_eq!(numbers(&book.finish("l", done())), [3]);
        assert_eq!(numbers(&book.unacknowledged()), [2, 3]);
        assert!(book.acknowledged("l", 3).is_empty());
        assert!(book.is_empty());
    }

    #[test]
    fn a_checkpoint_goes_ahead_of_the_failure_and_survives_later_progress() {
        let (mut book, _) = book();
        book.progress("l", at(0.1));
        book.progress("l", Draft::new(0.2, "", Some(Payload::text("so far"))));
        book.progress("l", at(0.3));
        let messages = book.finish("l", StepError::fail("X", "").0);
        let [Message::Progress(progress), Message::Fail(fail)] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        assert_eq!((progress.number, fail.number), (2, 3));
        assert_eq!(progress.fraction, 0.3);
        assert_eq!(progress.checkpoint, Payload::text("so far").into());
    }

    #[test]
    fn partial_output_is_sent_whole_in_pieces_ahead_of_the_end() {
        let (mut book, _) = book();
        let show = |text: &str| Draft { partial: text.to_owned(), ..at(0.5) };
        let text = |messages: &[Message]| -> Vec<(i64, String)> {
            let piece = |message: &Message| match message {
                Message::Progress(word) => Some((word.partial_offset, word.partial_output.clone())),
                _ => None,
            };
            messages.iter().filter_map(piece).collect()
        };
        assert_eq!(text(&book.progress("l", show("a"))), [(0, "a".to_owned())]);
        assert!(book.progress("l", show(&"é".repeat(3_000))).is_empty());
        assert!(book.progress("l", at(0.6)).is_empty(), "later news do not drop it");
        let second = text(&book.acknowledged("l", 1));
        assert_eq!((second[0].0, second[0].1.len()), (1, 4_096));
        let messages = book.finish("l", done());
        assert_eq!(text(&messages), [(4_097, "é".repeat(952))]);
        assert_eq!(numbers(&messages), [3, 4]);
    }

    #[test]
    fn after_the_end_of_a_lease_nothing_is_sent_for_it() {
        let (mut book, cancel) = book();
        book.drop_lease("l");
        assert!(cancel.is_cancelled());
        assert!(book.progress("l", at(0.5)).is_empty());
        assert!(book.finish("l", done()).is_empty());
        assert!(book.unacknowledged().is_empty());
    }

    #[test]
    fn a_rejected_lease_is_dropped_but_a_faulty_completion_becomes_a_failure() {
        let reject = |number, reason: &str| pb::Reject {
            lease_token: "l".to_owned(),
            number,
            reason: reason.to_owned(),
            message: "words".to_owned(),
        };
        let (mut stale, cancel) = book();
        stale.progress("l", at(0.5));
        assert!(stale.rejected(&reject(1, "LEASE_STALE")).is_empty());
        assert!(stale.is_empty() && cancel.is_cancelled());

        let (mut faulty, cancel) = book();
        faulty.finish("l", done());
        let messages = faulty.rejected(&reject(1, "FIELDS_INVALID"));
        assert!(
            matches!(messages.as_slice(), [Message::Fail(fail)] if fail.number == 2 && fail.not_retryable)
        );
        assert!(!cancel.is_cancelled());
        faulty.rejected(&reject(2, "FIELDS_INVALID"));
        assert!(faulty.is_empty());
    }

    #[test]
    fn those_at_work_are_listed_first() {
        let mut book = Book::default();
        for token in ["a", "b", "c"] {
            book.enter(token, CancellationToken::new());
        }
        book.finish("a", done());
        assert_eq!(book.held(10), ["b", "c", "a"]);
        assert_eq!(book.held(2), ["b", "c"]);
        assert_eq!(book.unfinished(), 2);
    }
}
