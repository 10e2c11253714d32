//! How one connection behaves: what it may still waste, what it has open, and
//! whether it has to go.
//!
//! Everything that a client can make the server do without getting anything for
//! it draws on a budget; who has used one up is expelled, and its address gets
//! fewer new connections for a while ([`super::peers`]). Expelling drops the
//! connection, and with it all that its calls hold.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use quarterdeck_core::Timestamp;
use quarterdeck_engine::Clock;
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use super::peers::Place;
use super::scan::Tally;
use crate::config::Limits;

/// Seconds' worth of frames at once: what clients send in bursts, such as window
/// updates for what has piled up.
const CONTROL_BURST: u32 = 2;
/// Seconds' worth of calls that come to nothing at once: a client that gives up
/// everything it had open is no attacker.
const FRUITLESS_BURST: u32 = 10;
/// What SETTINGS costs in other frames: it may touch a thousand streams.
const SETTINGS_COST: u32 = 100;
/// Newcomers from an address that has misbehaved start with this part of a budget.
const SUSPECT_PART: u32 = 10;

/// Why a connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No whole preface, or
    Silence,
    /// no whole header block in time.
    SlowHeaders,
    /// Too many control frames.
    Flood,
    /// Too many calls reset, or refused for want of a credential or of a place.
    Fruitless,
    /// Messages half sent or answers unread for longest, while others need the memory.
    Held,
}

impl Reason {
    /// As a label of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::SlowHeaders => "slow_headers",
            Self::Flood => "flood",
            Self::Fruitless => "fruitless",
            Self::Held => "held",
        }
    }

    /// Whether the address deserves suspicion. A slow network does not.
    pub const fn is_misconduct(self) -> bool {
        match self {
            Self::Silence | Self::SlowHeaders => false,
            Self::Flood | Self::Fruitless | Self::Held => true,
        }
    }
}

/// One connection's.
pub struct Conduct {
    place: Place,
    clock: Arc<dyn Clock>,
    budgets: Mutex<Budgets>,
    open_calls_max: u32,
    open_calls: AtomicU32,
    /// Calls under way.
    calls: AtomicU32,
    /// A call has begun since somebody looked.
    called: AtomicBool,
    reason: OnceLock<Reason>,
    expelled: CancellationToken,
}

struct Budgets {
    control: Bucket,
    fruitless: Bucket,
}

impl Conduct {
    pub fn new(place: Place, limits: &Limits, clock: Arc<dyn Clock>) -> Arc<Self> {
        let now = clock.now();
        let part = if place.suspect() { SUSPECT_PART } else { 1 };
        let bucket = |rate: u32, seconds: u32, least: u32| {
            Bucket::full(rate, (rate.saturating_mul(seconds) / part).max(least), now)
        };
        let budgets = Budgets {
            // Every connection begins with SETTINGS.
            control: bucket(limits.control_frames, CONTROL_BURST, 2 * SETTINGS_COST),
            fruitless: bucket(limits.fruitless_calls, FRUITLESS_BURST, 1),
        };
        Arc::new(Self {
            place,
            clock,
            budgets: Mutex::new(budgets),
            open_calls_max: limits.open_calls,
            open_calls: AtomicU32::new(0),
            calls: AtomicU32::new(0),
            called: AtomicBool::new(false),
            reason: OnceLock::new(),
            expelled: CancellationToken::new(),
        })
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Frames came in. The reason to end the connection, if they were too many.
    pub fn frames(&self, tally: Tally) -> Option<Reason> {
        let control = tally.control.saturating_add(tally.settings.saturating_mul(SETTINGS_COST));
        if control == 0 && tally.resets == 0 {
            return None;
        }
        let now = self.clock.now();
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if !budgets.control.take(control, now) {
            return Some(Reason::Flood);
        }
        (!budgets.fruitless.take(tally.resets, now)).then_some(Reason::Fruitless)
    }

    /// A call came to nothing by its caller's doing.
    pub fn fruitless(&self) {
        if let Some(reason) = self.frames(Tally { resets: 1, ..Tally::default() }) {
            self.expel(reason);
        }
    }

    /// Ends the connection as soon as it is next looked at.
    pub fn expel(&self, reason: Reason) {
        self.reason.get_or_init(|| reason);
        self.expelled.cancel();
    }

    /// Ready once the connection has to end.
    pub async fn expelled(&self) {
        self.expelled.cancelled().await;
    }

    /// Why it has to end, if it has.
    pub fn reason(&self) -> Option<Reason> {
        self.reason.get().copied()
    }

    /// A call begins and lasts as long as the answer is held.
    pub fn call(self: &Arc<Self>) -> Busy {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.called.store(true, Ordering::Relaxed);
        Busy { conduct: Arc::clone(self), open: false }
    }

    /// True if no call was under way since this was last asked.
    pub fn was_idle(&self) -> bool {
        let called = self.called.swap(false, Ordering::Relaxed);
        !called && self.calls.load(Ordering::Relaxed) == 0
    }
}

/// A call under way.
pub struct Busy {
    conduct: Arc<Conduct>,
    /// Counted among those without a credential.
    open: bool,
}

impl Busy {
    pub fn conduct(&self) -> &Arc<Conduct> {
        &self.conduct
    }

    /// Takes one of the few places for calls without a credential. The limit, if
    /// there is none left.
    pub fn without_credential(&mut self) -> Result<(), u32> {
        let max = self.conduct.open_calls_max;
        let taken = self.conduct.open_calls.fetch_add(1, Ordering::Relaxed);
        if taken < max && self.conduct.place.open_call() {
            self.open = true;
            return Ok(());
        }
        self.conduct.open_calls.fetch_sub(1, Ordering::Relaxed);
        Err(max)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.conduct.calls.fetch_sub(1, Ordering::Relaxed);
        if self.open {
            self.conduct.open_calls.fetch_sub(1, Ordering::Relaxed);
            self.conduct.place.open_call_ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::peers::Peers;
    use quarterdeck_engine::ports::SystemClock;

    fn conduct(limits: &Limits, suspect: bool) -> Arc<Conduct> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let peers = Peers::new(limits, Arc::clone(&clock));
        let ip = [127, 0, 0, 1].into();
        if suspect {
            peers.enter(ip).unwrap().misconduct();
        }
        Conduct::new(peers.enter(ip).unwrap(), limits, clock)
    }

    #[test]
    fn a_burst_is_forgiven_and_a_flood_is_not() {
        let limits = Limits { control_frames: 1_000, fruitless_calls: 10, ..Limits::default() };
        let control = |count| Tally { control: count, ..Tally::default() };
        let (good, suspect) = (conduct(&limits, false), conduct(&limits, true));
        assert_eq!(good.frames(control(1_900)), None);
        assert_eq!(good.frames(control(1_900)), Some(Reason::Flood));
        assert_eq!(suspect.frames(control(1_900)), Some(Reason::Flood));
        let settings = |count| Tally { settings: count, ..Tally::default() };
        assert_eq!(conduct(&limits, false).frames(settings(20)), None);
        assert_eq!(conduct(&limits, false).frames(settings(30)), Some(Reason::Flood));
        // Everybody may begin, whatever the limit.
        let low = Limits { control_frames: 100, ..limits };
        assert_eq!(conduct(&low, true).frames(settings(1)), None);
    }

    #[test]
    fn who_wastes_calls_is_expelled() {
        let limits = Limits { fruitless_calls: 2, ..Limits::default() };
        let conduct = conduct(&limits, false);
        for _ in 0..20 {
            conduct.fruitless();
        }
        assert_eq!(conduct.reason(), None);
        for _ in 0..20 {
            conduct.fruitless();
        }
        assert_eq!(conduct.reason(), Some(Reason::Fruitless));
    }

    #[test]
    fn calls_without_a_credential_are_few() {
        let limits = Limits { open_calls: 2, ..Limits::default() };
        let conduct = conduct(&limits, false);
        let (mut one, mut two, mut three) = (conduct.call(), conduct.call(), conduct.call());
        assert_eq!((one.without_credential(), two.without_credential()), (Ok(()), Ok(())));
        assert_eq!(three.without_credential(), Err(2));
        drop(one);
        assert_eq!(three.without_credential(), Ok(()));
    }

    #[test]
    fn a_connection_is_idle_while_it_makes_no_calls() {
        let conduct = conduct(&Limits::default(), false);
        assert!(conduct.was_idle());
        let call = conduct.call();
        assert!(!conduct.was_idle() && !conduct.was_idle());
        drop(call);
        assert!(conduct.was_idle());
        drop(conduct.call());
        assert!(!conduct.was_idle(), "there was a call in between");
    }
}
