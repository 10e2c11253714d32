//! How a watch reaches its watcher: frames in order, until the connection or the
//! replica at its other end is gone.

use std::future::Future;

use quarterdeck_engine::Error;
use quarterdeck_engine::project_watch::{ProjectFrame, ProjectWatch};
use quarterdeck_engine::task_watch::{TaskWatch, WatchFrame};
use tokio::sync::mpsc;

use crate::executor::{Executor, Group};

/// Frames on their way.
const FRAMES_MAX: usize = 8;

/// What comes down. The channel ends without `End` when the connection does.
pub enum Frame<T> {
    Item(T),
    Failed(Error),
    End,
}

/// A watch of the engine.
pub trait Source: Send + 'static {
    type Item: Send + 'static;

    fn following(&mut self) -> impl Future<Output = Option<Result<Self::Item, Error>>> + Send;
}

impl Source for TaskWatch {
    type Item = WatchFrame;

    async fn following(&mut self) -> Option<Result<WatchFrame, Error>> {
        self.next().await
    }
}

impl Source for ProjectWatch {
    type Item = ProjectFrame;

    async fn following(&mut self) -> Option<Result<ProjectFrame, Error>> {
        self.next().await
    }
}

/// Carries frames from a replica for as long as both ends are there.
pub fn carry<S: Source>(
    executor: &Executor,
    replica: Group,
    mut source: S,
) -> mpsc::Receiver<Frame<S::Item>> {
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    let serve = async move {
        loop {
            let frame = match source.following().await {
                Some(Ok(item)) => Frame::Item(item),
                Some(Err(error)) => Frame::Failed(error),
                None => Frame::End,
            };
            let more = matches!(frame, Frame::Item(_));
            if frames.send(frame).await.is_err() || !more {
                return;
            }
        }
    };
    executor.spawn(replica, Box::pin(serve));
    receiver
}
