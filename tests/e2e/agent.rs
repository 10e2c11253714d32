//! An agent played by hand: it says exactly what a test wants, when it wants.
//!
//! Only pinging happens by itself, until [`Agent::fall_silent`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::session_response::Message as Down;
use quarterdeck_client::api::orchestration::v1::{
    Assign, Bye, Complete, Credit, Fail, GoAway, GoAwayCause, Hello, Ping, Progress, Refuse, Reject, Revoke,
    RevokeCause, SessionRequest, SessionResponse, Welcome,
};
use quarterdeck_client::{Client, Payload};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::expect::within;

/// One connection of a session.
pub struct Agent {
    /// What it said to open this connection.
    pub hello: Hello,
    /// What it was answered.
    pub welcome: Welcome,
    up: mpsc::Sender<SessionRequest>,
    down: Streaming<SessionResponse>,
    /// Messages that came while the test waited for others.
    heard: VecDeque<Down>,
    numbers: BTreeMap<String, i64>,
    pinging: JoinHandle<()>,
}

impl Agent {
    /// What an agent of one capability or more says first.
    pub fn hello(project: &str, name: &str, capabilities: &[&str], slots: i32) -> Hello {
        Hello {
            agent: name.to_owned(),
            build: "test".to_owned(),
            capabilities: capabilities.iter().map(|&capability| capability.to_owned()).collect(),
            slots,
            project: project.to_owned(),
            ..Hello::default()
        }
    }

    /// Opens or resumes a session. Pings from then on.
    pub async fn open(client: &Client, hello: Hello) -> Result<Self, Status> {
        let (up, mut down) = stream(client, vec![Up::Hello(hello.clone())]).await?;
        let welcome = match within("Welcome", down.message()).await? {
            Some(SessionResponse { message: Some(Down::Welcome(welcome)) }) => welcome,
            other => panic!("the first message must be Welcome, is {other:?}"),
        };
        let every: Duration = welcome.ping_interval.expect("a ping interval").try_into().unwrap();
        let pinging = tokio::spawn(ping(up.downgrade(), every));
        let (heard, numbers) = (VecDeque::new(), BTreeMap::new());
        Ok(Self { hello, welcome, up, down, heard, numbers, pinging })
    }

    /// What this agent says to come back, still working on these leases.
    pub fn back(&self, held: &[&Assign]) -> Hello {
        Hello {
            resume_token: self.welcome.resume_token.clone(),
            held_leases: held.iter().map(|assign| assign.lease_token.clone()).collect(),
            ..self.hello.clone()
        }
    }

    /// Pings no more; the connection stays open.
    pub fn fall_silent(&self) {
        self.pinging.abort();
    }

    /// Says one thing.
    pub async fn say(&self, message: Up) {
        let request = SessionRequest { message: Some(message) };
        // A stream that the server has closed shows in what is heard.
        let _ = self.up.send(request).await;
    }

    /// The number of the next word about a lease.
    fn number(&mut self, token: &str) -> i64 {
        let number = self.numbers.entry(token.to_owned()).or_default();
        *number += 1;
        *number
    }

    /// Tells of progress; answers the number of that word.
    pub async fn progress(&mut self, assign: &Assign, fraction: f64, checkpoint: Option<Payload>) -> i64 {
        let lease_token = assign.lease_token.clone();
        let number = self.number(&lease_token);
        let checkpoint = checkpoint.map(Payload::into_proto);
        let message = format!("at {fraction}");
        self.say(Up::Progress(Progress {
            lease_token,
            number,
            fraction,
            message,
            checkpoint,
            ..Progress::default()
        }))
        .await;
        number
    }

    /// Sends a completion; answers its number.
    pub async fn complete(&mut self, assign: &Assign, output: Payload) -> i64 {
        let number = self.number(&assign.lease_token);
        self.complete_as(assign, number, output).await;
        number
    }

    /// Sends a completion under this number.
    pub async fn complete_as(&self, assign: &Assign, number: i64, output: Payload) {
        let lease_token = assign.lease_token.clone();
        let output = Some(output.into_proto());
        self.say(Up::Complete(Complete { lease_token, number, output })).await;
    }

    /// Completes and waits until that is durable.
    pub async fn finish(&mut self, assign: &Assign, output: Payload) {
        let number = self.complete(assign, output).await;
        self.acked(assign, number).await;
    }

    /// Fails and waits until that is durable.
    pub async fn fail(&mut self, assign: &Assign, reason: &str) {
        let fail =
            Fail { reason: reason.to_owned(), message: format!("{reason} happened"), ..Fail::default() };
        self.fail_with(assign, fail).await;
    }

    /// Fails in a special way and waits until that is durable.
    pub async fn fail_with(&mut self, assign: &Assign, fail: Fail) {
        let lease_token = assign.lease_token.clone();
        let number = self.number(&lease_token);
        self.say(Up::Fail(Fail { lease_token, number, ..fail })).await;
        self.acked(assign, number).await;
    }

    /// Gives an assignment back.
    pub async fn refuse(&mut self, assign: &Assign) {
        let lease_token = assign.lease_token.clone();
        let number = self.number(&lease_token);
        self.say(Up::Refuse(Refuse { lease_token, number, message: "not mine".to_owned() })).await;
    }

    /// Says how many steps it will hold.
    pub async fn slots(&self, slots: i32) {
        self.say(Up::Credit(Credit { slots })).await;
    }

    /// Ends the session and waits for the end of the stream.
    pub async fn bye(mut self) {
        self.say(Up::Bye(Bye {})).await;
        let end = within("the end of a session", self.over()).await;
        assert!(end.is_none(), "a session that ends with Bye has no error: {end:?}");
    }

    /// Breaks the connection, as a crash or a cut cable would.
    pub fn vanish(self) -> Hello {
        self.back(&[])
    }

    /// The next message that is no Pong.
    pub async fn next(&mut self) -> Result<Option<Down>, Status> {
        if let Some(message) = self.heard.pop_front() {
            return Ok(Some(message));
        }
        self.receive().await
    }

    async fn receive(&mut self) -> Result<Option<Down>, Status> {
        loop {
            match self.down.message().await? {
                None => return Ok(None),
                Some(SessionResponse { message: Some(Down::Pong(_)) | None }) => {}
                Some(SessionResponse { message }) => return Ok(message),
            }
        }
    }

    /// Reads on to the end of the stream; answers the error that ended it, if any.
    pub async fn over(&mut self) -> Option<Status> {
        loop {
            match self.receive().await {
                Ok(Some(message)) => self.heard.push_back(message),
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }

    /// The first message that `pick` takes; others are kept for later.
    pub async fn wait<T>(&mut self, what: &str, pick: impl Fn(&Down) -> Option<T>) -> T {
        if let Some(at) = self.heard.iter().position(|message| pick(message).is_some()) {
            return self.heard.remove(at).and_then(|message| pick(&message)).unwrap();
        }
        let name = self.hello.agent.clone();
        let waiting = async {
            loop {
                let next = self.receive().await;
                let message = match next {
                    Ok(Some(message)) => message,
                    other => panic!("{name} waited for {what}, but the stream ended: {other:?}"),
                };
                match pick(&message) {
                    Some(found) => return found,
                    None => self.heard.push_back(message),
                }
            }
        };
        within(&format!("{what} for {name}"), waiting).await
    }

    /// The next assignment.
    pub async fn assigned(&mut self) -> Assign {
        let pick = |message: &Down| match message {
            Down::Assign(assign) => Some(assign.clone()),
            _ => None,
        };
        self.wait("an assignment", pick).await
    }

    /// The next assignment, which must be of this step.
    pub async fn assigned_step(&mut self, key: &str) -> Assign {
        let assign = self.assigned().await;
        assert_eq!(assign.step_key, key);
        assign
    }

    /// Waits until everything up to this number is durable.
    pub async fn acked(&mut self, assign: &Assign, number: i64) {
        let token = &assign.lease_token;
        let pick = |message: &Down| match message {
            Down::Ack(ack) if ack.lease_token == *token && ack.up_to >= number => Some(()),
            Down::Reject(reject) if reject.lease_token == *token => panic!("must be taken: {reject:?}"),
            _ => None,
        };
        self.wait("an acknowledgement", pick).await;
    }

    /// The answer to a word that does not count.
    pub async fn rejected(&mut self, assign: &Assign) -> Reject {
        let token = &assign.lease_token;
        let pick = |message: &Down| match message {
            Down::Reject(reject) if reject.lease_token == *token => Some(reject.clone()),
            Down::Ack(ack) if ack.lease_token == *token => panic!("must be rejected: {ack:?}"),
            _ => None,
        };
        self.wait("a rejection", pick).await
    }

    /// The same where others were taken before it.
    pub async fn rejected_after_acks(&mut self, assign: &Assign) -> Reject {
        let pick = |message: &Down| match message {
            Down::Reject(reject) if reject.lease_token == assign.lease_token => Some(reject.clone()),
            _ => None,
        };
        self.wait("a rejection", pick).await
    }

    /// Why a lease was taken away.
    pub async fn revoked(&mut self, assign: &Assign) -> RevokeCause {
        self.revoked_token(&assign.lease_token).await
    }

    /// Why the lease of this token was taken away.
    pub async fn revoked_token(&mut self, token: &str) -> RevokeCause {
        let pick = |message: &Down| match message {
            Down::Revoke(Revoke { lease_token, cause }) if lease_token == token => Some(*cause),
            _ => None,
        };
        let cause = self.wait("a revocation", pick).await;
        RevokeCause::try_from(cause).unwrap()
    }

    /// Why it shall go.
    pub async fn sent_away(&mut self) -> GoAwayCause {
        let pick = |message: &Down| match message {
            Down::GoAway(GoAway { cause, .. }) => Some(*cause),
            _ => None,
        };
        let cause = self.wait("GoAway", pick).await;
        GoAwayCause::try_from(cause).unwrap()
    }

    /// True where no assignment came that was not asked for.
    pub fn heard_no_assignment(&self) -> bool {
        !self.heard.iter().any(|message| matches!(message, Down::Assign(_)))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.pinging.abort();
    }
}

/// Opens a stream that says these things first, whatever they are.
pub async fn stream(
    client: &Client,
    first: Vec<Up>,
) -> Result<(mpsc::Sender<SessionRequest>, Streaming<SessionResponse>), Status> {
    let (up, requests) = mpsc::channel(64);
    for message in first {
        up.try_send(SessionRequest { message: Some(message) }).expect("room for the first words");
    }
    let opening = async { client.worker_stub().session(ReceiverStream::new(requests)).await };
    let down = within("a session stream", opening).await?.into_inner();
    Ok((up, down))
}

async fn ping(up: mpsc::WeakSender<SessionRequest>, every: Duration) {
    let mut turns = tokio::time::interval(every);
    loop {
        turns.tick().await;
        let Some(up) = up.upgrade() else { return };
        let message = Some(Up::Ping(Ping {}));
        if up.send(SessionRequest { message }).await.is_err() {
            return;
        }
    }
}
