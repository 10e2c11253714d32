//! Giving queued steps to free slots.
//!
//! The table is peeked at without locks and the assigning commit removes the
//! row: whoever loses a race for a step finds it taken and goes on.

use std::sync::Arc;

use futures::future::join_all;
use quarterdeck_core::Refusal;
use quarterdeck_core::task::Command;
use quarterdeck_store::rows::{QueueKey, ReadyKey};

use crate::aggregate::Op;
use crate::engine::Shared;
use crate::error::{Error, Result};

/// Steps given away together.
const LOOK_MAX: u32 = 128;

impl Shared {
    /// Looks at queues as they become due, until the engine stops.
    pub async fn pump(self: Arc<Self>) {
        loop {
            let due = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                due = self.dispatcher.due() => due,
            };
            self.look(due).await;
        }
    }

    /// Gives what waits in these queues to the free slots here.
    pub async fn look(self: &Arc<Self>, queues: Vec<QueueKey>) {
        join_all(queues.into_iter().map(|queue| self.pump_queue(queue))).await;
    }

    async fn pump_queue(self: &Arc<Self>, queue: QueueKey) {
        if let Err(error) = self.drain_queue(&queue).await {
            // The sweeper looks again.
            tracing::warn!(capability = %queue.capability, %error, "a queue cannot be read");
        }
    }

    async fn drain_queue(self: &Arc<Self>, queue: &QueueKey) -> Result<()> {
        // Behind rows that could not be given away; else from the start, where
        // rows of higher priority may have come.
        let mut after: Option<ReadyKey> = None;
        loop {
            let limit = self.dispatcher.free_slots(queue, self.time.now()).min(LOOK_MAX);
            if limit == 0 {
                return Ok(());
            }
            let wakes = self.dispatcher.wakes(queue);
            let found = self.store.peek_ready(queue, after.as_ref(), limit).await?;
            let all = found.len() < limit as usize;
            let last = found.last().cloned();
            let given = join_all(found.into_iter().map(|key| self.give(key))).await;
            if given.iter().any(|given| matches!(given, Err(Error::Store(_) | Error::Overloaded { .. }))) {
                return Ok(()); // the sweeper looks again
            }
            if all {
                self.dispatcher.looked(queue, wakes);
                return Ok(());
            }
            after = if given.iter().any(Result::is_ok) { None } else { last };
        }
    }

    /// Gives one queued step to a session with a free slot; to another one where
    /// that session has refused it before.
    async fn give(self: &Arc<Self>, key: ReadyKey) -> Result<()> {
        let mut not = None;
        loop {
            let Some((session, agent)) =
                self.dispatcher.reserve_for_backlog(&key.queue, not, self.time.now())
            else {
                return Ok(());
            };
            let command = Command::Assign { step: key.step.step, session, agent };
            let result = self.ask(key.step.task, Op::Do(command), Vec::new(), None).await;
            if result.is_err() {
                self.dispatcher.unreserve(session);
            }
            match result {
                Err(Error::Refused(Refusal::StepRefusedBefore)) if not.is_none() => not = Some(session),
                result => return result.map(drop),
            }
        }
    }
}
