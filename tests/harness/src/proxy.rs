//! A TCP proxy that breaks connections as networks do.
//!
//! Invariants: bytes that are passed on are never lost, changed or reordered
//! within a connection, because TCP never does that either: a direction that is
//! held delivers later, or the connection is reset, or it stays silent for ever.
//! What closes one side is held like bytes are. It knows nothing of what it carries.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2_048;
const CHUNK: usize = 16 * 1024;

/// What happens to bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// They pass.
    #[default]
    Open,
    /// They pass after this long.
    Slow(Duration),
    /// They do not pass until this changes.
    Held,
}

/// What happens to bytes, seen from those who connect to the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Towards the server.
    pub up: Way,
    /// From the server.
    pub down: Way,
}

/// How connections that exist are broken; those made later are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both ends see a reset.
    Reset,
    /// The near end, which had connected, sees a reset; the server hears nothing,
    /// as if its peer had lost its power. Until the next cut.
    HalfOpen,
    /// Neither end hears anything any more, as behind a router that has forgotten
    /// them. Until the next cut.
    Silence,
}

#[derive(Clone, Copy, Debug)]
struct Orders {
    ways: Ways,
    /// Connections from before the last cut obey it.
    cuts: u64,
    cut: Cut,
    /// New connections are reset at once.
    shut: bool,
}

impl Orders {
    /// What holds when the proxy is gone.
    const END: Self =
        Self { ways: Ways { up: Way::Open, down: Way::Open }, cuts: u64::MAX, cut: Cut::Reset, shut: true };
}

/// A proxy on a port of its own. Dropped, its connections end.
pub struct Proxy {
    port: u16,
    orders: watch::Sender<Orders>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts one in front of this loopback port, where nobody need listen yet.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for a proxy")?;
        let port = listener.local_addr()?.port();
        let calm = Orders { ways: Ways::default(), cuts: 0, cut: Cut::Reset, shut: false };
        let (orders, obeyed) = watch::channel(calm);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, obeyed));
        Ok(Proxy { port, orders, _accepting: accepting })
    }

    /// Where to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, for all connections that were not cut.
    pub fn set(&self, ways: Ways) {
        self.orders.send_modify(|orders| orders.ways = ways);
    }

    /// Cuts the connections that exist.
    pub fn cut(&self, cut: Cut) {
        self.orders.send_modify(|orders| {
            orders.cuts += 1;
            orders.cut = cut;
        });
    }

    /// Resets what exists and, until told otherwise, whoever connects.
    pub fn shut(&self, shut: bool) {
        self.orders.send_modify(|orders| orders.shut = shut);
        if shut {
            self.cut(Cut::Reset);
        }
    }
}

async fn accept(listener: TcpListener, target: u16, orders: watch::Receiver<Orders>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut carried = JoinSet::new();
    loop {
        while carried.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let near = match listener.accept().await {
            Ok((near, _)) => near,
            Err(_) => {
                // Out of descriptors, most likely: some are about to be closed.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let orders = orders.clone();
        carried.spawn(async move {
            carry(near, target, orders).await;
            drop(permit);
        });
    }
}

async fn carry(near: TcpStream, target: u16, mut orders: watch::Receiver<Orders>) {
    let Orders { cuts: born, shut, .. } = *orders.borrow_and_update();
    let far = if shut { None } else { TcpStream::connect(("127.0.0.1", target)).await.ok() };
    let Some(far) = far else {
        let _ = near.set_zero_linger();
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (mut near, mut far) = (near.into_split(), far.into_split());
    let mut told = orders.clone();
    let ended = tokio::select! {
        biased;
        told = told.wait_for(|orders| orders.cuts > born) => told.is_err().then_some(Ok(())),
        ended = async {
            let up = pass(&mut near.0, &mut far.1, orders.clone(), |ways| ways.up);
            let down = pass(&mut far.0, &mut near.1, orders.clone(), |ways| ways.down);
            tokio::try_join!(up, down).map(drop)
        } => Some(ended),
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(_)) => {
            reset(near);
            reset(far);
        }
        None => obey(near, far, orders, born).await,
    }
}

/// Breaks a connection as the cuts since its birth say.
async fn obey(near: Halves, far: Halves, mut orders: watch::Receiver<Orders>, born: u64) {
    let (mut near, mut seen) = (Some(near), born);
    loop {
        // Held open, unread, until the next cut, or the end of the proxy.
        let next = orders.wait_for(|orders| orders.cuts > seen).await.map(|orders| *orders);
        let Orders { cuts, cut, .. } = next.unwrap_or(Orders::END);
        seen = cuts;
        if cut != Cut::Silence
            && let Some(near) = near.take()
        {
            reset(near);
        }
        if cut == Cut::Reset {
            return reset(far);
        }
    }
}

type Halves = (OwnedReadHalf, OwnedWriteHalf);

fn reset((inbound, outbound): Halves) {
    let _ = inbound.as_ref().set_zero_linger();
    // Or dropping it would close this direction in good order first.
    outbound.forget();
    drop(inbound);
}

/// Passes one direction on to its end; `Err` where it was broken.
async fn pass(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut orders: watch::Receiver<Orders>,
    way: impl Fn(&Ways) -> Way,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await;
        let now = way(&orders.borrow().ways);
        if let Way::Slow(wait) = now {
            tokio::time::sleep(wait).await;
        }
        // That it is over is held back, too.
        let open = orders.wait_for(|orders| way(&orders.ways) != Way::Held).await.is_ok();
        if !open {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        match read? {
            0 => return to.shutdown().await,
            length => to.write_all(chunk.get(..length).unwrap_or_default()).await?,
        }
    }
}
