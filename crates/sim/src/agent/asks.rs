//! What agents ask for in the middle of a step, and start once it is granted. Some start
//! other bytes, some with a lease that is over, most at two replicas at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
/// Microseconds within which an agent must be told what it asked for on its session.
const TOLD_WITHIN: i64 = 5_000_000;

/// What an agent waits for on its session.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<Mutex<BTreeMap<String, Wish>>>);

#[derive(Clone, Copy, Default)]
struct Wish {
    /// When the session that it has now was asked.
    said_at: Option<i64>,
    told: Option<Phase>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Wish>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is gone, and what it was asked for.
    pub fn leave(&self) {
        self.lock().values_mut().for_each(|wish| wish.said_at = None);
    }

    /// What the session is to be asked for; taken as said.
    pub fn take(&self, now: i64) -> Vec<String> {
        let mut wishes = self.lock();
        let open = wishes.iter_mut().filter(|(_, wish)| wish.said_at.is_none() && wish.told.is_none());
        open.map(|(id, wish)| {
            wish.said_at = Some(now);
            id.clone()
        })
        .collect()
    }

    /// The session tells.
    pub fn tell(&self, id: &str, phase: Phase) {
        if let Some(wish) = self.lock().get_mut(id) {
            wish.told = Some(phase);
        }
    }
}

impl Agent {
    /// Its session tells what became of an approval.
    pub(super) fn told(&self, id: String, approval: Result<Box<Approval>, Error>) {
        let agent = self.index;
        match approval {
            Ok(approval) => {
                self.desk.tell(&id, approval.phase);
                let phase = approval.phase;
                self.world.history.record(Fact::Told { agent, approval: id, phase });
            }
            Err(error) => {
                let why = format!("{id}: {error:?}");
                self.world.history.record(Fact::Baffled { agent, why });
            }
        }
    }

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
        let desk = self.desk.clone();
        let asking = Asking { world, agent, dice, desk, token, other, key, action };
        self.world.executor.spawn(self.world.people, Box::pin(asking.through()));
    }
}

struct Asking {
    world: World,
    agent: usize,
    dice: Dice,
    desk: Desk,
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
        if approval.phase == Phase::Pending && self.dice.chance(0.5) {
            self.listen(approval.id()).await;
        }
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

    /// Waits on the agent's session. Whoever is not told there in time, though nothing
    /// is broken any more, was forgotten.
    async fn listen(&self, id: ApprovalId) {
        let name = id.to_string();
        self.desk.lock().insert(name.clone(), Wish::default());
        let mut decided: Option<(i64, Option<i64>)> = None;
        for _ in 0..4 * WAITS {
            self.world.executor.sleep(self.dice.millis(200, 300)).await;
            let Some(wish) = self.desk.lock().get(&name).copied() else { return };
            let now = self.world.executor.now();
            if wish.told.is_some() || (wish.said_at.is_none() && !self.world.healed()) {
                break;
            }
            if let Some((since, said_at)) = decided {
                let same = said_at.is_some() && said_at == wish.said_at;
                if same && now - since > TOLD_WITHIN {
                    let why = format!("nothing of {name}, which is not pending any more");
                    self.world.history.record(Fact::Baffled { agent: self.agent, why });
                    break;
                }
                decided = same.then_some((since, said_at));
            } else if self.world.healed() {
                let ended = self.peek(id).await.is_some_and(|now| now.phase != Phase::Pending);
                decided = ended.then_some((now, wish.said_at));
            }
        }
        self.desk.lock().remove(&name);
    }

    async fn peek(&self, id: ApprovalId) -> Option<Approval> {
        self.insist(move |engine: Engine| {
            Box::pin(async move { engine.await_approval(&world::agent(), &id.to_string(), Span::ZERO).await })
        })
        .await
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
                    engine.redeem_grant(&world::agent(), &id.to_string(), &lease, Some(&bytes)).await
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
