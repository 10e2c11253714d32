//! Telling webhooks of what happened, from the audit.
//!
//! Any number of replicas may do this at once. Whoever moves a webhook's `due` has it
//! for [`CLAIM`], and longer with every notice that is delivered; nobody else tells it
//! meanwhile. The place that it has come to is written after a delivery, so a replica
//! that dies in between has it told again: at least once. A notice that fails holds up
//! those behind it until it is delivered or too old.

use std::sync::Arc;

use quarterdeck_core::Span;
use quarterdeck_core::webhook::Webhook;
use quarterdeck_store::rows::{AuditEntry, WebhookRow};
use tokio::sync::Semaphore;

use super::address::Address;
use super::notice::{Line, is_news, parcel};
use crate::engine::Shared;
use crate::error::Result;

/// How long a webhook belongs to who tells it; longer than any try may take.
const CLAIM: Span = Span::from_secs(30);
/// Until a webhook is looked at again that is not known here yet, or no more.
const UNKNOWN_HERE: Span = Span::from_secs(1);
/// Entries that one webhook is taken past in one go.
const ENTRIES_MAX: u32 = 256;
/// Letters of an error that are kept.
const ERROR_MAX: usize = 300;

/// What became of one entry for one webhook.
enum Told {
    /// Not its business, or too old.
    Passed,
    Delivered,
    Failed(String),
}

impl Shared {
    pub(crate) async fn notify(self: Arc<Self>) {
        let slots = Arc::new(Semaphore::new(self.options.notices_in_flight));
        let mut failing = false;
        loop {
            let result = self.notify_once(&slots).await;
            match (&result, failing) {
                (Err(error), false) => tracing::warn!(%error, "webhooks cannot be looked at; trying on"),
                (Ok(()), true) => tracing::info!("webhooks are looked at again"),
                _ => {}
            }
            failing = result.is_err();
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = self.time.sleep(self.about(self.options.sweep_every)) => {}
            }
        }
    }

    /// Begins to tell those webhooks that are due, as many as there is room for.
    async fn notify_once(self: &Arc<Self>, slots: &Arc<Semaphore>) -> Result<()> {
        let free = u32::try_from(slots.available_permits()).unwrap_or(u32::MAX);
        if free == 0 {
            return Ok(());
        }
        for due in self.store.due_webhooks(free).await? {
            let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { break };
            let Some(row) = self.store.claim_webhook(due.webhook, due.due, CLAIM).await? else { continue };
            let shared = Arc::clone(self);
            self.time.spawn(async move {
                let webhook = row.webhook;
                if let Err(error) = shared.tell_webhook(row).await {
                    // Its claim runs out, and somebody goes on from the place written last.
                    tracing::warn!(%webhook, %error, "a webhook is told later");
                }
                drop(slot);
            });
        }
        Ok(())
    }

    /// Takes one webhook as far as it goes.
    async fn tell_webhook(&self, mut row: WebhookRow) -> Result<()> {
        let standing = self.standing_of(row.project).await?;
        let Some(webhook) = standing.webhooks.get(&row.webhook) else {
            self.store.settle_webhook(&row, UNKNOWN_HERE).await?;
            return Ok(());
        };
        for entry in self.store.audit_entries(row.project, row.passed, ENTRIES_MAX).await? {
            let told = self.tell_entry(webhook, &entry).await?;
            if let Told::Failed(why) = told {
                crate::metrics::notice("failed");
                row.failures = row.failures.saturating_add(1);
                row.last_error = why.chars().take(ERROR_MAX).collect();
                tracing::info!(webhook = %row.webhook, failures = row.failures, why = row.last_error, "a notice failed");
                self.store.settle_webhook(&row, self.pause_after(row.failures)).await?;
                return Ok(());
            }
            (row.passed, row.passed_at) = (entry.place, entry.at);
            if let Told::Delivered = told {
                crate::metrics::notice("delivered");
                (row.failures, row.last_error) = (0, String::new());
                row.delivered_at = Some(self.time.now());
                match self.store.settle_webhook(&row, CLAIM).await? {
                    Some(due) => row.due = due,
                    None => return Ok(()),
                }
            }
            if self.stopping.is_cancelled() {
                break;
            }
        }
        self.store.settle_webhook(&row, Span::from_micros(0)).await?;
        Ok(())
    }

    async fn tell_entry(&self, webhook: &Webhook, entry: &AuditEntry) -> Result<Told> {
        let Some((notice, id)) = Line::of(entry).filter(|(notice, _)| webhook.wants_kind(*notice)) else {
            return Ok(Told::Passed);
        };
        let Some(approval) = self.approval(id).await? else { return Ok(Told::Passed) };
        if !webhook.wants(notice, approval.asked.assessment.level) || !is_news(notice, &approval) {
            return Ok(Told::Passed);
        }
        let now = self.time.now();
        if now.since(entry.at) > self.options.notice_age_max {
            crate::metrics::notice("skipped");
            return Ok(Told::Passed);
        }
        // What was allowed when it was created may not be any more.
        let address = match Address::parse(&webhook.url) {
            Ok(address) if self.options.webhook_allow.permits(&address) => address,
            _ => return Ok(Told::Failed("the address is not allowed by this server any more".to_owned())),
        };
        let parcel = parcel(&self.secrets, webhook, address, entry, (notice, &approval), now)?;
        Ok(match self.time.courier().deliver(&parcel).await {
            Ok(()) => Told::Delivered,
            Err(why) => Told::Failed(why),
        })
    }

    /// Twice as long after every failure.
    fn pause_after(&self, failures: u32) -> Span {
        let (first, most) = (self.options.notice_backoff, self.options.notice_backoff_max);
        let doubled = first.as_micros().saturating_mul(1 << failures.saturating_sub(1).min(30));
        self.about(Span::from_micros(doubled.min(most.as_micros())))
    }

    /// Between half of it and all of it, so that replicas do not come all at once.
    fn about(&self, span: Span) -> Span {
        let half = span.as_micros() / 2;
        Span::from_micros(half + self.time.jitter(Span::from_micros(half)).as_micros())
    }
}
