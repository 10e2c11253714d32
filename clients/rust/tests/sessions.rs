//! The worker against a hand-played server: what a session promises to both sides.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use quarterdeck_client::api::orchestration::v1 as pb;
use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::r#type::v1::PayloadSummary;
use quarterdeck_client::api::r#type::v1::payload::Content;
use quarterdeck_client::{
    CancellationToken, Code, Ended, Error, Payload, StepContext, StepError, Worker, WorkerBuilder,
    WorkerState,
};
use support::{Fake, Peer, refusal, within};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;

struct Agent {
    shutdown: CancellationToken,
    run: JoinHandle<Result<Ended, Error>>,
}

impl Agent {
    #[allow(clippy::disallowed_methods, reason = "tests have no simulator")]
    fn run(builder: WorkerBuilder) -> Self {
        let shutdown = CancellationToken::new();
        let worker = builder.build().unwrap();
        Self { run: tokio::spawn(worker.run(shutdown.clone())), shutdown }
    }

    async fn end(self) -> Result<Ended, Error> {
        within("the agent's end", self.run).await.unwrap()
    }
}

fn builder(fake: &Fake) -> WorkerBuilder {
    Worker::builder(&fake.client, "tester").slots(2).abort_grace(Duration::from_millis(50))
}

/// Answers its input in upper case.
fn shouting(fake: &Fake) -> WorkerBuilder {
    builder(fake).on("echo", |step| async move { Ok(Payload::text(step.input().to_text()?.to_uppercase())) })
}

/// Hands each step to the test, and ends it when the test says how.
fn by_hand(fake: &Fake) -> (WorkerBuilder, mpsc::Receiver<Held>) {
    let (sender, steps) = mpsc::channel(16);
    let builder = builder(fake).on("echo", move |step| {
        let sender = sender.clone();
        async move {
            let (end, mut ended) = mpsc::channel(1);
            let _ = sender.send(Held { step, end }).await;
            ended.recv().await.unwrap_or_else(|| Err(StepError::fail("DROPPED", "")))
        }
    });
    (builder, steps)
}

struct Held {
    step: StepContext,
    end: mpsc::Sender<Result<Payload, StepError>>,
}

impl Held {
    async fn finish(self) {
        // Fails where the handler was stopped already, as some tests want it.
        let _ = self.end.send(Ok(Payload::text("done"))).await;
    }
}

async fn held(steps: &mut mpsc::Receiver<Held>) -> Held {
    within("a step", steps.recv()).await.unwrap()
}

fn text(payload: Option<quarterdeck_client::api::r#type::v1::Payload>) -> String {
    Payload::from(payload).to_text().unwrap()
}

async fn bye(peer: &mut Peer) {
    assert!(matches!(peer.next().await, Some(Up::Bye(_))));
    assert!(peer.next().await.is_none());
}

#[tokio::test]
async fn a_step_is_run_and_completed() {
    let mut fake = Fake::start().await;
    let agent = Agent::run(shouting(&fake).version("7").project("default"));
    let mut peer = fake.session().await;
    let hello = &peer.hello;
    assert_eq!((hello.agent.as_str(), hello.build.as_str(), hello.slots), ("tester", "7", 2));
    assert_eq!(
        (hello.project.as_str(), hello.capabilities.as_slice()),
        ("default", ["echo".to_owned()].as_slice())
    );
    assert!(hello.resume_token.is_empty() && hello.held_leases.is_empty());
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let complete = peer.complete().await;
    assert_eq!((complete.lease_token.as_str(), complete.number), ("l1", 1));
    assert_eq!(text(complete.output), "HELLO");
    peer.ack("l1", 1).await;
    agent.shutdown.cancel();
    assert!(matches!(peer.next().await, Some(Up::Credit(pb::Credit { slots: 0 }))));
    bye(&mut peer).await;
    assert_eq!(agent.end().await.unwrap(), Ended::Shutdown);
}

#[tokio::test]
async fn a_resume_sends_an_unacknowledged_completion_again() {
    for status in [
        Status::unavailable("the replica died"),
        Status::unknown("h2 protocol error"),
        refusal(Code::Internal, "INTERNAL", None),
    ] {
        let mut fake = Fake::start().await;
        let _agent = Agent::run(shouting(&fake));
        let mut peer = fake.session().await;
        peer.welcome("r1", false).await;
        peer.assign("l1").await;
        let first = peer.complete().await;
        peer.break_off(status).await;

        let mut peer = fake.session().await;
        assert_eq!(peer.hello.resume_token, "r1");
        assert_eq!(peer.hello.held_leases, ["l1"]);
        peer.welcome("r2", true).await;
        assert_eq!(peer.complete().await, first);
        peer.ack("l1", 1).await;
        // What is acknowledged is not sent again; the newest token counts.
        peer.assign("l2").await;
        assert_eq!(peer.complete().await.lease_token, "l2");
        peer.ack("l2", 1).await;
        peer.break_off(Status::unavailable("again")).await;
        let peer = fake.session().await;
        assert_eq!((peer.hello.resume_token.as_str(), peer.hello.held_leases.len()), ("r2", 0));
    }
}

#[tokio::test]
async fn a_step_that_ends_while_disconnected_is_completed_after_the_resume() {
    let mut fake = Fake::start().await;
    let (builder, mut steps) = by_hand(&fake);
    let _agent = Agent::run(builder);
    let peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let step = held(&mut steps).await;
    peer.break_off(Status::unavailable("down")).await;
    let mut peer = fake.session().await;
    assert_eq!(peer.hello.held_leases, ["l1"]);
    // Between Hello and Welcome.
    step.step.progress(0.5, "half").await;
    step.finish().await;
    peer.welcome("r2", true).await;
    let Some(Up::Progress(progress)) = peer.next().await else { panic!("no progress") };
    assert_eq!((progress.number, progress.fraction, progress.message.as_str()), (1, 0.5, "half"));
    assert_eq!(peer.complete().await.number, 2);
}

#[tokio::test]
async fn an_assignment_that_is_held_already_is_ignored() {
    let mut fake = Fake::start().await;
    let (builder, mut steps) = by_hand(&fake);
    let _agent = Agent::run(builder);
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let first = held(&mut steps).await;
    peer.assign("l1").await;
    peer.assign("l2").await;
    let second = held(&mut steps).await;
    assert_eq!((first.step.lease_token(), second.step.lease_token()), ("l1", "l2"));
    // Both slots are taken: a third is given back.
    peer.assign("l3").await;
    assert!(
        matches!(peer.next().await, Some(Up::Refuse(refuse)) if refuse.lease_token == "l3" && refuse.number == 1)
    );
}

#[tokio::test]
async fn a_revoked_step_is_cancelled_and_never_heard_of_again() {
    let mut fake = Fake::start().await;
    let (builder, mut steps) = by_hand(&fake);
    let _agent = Agent::run(builder);
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let revoked = held(&mut steps).await;
    peer.revoke("l1").await;
    within("the cancellation", revoked.step.cancelled().cancelled()).await;
    revoked.step.progress(0.9, "too late").await;
    revoked.finish().await;
    // The next word is about the next step.
    peer.assign("l2").await;
    held(&mut steps).await.finish().await;
    assert_eq!(peer.complete().await.lease_token, "l2");
}

#[tokio::test]
async fn a_handler_that_ignores_its_cancellation_is_stopped() {
    struct Tell(mpsc::Sender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.try_send(());
        }
    }
    let mut fake = Fake::start().await;
    let (dropped, mut stopped) = mpsc::channel(1);
    let _agent = Agent::run(builder(&fake).on("echo", move |_| {
        let tell = Tell(dropped.clone());
        async move {
            let _tell = tell;
            std::future::pending().await
        }
    }));
    let peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    peer.revoke("l1").await;
    within("the handler's end", stopped.recv()).await.unwrap();
}

#[tokio::test]
async fn a_rejected_lease_is_dropped() {
    let mut fake = Fake::start().await;
    let (builder, mut steps) = by_hand(&fake);
    let _agent = Agent::run(builder);
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let step = held(&mut steps).await;
    step.step.progress(0.1, "").await;
    assert!(matches!(peer.next().await, Some(Up::Progress(_))));
    peer.send(pb::session_response::Message::Reject(pb::Reject {
        lease_token: "l1".to_owned(),
        number: 1,
        reason: "LEASE_STALE".to_owned(),
        message: String::new(),
    }))
    .await;
    within("the cancellation", step.step.cancelled().cancelled()).await;
}

#[tokio::test]
async fn an_expired_session_is_given_up_for_a_new_one() {
    let mut fake = Fake::start().await;
    let (builder, mut steps) = by_hand(&fake);
    let _agent = Agent::run(builder);
    let peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let lost = held(&mut steps).await;
    peer.break_off(Status::unavailable("down")).await;
    let peer = fake.session().await;
    assert_eq!(peer.hello.resume_token, "r1");
    peer.break_off(refusal(Code::FailedPrecondition, "SESSION_EXPIRED", None)).await;
    within("the cancellation", lost.step.cancelled().cancelled()).await;
    let mut peer = fake.session().await;
    assert!(peer.hello.resume_token.is_empty() && peer.hello.held_leases.is_empty());
    peer.welcome("r2", false).await;
    lost.finish().await;
    peer.assign("l2").await;
    held(&mut steps).await.finish().await;
    assert_eq!(peer.complete().await.lease_token, "l2");
}

#[tokio::test]
async fn a_rotation_reconnects_with_everything_held() {
    let mut fake = Fake::start().await;
    let (builder, mut steps) = by_hand(&fake);
    let worker = builder.build().unwrap();
    let mut status = worker.status();
    let shutdown = CancellationToken::new();
    #[allow(clippy::disallowed_methods, reason = "tests have no simulator")]
    let run = tokio::spawn(worker.run(shutdown.clone()));
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let step = held(&mut steps).await;
    peer.go_away(pb::GoAwayCause::Rotate).await;
    assert!(peer.next().await.is_none());
    let mut peer = fake.session().await;
    assert_eq!(
        (peer.hello.resume_token.as_str(), peer.hello.held_leases.as_slice()),
        ("r1", ["l1".to_owned()].as_slice())
    );
    peer.welcome("r2", true).await;
    assert!(!step.step.cancelled().is_cancelled());
    step.finish().await;
    assert_eq!(peer.complete().await.number, 1);
    let seen = within("the status", status.wait_for(|status| status.reconnects == 1)).await.unwrap().clone();
    assert_eq!((seen.state, seen.session_id.as_str()), (WorkerState::Connected, "ses_r2"));
    peer.ack("l1", 1).await;
    shutdown.cancel();
    within("the end", run).await.unwrap().unwrap();
    assert_eq!(status.borrow_and_update().state, WorkerState::Ended);
}

#[tokio::test]
async fn a_drained_agent_finishes_what_it_holds_and_ends() {
    let mut fake = Fake::start().await;
    let (builder, mut steps) = by_hand(&fake);
    let agent = Agent::run(builder);
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let step = held(&mut steps).await;
    peer.go_away(pb::GoAwayCause::Drain).await;
    // One that crossed the word on its way is given back.
    peer.assign("l2").await;
    assert!(matches!(peer.next().await, Some(Up::Refuse(refuse)) if refuse.lease_token == "l2"));
    peer.ack("l2", 1).await;
    step.finish().await;
    assert_eq!(peer.complete().await.lease_token, "l1");
    peer.ack("l1", 1).await;
    bye(&mut peer).await;
    assert_eq!(agent.end().await.unwrap(), Ended::Drained);
}

#[tokio::test]
async fn a_replaced_agent_ends_with_an_error() {
    let mut fake = Fake::start().await;
    let agent = Agent::run(shouting(&fake));
    let peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.go_away(pb::GoAwayCause::Replaced).await;
    assert_eq!(agent.end().await.unwrap_err().code, Code::Aborted);
}

#[tokio::test]
async fn a_shutdown_waits_for_steps_no_longer_than_its_grace() {
    let mut fake = Fake::start().await;
    let (builder, mut steps) = by_hand(&fake);
    let agent = Agent::run(builder.grace(Duration::from_millis(100)));
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let step = held(&mut steps).await;
    agent.shutdown.cancel();
    assert!(matches!(peer.next().await, Some(Up::Credit(pb::Credit { slots: 0 }))));
    within("the cancellation", step.step.cancelled().cancelled()).await;
    // No word about the step: Bye gives it back.
    bye(&mut peer).await;
    assert_eq!(agent.end().await.unwrap(), Ended::Shutdown);
}

#[tokio::test]
async fn two_pings_without_an_answer_end_a_connection() {
    let mut fake = Fake::start().await;
    let _agent = Agent::run(shouting(&fake));
    let mut deaf = fake.session().await;
    deaf.answers_pings = false;
    deaf.welcome_with("r1", false, Duration::from_millis(20)).await;
    let mut peer = fake.session().await;
    assert_eq!(peer.hello.resume_token, "r1");
    // One that answers is kept, and what it sends still arrives after many pings.
    peer.welcome_with("r2", true, Duration::from_millis(20)).await;
    for _ in 0..10 {
        assert!(tokio::time::timeout(Duration::from_millis(20), peer.next()).await.is_err());
    }
    peer.assign("l1").await;
    assert_eq!(peer.complete().await.lease_token, "l1");
}

#[tokio::test]
async fn a_panic_fails_its_step_and_no_other() {
    let mut fake = Fake::start().await;
    let _agent = Agent::run(builder(&fake).capability("echo").handler(|step| async move {
        assert!(step.step_key() != "step-l1", "kaboom");
        Ok(Payload::empty())
    }));
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    let fail = peer.fail().await;
    assert_eq!((fail.reason.as_str(), fail.not_retryable), ("AGENT_PANIC", false));
    assert!(fail.message.contains("kaboom"), "{}", fail.message);
    peer.assign("l2").await;
    assert_eq!(peer.complete().await.lease_token, "l2");
}

#[tokio::test]
async fn a_handlers_failure_reaches_the_server_as_it_was_meant() {
    let mut fake = Fake::start().await;
    let _agent = Agent::run(builder(&fake).capability("echo").handler(|step| async move {
        match step.step_key() {
            "step-final" => Err(StepError::not_retryable("BAD_INPUT", "no")),
            "step-later" => Err(StepError::fail("BUSY", "no").retry_after(Duration::from_secs(3))),
            "step-refuse" => Err(StepError::refuse("not mine")),
            _ => Ok(Payload::json(&step.json::<u32>()?)?),
        }
    }));
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("final").await;
    let fail = peer.fail().await;
    assert_eq!((fail.reason.as_str(), fail.not_retryable, fail.retry_after), ("BAD_INPUT", true, None));
    peer.assign("later").await;
    let fail = peer.fail().await;
    assert_eq!((fail.not_retryable, fail.retry_after.unwrap().seconds), (false, 3));
    peer.assign("refuse").await;
    assert!(matches!(peer.next().await, Some(Up::Refuse(refuse)) if refuse.message == "not mine"));
    // The input is no number: `?` on any error.
    peer.assign("other").await;
    assert_eq!(peer.fail().await.reason, "AGENT_ERROR");
    peer.assign_with("good", |assign| assign.input = Payload::json(&7).unwrap().into()).await;
    assert_eq!(Payload::from(peer.complete().await.output).parse::<u32>().unwrap(), 7);
}

#[tokio::test]
async fn outputs_that_were_left_out_are_fetched() {
    let mut fake = Fake::start().await;
    let _agent = Agent::run(builder(&fake).on("echo", |step| async move {
        let outputs = step.dependencies().await?;
        let texts: Result<Vec<_>, _> = outputs
            .iter()
            .map(|(key, output)| Ok::<_, Error>(format!("{key}={}", output.to_text()?)))
            .collect();
        Ok(Payload::text(texts?.join("; ")))
    }));
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign_with("l1", |assign| {
        let omitted = quarterdeck_client::api::r#type::v1::Payload {
            media_type: String::new(),
            content: Some(Content::Omitted(PayloadSummary::default())),
        };
        assign.dependencies = vec![
            pb::DependencyOutput { step_key: "a".to_owned(), output: Payload::text("here").into() },
            pb::DependencyOutput { step_key: "b".to_owned(), output: Some(omitted) },
        ];
    })
    .await;
    assert_eq!(text(peer.complete().await.output), "a=here; b=b for l1");
}

#[tokio::test]
async fn a_credential_that_may_not_ends_the_agent_and_a_busy_server_does_not() {
    let mut fake = Fake::start().await;
    let agent = Agent::run(shouting(&fake));
    fake.session().await.break_off(refusal(Code::Unavailable, "DRAINING", None)).await;
    fake.session()
        .await
        .break_off(refusal(Code::ResourceExhausted, "OVERLOADED", Some(Duration::from_millis(5))))
        .await;
    fake.session().await.break_off(refusal(Code::PermissionDenied, "ROLE_MISSING", None)).await;
    let error = agent.end().await.unwrap_err();
    assert_eq!(error.reason_name(), "ROLE_MISSING");
}

#[tokio::test]
async fn an_agent_that_cannot_work_is_not_built() {
    let fake = Fake::start().await;
    let ok = || async { Ok(Payload::empty()) };
    for (builder, word) in [
        (builder(&fake), "capability"),
        (builder(&fake).capability("read"), "read"),
        (builder(&fake).on("read", move |_| ok()).slots(0), "slots"),
        (builder(&fake).on("read", move |_| ok()).slots(1_001), "slots"),
    ] {
        let error = builder.build().unwrap_err();
        assert!(error.message.contains(word), "{error}");
    }
}

/// The example is what the README shows: it must work as it stands.
#[tokio::test]
async fn the_example_agent_works() {
    let mut fake = Fake::start().await;
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join("agent");
    assert!(program.exists(), "{} is built by `cargo test -p quarterdeck-client`", program.display());
    let _process = tokio::process::Command::new(program)
        .env("QUARTERDECK_ADDRESS", &fake.endpoint)
        .env("QUARTERDECK_API_KEY", "qd_test")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut peer = fake.session().await;
    peer.welcome("r1", false).await;
    peer.assign("l1").await;
    assert_eq!(text(peer.complete().await.output), "HELLO");
}
