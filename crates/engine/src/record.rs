//! Small aggregates that change seldom: load, decide, append, try again.

use quarterdeck_core::stream::{Recorded, StreamEvent};
use quarterdeck_core::{CommitId, Digest, ProjectId, Span, StreamId};
use quarterdeck_store::rows::RowChange;
use quarterdeck_store::{Append, Commit, Outcome, RequestKey, RequestRecord};

use crate::engine::Shared;
use crate::error::{Error, Result};
use crate::events::decode_row;

const TRIES: u32 = 5;
/// Rows of such an aggregate that are read at most; far above what they grow to.
const ROWS_MAX: u32 = 10_000;

/// How an aggregate is folded and followed.
pub(crate) struct Folding<S, E> {
    pub stream: StreamId,
    pub project: ProjectId,
    pub apply: fn(Option<S>, &Recorded<E>) -> Option<S>,
}

/// What became of a change.
pub(crate) enum Change<S> {
    Done(S),
    /// The request was granted before.
    Duplicate,
}

impl Shared {
    /// The aggregate as the database has it now.
    pub(crate) async fn fold<S, E: StreamEvent>(&self, folding: &Folding<S, E>) -> Result<Option<S>> {
        let mut state = None;
        for row in self.store.load(folding.stream, 0, ROWS_MAX).await? {
            for event in decode_row::<E>(&row)? {
                state = (folding.apply)(state, &event);
            }
        }
        Ok(state)
    }

    /// Changes an aggregate that has one row by what `decide` says of its current state.
    pub(crate) async fn change<S: Clone, E: StreamEvent + Clone>(
        &self,
        folding: &Folding<S, E>,
        revision: fn(&S) -> u64,
        request: Option<&RequestRecord>,
        decide: impl Fn(Option<&S>) -> Result<Vec<E>>,
        row: fn(&S) -> RowChange,
    ) -> Result<Change<S>> {
        self.change_with(folding, revision, request, decide, |state, _| vec![row(state)]).await
    }

    /// The same with the rows that follow from the state after it and its events.
    pub(crate) async fn change_with<S: Clone, E: StreamEvent + Clone>(
        &self,
        folding: &Folding<S, E>,
        revision: fn(&S) -> u64,
        request: Option<&RequestRecord>,
        decide: impl Fn(Option<&S>) -> Result<Vec<E>>,
        rows: impl Fn(&S, &[E]) -> Vec<RowChange>,
    ) -> Result<Change<S>> {
        for attempt in 0..TRIES {
            let state = self.fold(folding).await?;
            let events = decide(state.as_ref())?;
            let expected = state.as_ref().map_or(0, revision);
            if let (true, Some(state)) = (events.is_empty(), &state) {
                return Ok(Change::Done(state.clone()));
            }
            let fold_at = |at| {
                let recorded = (expected + 1..).zip(&events).map(|(sequence, event)| Recorded {
                    sequence,
                    at,
                    event: event.clone(),
                });
                recorded.fold(state.clone(), |state, event| (folding.apply)(state, &event))
            };
            let next = fold_at(self.time.now())
                .ok_or_else(|| Error::Internal("a change left no aggregate".to_owned()))?;
            let append = Append::new(folding.stream, folding.project, expected, &events)
                .map_err(|error| Error::Internal(format!("an event cannot be written: {error}")))?;
            let commit = Commit {
                id: CommitId::new(&self.time.ctx(), 0),
                appends: vec![append],
                unchanged: Vec::new(),
                valid_until: None,
                request: request.cloned(),
                payloads: Vec::new(),
                rows: rows(&next, &events),
            };
            match self.committer.commit(commit).await? {
                Outcome::Done { at, .. } => return Ok(Change::Done(fold_at(at).unwrap_or(next))),
                Outcome::Duplicate => return Ok(Change::Duplicate),
                Outcome::Failed(error) => return Err(error.into()),
                Outcome::Conflict | Outcome::Stale => {
                    crate::metrics::conflict();
                    self.time.sleep(self.time.jitter(Span::from_millis(2 << attempt))).await;
                }
            }
        }
        Err(Error::Contention)
    }

    /// Whether the same request was granted before. If not, `otherwise` stands;
    /// if another request was, its id was used twice.
    pub(crate) async fn granted_before(
        &self,
        request: Option<&RequestRecord>,
        otherwise: &Error,
    ) -> Result<RequestRecord> {
        let Some(request) = request else {
            return Err(otherwise.clone());
        };
        match self.store.request(&request.key).await? {
            Some(known) if known.digest == request.digest => Ok(known),
            Some(_) => Err(Error::RequestIdReused),
            None => Err(otherwise.clone()),
        }
    }
}

/// The record of a request; `None` where the caller gave no id to remember it by.
pub(crate) fn request_record(
    project: ProjectId,
    method: &'static str,
    request_id: &str,
    digest: Digest,
    stream: StreamId,
) -> Option<RequestRecord> {
    (!request_id.is_empty()).then(|| RequestRecord {
        key: RequestKey { project, method, request_id: request_id.to_owned() },
        digest,
        stream,
    })
}
