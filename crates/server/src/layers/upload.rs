//! The body of a request: what has come of a message that is not complete, counted.
//!
//! Decoding collects a message before anybody looks at it. A unary call's counts
//! until the call is answered; on a stream each message counts until it is whole,
//! for then it goes to who works it off at a bounded rate.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::accept::Held;

/// One call's, kept by whoever may free the memory last.
pub type SharedHeld = Arc<Mutex<Held>>;

/// To be shared between a body and its call.
pub fn shared(held: Held) -> SharedHeld {
    Arc::new(Mutex::new(held))
}

pub struct Upload<B> {
    inner: B,
    held: SharedHeld,
    /// `None` where messages are not told apart.
    messages: Option<Messages>,
}

impl<B> Upload<B> {
    /// What is `held` is shared with the call, which may need it for longer.
    pub fn new(inner: B, held: SharedHeld, streaming: bool) -> Self {
        Self { inner, held, messages: streaming.then(Messages::default) }
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref()
        {
            let mut held = this.held.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut this.messages {
                None => held.add(bytes.len()),
                Some(messages) => {
                    let (ended, rest) = messages.take(bytes);
                    if ended {
                        held.clear();
                    }
                    held.add(rest);
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Finds where messages end: each is a byte of flags, four of length, and so many.
#[derive(Default)]
struct Messages {
    header: [u8; 5],
    seen: usize,
    left: u32,
}

impl Messages {
    /// Whether a message ended within the bytes, and how many belong to one that did not.
    fn take(&mut self, mut bytes: &[u8]) -> (bool, usize) {
        let (mut ended, mut rest) = (false, 0);
        while !bytes.is_empty() {
            if self.seen < self.header.len() {
                let count = bytes.len().min(self.header.len() - self.seen);
                self.header[self.seen..self.seen + count].copy_from_slice(&bytes[..count]);
                self.seen += count;
                bytes = &bytes[count..];
                rest += count;
                if self.seen < self.header.len() {
                    break;
                }
                let [_, length @ ..] = self.header;
                self.left = u32::from_be_bytes(length);
            }
            let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.left);
            self.left -= count;
            bytes = &bytes[count as usize..];
            rest += count as usize;
            if self.left == 0 {
                (self.seen, ended, rest) = (0, true, 0);
            }
        }
        (ended, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let message = |length: u8| [vec![0, 0, 0, 0, length], vec![9; length.into()]].concat();
        let bytes = [message(3), message(0), message(7)].concat();
        let open = message(20)[..12].to_vec();
        for piece in 1..=bytes.len() {
            let mut messages = Messages::default();
            let (mut ends, mut last) = (0, 0);
            for piece in bytes.chunks(piece) {
                let (ended, rest) = messages.take(piece);
                ends += usize::from(ended);
                last = rest;
            }
            assert!(ends > 0 && last == 0, "in pieces of {piece}: {ends} ends, {last} left");
            assert_eq!(messages.take(&open), (false, 12));
            assert_eq!(messages.take(&message(20)[12..]), (true, 0));
        }
    }
}
