//! Agents made with the client library's worker, as users make them.
//!
//! The library does not say under which session a step was given, nor what was
//! acknowledged. What a handler answers carries its token, though, so the log
//! still tells whether a word counted twice or under another lease; the session
//! is looked up in the log (see the verdict).

use std::time::Duration;

use quarterdeck_client::{CancellationToken, Payload, StepContext, StepError, Worker};
use quarterdeck_sim::agent::mark;
use quarterdeck_sim::dice::Dice;
use quarterdeck_sim::history::{Fact, Word};
use quarterdeck_sim::workload::CAPABILITIES;
use tokio::time::sleep;

use crate::world::World;

/// Stands for the session that the log names.
pub const LOOK_IT_UP: &str = "";
const SLOTS: u32 = 3;

/// Works at one replica until told to stop.
pub async fn live(world: World, index: usize, replica: usize, dice: Dice, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let why = match run(&world, index, replica, &dice, &stop).await {
            Ok(()) => return,
            Err(error) => format!("defect: the worker gave up: {error}"),
        };
        world.record.add(Fact::Left { agent: index, why });
        sleep(Duration::from_millis(200)).await;
    }
}

async fn run(
    world: &World,
    index: usize,
    replica: usize,
    dice: &Dice,
    stop: &CancellationToken,
) -> Result<(), quarterdeck_client::Error> {
    let client = world.client(replica)?;
    let mut builder = Worker::builder(&client, format!("agent-{index}")).slots(SLOTS);
    for capability in CAPABILITIES {
        builder = builder.capability(capability);
    }
    let (world, dice) = (world.clone(), dice.clone());
    let handler = move |step| handle(world.clone(), index, dice.clone(), step);
    builder.handler(handler).build()?.run(stop.clone()).await.map(drop)
}

async fn handle(world: World, agent: usize, dice: Dice, step: StepContext) -> Result<Payload, StepError> {
    let (token, session) = (step.lease_token().to_owned(), LOOK_IT_UP.to_owned());
    world.record.add(Fact::Assigned {
        agent,
        session: session.clone(),
        token: token.clone(),
        task: step.task_id().to_owned(),
        step: step.step_key().to_owned(),
        attempt: u32::try_from(step.attempt()).unwrap_or_default(),
        outputs: None,
    });
    sleep(dice.millis(0, 300).as_std()).await;
    let word = match dice.below(100) {
        _ if world.healed() => Word::Complete,
        0..85 => Word::Complete,
        85..93 => Word::Fail,
        _ => Word::Refuse,
    };
    let said = mark(&token, 1);
    world.record.add(Fact::Said { agent, session, token, number: 1, word });
    match word {
        Word::Fail => Err(StepError::fail("FLAKY", said)),
        Word::Refuse => Err(StepError::refuse(said)),
        Word::Complete | Word::Progress => Ok(Payload::bytes("text/plain", said)),
    }
}
