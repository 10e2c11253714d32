//! Connections: accepting, telling TLS from plaintext, HTTP/2 with every limit
//! set, and sending everybody home within a deadline.
//!
//! HTTP/2 lets a client cost the server more than itself in many ways. The
//! library bounds what one connection may have at a time; here is bounded what
//! it may do in the course of time ([`conduct`], seen by [`scan`] in
//! [`guarded`]), what an address may have ([`peers`]), and what is held in memory
//! for all of them ([`ledger`]). `tests/hostile` attacks each.
//!
//! Invariants: nothing here waits without a limit; a connection is tracked from
//! accept to close; after [`Stages::graceful`] no connection is accepted, after
//! [`Stages::abort`] none is left. It knows nothing of gRPC.

mod bucket;
mod conduct;
mod connection;
mod guarded;
mod ledger;
mod listen;
mod peers;
mod scan;
mod sniff;

pub use conduct::{Busy, Conduct};
pub use connection::Server;
pub use ledger::{Held, Ledger};
pub use listen::{Acceptor, Stages, bind};
pub use peers::Peers;
