//! API keys.

use quarterdeck_api::operations::v1 as pb;

use super::page::{Items, Page, required};
use super::tasks::fill;
use crate::client::Client;
use crate::error::Error;
use crate::retry::{self, Repeat};

impl Client {
    /// Creates a key and answers it with its secret, which is shown only here.
    ///
    /// Repeated only where nothing was done: a second answer would lack the secret.
    ///
    /// # Errors
    /// As the contract says. After an error of [`Origin::Transport`](crate::Origin)
    /// the key may exist without anybody knowing its secret: revoke it.
    pub async fn create_key(
        &self,
        mut request: pb::CreateKeyRequest,
    ) -> Result<pb::CreateKeyResponse, Error> {
        fill(&mut request.request_id);
        retry::call(self.policy_with(Repeat::IfNotDone), request, |request| {
            let mut stub = self.key_stub();
            async move { stub.create_key(request).await }
        })
        .await
    }

    /// All keys that cover none but the caller's projects, newest first.
    #[must_use]
    pub fn list_keys(&self) -> Items<pb::Key> {
        let client = self.clone();
        Items::walk(String::new(), move |page_token| {
            let client = client.clone();
            async move {
                let request = pb::ListKeysRequest { page_size: 0, page_token };
                let page = client.list_keys_page(request).await?;
                Ok(Page { items: page.keys, next: page.next_page_token })
            }
        })
    }

    /// One page of keys.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn list_keys_page(&self, request: pb::ListKeysRequest) -> Result<pb::ListKeysResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.key_stub();
            async move { stub.list_keys(request).await }
        })
        .await
    }

    /// Makes a key useless; an empty `request_id` is filled.
    ///
    /// # Errors
    /// KEY_NOT_FOUND and what the contract says besides.
    pub async fn revoke_key(&self, mut request: pb::RevokeKeyRequest) -> Result<pb::Key, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.key_stub();
            async move { stub.revoke_key(request).await }
        });
        required(response.await?.key, "key")
    }
}
