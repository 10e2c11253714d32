//! The port that takes a notice to its receiver.

use async_trait::async_trait;

use super::address::Address;

/// One notice, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    pub address: Address,
    /// Of the Standard Webhooks.
    pub headers: [(&'static str, String); 3],
    /// JSON.
    pub body: String,
}

/// Sends. Whoever implements it bounds the time, follows no redirect, and connects to
/// nothing that [`AllowList::permits_ip`](super::AllowList::permits_ip) does not permit.
#[async_trait]
pub trait Courier: Send + Sync + 'static {
    /// One try. Done once the receiver has answered with success; otherwise says why
    /// not, for people, in a few words.
    async fn deliver(&self, parcel: &Parcel) -> Result<(), String>;
}

/// Where nobody is told.
pub struct NoCourier;

#[async_trait]
impl Courier for NoCourier {
    async fn deliver(&self, _parcel: &Parcel) -> Result<(), String> {
        Err("this server sends nothing".to_owned())
    }
}
