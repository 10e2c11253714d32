//! `quarterdeck.operations.v1.KeyService`.

use quarterdeck_api::operations::v1 as pb;
use quarterdeck_api::operations::v1::key_service_server::KeyService;
use quarterdeck_engine::Engine;
use tonic::{Request, Response, Status};

use super::caller;
use crate::convert::{keys, page_size};
use crate::status::Failure;

pub struct Keys(pub Engine);

#[tonic::async_trait]
impl KeyService for Keys {
    async fn create_key(
        &self,
        request: Request<pb::CreateKeyRequest>,
    ) -> Result<Response<pb::CreateKeyResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let request_id = wire.request_id.clone();
        let new = keys::new_key(wire).map_err(Failure::from)?;
        let (key, secret) = self.0.create_key(&caller, &request_id, new).await.map_err(Failure::from)?;
        let secret = secret.unwrap_or_default();
        Ok(Response::new(pb::CreateKeyResponse { key: Some(keys::to_wire(key)), secret }))
    }

    async fn list_keys(
        &self,
        request: Request<pb::ListKeysRequest>,
    ) -> Result<Response<pb::ListKeysResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let listed = self.0.list_keys(&caller, page_size(wire.page_size), &wire.page_token).await;
        let page = listed.map_err(Failure::from)?;
        let keys = page.items.into_iter().map(keys::to_wire).collect();
        Ok(Response::new(pb::ListKeysResponse { keys, next_page_token: page.next }))
    }

    async fn revoke_key(
        &self,
        request: Request<pb::RevokeKeyRequest>,
    ) -> Result<Response<pb::RevokeKeyResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let revoked = self.0.revoke_key(&caller, &wire.key_id, &wire.request_id).await;
        let key = keys::to_wire(revoked.map_err(Failure::from)?);
        Ok(Response::new(pb::RevokeKeyResponse { key: Some(key) }))
    }
}
