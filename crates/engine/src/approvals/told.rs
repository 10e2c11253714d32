//! Agents that are told on their session what became of what they asked for.
//!
//! Invariants: a wait ends with the connection that it was said on, for the agent says
//! it again on the next; it looks at the approval itself, as a call that waits does, so
//! that it does not matter which replica was asked and which heard the decision.

use std::sync::Arc;

use quarterdeck_core::approval::Approval;
use quarterdeck_core::{SessionId, Span};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::Principal;
use crate::engine::Shared;
use crate::error::{Error, Result};
use crate::session::Down;

/// Approvals that one connection waits for at a time; as many as it can hold steps.
const WAITS_MAX: usize = 1_000;
/// Until a look that failed is tried again, about.
const PAUSE: Span = Span::from_millis(500);

/// What one connection waits for.
#[derive(Clone)]
pub(crate) struct Told {
    caller: Arc<Principal>,
    room: Arc<Semaphore>,
    over: CancellationToken,
}

impl Told {
    /// `over`: when the connection ends.
    pub fn new(caller: &Principal, over: CancellationToken) -> Self {
        Self { caller: Arc::new(caller.clone()), room: Arc::new(Semaphore::new(WAITS_MAX)), over }
    }

    /// Sends [`Down::ApprovalDecided`] once the approval is not pending any more.
    pub fn wait(&self, shared: &Arc<Shared>, session: SessionId, id: String) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            let limit = WAITS_MAX as u64;
            let approval = Err(Error::LimitReached { what: "approvals that a session waits for", limit });
            shared.dispatcher.send(session, Down::ApprovalDecided { id, approval });
            return;
        };
        let (told, at) = (self.clone(), Arc::clone(shared));
        shared.time.spawn(async move {
            let approval = tokio::select! {
                biased;
                () = told.over.cancelled() => return,
                approval = told.decided(&at, &id) => approval,
            };
            at.dispatcher.send(session, Down::ApprovalDecided { id, approval });
            drop(permit);
        });
    }

    /// Waits however long it takes, also while the store cannot be reached.
    async fn decided(&self, shared: &Arc<Shared>, id: &str) -> Result<Box<Approval>> {
        loop {
            match shared.decided(&self.caller, id, std::future::pending()).await {
                Err(error) if error.is_transient() => {
                    shared.time.sleep(shared.time.jitter(PAUSE)).await;
                }
                ended => return ended.map(Box::new),
            }
        }
    }
}
