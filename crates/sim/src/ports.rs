//! The engine's ports on the simulated world.

use std::sync::Arc;

use quarterdeck_core::{Span, Timestamp};
use quarterdeck_engine::Ports;
use quarterdeck_engine::notifications::courier::NoCourier;
use quarterdeck_engine::ports::{Clock, Entropy, Spawn, Wait};

use crate::dice::Dice;
use crate::executor::{Executor, Group};

/// Where the database's clock starts, in microseconds since the Unix epoch.
pub const EPOCH: i64 = 1_800_000_000_000_000;

struct ReplicaClock {
    executor: Executor,
    /// How far this replica's own clock is off, in microseconds.
    skew: i64,
}

impl Clock for ReplicaClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(EPOCH + self.executor.now() + self.skew)
    }

    fn sleep(&self, span: Span) -> Wait {
        Box::pin(self.executor.sleep(span))
    }
}

struct Drawn(Dice);

impl Entropy for Drawn {
    fn draw(&self) -> [u8; 32] {
        self.0.bytes()
    }
}

struct Into {
    executor: Executor,
    group: Group,
}

impl Spawn for Into {
    fn spawn(&self, task: Wait) {
        self.executor.spawn(self.group, task);
    }
}

/// Ports of one start of one replica.
pub fn ports(executor: &Executor, group: Group, dice: Dice, skew: i64) -> Ports {
    Ports {
        clock: Arc::new(ReplicaClock { executor: executor.clone(), skew }),
        entropy: Arc::new(Drawn(dice)),
        spawner: Arc::new(Into { executor: executor.clone(), group }),
        courier: Arc::new(NoCourier),
    }
}
