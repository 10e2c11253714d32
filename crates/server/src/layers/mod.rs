//! What every call passes on its way in and out, as one service.
//!
//! In order: [`transport`] (is it gRPC at all), [`observe`] (request id, span,
//! metrics, log), [`methods`] and [`admit`] (known method, known caller, fitting
//! role), [`deadline`], [`upload`] (memory of messages that come in parts), panics,
//! the handlers; on the way out [`body`] watches the answer to its end, counts what
//! nobody reads and ends streams whose time is up.
//!
//! Invariant: a path that is not in [`methods`] never reaches a handler, and but
//! for the exempt ones listed there none is reached without a [`crate::auth::Caller`].

mod admit;
mod body;
mod deadline;
mod edge;
mod methods;
mod observe;
mod transport;
mod upload;

pub use deadline::TimeAllowed;
pub use edge::{Edge, Endings};
pub use methods::service_names;
