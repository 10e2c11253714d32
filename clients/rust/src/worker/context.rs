//! What a handler knows of its step, and what it can say while at work.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use quarterdeck_api::orchestration::v1 as pb;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::authorize::Answer;
use super::outcome::{Draft, MAX_SHOWN, check_payload};
use super::running::Word;
use crate::client::Client;
use crate::error::Error;
use crate::payload::Payload;
use crate::retry;

/// One attempt of one step. Clones speak for the same attempt.
#[derive(Clone)]
pub struct StepContext {
    step: Arc<Step>,
    cancel: CancellationToken,
    words: mpsc::Sender<Word>,
    pub(super) client: Client,
}

struct Step {
    assign: pb::Assign,
    input: Payload,
    checkpoint: Option<Payload>,
    deadline: Option<SystemTime>,
    progress_timeout: Option<Duration>,
    said: Mutex<Said>,
}

/// What was said of the attempt so far.
#[derive(Default)]
struct Said {
    fraction: f64,
    message: String,
    /// Bytes of partial output.
    shown: usize,
    /// Requests for a yes.
    requests: u32,
}

impl StepContext {
    pub(super) fn new(
        mut assign: pb::Assign,
        cancel: CancellationToken,
        words: mpsc::Sender<Word>,
        client: Client,
    ) -> Self {
        let step = Step {
            input: assign.input.take().into(),
            checkpoint: assign.checkpoint.take().map(Payload::from),
            deadline: assign.deadline.and_then(|time| SystemTime::try_from(time).ok()),
            progress_timeout: assign.progress_timeout.and_then(|wait| Duration::try_from(wait).ok()),
            said: Mutex::default(),
            assign,
        };
        Self { step: Arc::new(step), cancel, words, client }
    }

    /// Task that the step belongs to.
    #[must_use]
    pub fn task_id(&self) -> &str {
        &self.step.assign.task_id
    }

    /// Name of the step within its plan.
    #[must_use]
    pub fn step_key(&self) -> &str {
        &self.step.assign.step_key
    }

    /// Project of the task.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.step.assign.project
    }

    /// Capability that the step wants.
    #[must_use]
    pub fn capability(&self) -> &str {
        &self.step.assign.capability
    }

    /// Attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> i32 {
        self.step.assign.attempt
    }

    /// The same for every attempt of this step: hand it to systems that can tell a
    /// repetition by it.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        &self.step.assign.idempotency_key
    }

    /// Fencing token of this attempt.
    #[must_use]
    pub fn lease_token(&self) -> &str {
        &self.step.assign.lease_token
    }

    /// When the attempt is taken away, if it has such a limit.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        self.step.deadline
    }

    /// Longest silence before the attempt is taken away, if it has such a limit.
    #[must_use]
    pub fn progress_timeout(&self) -> Option<Duration> {
        self.step.progress_timeout
    }

    /// Input of the step.
    #[must_use]
    pub fn input(&self) -> &Payload {
        &self.step.input
    }

    /// Input as a Rust value.
    ///
    /// # Errors
    /// It is no JSON, or of another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.input().parse()
    }

    /// Checkpoint that an earlier attempt left.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Payload> {
        self.step.checkpoint.as_ref()
    }

    /// Output of a step that this one comes after; fetched where the assignment left it out.
    ///
    /// # Errors
    /// STEP_NOT_FOUND where this step does not come after that one, LEASE_STALE
    /// where the attempt is over.
    pub async fn dependency(&self, key: &str) -> Result<Payload, Error> {
        let mut dependencies = self.step.assign.dependencies.iter();
        let known = dependencies
            .find(|dependency| dependency.step_key == key)
            .map(|dependency| Payload::from(dependency.output.clone()));
        if let Some(output) = known.filter(|output| !output.is_omitted()) {
            return Ok(output);
        }
        let request = pb::GetDependencyOutputRequest {
            lease_token: self.lease_token().to_owned(),
            step_key: key.to_owned(),
        };
        let response = retry::call(self.client.policy(), request, |request| {
            let mut stub = self.client.worker_stub();
            async move { stub.get_dependency_output(request).await }
        });
        Ok(response.await?.output.into())
    }

    /// Outputs of all steps that this one comes after, in the plan's order.
    ///
    /// # Errors
    /// As [`StepContext::dependency`].
    pub async fn dependencies(&self) -> Result<Vec<(String, Payload)>, Error> {
        let mut outputs = Vec::with_capacity(self.step.assign.dependencies.len());
        for dependency in &self.step.assign.dependencies {
            let output = self.dependency(&dependency.step_key).await?;
            outputs.push((dependency.step_key.clone(), output));
        }
        Ok(outputs)
    }

    /// Says how far the step is (0 to 1) and restarts its progress timeout. Where
    /// the connection is slower than the handler, only the last word is sent.
    pub async fn progress(&self, fraction: f64, message: impl AsRef<str>) {
        self.say(Draft::new(fraction, message.as_ref(), None)).await;
    }

    /// As [`StepContext::progress`], and leaves a checkpoint for the next attempt
    /// should this one fail.
    ///
    /// # Errors
    /// The checkpoint is larger than 256 KiB or has no proper media type.
    pub async fn save_checkpoint(
        &self,
        fraction: f64,
        message: impl AsRef<str>,
        checkpoint: Payload,
    ) -> Result<(), Error> {
        check_payload(&checkpoint).map_err(|why| {
            Error::client(Code::InvalidArgument, format!("the checkpoint cannot be sent: {why}"))
        })?;
        self.say(Draft::new(fraction, message.as_ref(), Some(checkpoint))).await;
        Ok(())
    }

    /// Text that watchers see at once, after what was shown before: what a model has
    /// written so far, say. It restarts the progress timeout and is no part of the
    /// step's output; a new attempt begins anew.
    ///
    /// # Errors
    /// The attempt has shown 1 MiB; then nothing of the text is shown.
    pub async fn partial_output(&self, text: impl AsRef<str>) -> Result<(), Error> {
        let text: String = text.as_ref().chars().filter(|c| *c != '\0').collect();
        let draft = {
            let mut said = self.said();
            if said.shown + text.len() > MAX_SHOWN {
                let why = format!("an attempt shows at most {MAX_SHOWN} bytes of partial output");
                return Err(Error::client(Code::InvalidArgument, why));
            }
            said.shown += text.len();
            Draft { partial: text, ..Draft::new(said.fraction, &said.message, None) }
        };
        self.say(draft).await;
        Ok(())
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.step.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(&self, draft: Draft) {
        {
            let mut said = self.said();
            (said.fraction, said.message) = (draft.fraction, draft.message.clone());
        }
        let word = Word::Progress { lease_token: self.lease_token().to_owned(), draft };
        // Fails only where the worker has ended, and then nobody wants to know.
        let _ = self.words.send(word).await;
    }

    /// Says the last word on progress once more.
    pub(super) async fn say_again(&self) {
        let draft = {
            let said = self.said();
            Draft::new(said.fraction, &said.message, None)
        };
        self.say(draft).await;
    }

    /// Has the session asked for what becomes of an approval.
    pub(super) async fn await_approval(&self, approval_id: String, answer: Answer) {
        // Where the worker has ended `answer` is dropped, which tells.
        let _ = self.words.send(Word::Await { approval_id, answer }).await;
    }

    /// The name of this attempt's next request for a yes.
    pub(super) fn next_request_key(&self) -> String {
        let mut said = self.said();
        said.requests += 1;
        said.requests.to_string()
    }

    /// Cancelled when the step was taken away: the handler should stop, for what it
    /// answers does not count. It is stopped at its next `await` after the worker's
    /// `abort_grace`.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }
}

impl fmt::Debug for StepContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepContext")
            .field("task_id", &self.task_id())
            .field("step_key", &self.step_key())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
