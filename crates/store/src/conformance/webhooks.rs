//! Webhooks: how far they have been told, and who tells them.

use quarterdeck_core::{Ctx, ProjectId, Span, Timestamp, WebhookId};

use super::fixture::Fixture;
use super::given::*;
use crate::port::Store;
use crate::rows::{AuditPlace, RowChange, WebhookRow};

const LEASE: Span = Span::from_secs(60);

fn webhook(number: u64) -> WebhookId {
    WebhookId::new(&Ctx::new(Timestamp::from_micros(1_000_000), [9; 32]), number)
}

fn added(number: u64) -> RowChange {
    RowChange::WebhookAdded { webhook: webhook(number), project: project() }
}

fn audited(project: ProjectId) -> RowChange {
    RowChange::Audited { project, body: "{}".to_owned() }
}

async fn commit_rows(store: &dyn Store, rows: impl IntoIterator<Item = RowChange>) -> i64 {
    done(store, &[one(stream_id(), 0).with_rows(rows)]).await[0].1
}

/// A webhook with one entry behind it, and that entry's position.
async fn behind(store: &dyn Store) -> (WebhookRow, i64) {
    commit_rows(store, [added(1)]).await;
    let entry = commit_rows(store, [audited(project())]).await;
    (store.due_webhooks(9).await.unwrap().remove(0), entry)
}

pub async fn a_webhook_is_due_once_there_is_something_behind_it(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    commit_rows(store, [audited(project())]).await;
    // The entry of the very commit is not behind it.
    let at = commit_rows(store, [added(1), audited(project())]).await;
    assert_eq!(store.due_webhooks(9).await.unwrap(), []);
    commit_rows(store, [audited(ProjectId::of("other"))]).await;
    assert_eq!(store.due_webhooks(9).await.unwrap(), []);
    commit_rows(store, [added(2)]).await;
    commit_rows(store, [audited(project())]).await;
    let due = store.due_webhooks(9).await.unwrap();
    assert_eq!(due.iter().map(|row| row.webhook).collect::<Vec<_>>(), [webhook(1), webhook(2)]);
    assert_eq!((due[0].project, due[0].passed.position, due[0].failures), (project(), at, 0));
    assert_eq!((due[0].last_error.as_str(), due[0].delivered_at), ("", None));
    assert_eq!(store.due_webhooks(1).await.unwrap(), due[..1]);
    assert_eq!(store.webhooks_of(project(), 9).await.unwrap(), due);
    assert_eq!(store.webhooks_of(project(), 1).await.unwrap(), due[..1]);
    assert_eq!(store.webhooks_of(ProjectId::of("other"), 9).await.unwrap(), []);
}

pub async fn a_webhook_is_taken_by_one_at_a_time(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let (seen, _) = behind(store).await;
    let take = || store.claim_webhook(seen.webhook, seen.due, LEASE);
    let (first, second) = futures::join!(take(), take());
    let taken: Vec<WebhookRow> = [first.unwrap(), second.unwrap()].into_iter().flatten().collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    let now = store.now().await.unwrap();
    assert!(taken[0].due > now && taken[0].due <= now.plus(LEASE), "for as long as it was taken");
    assert_eq!(WebhookRow { due: seen.due, ..taken[0].clone() }, seen);
    assert_eq!(store.due_webhooks(9).await.unwrap(), []);
    // Nobody takes what is not due, though he has seen the claim.
    assert_eq!(store.claim_webhook(seen.webhook, taken[0].due, LEASE).await.unwrap(), None);
    assert_eq!(store.claim_webhook(webhook(7), seen.due, LEASE).await.unwrap(), None);
}

pub async fn what_came_of_a_try_counts_only_while_the_claim_holds(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let (seen, entry) = behind(store).await;
    let claim = |seen: WebhookRow| async move {
        store.claim_webhook(seen.webhook, seen.due, Span::from_micros(0)).await.unwrap().unwrap()
    };
    let first = claim(seen).await;
    let failed = WebhookRow { failures: 3, last_error: "it answers 500".to_owned(), ..first.clone() };
    let due = store.settle_webhook(&failed, Span::from_micros(0)).await.unwrap().unwrap();
    let again = store.due_webhooks(9).await.unwrap().remove(0);
    assert_eq!(again, WebhookRow { due, ..failed.clone() }, "all of it is written");
    let second = claim(again).await;
    let passed = AuditPlace { position: entry, n: i64::MAX };
    let late = WebhookRow { passed, ..first };
    assert_eq!(store.settle_webhook(&late, LEASE).await.unwrap(), None, "the claim is another's by now");
    let at = Timestamp::from_micros(77);
    let told = WebhookRow {
        passed,
        passed_at: at,
        failures: 0,
        last_error: String::new(),
        delivered_at: Some(at),
        ..second
    };
    let due = store.settle_webhook(&told, Span::from_micros(0)).await.unwrap().unwrap();
    assert_eq!(store.webhooks_of(project(), 9).await.unwrap(), [WebhookRow { due, ..told }]);
    assert_eq!(store.due_webhooks(9).await.unwrap(), [], "nothing is behind it");
}

pub async fn a_webhook_of_a_refused_commit_is_not_there_and_a_removed_one_is_gone(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let refused = submit(store, one(stream_id(), 5).with_rows([added(1)])).await;
    assert_eq!(refused, crate::commit::Outcome::Conflict);
    assert_eq!(store.webhooks_of(project(), 9).await.unwrap(), []);
    let (seen, _) = behind(store).await;
    let taken = store.claim_webhook(seen.webhook, seen.due, LEASE).await.unwrap().unwrap();
    commit_rows(store, [RowChange::WebhookRemoved(seen.webhook)]).await;
    assert_eq!(store.webhooks_of(project(), 9).await.unwrap(), []);
    assert_eq!(store.settle_webhook(&taken, LEASE).await.unwrap(), None);
}
