//! Connections: accepting, telling TLS from plaintext, HTTP/2 with every limit
//! set, and sending everybody home within a deadline.
//!
//! Invariants: nothing here waits without a limit; a connection is tracked from
//! accept to close; after [`Stages::graceful`] no connection is accepted, after
//! [`Stages::abort`] none is left. It knows nothing of gRPC.

mod connection;
mod listen;
mod sniff;

pub use connection::Server;
pub use listen::{Acceptor, Stages, bind};
