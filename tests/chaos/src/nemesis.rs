//! Who does what the plan says: one task a target, each strike followed by its
//! mending, so that the world is whole when all are done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use quarterdeck_harness::{Cut, Proxy, Quarterdeck, Stop, Way, Ways};
use quarterdeck_sim::history::Fact;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::plan::{Strike, Target, Trouble};
use crate::site::Site;
use crate::world::World;

/// A replica that does not start, because something else is down, is started
/// again, as whoever runs it would, for this long.
const SUPERVISED: Duration = Duration::from_secs(90);

/// What was done, by kind.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub kills: usize,
    pub pauses: usize,
    pub cuts: usize,
    pub redis: usize,
    pub postgres: usize,
    /// Starts that failed because something else was down, and were repeated.
    pub refused_starts: usize,
}

impl Tally {
    fn count(&mut self, strike: &Strike) {
        let counter = match (strike.target, strike.trouble) {
            (Target::Replica(_), Trouble::Kill(_)) => &mut self.kills,
            (Target::Replica(_), _) => &mut self.pauses,
            (Target::Redis, _) => &mut self.redis,
            (Target::Postgres, _) => &mut self.postgres,
            (Target::Edge(_) | Target::Database(_) | Target::Bus(_), _) => &mut self.cuts,
        };
        *counter += 1;
    }

    fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.pauses += other.pauses;
        self.cuts += other.cuts;
        self.redis += other.redis;
        self.postgres += other.postgres;
        self.refused_starts += other.refused_starts;
    }
}

/// Does all that is planned; what was done, and what went wrong with it.
pub async fn haunt(site: &Arc<Site>, plan: &[Strike], world: &World) -> (Tally, Vec<String>) {
    let mut lists: BTreeMap<Target, Vec<Strike>> = BTreeMap::new();
    for strike in plan {
        lists.entry(strike.target).or_default().push(*strike);
    }
    let began = Instant::now();
    let mut doing = JoinSet::new();
    for (target, strikes) in lists {
        let (site, world) = (Arc::clone(site), world.clone());
        doing.spawn(async move {
            let mut tally = Tally::default();
            let done = suffer(&site, target, strikes, began, &world, &mut tally).await;
            (tally, done.map_err(|error| format!("{target:?}: {error:#}")))
        });
    }
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    while let Some(done) = doing.join_next().await {
        match done {
            Ok((done, result)) => {
                tally.add(&done);
                wrong.extend(result.err());
            }
            Err(panic) => wrong.push(format!("a nemesis failed: {panic}")),
        }
    }
    (tally, wrong)
}

async fn suffer(
    site: &Site,
    target: Target,
    strikes: Vec<Strike>,
    began: Instant,
    world: &World,
    tally: &mut Tally,
) -> Result<()> {
    for strike in strikes {
        sleep_until(began + strike.at).await;
        world.record.add(Fact::Nemesis(format!("{target:?}: {:?}", strike.trouble)));
        match target {
            Target::Replica(place) => {
                let replica = site.replicas.get(place).ok_or_else(|| anyhow!("no such replica"))?;
                tally.refused_starts += hit_replica(&mut *replica.lock().await, strike.trouble).await?;
            }
            Target::Edge(place) => hit_link(&site.links[place].edge, strike.trouble).await,
            Target::Database(place) => hit_link(&site.links[place].database, strike.trouble).await,
            Target::Bus(place) => hit_link(&site.links[place].bus, strike.trouble).await,
            Target::Redis => hit_redis(site, strike.trouble).await?,
            Target::Postgres => hit_postgres(site, strike.trouble).await?,
        }
        tally.count(&strike);
        world.record.add(Fact::Nemesis(format!("{target:?}: mended")));
    }
    Ok(())
}

/// How often it had to be started until it was up.
async fn hit_replica(replica: &mut Quarterdeck, trouble: Trouble) -> Result<usize> {
    if let Some(status) = replica.ended()? {
        bail!("it ended by itself with {status}");
    }
    match trouble {
        Trouble::Freeze(span) => {
            replica.sigstop()?;
            sleep(span).await;
            replica.sigcont()?;
            Ok(0)
        }
        Trouble::Kill(down) => {
            replica.kill9().await?;
            sleep(down).await;
            supervise(replica).await
        }
        other => bail!("{other:?} is nothing for a replica"),
    }
}

async fn supervise(replica: &mut Quarterdeck) -> Result<usize> {
    let end = Instant::now() + SUPERVISED;
    let mut refused = 0;
    loop {
        match replica.start_again().await {
            Ok(()) => return Ok(refused),
            Err(error) if Instant::now() > end => return Err(error.context("it does not start any more")),
            Err(_) => refused += 1,
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn hit_link(link: &Proxy, trouble: Trouble) {
    match trouble {
        Trouble::Reset => link.cut(Cut::Reset),
        Trouble::HalfOpen(span) => {
            link.cut(Cut::HalfOpen);
            sleep(span).await;
            link.cut(Cut::Reset);
        }
        Trouble::Silence(span) => {
            link.cut(Cut::Silence);
            sleep(span).await;
            link.cut(Cut::Reset);
        }
        Trouble::Shut(span) => {
            link.shut(true);
            sleep(span).await;
            link.shut(false);
        }
        Trouble::Hold { up, down, span, reset } => {
            let way = |held| if held { Way::Held } else { Way::Open };
            link.set(Ways { up: way(up), down: way(down) });
            sleep(span).await;
            if reset {
                link.cut(Cut::Reset);
            }
            link.set(Ways::default());
        }
        Trouble::Slow { up, down, span } => {
            link.set(Ways { up: Way::Slow(up), down: Way::Slow(down) });
            sleep(span).await;
            link.set(Ways::default());
        }
        Trouble::Kill(_)
        | Trouble::Freeze(_)
        | Trouble::Flush
        | Trouble::Restart(_)
        | Trouble::Crash(_)
        | Trouble::Terminate => {}
    }
}

async fn hit_redis(site: &Site, trouble: Trouble) -> Result<()> {
    let mut redis = site.redis.lock().await;
    match trouble {
        Trouble::Kill(down) => {
            redis.kill().await?;
            sleep(down).await;
            redis.start_again().await
        }
        Trouble::Freeze(span) => {
            redis.sigstop()?;
            sleep(span).await;
            redis.sigcont()
        }
        Trouble::Flush => redis.flush().await,
        other => bail!("{other:?} is nothing for Redis"),
    }
}

async fn hit_postgres(site: &Site, trouble: Trouble) -> Result<()> {
    let mut postgres = site.postgres.lock().await;
    let (how, down) = match trouble {
        Trouble::Restart(down) => (Stop::Fast, down),
        Trouble::Crash(down) => (Stop::Crash, down),
        Trouble::Terminate => return site.database.cut_connections().await,
        other => bail!("{other:?} is nothing for PostgreSQL"),
    };
    postgres.halt(how).await?;
    sleep(down).await;
    postgres.start_again().await
}
