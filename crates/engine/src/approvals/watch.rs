//! Following the approvals of a project, in commit order.
//!
//! As in [`crate::project_watch`]: the cursor is a position in the log; each watch
//! reads the table, hints only make it read sooner. A frame is the approval as it was
//! after the commit at its position, so that nothing of its course is left out.

use std::collections::VecDeque;
use std::sync::Arc;

use quarterdeck_core::approval::{Approval, Event, Level, apply};
use quarterdeck_core::{ApprovalId, ProjectId, Span};
use quarterdeck_store::Followed;
use quarterdeck_store::rows::EventRow;
use tokio::sync::watch;

use crate::auth::Principal;
use crate::cursor::{Cursor, Watched};
use crate::engine::{Engine, Shared};
use crate::error::{Error, Result};
use crate::events::decode_row;
use crate::hub::PROJECT_POLL;

/// Pending approvals in the snapshot, at most.
const SNAPSHOT_MAX: u32 = 1_000;
/// Rows read at a time.
const READ_MAX: u32 = 200;

/// One frame of a watch, and where to resume after it; nowhere within a snapshot.
#[derive(Clone, Debug)]
pub struct ApprovalFrame {
    pub cursor: String,
    pub item: ApprovalItem,
}

#[derive(Clone, Debug)]
pub enum ApprovalItem {
    Approval(Box<Approval>),
    Heartbeat,
}

/// A watch of the approvals of one project.
pub struct ApprovalWatch {
    shared: Arc<Shared>,
    project: ProjectId,
    min_level: Option<Level>,
    /// Position of the last row looked at, and how many of its rows are done.
    position: u64,
    within: u32,
    ready: VecDeque<ApprovalFrame>,
    changes: watch::Receiver<u64>,
    quiet: Span,
}

impl Drop for ApprovalWatch {
    fn drop(&mut self) {
        self.shared.hub.close();
    }
}

impl Engine {
    pub async fn watch_approvals(
        &self,
        caller: &Principal,
        project: &str,
        min_level: Option<Level>,
        resume_after: &str,
    ) -> Result<ApprovalWatch> {
        let project = caller.project(project)?;
        let shared = Arc::clone(&self.0);
        shared.project(&project).await?;
        if shared.draining.is_cancelled() {
            return Err(Error::Draining);
        }
        let id = ProjectId::of(&project);
        let changes = shared.hub.project(id);
        // The position first: what is committed after it comes as changes.
        let head = shared.store.position().await?.unsigned_abs();
        let (position, within) = match resume_after {
            "" => (head, u32::MAX),
            text => {
                let cursor = Cursor::read(text, Watched::Approvals, id.as_uuid(), shared.store.epoch())?;
                if cursor.place > head {
                    return Err(Error::CursorLost);
                }
                (cursor.place, cursor.within)
            }
        };
        shared.hub.open()?;
        let (ready, quiet) = (VecDeque::new(), Span::ZERO);
        let mut watch =
            ApprovalWatch { shared, project: id, min_level, position, within, ready, changes, quiet };
        if resume_after.is_empty() {
            watch.take_snapshot().await?;
        }
        Ok(watch)
    }
}

impl ApprovalWatch {
    async fn take_snapshot(&mut self) -> Result<()> {
        let ids = self.shared.store.pending_approvals(self.project, SNAPSHOT_MAX).await?;
        for approval in self.shared.approvals(&ids).await? {
            self.tell(approval, self.position, self.within);
        }
        if self.ready.is_empty() {
            // So that a watch of nothing can be resumed as well.
            let cursor = self.cursor(self.position, self.within);
            self.ready.push_back(ApprovalFrame { cursor, item: ApprovalItem::Heartbeat });
        }
        let last = self.ready.len().saturating_sub(1);
        self.ready.iter_mut().take(last).for_each(|frame| frame.cursor.clear());
        Ok(())
    }

    /// The next frame. Ends only with an error.
    pub async fn next(&mut self) -> Option<Result<ApprovalFrame>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.quiet = Span::ZERO;
                return Some(Ok(frame));
            }
            self.changes.borrow_and_update();
            match self.read().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return Some(Err(error)),
            }
            if self.quiet >= self.shared.options.heartbeat {
                self.quiet = Span::ZERO;
                let cursor = self.cursor(self.position, self.within);
                return Some(Ok(ApprovalFrame { cursor, item: ApprovalItem::Heartbeat }));
            }
            let shared = Arc::clone(&self.shared);
            let pause = PROJECT_POLL.min(shared.options.heartbeat);
            tokio::select! {
                biased;
                () = shared.draining.cancelled() => return Some(Err(Error::Draining)),
                changed = self.changes.changed() => if changed.is_err() {
                    return Some(Err(Error::Draining));
                },
                () = shared.time.sleep(pause) => {
                    self.quiet = Span::from_micros(self.quiet.as_micros() + pause.as_micros());
                }
            }
        }
    }

    /// Reads on from the cursor; false if there was nothing to read.
    async fn read(&mut self) -> Result<bool> {
        // A commit may have changed several: it is read again where only some were told.
        let from = if self.within == u32::MAX { self.position } else { self.position.saturating_sub(1) };
        let rows = self.shared.store.follow(self.project, Followed::Approvals, from as i64, READ_MAX).await?;
        let before = (self.position, self.within);
        let mut rest = rows.as_slice();
        while let Some(first) = rest.first() {
            let position = first.position;
            let end = rest.iter().position(|row| row.position != position).unwrap_or(rest.len());
            let (commit, more) = rest.split_at(end);
            self.take_commit(commit).await?;
            rest = more;
        }
        Ok((self.position, self.within) != before)
    }

    async fn take_commit(&mut self, rows: &[EventRow]) -> Result<()> {
        let position = rows.first().map_or(self.position, |row| row.position.unsigned_abs());
        let done = if position == self.position { self.within } else { 0 };
        let count = rows.len() as u32;
        for (index, row) in (0..count).zip(rows).skip(done as usize) {
            let id = ApprovalId::from_uuid(row.stream.as_uuid());
            if let Some(approval) = self.as_it_was(id, row.last).await? {
                let within = if index + 1 == count { u32::MAX } else { index + 1 };
                self.tell(approval, position, within);
            }
        }
        (self.position, self.within) = (position, u32::MAX);
        Ok(())
    }

    /// The approval after the event with this sequence.
    async fn as_it_was(&self, id: ApprovalId, last: u64) -> Result<Option<Approval>> {
        let mut state = None;
        for row in self.shared.store.load(id.stream(), 0, u32::MAX).await? {
            for event in decode_row::<Event>(&row)? {
                if event.sequence <= last {
                    state = apply(state, &event);
                }
            }
        }
        Ok(state)
    }

    fn tell(&mut self, approval: Approval, position: u64, within: u32) {
        if self.min_level.is_some_and(|least| approval.asked.assessment.level < least) {
            return;
        }
        let cursor = self.cursor(position, within);
        let item = ApprovalItem::Approval(Box::new(approval));
        self.ready.push_back(ApprovalFrame { cursor, item });
    }

    fn cursor(&self, place: u64, within: u32) -> String {
        let (epoch, of) = (self.shared.store.epoch(), self.project.as_uuid());
        Cursor { watched: Watched::Approvals, epoch, of, place, within }.text()
    }
}
