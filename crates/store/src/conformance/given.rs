//! Material for cases: ids that differ, commits that say only what matters.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quarterdeck_core::stream::Kind;
use quarterdeck_core::{CommitId, Digest, ProjectId, SessionId, Span, StreamId, TaskId, Timestamp};
use uuid::Uuid;

use crate::commit::{Append, Commit, Guard, Outcome, RequestKey, RequestRecord};
use crate::port::Store;
use crate::rows::{
    LeaseRow, ProjectRow, QueueKey, ReadyKey, RowChange, SessionRow, SessionState, StepRef, TaskOpened,
};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Later ones are greater, like real ids.
fn id() -> Uuid {
    Uuid::from_u128((0x7000 << 64) | u128::from(NEXT.fetch_add(1, Ordering::Relaxed)))
}

pub fn task_id() -> TaskId {
    TaskId::from_uuid(id())
}

pub fn session_id() -> SessionId {
    SessionId::from_uuid(id())
}

pub fn stream_id() -> StreamId {
    StreamId::from_uuid(id())
}

pub fn replica() -> Uuid {
    id()
}

pub fn project() -> ProjectId {
    ProjectId::of("default")
}

/// `count` events for `stream` at `expected`, recognisable by the number in them.
pub fn append(stream: StreamId, expected: u64, count: u32) -> Append {
    let events: Vec<u64> = (1..=u64::from(count)).map(|place| expected + place).collect();
    Append {
        stream,
        kind: Kind::Task,
        project: project(),
        expected,
        count,
        body: serde_json::to_string(&events).unwrap(),
    }
}

pub fn commit(appends: Vec<Append>) -> Commit {
    Commit {
        id: CommitId::from_uuid(id()),
        appends,
        unchanged: Vec::new(),
        valid_until: None,
        request: None,
        payloads: Vec::new(),
        rows: Vec::new(),
    }
}

/// One event for one stream.
pub fn one(stream: StreamId, expected: u64) -> Commit {
    commit(vec![append(stream, expected, 1)])
}

impl Commit {
    #[must_use]
    pub fn with_rows(mut self, rows: impl IntoIterator<Item = RowChange>) -> Self {
        self.rows.extend(rows);
        self
    }

    #[must_use]
    pub fn guarding(mut self, stream: StreamId, head: u64) -> Self {
        self.unchanged.push(Guard { stream, head });
        self
    }

    #[must_use]
    pub fn until(mut self, time: Timestamp) -> Self {
        self.valid_until = Some(time);
        self
    }

    #[must_use]
    pub fn requested(mut self, request: &str) -> Self {
        let stream = self.appends[0].stream;
        let digest = Digest::of_content(request.as_bytes());
        self.request = Some(RequestRecord { key: request_key(request), digest, stream });
        self
    }
}

pub fn request_key(request: &str) -> RequestKey {
    RequestKey { project: project(), method: "CreateTask", request_id: request.to_owned() }
}

pub fn opened(task: TaskId) -> TaskOpened {
    TaskOpened {
        task,
        project: project(),
        display_name: "a task".to_owned(),
        labels: [("team".to_owned(), "red".to_owned())].into(),
        created_by: "tester".to_owned(),
        retry_of: None,
        step_count: 3,
        deadline: Timestamp::from_micros(77),
    }
}

/// A commit that opens a task and lists it.
pub fn open_task(task: TaskOpened) -> Commit {
    let mut commit = one(task.task.stream(), 0);
    commit.appends[0].project = task.project;
    commit.with_rows([RowChange::TaskOpened(task)])
}

pub fn step(task: TaskId, step: u16) -> StepRef {
    StepRef { task, step }
}

pub fn queue(capability: &str) -> QueueKey {
    QueueKey { project: project(), capability: capability.to_owned() }
}

pub fn ready(capability: &str, priority: u8, step: StepRef) -> ReadyKey {
    ReadyKey { queue: queue(capability), priority, step }
}

pub fn lease(step: StepRef, session: SessionId, token: u64) -> LeaseRow {
    LeaseRow { step, session, token }
}

pub fn named(name: &str) -> ProjectRow {
    ProjectRow { id: ProjectId::of(name), name: name.to_owned(), revision: 1 }
}

/// Two projects of one name: no database takes that.
pub fn poison(stream: StreamId) -> Commit {
    let name = stream.as_uuid().to_string();
    let put = || {
        RowChange::ProjectPut(ProjectRow { id: ProjectId::from_uuid(id()), name: name.clone(), revision: 1 })
    };
    one(stream, 0).with_rows([put(), put()])
}

pub fn session(agent: &str, replica: Uuid) -> SessionRow {
    SessionRow {
        session: session_id(),
        project: project(),
        agent: agent.to_owned(),
        build: "1".to_owned(),
        capabilities: vec!["read".to_owned(), "write \"it\"".to_owned()],
        slots: 4,
        principal: "key_x".to_owned(),
        resume_hash: [7; 32],
        replica,
        state: SessionState::Open,
        created_at: Timestamp::default(),
        lease: Span::ZERO,
        expires_at: Timestamp::default(),
    }
}

/// Submits one commit.
pub async fn submit(store: &dyn Store, commit: Commit) -> Outcome {
    let mut outcomes = store.commit(&[commit]).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Submits commits that must be done.
pub async fn done(store: &dyn Store, commits: &[Commit]) -> Vec<(Timestamp, i64)> {
    let outcomes = store.commit(commits).await.unwrap();
    assert_eq!(outcomes.len(), commits.len());
    outcomes.into_iter().map(|outcome| place(&outcome)).collect()
}

/// Time and position of what must be done.
pub fn place(outcome: &Outcome) -> (Timestamp, i64) {
    match outcome {
        Outcome::Done { at, position } => (*at, *position),
        other => panic!("not done: {other:?}"),
    }
}

pub async fn head(store: &dyn Store, stream: StreamId) -> Option<u64> {
    store.heads(&[stream]).await.unwrap().first().map(|(_, head)| *head)
}

/// Waits until `check` gives something; two looks are a few milliseconds apart.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let look = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), Box::pin(look)).await {
        Ok(found) => found,
        Err(_) => panic!("within 20 s, this did not happen: {what}"),
    }
}
