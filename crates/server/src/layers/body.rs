//! The body of an answer: watched to its end, ended early where its time is up.
//!
//! Invariant: whatever happens inside (a panic included), the client gets
//! trailers with a code, and the call is counted once.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use super::observe::Call;
use crate::accept::{Busy, Ledger};
use crate::status::{self, Failure, Fault};

/// Ready when a stream has to end, with the reason.
pub type End = Pin<Box<dyn Future<Output = Failure> + Send>>;

/// A stream that always has something to say is asked this often, in frames,
/// whether it has to end.
const ASK_EVERY: u32 = 32;

pub struct WatchedBody {
    inner: Body,
    end: Option<End>,
    call: Option<Call>,
    frames: u32,
    on: Option<(Busy, Arc<Ledger>)>,
}

impl WatchedBody {
    pub fn new(inner: Body, end: Option<End>, call: Call) -> Self {
        Self { inner, end, call: Some(call), frames: 0, on: None }
    }

    /// The connection that it is for: the call lasts as long as this body, and what
    /// nobody reads is counted.
    pub fn on(self, busy: Busy, ledger: Arc<Ledger>) -> Self {
        Self { on: Some((busy, ledger)), ..self }
    }

    /// The frame, counted until its memory is free.
    fn counted(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match &self.on {
            Some((busy, ledger)) => frame.map_data(|bytes| ledger.keep(busy.conduct(), bytes)),
            None => frame,
        }
    }

    /// Ends the stream with the failure's trailers.
    fn cut(&mut self, failure: Failure) -> Frame<Bytes> {
        self.inner = Body::empty();
        self.end = None;
        let trailers = status::trailers(failure);
        self.finish(status::code_of(&trailers).unwrap_or(Code::Unknown));
        Frame::trailers(trailers)
    }

    /// The trailers that end the stream, if it has to end now.
    fn over(&mut self, cx: &mut Context<'_>) -> Option<Frame<Bytes>> {
        match self.end.as_mut()?.as_mut().poll(cx) {
            Poll::Ready(failure) => Some(self.cut(failure)),
            Poll::Pending => None,
        }
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
        this.frames = this.frames.wrapping_add(1);
        if this.frames.is_multiple_of(ASK_EVERY)
            && let Some(last) = this.over(cx)
        {
            return Poll::Ready(Some(Ok(last)));
        }
        let inner = &mut this.inner;
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx)));
        let Ok(polled) = polled else {
            tracing::error!("a stream panicked");
            return Poll::Ready(Some(Ok(this.cut(Fault::Defect.into()))));
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    status::complete(trailers);
                    this.finish(status::code_of(trailers).unwrap_or(Code::Ok));
                }
                Poll::Ready(Some(Ok(this.counted(frame))))
            }
            Poll::Ready(None) => {
                this.finish(Code::Ok);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(status))) => {
                this.finish(status.code());
                Poll::Ready(Some(Err(status)))
            }
            // What there is to say goes first: a stream that ends has said it.
            Poll::Pending => match this.over(cx) {
                Some(last) => Poll::Ready(Some(Ok(last))),
                None => Poll::Pending,
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

#[cfg(test)]
mod tests {
    use super::*;

    use futures::{StreamExt as _, stream};
    use http::HeaderValue;
    use http_body_util::{BodyExt as _, StreamBody};
    use quarterdeck_engine::ports::SystemClock;

    fn watched(
        frames: impl futures::Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static,
    ) -> WatchedBody {
        let call = Call::begin("unknown", HeaderValue::from_static("id"), Arc::new(SystemClock));
        let end: End = Box::pin(async { Fault::Draining.into() });
        WatchedBody::new(Body::new(StreamBody::new(frames)), Some(end), call)
    }

    async fn codes(mut body: WatchedBody) -> (usize, Option<Code>) {
        let mut data = 0;
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_trailers() {
                Ok(trailers) => return (data, status::code_of(&trailers)),
                Err(_) => data += 1,
            }
        }
        (data, None)
    }

    #[tokio::test]
    async fn a_stream_that_never_pauses_ends_all_the_same() {
        let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"x"))));
        let (data, code) = codes(watched(endless)).await;
        assert!(data < ASK_EVERY as usize, "{data}");
        assert_eq!(code, Some(Code::Unavailable));
    }

    #[tokio::test]
    async fn what_is_there_to_say_is_said_before_the_end() {
        let three = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(b"x"))))
            .take(3)
            .chain(stream::pending());
        assert_eq!(codes(watched(three)).await, (3, Some(Code::Unavailable)));
    }

    #[tokio::test]
    async fn a_panic_ends_the_stream_with_a_status() {
        let panics = stream::once(async { panic!("on purpose") });
        assert_eq!(codes(watched(panics)).await, (0, Some(Code::Internal)));
    }
}
