//! The body of an answer: watched to its end, ended early where its time is up.
//!
//! Invariant: whatever happens inside (a panic included), the client gets
//! trailers with a code, and the call is counted once.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use super::observe::Call;
use crate::status::{self, Failure, Fault};

/// Ready when a stream has to end, with the reason.
pub type End = Pin<Box<dyn Future<Output = Failure> + Send>>;

pub struct WatchedBody {
    inner: Body,
    end: Option<End>,
    call: Option<Call>,
}

impl WatchedBody {
    pub fn new(inner: Body, end: Option<End>, call: Call) -> Self {
        Self { inner, end, call: Some(call) }
    }

    /// Ends the stream with the failure's trailers.
    fn cut(&mut self, failure: Failure) -> Frame<Bytes> {
        self.inner = Body::empty();
        self.end = None;
        let trailers = status::trailers(failure);
        self.finish(status::code_of(&trailers).unwrap_or(Code::Unknown));
        Frame::trailers(trailers)
    }

    fn finish(&mut self, code: Code) {
        if let Some(mut call) = self.call.take() {
            call.code(code);
        }
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let span = this.call.as_ref().map(|call| call.span.clone());
        let _entered = span.as_ref().map(|span| span.enter());
        let inner = &mut this.inner;
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx)));
        let Ok(polled) = polled else {
            tracing::error!("a stream panicked");
            return Poll::Ready(Some(Ok(this.cut(Fault::Defect.into()))));
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.finish(status::code_of(trailers).unwrap_or(Code::Ok));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.finish(Code::Ok);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(status))) => {
                this.finish(status.code());
                Poll::Ready(Some(Err(status)))
            }
            Poll::Pending => match this.end.as_mut().map(|end| end.as_mut().poll(cx)) {
                Some(Poll::Ready(failure)) => Poll::Ready(Some(Ok(this.cut(failure)))),
                Some(Poll::Pending) | None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
