//! What each address has: connections, calls without a credential, a reputation.
//!
//! The limit for one address keeps a single machine from taking all places. It
//! is a part of them and no small number: many agents share an address behind
//! NAT or a proxy. After misconduct an address gets new connections one by one
//! for a while; those it has stay.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quarterdeck_core::{Span, Timestamp};
use quarterdeck_engine::Clock;

use super::bucket::Bucket;
use crate::config::Limits;

/// How long an address is suspect after its last misconduct.
const SUSPECT_FOR: Span = Span::from_secs(30);
/// New connections a second from a suspect address.
const SUSPECT_RATE: u32 = 5;
/// Calls without a credential at a time from one address, in connections' worth.
const OPEN_CALLS: u32 = 32;
/// Addresses remembered; forgetting one forgives it.
const REMEMBERED_MAX: usize = 65_536;

/// Why an address gets no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It has as many as it may.
    TooMany,
    /// It has misbehaved and asks too often.
    Suspect,
}

/// All addresses with connections or a reputation.
pub struct Peers {
    connections_max: u32,
    open_calls_max: u32,
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<IpAddr, Peer>>,
}

#[derive(Default)]
struct Peer {
    connections: u32,
    open_calls: u32,
    suspicion: Option<Suspicion>,
}

struct Suspicion {
    until: Timestamp,
    arrivals: Bucket,
}

impl Peers {
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            connections_max: limits.connections_per_address,
            open_calls_max: limits.open_calls.saturating_mul(OPEN_CALLS),
            clock,
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Peer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from this address, kept until it is dropped.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Denied> {
        let address = whose(ip);
        let now = self.clock.now();
        let mut known = self.known();
        let peer = known.entry(address).or_default();
        if peer.connections >= self.connections_max {
            return Err(Denied::TooMany);
        }
        if peer.suspicion.as_ref().is_some_and(|suspicion| suspicion.until < now) {
            peer.suspicion = None;
        }
        if let Some(suspicion) = &mut peer.suspicion
            && !suspicion.arrivals.take(1, now)
        {
            return Err(Denied::Suspect);
        }
        peer.connections += 1;
        Ok(Place { address, suspect: peer.suspicion.is_some(), peers: Arc::clone(self) })
    }
}

/// Whom to count an address under. An IPv6 network of 64 bits is one machine's,
/// or can be.
fn whose(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// A connection's place among those of its address.
pub struct Place {
    address: IpAddr,
    suspect: bool,
    peers: Arc<Peers>,
}

impl Place {
    /// Whom the connection is counted under.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// True if the address had misbehaved when the connection came.
    pub const fn suspect(&self) -> bool {
        self.suspect
    }

    /// A connection of this address had to be expelled.
    pub fn misconduct(&self) {
        let now = self.peers.clock.now();
        let mut known = self.peers.known();
        let peer = known.entry(self.address).or_default();
        let until = now.plus(SUSPECT_FOR);
        match &mut peer.suspicion {
            Some(suspicion) => suspicion.until = until,
            none => {
                let arrivals = Bucket::full(SUSPECT_RATE, SUSPECT_RATE, now);
                *none = Some(Suspicion { until, arrivals });
            }
        }
        if known.len() > REMEMBERED_MAX {
            known.retain(|_, peer| peer.connections > 0);
        }
    }

    /// Takes a place for a call without a credential, if there is one.
    pub fn open_call(&self) -> bool {
        let mut known = self.peers.known();
        let peer = known.entry(self.address).or_default();
        let free = peer.open_calls < self.peers.open_calls_max;
        peer.open_calls += u32::from(free);
        free
    }

    /// Gives it back.
    pub fn open_call_ended(&self) {
        if let Some(peer) = self.peers.known().get_mut(&self.address) {
            peer.open_calls = peer.open_calls.saturating_sub(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.peers.known();
        if let Some(peer) = known.get_mut(&self.address) {
            peer.connections = peer.connections.saturating_sub(1);
            if peer.connections == 0 && peer.suspicion.is_none() {
                known.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_engine::ports::SystemClock;

    fn peers(connections_per_address: u32) -> Arc<Peers> {
        let limits = Limits { connections_per_address, ..Limits::default() };
        Peers::new(&limits, Arc::new(SystemClock))
    }

    #[test]
    fn an_address_has_so_many_connections_and_others_are_not_concerned() {
        let peers = peers(2);
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let (first, _second) = (peers.enter(one).unwrap(), peers.enter(one).unwrap());
        assert_eq!(peers.enter(one).err(), Some(Denied::TooMany));
        assert!(peers.enter(other).is_ok());
        drop(first);
        assert!(peers.enter(one).is_ok());
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        for (left, right, same) in [
            ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
        ] {
            assert_eq!(whose(left.parse().unwrap()) == whose(right.parse().unwrap()), same, "{left} {right}");
        }
    }

    #[test]
    fn after_misconduct_connections_come_one_by_one() {
        let peers = peers(1_000);
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let places = |ip, count: usize| (0..count).filter_map(|_| peers.enter(ip).ok()).collect::<Vec<_>>();
        let before = places(one, 100);
        assert_eq!(before.len(), 100);
        before[0].misconduct();
        let after = places(one, 100);
        assert!((1..20).contains(&after.len()), "{}", after.len());
        assert!(after.iter().all(Place::suspect) && !before[1].suspect());
        assert_eq!(places(other, 100).len(), 100);
    }

    #[test]
    fn nothing_is_remembered_of_who_left_in_peace() {
        let peers = peers(10);
        let (good, bad) = (peers.enter([10, 0, 0, 1].into()).unwrap(), peers.enter([10, 0, 0, 2].into()));
        assert!(good.open_call());
        good.open_call_ended();
        drop(good);
        let bad = bad.unwrap();
        bad.misconduct();
        drop(bad);
        assert_eq!(peers.known().len(), 1);
    }
}
