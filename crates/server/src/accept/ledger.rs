//! Memory that is held for clients: messages that have come in part, and answers
//! that nobody has read yet.
//!
//! Flow control lets a client stop in the middle of either for as long as it
//! likes, on a thousand streams of a thousand connections. Above the limit the
//! connection goes that has held something for longest, of the address that
//! holds most: whoever reads and writes holds little, and not for long. What is
//! younger than a second is spared up to twice the limit, for many who read large
//! answers at the same time are no attack.
//!
//! Invariant: what is held is counted until the memory is free, wherever it is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quarterdeck_core::{Span, Timestamp};

use super::conduct::{Conduct, Reason};

/// What is smaller is not worth counting: a stream takes as much.
const SMALL: usize = 4 * 1024;
/// What is held for less is spared up to twice the limit.
const GRACE: Span = Span::from_secs(1);

pub struct Ledger {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total: u64,
    /// Entries by age: keys only grow.
    entries: BTreeMap<u64, Entry>,
    next: u64,
}

struct Entry {
    bytes: u64,
    since: Timestamp,
    conduct: Arc<Conduct>,
}

impl Ledger {
    pub fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit: u64::from(limit), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing yet, for a connection.
    pub fn open(self: &Arc<Self>, conduct: &Arc<Conduct>) -> Held {
        Held { ledger: Arc::clone(self), conduct: Arc::clone(conduct), key: None, uncounted: 0 }
    }

    /// The bytes, counted until the last piece of them is dropped.
    pub fn keep(self: &Arc<Self>, conduct: &Arc<Conduct>, bytes: Bytes) -> Bytes {
        if bytes.len() <= SMALL {
            return bytes;
        }
        let mut held = self.open(conduct);
        held.add(bytes.len());
        Bytes::from_owner(Kept { bytes, _held: held })
    }

    fn add(&self, key: Option<u64>, bytes: u64, conduct: &Arc<Conduct>) -> u64 {
        let mut state = self.state();
        let key = key.unwrap_or_else(|| {
            state.next += 1;
            state.next
        });
        // An expelled connection's entries are gone; what it still adds will be in a moment.
        let now = conduct.now();
        if conduct.reason().is_none() {
            state.total += bytes;
            let entry = state.entries.entry(key);
            let new = || Entry { bytes: 0, since: now, conduct: Arc::clone(conduct) };
            entry.or_insert_with(new).bytes += bytes;
        }
        while state.total > self.limit
            && let Some((worst, since)) = state.worst()
        {
            if state.total <= 2 * self.limit && now.since(since) < GRACE {
                break;
            }
            worst.expel(Reason::Held);
            state.forget(&worst);
        }
        key
    }

    fn remove(&self, key: u64) {
        let mut state = self.state();
        if let Some(entry) = state.entries.remove(&key) {
            state.total -= entry.bytes;
        }
    }
}

impl State {
    /// Of the address that holds most, the connection that has held for longest, and since when.
    fn worst(&self) -> Option<(Arc<Conduct>, Timestamp)> {
        let mut sums: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for entry in self.entries.values() {
            *sums.entry(entry.conduct.place().address()).or_default() += entry.bytes;
        }
        let (address, _) = sums.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let oldest = self.entries.values().find(|entry| entry.conduct.place().address() == address);
        oldest.map(|entry| (Arc::clone(&entry.conduct), entry.since))
    }

    /// Its memory is as good as free.
    fn forget(&mut self, conduct: &Arc<Conduct>) {
        let mut freed = 0;
        self.entries.retain(|_, entry| {
            let gone = Arc::ptr_eq(&entry.conduct, conduct);
            freed += if gone { entry.bytes } else { 0 };
            !gone
        });
        self.total -= freed;
    }
}

/// Memory held for one connection, until this is dropped.
pub struct Held {
    ledger: Arc<Ledger>,
    conduct: Arc<Conduct>,
    key: Option<u64>,
    /// Bytes too few to be worth an entry, so far.
    uncounted: usize,
}

impl Held {
    /// More is held.
    pub fn add(&mut self, bytes: usize) {
        self.uncounted += bytes;
        if self.uncounted > SMALL {
            let bytes = std::mem::take(&mut self.uncounted) as u64;
            self.key = Some(self.ledger.add(self.key, bytes, &self.conduct));
        }
    }

    /// Nothing is held any more.
    pub fn clear(&mut self) {
        self.uncounted = 0;
        if let Some(key) = self.key.take() {
            self.ledger.remove(key);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

struct Kept {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::peers::Peers;
    use crate::config::Limits;
    use quarterdeck_engine::Clock;
    use quarterdeck_engine::ports::Wait;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// A clock that tests move, in milliseconds.
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::Relaxed) * 1_000)
        }

        fn sleep(&self, _span: Span) -> Wait {
            Box::pin(std::future::pending())
        }
    }

    struct World {
        peers: Arc<Peers>,
        clock: Arc<Hand>,
        ledger: Arc<Ledger>,
    }

    fn world() -> World {
        let clock = Arc::new(Hand(AtomicI64::new(0)));
        let peers = Peers::new(&Limits::default(), Arc::<Hand>::clone(&clock));
        World { peers, clock, ledger: Ledger::new(100_000) }
    }

    impl World {
        fn connection(&self, last: u8) -> Arc<Conduct> {
            let place = self.peers.enter([10, 0, 0, last].into()).unwrap();
            Conduct::new(place, &Limits::default(), Arc::<Hand>::clone(&self.clock))
        }

        fn hold(&self, conduct: &Arc<Conduct>, bytes: usize) -> Held {
            let mut held = self.ledger.open(conduct);
            held.add(bytes);
            held
        }

        fn pass(&self, millis: i64) {
            self.clock.0.fetch_add(millis, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_oldest_of_the_greediest_address_goes() {
        let world = world();
        let victim = world.connection(1);
        let attackers = [world.connection(2), world.connection(2), world.connection(2)];
        // The victim's is the oldest of all, and one attacker's connection holds less than it.
        let _held = [
            world.hold(&victim, 30_000),
            world.hold(&attackers[0], 20_000),
            world.hold(&attackers[1], 25_000),
            world.hold(&attackers[2], 20_000),
        ];
        world.pass(1_000);
        assert!(attackers.iter().all(|attacker| attacker.reason().is_none()));
        let more = world.hold(&victim, 10_000);
        assert_eq!(attackers[0].reason(), Some(Reason::Held));
        assert!(victim.reason().is_none() && attackers[1].reason().is_none());
        drop(more);
        assert_eq!(world.ledger.state().total, 75_000);
    }

    #[test]
    fn what_is_young_is_spared_up_to_twice_the_limit() {
        let world = world();
        let (one, two) = (world.connection(1), world.connection(2));
        let _held = [world.hold(&one, 90_000), world.hold(&two, 90_000)];
        world.pass(999);
        let _more = world.hold(&two, 20_000);
        assert!(one.reason().is_none() && two.reason().is_none());
        let _more = world.hold(&one, 5_000);
        assert!(one.reason().is_none() && two.reason() == Some(Reason::Held), "two held more");
    }

    #[test]
    fn an_answer_counts_until_its_last_piece_is_gone() {
        let world = world();
        let reader = world.connection(1);
        let mut answer = world.ledger.keep(&reader, Bytes::from(vec![7; 50_000]));
        let first = answer.split_to(10);
        drop(answer);
        assert_eq!(world.ledger.state().total, 50_000);
        drop(first);
        assert_eq!(world.ledger.state().total, 0);
        drop(world.ledger.keep(&reader, Bytes::from(vec![7; 50])));
        assert!(world.ledger.state().entries.is_empty());
    }

    #[test]
    fn what_grows_bit_by_bit_counts_too() {
        let world = world();
        let (slow, other) = (world.connection(1), world.connection(2));
        let mut held = world.ledger.open(&slow);
        for _ in 0..1_500 {
            world.pass(1);
            held.add(100);
        }
        assert_eq!(slow.reason(), Some(Reason::Held));
        assert!(other.reason().is_none());
        drop(held);
        assert_eq!(world.ledger.state().total, 0);
    }
}
