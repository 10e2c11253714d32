//! The body of a request: memory for messages that are not complete, counted.
//!
//! Decoding makes room for a message as soon as its length is known, and collects
//! it before anybody looks at it: five bytes can cost megabytes. So the whole
//! length counts from then on. A unary call's counts until the call is answered;
//! on a stream each message counts until it is whole, for then it goes to who
//! works it off at a bounded rate. A length beyond the limit counts as nothing:
//! no room is made for it, the call is refused.

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
    messages: Messages,
    streaming: bool,
    /// Longest message that is taken, in bytes.
    message_size: u32,
}

impl<B> Upload<B> {
    /// What is `held` is shared with the call, which may need it for longer.
    pub fn new(inner: B, held: SharedHeld, streaming: bool, message_size: u32) -> Self {
        Self { inner, held, messages: Messages::default(), streaming, message_size }
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
            let found = this.messages.take(bytes);
            let mut held = this.held.lock().unwrap_or_else(PoisonError::into_inner);
            if found.ended && this.streaming {
                held.clear();
            }
            if found.begun <= this.message_size {
                held.add(found.begun as usize);
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

/// Finds where messages begin and end: each is a byte of flags, four of length, and so many.
#[derive(Default)]
struct Messages {
    header: [u8; 5],
    seen: usize,
    left: u32,
}

/// What some bytes were about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// A message ended within them.
    ended: bool,
    /// Length of a message that began in them and did not end.
    begun: u32,
}

impl Messages {
    fn take(&mut self, mut bytes: &[u8]) -> Found {
        let mut found = Found::default();
        while !bytes.is_empty() {
            if self.seen < self.header.len() {
                let count = bytes.len().min(self.header.len() - self.seen);
                self.header[self.seen..self.seen + count].copy_from_slice(&bytes[..count]);
                self.seen += count;
                bytes = &bytes[count..];
                if self.seen < self.header.len() {
                    break;
                }
                let [_, length @ ..] = self.header;
                self.left = u32::from_be_bytes(length);
                found.begun = self.left;
            }
            let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.left);
            self.left -= count;
            bytes = &bytes[count as usize..];
            if self.left == 0 {
                self.seen = 0;
                found = Found { ended: true, begun: 0 };
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let message = |length: u8| [vec![0, 0, 0, 0, length], vec![9; length.into()]].concat();
        let bytes = [message(3), message(0), message(7)].concat();
        for piece in 1..=bytes.len() {
            let mut messages = Messages::default();
            let found: Vec<Found> = bytes.chunks(piece).map(|piece| messages.take(piece)).collect();
            assert!(
                found.last().is_some_and(|found| found.ended && found.begun == 0),
                "in pieces of {piece}"
            );
            // Its length counts from the moment it is known.
            assert_eq!(messages.take(&message(20)[..4]), Found::default());
            assert_eq!(messages.take(&message(20)[4..5]), Found { ended: false, begun: 20 });
            assert_eq!(messages.take(&message(20)[5..12]), Found::default());
            assert_eq!(messages.take(&message(20)[12..]), Found { ended: true, begun: 0 });
        }
    }
}
