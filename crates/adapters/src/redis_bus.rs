//! The engine's bus over one Redis stream.
//!
//! Letters to this replica itself are delivered at once; to the others they go
//! through `XADD ... MAXLEN ~`, and every replica reads with `XREAD BLOCK` on a
//! connection of its own, because a blocked connection answers nothing else.
//!
//! Invariants: publishing never waits; both queues are bounded; what does not fit
//! or cannot be sent is counted and forgotten. After a break the reader goes on
//! from the last entry it saw, or from the end if Redis has forgotten more. Lost
//! letters are the sweeper's, by the contract of [`Bus`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::counter;
use quarterdeck_core::Span;
use quarterdeck_engine::ports::Ports;
use quarterdeck_engine::{Bus, Letter};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::streams::{StreamMaxlen, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Letters sent, and letters that were lost on the way out.
pub const SENT: &str = "quarterdeck_bus_letters_sent_total";
pub const LOST: &str = "quarterdeck_bus_letters_lost_total";
pub const RECEIVED: &str = "quarterdeck_bus_letters_received_total";

/// Entries that Redis keeps, about.
const KEPT: usize = 10_000;
/// Letters that a slow listener may lag behind.
const LAG_MAX: usize = 4_096;
/// Batches waiting to be sent.
const OUTBOX: usize = 1_024;
/// Batches sent as one entry.
const GATHER: usize = 256;
/// How long they are gathered after an entry was sent; the first goes at once.
const GATHER_FOR: Span = Span::from_millis(2);
/// Entries read at a time.
const READ_MAX: usize = 256;
/// How long one read waits for news.
const BLOCK: Duration = Duration::from_secs(5);
/// How long the answer to a read may take beyond that, before the connection
/// counts as dead.
const PATIENCE: Duration = Duration::from_secs(5);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// For short commands.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const BACKOFF_MIN: Span = Span::from_millis(50);
const BACKOFF_MAX: Span = Span::from_millis(2_000);

/// A bus that cannot even be tried.
#[derive(Debug, thiserror::Error)]
#[error("the Redis URL cannot be used: {problem}. It looks like redis://user:password@host:6379/0.")]
pub struct BusError {
    problem: String,
}

/// The bus of replicas that share a Redis.
pub struct RedisBus {
    inbox: broadcast::Sender<Letter>,
    outbox: mpsc::Sender<Vec<Letter>>,
    writing: Arc<Link>,
    reading: Arc<Link>,
    _stop: DropGuard,
}

/// Whether one direction works; changes are logged, repetitions are not.
struct Link {
    direction: &'static str,
    up: AtomicBool,
    known: AtomicBool,
}

impl Link {
    fn new(direction: &'static str) -> Arc<Self> {
        Arc::new(Self { direction, up: AtomicBool::new(false), known: AtomicBool::new(false) })
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    fn works(&self) {
        if !self.up.swap(true, Ordering::Relaxed) {
            tracing::info!(direction = self.direction, "the Redis bus works");
        }
        self.known.store(true, Ordering::Relaxed);
    }

    fn broken(&self, problem: &str) {
        let was_up = self.up.swap(false, Ordering::Relaxed);
        if was_up || !self.known.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                direction = self.direction,
                problem,
                "the Redis bus is down: work goes on, found by sweeping instead of by hints"
            );
        }
    }
}

/// What both tasks need.
struct Wire {
    client: Client,
    key: String,
    /// Tells this bus's own entries from those of others.
    name: String,
    ports: Ports,
    stop: CancellationToken,
}

impl RedisBus {
    /// A bus over the stream `<prefix>:hints`. It does not wait for Redis: while it
    /// cannot be reached, letters reach this replica only. Needs a tokio runtime.
    pub fn connect(url: &str, prefix: &str) -> Result<Arc<Self>, BusError> {
        Self::with_ports(url, prefix, Ports::system())
    }

    /// The same with the ports of the caller.
    pub fn with_ports(url: &str, prefix: &str, ports: Ports) -> Result<Arc<Self>, BusError> {
        let unusable = |error: RedisError| BusError { problem: error.to_string() };
        let client = Client::open(url).map_err(unusable)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500));
        let manager = client.get_connection_manager_lazy(config).map_err(unusable)?;
        let stop = CancellationToken::new();
        let name = ports.entropy.draw()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let wire = Arc::new(Wire {
            client,
            key: format!("{prefix}:hints"),
            name,
            ports: ports.clone(),
            stop: stop.clone(),
        });
        let (inbox, _) = broadcast::channel(LAG_MAX);
        let (outbox, letters) = mpsc::channel(OUTBOX);
        let (writing, reading) = (Link::new("out"), Link::new("in"));
        let writer = write(Arc::clone(&wire), manager, letters, Arc::clone(&writing));
        let reader = read(wire, inbox.clone(), Arc::clone(&reading));
        ports.spawner.spawn(Box::pin(writer));
        ports.spawner.spawn(Box::pin(reader));
        Ok(Arc::new(Self { inbox, outbox, writing, reading, _stop: stop.drop_guard() }))
    }
}

impl Bus for RedisBus {
    fn publish(&self, letters: Vec<Letter>) {
        for letter in &letters {
            // Nobody listening is as good as delivered.
            let _ = self.inbox.send(letter.clone());
        }
        let count = letters.len() as u64;
        if self.outbox.try_send(letters).is_err() {
            counter!(LOST).increment(count);
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<Letter> {
        self.inbox.subscribe()
    }

    fn healthy(&self) -> bool {
        self.writing.is_up() && self.reading.is_up()
    }
}

/// Sends what is published until the bus is dropped.
async fn write(
    wire: Arc<Wire>,
    mut manager: ConnectionManager,
    mut letters: mpsc::Receiver<Vec<Letter>>,
    link: Arc<Link>,
) {
    let mut batches = Vec::with_capacity(GATHER);
    loop {
        let gathered = tokio::select! {
            biased;
            () = wire.stop.cancelled() => return,
            gathered = letters.recv_many(&mut batches, GATHER) => gathered,
        };
        if gathered == 0 {
            return;
        }
        let gathered: Vec<Letter> = batches.drain(..).flatten().collect();
        let count = gathered.len() as u64;
        let Ok(text) = serde_json::to_string(&gathered) else { continue };
        let fields = [("by", wire.name.as_str()), ("letters", text.as_str())];
        let sent: RedisResult<Option<String>> =
            manager.xadd_maxlen(&wire.key, StreamMaxlen::Approx(KEPT), "*", &fields).await;
        match sent {
            Ok(_) => {
                counter!(SENT).increment(count);
                link.works();
            }
            Err(error) => {
                counter!(LOST).increment(count);
                link.broken(&error.to_string());
            }
        }
        // What comes meanwhile goes together: an entry costs everybody more than a letter.
        wire.ports.clock.sleep(GATHER_FOR).await;
    }
}

/// Delivers what others publish until the bus is dropped.
async fn read(wire: Arc<Wire>, inbox: broadcast::Sender<Letter>, link: Arc<Link>) {
    let mut last = None;
    let mut backoff = BACKOFF_MIN;
    loop {
        let followed = tokio::select! {
            biased;
            () = wire.stop.cancelled() => return,
            followed = follow(&wire, &inbox, &link, &mut last) => followed,
        };
        let Err(problem) = followed else { continue };
        if link.is_up() {
            backoff = BACKOFF_MIN;
        }
        link.broken(&problem);
        // Full jitter, so that replicas do not all come back at once.
        let draw = u16::from_be_bytes([wire.ports.entropy.draw()[0], wire.ports.entropy.draw()[1]]);
        let jitter = backoff.as_micros() * i64::from(draw) / i64::from(u16::MAX);
        let wait = Span::from_micros(BACKOFF_MIN.as_micros() + jitter);
        tokio::select! {
            biased;
            () = wire.stop.cancelled() => return,
            () = wire.ports.clock.sleep(wait) => {}
        }
        backoff = Span::from_micros(backoff.as_micros() * 2).min(BACKOFF_MAX);
    }
}

/// One connection's life; always ends with a problem.
async fn follow(
    wire: &Wire,
    inbox: &broadcast::Sender<Letter>,
    link: &Link,
    last: &mut Option<EntryId>,
) -> Result<(), String> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        // A blocking read is bounded by this task, not by the connection.
        .set_response_timeout(None);
    let connecting = wire.client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = connecting.await.map_err(|error| error.to_string())?;
    let end = within(ANSWER_WITHIN, newest(&mut connection, &wire.key)).await?;
    // Ids that are ahead of the stream are from a Redis that is no more.
    let mut from = last.filter(|last| *last <= end).unwrap_or(end);
    link.works();
    let block = usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX);
    let options = StreamReadOptions::default().block(block).count(READ_MAX);
    loop {
        *last = Some(from);
        let id = from.to_string();
        let reading = async {
            let read: RedisResult<Option<StreamReadReply>> =
                connection.xread_options(&[&wire.key], &[&id], &options).await;
            read
        };
        let reply = within(BLOCK + PATIENCE, reading).await?;
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        for entry in entries {
            from = EntryId::parse(&entry.id).unwrap_or(from).max(from);
            let by: Option<String> = entry.get("by");
            if by.as_deref() == Some(wire.name.as_str()) {
                continue;
            }
            deliver(inbox, entry.get::<String>("letters").as_deref());
        }
    }
}

fn deliver(inbox: &broadcast::Sender<Letter>, text: Option<&str>) {
    // What this version cannot read is from another one: no promise, no harm.
    let letters: Vec<Letter> = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    counter!(RECEIVED).increment(letters.len() as u64);
    for letter in letters {
        let _ = inbox.send(letter);
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(limit, call).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// The id of the newest entry; asking by `$` at every read would lose what comes
/// in between.
async fn newest(connection: &mut MultiplexedConnection, key: &str) -> RedisResult<EntryId> {
    let reply: redis::streams::StreamRangeReply = connection.xrevrange_count(key, "+", "-", 1).await?;
    Ok(reply.ids.first().and_then(|entry| EntryId::parse(&entry.id)).unwrap_or_default())
}

/// `<milliseconds>-<sequence>`, ordered as Redis orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct EntryId {
    millis: u64,
    sequence: u64,
}

impl EntryId {
    fn parse(text: &str) -> Option<Self> {
        let (millis, sequence) = text.split_once('-')?;
        Some(Self { millis: millis.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_ids_are_ordered_as_numbers() {
        let id = |text| EntryId::parse(text).unwrap();
        assert!(id("9-10") < id("10-2") && id("10-2") < id("10-10"));
        assert_eq!(id("1700000000000-3").to_string(), "1700000000000-3");
        for bad in ["", "1", "a-1", "1-", "1-2-3"] {
            assert_eq!(EntryId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_url_that_is_none_is_refused_with_an_example() {
        let error = RedisBus::connect("http://nowhere", "qd").err().unwrap().to_string();
        assert!(error.contains("redis://"), "{error}");
    }
}
