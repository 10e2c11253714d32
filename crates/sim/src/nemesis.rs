//! What befalls the world: kills, pauses longer than a lease, drains, storms in the
//! store, lost post, cut lines. One or two at a time, then a moment's calm.

use quarterdeck_core::Span;

use crate::dice::Dice;
use crate::history::Fact;
use crate::weather::{Odds, Post};
use crate::world::World;

/// Lets it loose; it ends when the world heals.
pub fn let_loose(world: &World, dice: Dice) {
    let (here, group) = (world.clone(), world.people);
    let longest = dice.between(600, 2_500);
    let haunt = async move {
        loop {
            here.executor.sleep(dice.millis(100, longest)).await;
            if here.healed() {
                return;
            }
            for _ in 0..dice.between(1, 2) {
                strike(&here, &dice);
            }
        }
    };
    world.executor.spawn(group, Box::pin(haunt));
}

fn strike(world: &World, dice: &Dice) {
    let replica = dice.below(world.replicas());
    match dice.below(12) {
        0..3 => {
            world.kill(replica);
            let span = dice.millis(50, 3_000);
            later(world, span, move |world| world.start(replica));
        }
        3..5 => world.pause(replica, dice.millis(300, 6_000)),
        5..7 => world.drain(replica, dice.millis(100, 3_000)),
        7..10 => {
            let odds = Odds::storm(dice);
            world.history.record(Fact::Nemesis(format!("storm at {replica}: {odds:?}")));
            if let Some(weather) = world.weather(replica) {
                weather.set(odds);
            }
            later(world, dice.millis(200, 4_000), move |world| {
                if let Some(weather) = world.weather(replica).filter(|_| !world.healed()) {
                    weather.set(Odds::CALM);
                }
            });
        }
        _ => {
            world.history.record(Fact::Nemesis("bad post".to_owned()));
            world.office.weather.set(Post::BAD);
            later(world, dice.millis(500, 5_000), |world| {
                if !world.healed() {
                    world.office.weather.set(Post::CALM);
                }
            });
        }
    }
}

fn later(world: &World, span: Span, then: impl FnOnce(&World) + Send + 'static) {
    let (here, wait) = (world.clone(), world.executor.sleep(span));
    let deed = async move {
        wait.await;
        then(&here);
    };
    world.executor.spawn(world.people, Box::pin(deed));
}
