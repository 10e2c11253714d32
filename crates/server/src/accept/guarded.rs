//! The bytes of a connection, watched on their way in.
//!
//! Ends the connection when frames come faster than the conduct allows, and when
//! a preface or a header block that has begun does not end in time: HTTP/2 would
//! wait for either for ever, and nothing else can be said in between.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::conduct::{Conduct, Reason};
use super::scan::Scanner;

pub struct Guarded<I> {
    io: I,
    conduct: Arc<Conduct>,
    scanner: Scanner,
    /// How long a preface or a header block may take.
    patience: Duration,
    /// Set while one is owed.
    late: Option<Pin<Box<Sleep>>>,
}

impl<I> Guarded<I> {
    pub fn new(io: I, conduct: Arc<Conduct>, patience: Duration) -> Self {
        Self { io, conduct, scanner: Scanner::default(), patience, late: None }
    }

    fn end(&self, reason: Reason) -> Poll<io::Result<()>> {
        self.conduct.expel(reason);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason.name())))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buffer);
        if polled.is_ready() {
            let tally = this.scanner.scan(&buffer.filled()[before..]);
            if !this.scanner.owes() {
                this.late = None;
            }
            return match this.conduct.frames(tally) {
                Some(reason) => this.end(reason),
                None => polled,
            };
        }
        // What is owed is not in the kernel's buffer either.
        if this.scanner.owes() {
            let patience = this.patience;
            let late = this.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
            if late.as_mut().poll(cx).is_ready() {
                let reason = if this.scanner.in_preface() { Reason::Silence } else { Reason::SlowHeaders };
                return this.end(reason);
            }
        }
        Poll::Pending
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bytes)
    }
}
