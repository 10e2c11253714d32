//! Actions that need a yes, from the question to the start.
//!
//! - [`assess`]: from an action to what is asked, by analysers and policy
//! - [`standing`]: what holds in a project: policy, environment, standing grants
//! - [`change`]: changing approvals, and what follows a commit to them
//! - [`gates`]: steps that wait for a yes before they are given to an agent
//! - [`authorize`]: agents that ask in the middle of a step
//! - [`told`]: agents that are told on their session
//! - [`people`]: deciding, editing, delegating, taking back
//! - [`look`], [`watch`]: reading and following them
//! - [`policies`]: changing what holds
//!
//! Invariants: a decision never writes a task's stream; the commit that starts an
//! action appends to the approval's stream at the head that the grant left there,
//! guards the policy's, and is void once the grant's time is over; whatever a lost
//! hint would have started is found in the tables by the sweeper.

mod assess;
mod authorize;
mod change;
mod gates;
mod look;
mod people;
mod policies;
mod standing;
mod told;
mod watch;

pub use assess::Judged;
pub use authorize::Ask;
pub use look::Shown;
pub use people::Target;
pub use policies::{Changed, PolicyView};
pub use watch::{ApprovalFrame, ApprovalItem, ApprovalWatch};

pub(crate) use assess::warm;
pub(crate) use authorize::Waits;
pub(crate) use gates::Gates;
pub(crate) use standing::{StandingCache, guard, redeemable};
pub(crate) use told::Told;

/// Deadlines that are looked up beforehand.
const SOON: quarterdeck_core::Span = quarterdeck_core::Span::from_secs(1);
