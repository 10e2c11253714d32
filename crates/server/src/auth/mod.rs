//! Who is calling: bearer credentials to principals.
//!
//! [`jwt`] knows tokens of other issuers, [`jwks`] their published keys, [`secrets`] reads secrets from files.
//! API keys are the engine's. What a principal may do is decided in
//! `layers::auth` (roles) and in the engine (projects).

mod bearer;
mod jwks;
mod jwks_url;
pub mod jwt;
pub mod secrets;

pub use bearer::{Authenticator, Caller};
