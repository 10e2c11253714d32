//! An agent that calls, played by hand: no stream, no pings, one call at a time.

use std::time::Duration;

use quarterdeck_client::api::orchestration::v1::{
    AcquireStepsRequest, AcquireStepsResponse, Assign, CompleteStepRequest, FailStepRequest,
    ReleaseSessionRequest, ReportProgressRequest, RevokeCause,
};
use quarterdeck_client::{Client, Payload};
use tonic::Status;

use crate::expect::within;
use crate::world::World;

/// An agent and what it says in every call for steps.
pub struct Poller {
    /// The next call, without what each call says anew.
    pub request: AcquireStepsRequest,
    /// Of its session.
    pub session_id: String,
}

impl Poller {
    /// What an agent of one capability says to open a session.
    pub fn request(project: &str, name: &str, capability: &str) -> AcquireStepsRequest {
        AcquireStepsRequest {
            agent: name.to_owned(),
            build: "test".to_owned(),
            capabilities: vec![capability.to_owned()],
            project: project.to_owned(),
            max_steps: 1,
            ..AcquireStepsRequest::default()
        }
    }

    /// Opens a session through this client, with a lease of so many seconds.
    pub async fn open(
        client: &Client,
        project: &str,
        name: &str,
        capability: &str,
        lease: u32,
    ) -> Result<Self, Status> {
        let lease = Some(crate::plans::millis(lease * 1_000));
        let mut request = AcquireStepsRequest { lease, ..Self::request(project, name, capability) };
        let answer = acquire(client, request.clone()).await?;
        assert!(answer.steps.is_empty() && answer.revoked.is_empty(), "an opening call gives nothing");
        assert_eq!(answer.lease, lease);
        request.session_token = answer.session_token;
        Ok(Self { request, session_id: answer.session_id })
    }

    /// One call, exactly as the test wants it.
    pub async fn try_poll(
        &self,
        client: &Client,
        most: i32,
        wait: Duration,
        held: &[&Assign],
    ) -> Result<AcquireStepsResponse, Status> {
        let request = AcquireStepsRequest {
            max_steps: most,
            wait: Some(wait.try_into().unwrap()),
            held_leases: held.iter().map(|assign| assign.lease_token.clone()).collect(),
            ..self.request.clone()
        };
        let answer = acquire(client, request).await?;
        assert_eq!(answer.session_token, self.request.session_token, "the same in every answer");
        assert_eq!(answer.session_id, self.session_id);
        Ok(answer)
    }

    /// One call that waits for so long.
    pub async fn poll(
        &self,
        client: &Client,
        most: i32,
        wait: Duration,
        held: &[&Assign],
    ) -> AcquireStepsResponse {
        self.try_poll(client, most, wait, held).await.unwrap()
    }

    /// Calls until it has a step more.
    pub async fn next_step(&self, client: &Client, held: &[&Assign]) -> Assign {
        let calling = async {
            loop {
                let mut answer = self.poll(client, 1, Duration::from_secs(20), held).await;
                assert!(answer.steps.len() <= 1, "it has asked for one: {answer:?}");
                if let Some(assign) = answer.steps.pop() {
                    return assign;
                }
            }
        };
        within(&format!("a step for {}", self.request.agent), calling).await
    }

    /// The next step, which must be this one.
    pub async fn next_step_named(&self, client: &Client, key: &str) -> Assign {
        let assign = self.next_step(client, &[]).await;
        assert_eq!(assign.step_key, key);
        assign
    }

    /// Calls until it hears why this lease is over.
    pub async fn revoked(&self, client: &Client, assign: &Assign) -> RevokeCause {
        let calling = async {
            loop {
                let answer = self.poll(client, 0, Duration::from_secs(20), &[assign]).await;
                assert!(answer.steps.is_empty());
                if let [revoke] = &answer.revoked[..] {
                    assert_eq!(revoke.lease_token, assign.lease_token);
                    return revoke.cause();
                }
            }
        };
        within(&format!("a revocation for {}", self.request.agent), calling).await
    }

    /// Ends the session.
    pub async fn release(&self, client: &Client) -> Result<(), Status> {
        release(client, &self.request.session_token).await
    }
}

impl World {
    /// Opens a session of an agent that calls, with a lease that no test sees end.
    pub async fn poller(&self, name: &str, capability: &str) -> Poller {
        Poller::open(&self.admin, &self.project, name, capability, 60).await.unwrap()
    }
}

/// One call for steps.
pub async fn acquire(client: &Client, request: AcquireStepsRequest) -> Result<AcquireStepsResponse, Status> {
    let mut stub = client.worker_stub();
    Ok(within("the answer to a call for steps", stub.acquire_steps(request)).await?.into_inner())
}

/// Completes a step.
pub async fn complete(client: &Client, token: &str, output: Payload) -> Result<(), Status> {
    let request = CompleteStepRequest { lease_token: token.to_owned(), output: Some(output.into_proto()) };
    within("a completion", client.worker_stub().complete_step(request)).await.map(drop)
}

/// Fails a step.
pub async fn fail(client: &Client, assign: &Assign, fail: FailStepRequest) -> Result<(), Status> {
    let request = FailStepRequest { lease_token: assign.lease_token.clone(), ..fail };
    within("a failure", client.worker_stub().fail_step(request)).await.map(drop)
}

/// A failure for this reason.
pub fn because(reason: &str) -> FailStepRequest {
    let message = format!("{reason} happened");
    FailStepRequest { reason: reason.to_owned(), message, ..FailStepRequest::default() }
}

/// Tells of progress.
pub async fn progress(
    client: &Client,
    assign: &Assign,
    fraction: f64,
    checkpoint: Option<Payload>,
) -> Result<(), Status> {
    let request = ReportProgressRequest {
        lease_token: assign.lease_token.clone(),
        fraction,
        message: format!("at {fraction}"),
        checkpoint: checkpoint.map(Payload::into_proto),
        ..ReportProgressRequest::default()
    };
    within("progress", client.worker_stub().report_progress(request)).await.map(drop)
}

/// Ends the session of this token.
pub async fn release(client: &Client, session_token: &str) -> Result<(), Status> {
    let request = ReleaseSessionRequest { session_token: session_token.to_owned() };
    within("a release", client.worker_stub().release_session(request)).await.map(drop)
}
