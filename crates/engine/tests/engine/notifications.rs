//! Webhooks on real replicas, with a courier that does what a test says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use quarterdeck_core::Span;
use quarterdeck_core::approval::{Level, Vote};
use quarterdeck_core::webhook::Notice;
use quarterdeck_engine::notifications::{Address, AllowList, Courier, NewWebhook, Parcel, WebhookView};
use quarterdeck_engine::{Engine, Error};
use quarterdeck_store::faults::Fault;
use tokio::sync::Notify;

use crate::approvals::{HARMLESS, RISKY, approve, approver, decide, gated, pending, script};

use crate::world::*;

const URL: &str = "https://hooks.example/in?token=of-the-receiver";

/// Writes down what it is given. The next tries end as it was told; then all are good.
#[derive(Default)]
struct Desk {
    tries: Mutex<Vec<Parcel>>,
    failures: Mutex<VecDeque<String>>,
    /// Tries at the moment, and most at a time.
    busy: AtomicUsize,
    busiest: AtomicUsize,
    /// One more try was made.
    tried: Notify,
    slow: bool,
}

#[async_trait]
impl Courier for Desk {
    async fn deliver(&self, parcel: &Parcel) -> Result<(), String> {
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.busiest.fetch_max(busy, Ordering::SeqCst);
        if self.slow {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.tries.lock().unwrap().push(parcel.clone());
        self.tried.notify_one();
        self.busy.fetch_sub(1, Ordering::SeqCst);
        match self.failures.lock().unwrap().pop_front() {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }
}

impl Desk {
    fn failing(times: usize) -> Self {
        let failures = Mutex::new(vec!["it answers 500".to_owned(); times].into());
        Self { failures, ..Self::default() }
    }

    /// Kinds of what was tried, in order.
    fn kinds(&self) -> Vec<String> {
        let tries = self.tries.lock().unwrap();
        let kind = |parcel: &Parcel| body(parcel)["kind"].as_str().unwrap().to_owned();
        tries.iter().map(kind).collect()
    }

    async fn tried(&self, times: usize) -> Vec<Parcel> {
        soon("tries of a courier", async {
            loop {
                let tries = self.tries.lock().unwrap().clone();
                if tries.len() >= times {
                    return tries;
                }
                self.tried.notified().await;
            }
        })
        .await
    }
}

fn body(parcel: &Parcel) -> serde_json::Value {
    serde_json::from_str(&parcel.body).unwrap()
}

fn id(parcel: &Parcel) -> String {
    body(parcel)["id"].as_str().unwrap().to_owned()
}

/// A world in which this desk may be told.
fn world(desk: &Arc<Desk>) -> World {
    let mut world = World::new();
    world.options.webhook_allow = AllowList(vec!["hooks.example".parse().unwrap()]);
    world.options.notice_backoff = Span::from_millis(100);
    world.courier = Arc::<Desk>::clone(desk);
    world
}

fn new(kinds: &[Notice]) -> NewWebhook {
    NewWebhook {
        address: Address::parse(URL).unwrap(),
        link_template: "https://desk.example/approvals/{approval}".to_owned(),
        kinds: kinds.iter().copied().collect(),
        min_level: None,
    }
}

async fn listed(engine: &Engine) -> WebhookView {
    engine.list_webhooks(&caller(), "").await.unwrap().remove(0)
}

/// A request that is pending, and then approved or denied.
async fn decided(engine: &Engine, vote: Vote) {
    diligent(engine.open_session(&caller(), hello(4)).await.unwrap());
    engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let target = pending(engine).await;
    match vote {
        Vote::Approve => approve(engine, target).await,
        Vote::Deny => drop(decide(engine, &approver("ann"), target, Vote::Deny).await.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_of_what_they_are_asked_and_of_nothing_that_settles_itself() {
    let desk = Arc::new(Desk::default());
    let world = world(&desk);
    let replica = world.replica().await;
    let engine = &replica.engine;
    let (view, secret) = engine.create_webhook(&caller(), "", new(&[]), "").await.unwrap();
    assert!(secret.unwrap().starts_with("whsec_"));
    diligent(engine.open_session(&caller(), hello(4)).await.unwrap());
    let task = engine.create_task(&caller(), "", "", gated(&script(HARMLESS))).await.unwrap();
    ended(engine, &task).await;
    let task = engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let target = pending(engine).await;
    approve(engine, target).await;
    ended(engine, &task).await;
    let told = desk.tried(2).await;
    assert_eq!(desk.kinds(), ["approval.requested", "approval.granted"]);
    let expected = BTreeMap::from([
        ("kind", "approval.requested".to_owned()),
        ("project", "default".to_owned()),
        ("approval", target.id.to_string()),
        ("task", task.id.to_string()),
        ("level", "high".to_owned()),
        ("url", format!("https://desk.example/approvals/{}", target.id)),
        ("id", id(&told[0])),
        ("at", body(&told[0])["at"].as_str().unwrap().to_owned()),
    ]);
    assert_eq!(body(&told[0]), serde_json::to_value(expected).unwrap(), "ids and a link, and nothing else");
    assert_ne!(id(&told[0]), id(&told[1]));
    assert_eq!(told[0].headers[0], ("webhook-id", id(&told[0])));
    let progress = soon("the cursor", async {
        loop {
            let progress = listed(engine).await.progress.unwrap();
            if progress.delivered_at.is_some() && progress.passed > view.progress.as_ref().unwrap().passed {
                return progress;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!((progress.failures, progress.last_error.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_fails_is_tried_again_and_those_behind_it_wait() {
    let desk = Arc::new(Desk::failing(3));
    let world = world(&desk);
    let replica = world.replica().await;
    let engine = &replica.engine;
    engine.create_webhook(&caller(), "", new(&[]), "").await.unwrap();
    decided(engine, Vote::Deny).await;
    let told = desk.tried(5).await;
    let requested = "approval.requested";
    assert_eq!(desk.kinds(), [requested, requested, requested, requested, "approval.denied"]);
    assert!(told[..4].iter().all(|again| id(again) == id(&told[0]) && again.body == told[0].body));
    let times: Vec<i64> = told[..4].iter().map(|parcel| parcel.headers[1].1.parse().unwrap()).collect();
    assert!(times.is_sorted(), "each try is signed with its own time: {times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_shown_until_it_goes_well() {
    let desk = Arc::new(Desk::failing(1));
    let mut world = world(&desk);
    world.options.notice_backoff = Span::from_secs(2);
    let replica = world.replica().await;
    let engine = &replica.engine;
    engine.create_webhook(&caller(), "", new(&[Notice::Requested]), "").await.unwrap();
    decided(engine, Vote::Deny).await;
    let shown = |failures: u32| async move {
        soon("how it stands", async {
            loop {
                let progress = listed(engine).await.progress.unwrap();
                if progress.failures == failures && (failures > 0 || progress.delivered_at.is_some()) {
                    return progress;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    };
    let failed = shown(1).await;
    assert_eq!((failed.last_error.as_str(), failed.delivered_at), ("it answers 500", None));
    assert_eq!(shown(0).await.last_error, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_hears_only_what_it_asked_for() {
    let desk = Arc::new(Desk::default());
    let world = world(&desk);
    let replica = world.replica().await;
    let engine = &replica.engine;
    let denied = new(&[Notice::Denied]);
    engine
        .create_webhook(&caller(), "", NewWebhook { min_level: Some(Level::High), ..denied }, "")
        .await
        .unwrap();
    decided(engine, Vote::Approve).await;
    decided(engine, Vote::Deny).await;
    desk.tried(1).await;
    assert_eq!(desk.kinds(), ["approval.denied"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_passed_over() {
    let desk = Arc::new(Desk::failing(1));
    let mut world = world(&desk);
    world.options.notice_age_max = Span::from_millis(400);
    // Longer than that: the first is too old when it would be tried again.
    world.options.notice_backoff = Span::from_secs(1);
    let replica = world.replica().await;
    let engine = &replica.engine;
    engine.create_webhook(&caller(), "", new(&[Notice::Requested]), "").await.unwrap();
    decided(engine, Vote::Deny).await;
    let first = desk.tried(1).await.remove(0);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    decided(engine, Vote::Deny).await;
    let told = desk.tried(2).await;
    assert_ne!(id(&told[1]), id(&first));
    assert_eq!(told.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_never_tell_one_webhook_at_the_same_time() {
    let desk = Arc::new(Desk { slow: true, ..Desk::default() });
    let world = world(&desk);
    let (one, other) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    one.engine.create_webhook(&caller(), "", new(&[]), "").await.unwrap();
    for _ in 0..3 {
        decided(&one.engine, Vote::Deny).await;
    }
    let told = desk.tried(6).await;
    let ids: BTreeSet<String> = told.iter().map(id).collect();
    assert_eq!((ids.len(), told.len()), (6, 6), "each once");
    assert_eq!(desk.busiest.load(Ordering::SeqCst), 1);
    drop(other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_a_delivery_and_its_record_tells_again() {
    let desk = Arc::new(Desk::default());
    let world = world(&desk);
    let replica = world.replica_on(deaf()).await;
    let engine = &replica.engine;
    engine.create_webhook(&caller(), "", new(&[Notice::Requested]), "").await.unwrap();
    // What was delivered cannot be written: as if the replica had died there. Its claim
    // is over at once here, so that nobody has to wait for it.
    replica.script.push("settle_webhook", Fault::Refuse);
    decided(engine, Vote::Deny).await;
    desk.tried(1).await;
    soon("the fault", async {
        while replica.script.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    engine.stop();
    world.end_claims().await;
    let next = world.replica_on(deaf()).await;
    let told = desk.tried(2).await;
    assert_eq!(id(&told[0]), id(&told[1]), "the receiver tells by the id that it has seen it");
    drop(next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_the_operator_allows_is_told_and_it_is_checked_again() {
    let desk = Arc::new(Desk::default());
    let mut world = world(&desk);
    let replica = world.replica_on(deaf()).await;
    let elsewhere = NewWebhook { address: Address::parse("https://evil.example/x?y").unwrap(), ..new(&[]) };
    let refused = replica.engine.create_webhook(&caller(), "", elsewhere, "").await.unwrap_err();
    assert_eq!(refused, Error::WebhookAddressNotAllowed { address: "https://evil.example".to_owned() });
    replica.engine.create_webhook(&caller(), "", new(&[Notice::Requested]), "").await.unwrap();
    drop(replica);
    world.options.webhook_allow = AllowList(vec!["other.example".parse().unwrap()]);
    let replica = world.replica_on(deaf()).await;
    decided(&replica.engine, Vote::Deny).await;
    let failed = soon("a failure", async {
        loop {
            let progress = listed(&replica.engine).await.progress.unwrap();
            if progress.failures > 0 {
                return progress;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(failed.last_error.contains("not allowed"), "{}", failed.last_error);
    assert_eq!(desk.kinds(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_happens_once_and_its_secret_is_answered_once() {
    let desk = Arc::new(Desk::default());
    let world = world(&desk);
    let replica = world.replica().await;
    let engine = &replica.engine;
    let (made, secret) = engine.create_webhook(&caller(), "", new(&[]), "once").await.unwrap();
    let (again, none) = engine.create_webhook(&caller(), "", new(&[]), "once").await.unwrap();
    assert_eq!((made.webhook.id, secret.is_some(), none), (again.webhook.id, true, None));
    let reused = engine.create_webhook(&caller(), "", new(&[Notice::Incident]), "once").await;
    assert_eq!(reused.unwrap_err(), Error::RequestIdReused);
    let id = made.webhook.id.to_string();
    for _ in 0..2 {
        engine.delete_webhook(&caller(), "", &id, "gone").await.unwrap();
    }
    assert_eq!(engine.list_webhooks(&caller(), "").await.unwrap(), []);
    assert!(engine.delete_webhook(&caller(), "", &id, "").await.is_err());
    assert!(engine.delete_webhook(&caller(), "", "whk_x", "").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_created_takes_no_grant_away() {
    let desk = Arc::new(Desk::default());
    let world = world(&desk);
    let replica = world.replica().await;
    let engine = &replica.engine;
    let task = engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let worker = engine.open_session(&caller(), hello(4)).await.unwrap();
    diligent(worker);
    let target = pending(engine).await;
    engine.create_webhook(&caller(), "", new(&[]), "").await.unwrap();
    approve(engine, target).await;
    let task = ended(engine, &task).await;
    assert_eq!(task.state, quarterdeck_core::task::State::Succeeded, "{:?}", task.stop);
}
