//! What agents ask for in the middle of a step, and start once it is granted. Some start
//! other bytes, some with a lease that is over, most at two replicas at once.

use futures::future::BoxFuture;
use quarterdeck_core::approval::{Approval, Effect, Phase};
use quarterdeck_core::{Action, ApprovalId, Span};
use quarterdeck_engine::approvals::Ask;
use quarterdeck_engine::session::Assignment;
use quarterdeck_engine::{Engine, Error};

use super::Agent;
use crate::dice::Dice;
use crate::history::Fact;
use crate::workload;
use crate::world::{self, World};

/// Times that an agent asks again where it was not answered.
const TRIES: u32 = 4;
/// Times that it waits for people.
const WAITS: u32 = 20;

impl Agent {
    /// Asks for a yes, in some steps.
    pub(super) fn ask(&mut self, assignment: &Assignment) {
        let token = assignment.token.clone();
        let before = std::mem::replace(&mut self.token_before, token.clone());
        if !self.dice.chance(0.3) {
            return;
        }
        let (world, agent, dice) = (self.world.clone(), self.index, self.dice.fork());
        let other = if before.is_empty() { token.clone() } else { before };
        let action = workload::action(dice.chance(0.2), dice.seed());
        // An assignment may be told again, and what is asked for then is something else.
        let key = format!("act-{}", dice.seed());
        let asking = Asking { world, agent, dice, token, other, key, action };
        self.world.executor.spawn(self.world.people, Box::pin(asking.through()));
    }
}

struct Asking {
    world: World,
    agent: usize,
    dice: Dice,
    token: String,
    /// Another lease of the same agent.
    other: String,
    key: String,
    action: Action,
}

impl Asking {
    async fn through(self) {
        self.world.executor.sleep(self.dice.millis(0, 300)).await;
        let (lease_token, key, action) = (self.token.clone(), self.key.clone(), self.action.clone());
        let asked = self
            .insist(move |engine: Engine| {
                let ask = Ask {
                    lease_token: lease_token.clone(),
                    request_key: key.clone(),
                    action: action.clone(),
                    comment: String::new(),
                };
                Box::pin(async move { engine.authorize(&world::agent(), ask).await })
            })
            .await;
        let Some(mut approval) = asked else { return };
        for _ in 0..WAITS {
            if approval.phase != Phase::Pending {
                break;
            }
            let Some(now) = self.wait(approval.id()).await else { return };
            approval = now;
        }
        if approval.phase == Phase::Granted {
            // Some dawdle, until it may be over.
            if self.dice.chance(0.3) {
                self.world.executor.sleep(self.dice.millis(0, 3_000)).await;
            }
            // Two at once; whatever the one is told, the other may have it.
            futures::future::join(self.start(approval.id()), self.start(approval.id())).await;
        }
    }

    async fn wait(&self, id: ApprovalId) -> Option<Approval> {
        self.insist(move |engine: Engine| {
            Box::pin(async move {
                engine.await_approval(&world::agent(), &id.to_string(), Span::from_secs(1)).await
            })
        })
        .await
    }

    async fn start(&self, id: ApprovalId) {
        let action = match self.dice.chance(0.1) {
            true => workload::action(false, self.dice.seed()),
            false => self.action.clone(),
        };
        let token = if self.dice.chance(0.1) { &self.other } else { &self.token }.clone();
        let (lease, bytes) = (token.clone(), action.clone());
        let started = self
            .insist(move |engine: Engine| {
                let (lease, bytes) = (lease.clone(), bytes.clone());
                Box::pin(async move {
                    engine.redeem_grant(&world::agent(), &id.to_string(), &lease, &bytes).await
                })
            })
            .await;
        if started.is_none() {
            return;
        }
        let (approval, digest) = (id.to_string(), action.digest());
        self.world.history.record(Fact::Started { agent: self.agent, token, approval, digest });
        let effects = match self.dice.chance(0.05) {
            true => vec![Effect { kind: "network".to_owned(), target: "10.0.0.1".to_owned() }],
            false => Vec::new(),
        };
        self.insist(move |engine: Engine| {
            let effects = effects.clone();
            Box::pin(async move { engine.report_effects(&world::agent(), &id.to_string(), effects, 0).await })
        })
        .await;
    }

    /// Asks until there is an answer, or enough of it. `None`: nothing came, or a refusal.
    async fn insist<T: Send + 'static>(
        &self,
        make: impl Fn(Engine) -> BoxFuture<'static, Result<T, Error>>,
    ) -> Option<T> {
        for tries in 1..=TRIES {
            let replica = self.dice.below(self.world.replicas());
            let asked = self.world.call(replica, &self.dice, |engine, _| make(engine)).await;
            match asked {
                Some(Ok(answer)) => return Some(answer),
                Some(Err(Error::Refused(_))) => return None,
                Some(Err(error)) if !crate::client::transient(&error) => {
                    let why = format!("{error:?}");
                    self.world.history.record(Fact::Baffled { agent: self.agent, why });
                    return None;
                }
                _ => self.world.executor.sleep(self.dice.millis(20, 300 * i64::from(tries))).await,
            }
        }
        None
    }
}
