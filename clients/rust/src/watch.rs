//! Watches that outlive their connections.
//!
//! A watch remembers the cursor of the last frame it handed out and opens the stream
//! again after it when the stream breaks, falls silent or ends early. The server
//! promises that nothing is missed and nothing comes twice; this code checks neither
//! and hides neither.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use quarterdeck_api::approvals::v1 as ap;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::task_event::Kind;
use quarterdeck_api::orchestration::v1::{watch_task_response, watch_tasks_response};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::ambient;
use crate::client::Client;
use crate::error::Error;
use crate::retry::Backoff;

/// After so many failures in a row the connection itself is replaced.
const FAILURES_UNTIL_FRESH: u32 = 3;

/// One frame that carries something; heartbeats are not shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<K = FrameKind> {
    /// Where to resume after this frame; see [`Client::watch_task_after`].
    pub cursor: String,
    /// What it carries.
    pub kind: K,
}

/// What a frame carries.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameKind {
    /// A task as it is at the start of the watch.
    Snapshot(Box<pb::Task>),
    /// What happened after.
    Event(Box<pb::TaskEvent>),
}

/// The frames of a watch. The watch of one task ends after its end; an error is the last item.
pub struct Watch<K = FrameKind> {
    frames: BoxStream<'static, Result<Frame<K>, Error>>,
    reconnects: Arc<AtomicU64>,
}

impl<K: Send + 'static> Watch<K> {
    /// The next frame; `None` after the end.
    pub async fn next_frame(&mut self) -> Option<Result<Frame<K>, Error>> {
        self.frames.next().await
    }

    /// How often the stream was opened again so far.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    fn over(client: &Client, target: impl Target<Kind = K>, cursor: String) -> Self {
        let reconnects = Arc::new(AtomicU64::new(0));
        let follower = Follower {
            client: client.clone(),
            target,
            cursor,
            open: None,
            backoff: None,
            failures: 0,
            heard: None,
            ever_heard: false,
            idle_ends: 0,
            finished: false,
            reconnects: Arc::clone(&reconnects),
        };
        let frames = stream::unfold(follower, |mut follower| async move {
            follower.next().await.map(|item| (item, follower))
        });
        Self { frames: frames.boxed(), reconnects }
    }
}

impl<K> Stream for Watch<K> {
    type Item = Result<Frame<K>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.as_mut().poll_next(context)
    }
}

impl Client {
    /// Follows a task from a snapshot to its end.
    pub fn watch_task(&self, id: impl Into<String>) -> Watch {
        self.watch_task_after(id, "")
    }

    /// Follows a task from after a cursor of an earlier watch.
    pub fn watch_task_after(&self, id: impl Into<String>, cursor: impl Into<String>) -> Watch {
        Watch::over(self, OneTask(id.into()), cursor.into())
    }

    /// Follows all tasks of a project, from after `request.resume_after` if given.
    /// Never ends by itself.
    #[must_use]
    pub fn watch_tasks(&self, mut request: pb::WatchTasksRequest) -> Watch {
        let cursor = std::mem::take(&mut request.resume_after);
        Watch::over(self, AllTasks(request), cursor)
    }

    /// Follows the approvals of a project, from after `request.resume_after` if given:
    /// each frame is an approval after a change. Never ends by itself. A connection that
    /// breaks within the snapshot starts it again.
    #[must_use]
    pub fn watch_approvals(&self, mut request: ap::WatchApprovalsRequest) -> Watch<ap::Approval> {
        let cursor = std::mem::take(&mut request.resume_after);
        Watch::over(self, Approvals(request), cursor)
    }
}

/// What is followed.
trait Target: Send + Sync + 'static {
    type Kind: Send + 'static;

    /// Opens the stream after a cursor.
    fn open<'a>(&'a self, client: &'a Client, cursor: &'a str) -> BoxFuture<'a, Opened<Self::Kind>>;

    /// True for the frame after which nothing more can come.
    fn is_last(&self, _kind: &Self::Kind) -> bool {
        false
    }

    /// The task that it ends with.
    fn task(&self) -> Option<&str> {
        None
    }
}

type Opened<K> = Result<BoxStream<'static, Result<RawFrame<K>, Error>>, Error>;

struct OneTask(String);

struct AllTasks(pb::WatchTasksRequest);

struct Approvals(ap::WatchApprovalsRequest);

impl Target for OneTask {
    type Kind = FrameKind;

    fn open<'a>(&'a self, client: &'a Client, cursor: &'a str) -> BoxFuture<'a, Opened<FrameKind>> {
        let request = pb::WatchTaskRequest { task_id: self.0.clone(), resume_after: cursor.to_owned() };
        Box::pin(async move {
            let frames = client.task_stub().watch_task(request).await?.into_inner();
            Ok(frames.map(|frame| Ok(frame?.into())).boxed())
        })
    }

    fn is_last(&self, kind: &FrameKind) -> bool {
        match kind {
            FrameKind::Snapshot(task) => is_ended(task),
            FrameKind::Event(event) => matches!(event.kind, Some(Kind::TaskEnded(_))),
        }
    }

    fn task(&self) -> Option<&str> {
        Some(&self.0)
    }
}

impl Target for AllTasks {
    type Kind = FrameKind;

    fn open<'a>(&'a self, client: &'a Client, cursor: &'a str) -> BoxFuture<'a, Opened<FrameKind>> {
        let request = pb::WatchTasksRequest { resume_after: cursor.to_owned(), ..self.0.clone() };
        Box::pin(async move {
            let frames = client.task_stub().watch_tasks(request).await?.into_inner();
            Ok(frames.map(|frame| Ok(frame?.into())).boxed())
        })
    }
}

impl Target for Approvals {
    type Kind = ap::Approval;

    fn open<'a>(&'a self, client: &'a Client, cursor: &'a str) -> BoxFuture<'a, Opened<ap::Approval>> {
        let request = ap::WatchApprovalsRequest { resume_after: cursor.to_owned(), ..self.0.clone() };
        Box::pin(async move {
            let frames = client.approval_stub().watch_approvals(request).await?.into_inner();
            let raw =
                |frame: ap::WatchApprovalsResponse| RawFrame { cursor: frame.cursor, kind: frame.approval };
            Ok(frames.map(move |frame| Ok(raw(frame?))).boxed())
        })
    }
}

/// A frame before heartbeats are taken out.
struct RawFrame<K> {
    cursor: String,
    kind: Option<K>,
}

/// One connection's stream.
struct Open<K> {
    frames: BoxStream<'static, Result<RawFrame<K>, Error>>,
    generation: u64,
    /// True once it carried more than heartbeats.
    carried: bool,
}

struct Follower<T: Target> {
    client: Client,
    target: T,
    cursor: String,
    open: Option<Open<T::Kind>>,
    backoff: Option<Backoff>,
    failures: u32,
    /// When the last frame came, heartbeats included; before the first, when it was asked for.
    heard: Option<Instant>,
    ever_heard: bool,
    /// Clean ends in a row that came without any frame.
    idle_ends: u32,
    finished: bool,
    reconnects: Arc<AtomicU64>,
}

impl<T: Target> Follower<T> {
    async fn next(&mut self) -> Option<Result<Frame<T::Kind>, Error>> {
        while !self.finished {
            let step = match self.open.take() {
                None => self.connect().await,
                Some(open) => self.read(open).await,
            };
            match step {
                Ok(Some(frame)) => return Some(Ok(frame)),
                Ok(None) => {}
                Err(error) => {
                    self.finished = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    async fn connect(&mut self) -> Result<Option<Frame<T::Kind>>, Error> {
        let silence = self.client.config().watch_silence;
        self.heard.get_or_insert_with(ambient::now);
        let (generation, _) = self.client.connection.current();
        // Not `?`: an error of opening is judged like one of reading.
        match timeout(silence, self.target.open(&self.client, &self.cursor)).await {
            Ok(Ok(frames)) => {
                self.open = Some(Open { frames, generation, carried: false });
                Ok(None)
            }
            Ok(Err(error)) => self.broken(error, generation).await,
            Err(_) => self.broken(silent(silence), generation).await,
        }
    }

    async fn read(&mut self, mut open: Open<T::Kind>) -> Result<Option<Frame<T::Kind>>, Error> {
        let silence = self.client.config().watch_silence;
        match timeout(silence, open.frames.next()).await {
            Err(_) => self.broken(silent(silence), open.generation).await,
            Ok(None) => self.ended(open).await,
            Ok(Some(Err(error))) => self.broken(error, open.generation).await,
            Ok(Some(Ok(raw))) => {
                self.heard = Some(ambient::now());
                self.ever_heard = true;
                self.failures = 0;
                self.backoff = None;
                if !raw.cursor.is_empty() {
                    self.cursor.clone_from(&raw.cursor);
                }
                open.carried |= raw.kind.is_some();
                let frame = raw.kind.map(|kind| Frame { cursor: raw.cursor, kind });
                if frame.as_ref().is_some_and(|frame| self.target.is_last(&frame.kind)) {
                    self.finished = true;
                } else {
                    self.open = Some(open);
                }
                Ok(frame)
            }
        }
    }

    /// The server closed the stream without an error and without the task's end.
    async fn ended(&mut self, open: Open<T::Kind>) -> Result<Option<Frame<T::Kind>>, Error> {
        let Open { generation, carried, .. } = open;
        self.idle_ends = if carried { 0 } else { self.idle_ends + 1 };
        // Whoever resumes after the last event of an ended task gets no frame at
        // all; twice, for the first may have been a server that stops.
        if let (Some(id), 2..) = (self.target.task(), self.idle_ends) {
            let request = pb::GetTaskRequest {
                task_id: id.to_owned(),
                view: pb::TaskView::Basic.into(),
                step_keys: Vec::new(),
            };
            if is_ended(&self.client.get_task_with(request).await?) {
                self.finished = true;
                return Ok(None);
            }
        }
        let early = Error::transport(Code::Unavailable, "the server ended the watch early");
        self.broken(early, generation).await
    }

    /// Waits before the next attempt, or gives up with the error.
    async fn broken(&mut self, error: Error, generation: u64) -> Result<Option<Frame<T::Kind>>, Error> {
        let patience = if self.ever_heard {
            self.client.config().reconnect_for
        } else {
            self.client.config().default_deadline
        };
        let waited = self.heard.map(|heard| heard.elapsed()).unwrap_or_default();
        if !error.is_stream_break() || waited >= patience {
            return Err(error);
        }
        self.failures += 1;
        if self.failures >= FAILURES_UNTIL_FRESH {
            self.client.connection.renew(generation);
        }
        self.reconnects.fetch_add(1, Ordering::Relaxed);
        let backoff = self
            .backoff
            .get_or_insert_with(|| Backoff::new(Duration::from_millis(50), Duration::from_secs(5)));
        let wait = backoff.next(error.retry_after);
        tracing::debug!(%error, ?wait, "watching again");
        sleep(wait).await;
        Ok(None)
    }
}

fn silent(silence: Duration) -> Error {
    Error::transport(Code::Unavailable, format!("no frame of the watch within {silence:?}"))
}

fn is_ended(task: &pb::Task) -> bool {
    matches!(task.state(), pb::TaskState::Succeeded | pb::TaskState::Failed | pb::TaskState::Canceled)
}

impl From<pb::WatchTaskResponse> for RawFrame<FrameKind> {
    fn from(response: pb::WatchTaskResponse) -> Self {
        Self {
            cursor: response.cursor,
            kind: response.frame.map(|frame| match frame {
                watch_task_response::Frame::Snapshot(task) => FrameKind::Snapshot(Box::new(task)),
                watch_task_response::Frame::Event(event) => FrameKind::Event(Box::new(event)),
            }),
        }
    }
}

impl From<pb::WatchTasksResponse> for RawFrame<FrameKind> {
    fn from(response: pb::WatchTasksResponse) -> Self {
        Self {
            cursor: response.cursor,
            kind: response.frame.map(|frame| match frame {
                watch_tasks_response::Frame::Snapshot(task) => FrameKind::Snapshot(Box::new(task)),
                watch_tasks_response::Frame::Event(event) => FrameKind::Event(Box::new(event)),
            }),
        }
    }
}
