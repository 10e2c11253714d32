//! Replicas on one SQLite file, each behind a script of faults, and an agent.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quarterdeck_core::key::{Role, Scope};
use quarterdeck_core::plan::{Plan, RetryPolicy, StepSpec, Timeouts};
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, Task};
use quarterdeck_core::{Payload, ProjectId, Span};
use quarterdeck_engine::notifications::courier::{Courier, NoCourier};
use quarterdeck_engine::session::{Assignment, Down, Hello, Up};
use quarterdeck_engine::sessions::SessionHandle;
use quarterdeck_engine::tasks::TaskRequest;
use quarterdeck_engine::{Bus, Engine, LocalBus, Options, Ports, Principal, Secrets};
use quarterdeck_store::faults::{Faulty, Script};
use quarterdeck_store::sql::SqliteOptions;
use quarterdeck_store::{SqlStore, Webhooks as _};

pub struct World {
    dir: tempfile::TempDir,
    bus: Arc<dyn Bus>,
    pub courier: Arc<dyn Courier>,
    pub options: Options,
}

pub struct Replica {
    pub engine: Engine,
    /// Faults to come in this replica's store.
    pub script: Arc<Script>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

impl World {
    pub fn new() -> Self {
        let options = Options {
            session_lease: Span::from_millis(900),
            renew_every: Span::from_millis(300),
            sweep_every: Span::from_millis(100),
            ..Options::default()
        };
        let courier = Arc::new(NoCourier);
        Self { dir: tempfile::tempdir().unwrap(), bus: Arc::new(LocalBus::default()), courier, options }
    }

    /// One more replica on the same file, on the bus given or the world's own.
    pub async fn replica_on(&self, bus: Arc<dyn Bus>) -> Replica {
        self.replica_with(bus, Script::default()).await
    }

    /// One whose store fails from the start.
    pub async fn replica_with(&self, bus: Arc<dyn Bus>, script: Script) -> Replica {
        let path = self.dir.path().join("log.db");
        let store = SqlStore::open_sqlite(&path, SqliteOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        let script = Arc::new(script);
        let faulty = Arc::new(Faulty::new(store, Arc::clone(&script)));
        let secrets = Secrets { bootstrap: None, pepper: vec![7; 32] };
        let ports = Ports { courier: Arc::clone(&self.courier), ..Ports::system() };
        let engine = Engine::start(self.options.clone(), faulty, bus, ports, secrets).await.unwrap();
        Replica { engine, script }
    }

    /// As if the time had passed for which webhooks are taken.
    pub async fn end_claims(&self) {
        let path = self.dir.path().join("log.db");
        let store = SqlStore::open_sqlite(&path, SqliteOptions::default()).await.unwrap();
        for row in store.webhooks_of(ProjectId::of("default"), 9).await.unwrap() {
            store.settle_webhook(&row, Span::from_micros(0)).await.unwrap();
        }
    }

    pub async fn replica(&self) -> Replica {
        self.replica_on(Arc::clone(&self.bus)).await
    }
}

/// A bus that carries nothing: replicas find out by looking.
pub fn deaf() -> Arc<dyn Bus> {
    Arc::new(LocalBus::default())
}

pub fn caller() -> Principal {
    Principal {
        subject: "tester".to_owned(),
        person: "tester".to_owned(),
        issuer: "test".to_owned(),
        roles: BTreeSet::from([Role::Admin]),
        scope: Scope::All,
        expires_at: None,
    }
}

pub fn plan(steps: &[(&str, &[&str])]) -> TaskRequest {
    let spec = |(key, after): &(&str, &[&str])| StepSpec {
        key: (*key).to_owned(),
        capability: "work".to_owned(),
        input: Some(Payload::new("text/plain", "in".into())),
        after: after.iter().map(|name| (*name).to_owned()).collect(),
        retry: RetryPolicy { initial_backoff: Span::from_millis(10), ..RetryPolicy::default() },
        timeouts: Timeouts::default(),
        priority: 0,
        action: None,
    };
    let plan = Plan::new(steps.iter().map(spec).collect(), None).unwrap();
    TaskRequest { display_name: String::new(), labels: BTreeMap::new(), plan, actions: Vec::new() }
}

pub fn hello(slots: u32) -> Hello {
    Hello { agent: "agent".into(), capabilities: vec!["work".into()], slots, ..Hello::default() }
}

/// Waits for something, with an end.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in 20 s"))
}

/// The next message that `pick` wants; others are passed over.
pub async fn until<T>(agent: &mut SessionHandle, what: &str, mut pick: impl FnMut(Down) -> Option<T>) -> T {
    soon(what, async {
        loop {
            let message = agent.next().await.unwrap_or_else(|| panic!("{what}: the connection ended"));
            if let Some(picked) = pick(message) {
                return picked;
            }
        }
    })
    .await
}

pub async fn assigned(agent: &mut SessionHandle) -> Assignment {
    until(agent, "an assignment", |down| match down {
        Down::Assign(assignment) => Some(*assignment),
        _ => None,
    })
    .await
}

pub async fn welcomed(agent: &mut SessionHandle) -> String {
    until(agent, "the welcome", |down| match down {
        Down::Welcome { resume_token, .. } => Some(resume_token),
        _ => None,
    })
    .await
}

pub fn complete(assignment: &Assignment) -> Up {
    let output = Some(Payload::new("text/plain", "out".into()));
    Up::Complete { token: assignment.token.clone(), number: 1, output }
}

/// An agent that finishes whatever it is given, until its connection ends.
pub fn diligent(mut agent: SessionHandle) -> tokio::task::JoinHandle<()> {
    #[allow(clippy::disallowed_methods)] // A test's own agent.
    tokio::spawn(async move {
        let mut ping = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                biased;
                message = agent.next() => match message {
                    Some(Down::Assign(assignment)) => drop(agent.sender().say(complete(&assignment)).await),
                    Some(_) => {}
                    None => return,
                },
                _ = ping.tick() => drop(agent.sender().say(Up::Ping).await),
            }
        }
    })
}

/// The whole history of a task, checked to be one.
pub async fn history(engine: &Engine, task: &Task) -> Vec<Recorded<Event>> {
    let (_, page) = engine.task_events(&caller(), &task.id.to_string(), 1_000, "").await.unwrap();
    let events = page.items;
    assert!(events.iter().zip(1..).all(|(event, next)| event.sequence == next), "dense from 1: {events:?}");
    assert!(matches!(events[0].event, Event::Created(_)));
    let ends = events.iter().filter(|event| matches!(event.event, Event::Ended { .. })).count();
    assert!(ends <= 1);
    if ends == 1 {
        assert!(matches!(events.last().unwrap().event, Event::Ended { .. }), "nothing after the end");
    }
    for step in 0..task.steps.len() as u16 {
        let done = events
            .iter()
            .filter(|event| matches!(event.event, Event::Succeeded { step: s, .. } if s == step));
        assert!(done.count() <= 1, "a completion is accepted once");
    }
    events
}

/// Waits for the task to end.
pub async fn ended(engine: &Engine, task: &Task) -> Arc<Task> {
    soon("the end of a task", async {
        let mut watch = engine.watch_task(&caller(), &task.id.to_string(), "").await.unwrap();
        while let Some(frame) = watch.next().await {
            frame.unwrap();
        }
        engine.get_task(&caller(), &task.id.to_string()).await.unwrap()
    })
    .await
}
