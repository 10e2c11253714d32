//! Replicas on one store, and the way to them.
//!
//! A replica is a group of tasks: whatever it does for a caller runs there, so
//! that killing or pausing it also kills or pauses the calls it serves. Callers
//! see what a network would show them: an answer, or none.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use quarterdeck_core::Span;
use quarterdeck_core::key::{Role, Scope};
use quarterdeck_engine::session::{Down, Hello, Up};
use quarterdeck_engine::{Engine, Error, Options, Principal, Secrets};
use quarterdeck_store::faults::Faulty;
use tokio::sync::{mpsc, oneshot};

use crate::bus::PostOffice;
use crate::dice::Dice;
use crate::executor::{Executor, Group};
use crate::history::{Fact, History};
use crate::inline::Inline;
use crate::ports::ports;
use crate::weather::{Odds, Post, Weather, fault};

/// How long a caller waits for an answer.
const PATIENCE: Span = Span::from_secs(3);
/// Most that a replica's clock is off, in seconds.
const SKEW: i64 = 3_600;
/// Messages on their way on one connection.
const CONNECTION_MAX: usize = 256;

struct Living {
    group: Group,
    /// Absent while it starts.
    engine: Option<Engine>,
}

struct Replica {
    weather: Weather<Odds>,
    living: Mutex<Option<Living>>,
}

struct Inner {
    store: Inline,
    options: Options,
    replicas: Vec<Replica>,
    healed: AtomicBool,
}

/// The world; clones are the same one.
#[derive(Clone)]
pub struct World {
    inner: Arc<Inner>,
    pub executor: Executor,
    pub history: History,
    pub office: PostOffice,
    /// Group of agents, clients and the nemesis: they outlive every replica.
    pub people: Group,
    dice: Dice,
}

/// An agent's connection, as the agent has it.
pub struct Connection {
    pub up: mpsc::Sender<Up>,
    pub down: mpsc::Receiver<Down>,
}

impl World {
    pub fn new(executor: Executor, dice: Dice, store: Inline, replicas: usize) -> Self {
        let options = options(&dice);
        let replica = |_| Replica { weather: Weather::new(Odds::CALM), living: Mutex::new(None) };
        let inner = Inner {
            store,
            options,
            replicas: (0..replicas).map(replica).collect(),
            healed: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
            history: History::new(executor.clone()),
            office: PostOffice::new(executor.clone(), dice.fork()),
            people: executor.group(),
            executor,
            dice,
        }
    }

    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    pub fn replicas(&self) -> usize {
        self.inner.replicas.len()
    }

    /// True once nothing fails any more and agents are diligent.
    pub fn healed(&self) -> bool {
        self.inner.healed.load(Ordering::Relaxed)
    }

    pub fn weather(&self, replica: usize) -> Option<&Weather<Odds>> {
        self.inner.replicas.get(replica).map(|replica| &replica.weather)
    }

    fn living<T>(&self, replica: usize, look: impl FnOnce(&mut Option<Living>) -> T) -> Option<T> {
        let replica = self.inner.replicas.get(replica)?;
        Some(look(&mut replica.living.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Starts a replica that is not there.
    pub fn start(&self, index: usize) {
        let group = self.executor.group();
        let fresh = self.living(index, |living| {
            let fresh = living.is_none();
            if fresh {
                *living = Some(Living { group, engine: None });
            }
            fresh
        });
        let Some(weather) = self.weather(index).filter(|_| fresh == Some(true)).cloned() else {
            return;
        };
        let skew = self.dice.between(-SKEW, SKEW) * 1_000_000;
        self.history.record(Fact::Nemesis(format!("start {index}, its clock off by {skew}us")));
        let ports = ports(&self.executor, group, self.dice.fork(), skew);
        let (dice, executor) = (self.dice.fork(), self.executor.clone());
        let plan = move |_method: &'static str| fault(&weather, &dice, &executor);
        let store = Arc::new(Faulty::new(self.inner.store.clone(), plan));
        let (world, bus) = (self.clone(), self.office.join(group));
        let opening = async move {
            loop {
                let secrets = Secrets { bootstrap: None, pepper: vec![7; 32] };
                let options = world.inner.options.clone();
                let started =
                    Engine::start(options, store.clone(), bus.clone(), ports.clone(), secrets).await;
                if let Ok(engine) = started {
                    world.living(index, |living| {
                        if let Some(living) = living.as_mut().filter(|living| living.group == group) {
                            living.engine = Some(engine);
                        }
                    });
                    return;
                }
                world.executor.sleep(Span::from_millis(100)).await;
            }
        };
        self.executor.spawn(group, Box::pin(opening));
    }

    /// Drops everything that the replica is and does.
    pub fn kill(&self, index: usize) {
        if let Some(Some(living)) = self.living(index, Option::take) {
            self.history.record(Fact::Nemesis(format!("kill {index}")));
            self.executor.kill(living.group);
            self.office.leave(living.group);
        }
    }

    /// Stops the replica as an operator does: it sends agents and watchers away,
    /// goes on for `grace`, ends, and is started again.
    pub fn drain(&self, index: usize, grace: Span) {
        let serving = self.living(index, |living| {
            let living = living.as_ref()?;
            Some((living.engine.clone()?, living.group))
        });
        let Some((engine, group)) = serving.flatten() else { return };
        self.history.record(Fact::Nemesis(format!("drain {index}, which ends in {grace}")));
        let (last, end) = (engine.clone(), Some(engine.now().plus(grace)));
        self.executor.spawn(group, Box::pin(async move { engine.drain(end).await }));
        let world = self.clone();
        let end = async move {
            world.executor.sleep(grace).await;
            last.stop();
            world.executor.sleep(Span::from_millis(50)).await;
            drop(last);
            let same = |living: &mut Option<Living>| living.as_ref().is_some_and(|it| it.group == group);
            // Killed in between, it is another one by now.
            if world.living(index, same) == Some(true) {
                world.kill(index);
                world.start(index);
            }
        };
        self.executor.spawn(self.people, Box::pin(end));
    }

    /// Stops the replica where it stands, for a while.
    pub fn pause(&self, index: usize, span: Span) {
        let group = self.living(index, |living| living.as_ref().map(|living| living.group)).flatten();
        if let Some(group) = group {
            self.history.record(Fact::Nemesis(format!("pause {index} for {span}")));
            self.executor.pause(group, span);
        }
    }

    /// Ends all faults: everything runs, everything arrives.
    pub fn heal(&self) {
        self.history.record(Fact::Nemesis("heal".to_owned()));
        self.inner.healed.store(true, Ordering::Relaxed);
        self.office.weather.set(Post::HEALED);
        for index in 0..self.replicas() {
            if let Some(weather) = self.weather(index) {
                weather.set(Odds::HEALED);
            }
            let group = self.living(index, |living| living.as_ref().map(|living| living.group)).flatten();
            match group {
                Some(group) => self.executor.resume(group),
                None => self.start(index),
            }
        }
    }

    /// Ends the world: its parts hold each other.
    pub fn shut_down(&self) {
        for index in 0..self.replicas() {
            let living = self.living(index, Option::take);
            drop(living);
        }
        self.executor.shut_down();
    }

    /// Asks a replica. `None` is silence: nobody knows what became of it.
    pub async fn call<T: Send + 'static>(
        &self,
        replica: usize,
        dice: &Dice,
        make: impl FnOnce(Engine, Group) -> BoxFuture<'static, T>,
    ) -> Option<T> {
        let way = dice.millis(0, 4);
        self.executor.sleep(way).await;
        let odds = self.weather(replica)?.get();
        let (lost_there, lost_back) = (dice.chance(odds.cut / 2.0), dice.chance(odds.cut / 2.0));
        let (hangs_up, way) = (dice.chance(0.5), dice.millis(0, 4));
        let living = self.living(replica, |living| {
            let living = living.as_ref()?;
            Some((living.engine.clone()?, living.group))
        });
        let Some((engine, group)) = living.flatten().filter(|_| !lost_there) else {
            self.executor.sleep(Span::from_millis(100)).await;
            return None;
        };
        let (mut answer, answered) = oneshot::channel();
        let work = make(engine, group);
        let serve = async move {
            if hangs_up {
                // A caller that has gone cancels what is done for it, anywhere.
                tokio::select! {
                    biased;
                    () = answer.closed() => {}
                    done = work => { let _ = answer.send(done); }
                }
            } else {
                let _ = answer.send(work.await);
            }
        };
        self.executor.spawn(group, Box::pin(serve));
        let done = tokio::select! {
            biased;
            done = answered => done.ok(),
            () = self.executor.sleep(PATIENCE) => None,
        };
        self.executor.sleep(way).await;
        done.filter(|_| !lost_back)
    }

    /// Connects an agent.
    pub async fn connect(
        &self,
        replica: usize,
        dice: &Dice,
        hello: Hello,
    ) -> Option<Result<Connection, Error>> {
        let world = self.clone();
        let way = dice.fork();
        let open = move |engine: Engine, group| -> BoxFuture<'static, Result<Connection, Error>> {
            Box::pin(async move {
                let mut handle = engine.open_session(&agent(), hello).await?;
                let (up, mut ups) = mpsc::channel(CONNECTION_MAX);
                let (downs, down) = mpsc::channel(CONNECTION_MAX);
                let executor = world.executor.clone();
                let carry = async move {
                    let sender = handle.sender();
                    let hear = async {
                        while let Some(word) = ups.recv().await {
                            executor.sleep(way.millis(0, 3)).await;
                            if !sender.say(word).await {
                                return;
                            }
                        }
                    };
                    let tell = async {
                        while let Some(message) = handle.next().await {
                            let over = matches!(message, Down::Over(_));
                            if downs.send(message).await.is_err() || over {
                                return;
                            }
                        }
                    };
                    tokio::select! {
                        biased;
                        () = hear => {}
                        () = tell => {}
                    }
                };
                world.executor.spawn(group, Box::pin(carry));
                Ok(Connection { up, down })
            })
        };
        self.call(replica, dice, open).await
    }
}

/// Limits and intervals: short, so that much happens, and partly drawn.
fn options(dice: &Dice) -> Options {
    Options {
        session_lease: Span::from_secs(3),
        renew_every: Span::from_millis(900),
        heartbeat: Span::from_secs(1),
        sweep_every: dice.millis(200, 500),
        batch_max: dice.between(1, 16) as usize,
        batches_in_flight: dice.between(1, 2) as usize,
        tasks_cached_max: if dice.chance(0.3) { 8 } else { 10_000 },
        outbound_max: if dice.chance(0.3) { 4 } else { 64 },
        resolve_for: Span::from_secs(5),
        ..Options::default()
    }
}

fn principal(subject: &str) -> Principal {
    Principal {
        subject: subject.to_owned(),
        person: subject.to_owned(),
        issuer: "sim".to_owned(),
        roles: BTreeSet::from([Role::Admin]),
        scope: Scope::All,
        expires_at: None,
    }
}

/// The credential of all clients.
pub fn client() -> Principal {
    principal("key:client")
}

/// Name of an agent.
pub fn agent_name(index: usize) -> String {
    format!("agent-{index}")
}

/// The credential of all agents.
pub fn agent() -> Principal {
    principal("key:agent")
}
