//! `quarterdeck.approvals.v1.AuditService`.

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_api::approvals::v1::audit_service_server::AuditService;
use quarterdeck_core::Digest;
use quarterdeck_engine::Engine;
use quarterdeck_engine::sealer::Head;
use tonic::{Request, Response, Status};

use super::caller;
use crate::convert::approvals::digest;
use crate::convert::{page_size, time};
use crate::status::Failure;

pub struct Audit(pub Engine);

type Answer<T> = Result<Response<T>, Status>;

/// The codec has refused negative ones.
fn unsigned(wire: i64) -> u64 {
    u64::try_from(wire).unwrap_or(0)
}

fn head(head: Head) -> pb::SignedHead {
    pb::SignedHead {
        project: head.project,
        size: head.size.cast_signed(),
        root: digest(head.root),
        time: Some(time::timestamp(head.at)),
        signature: head.signature.into(),
        public_key: bytes::Bytes::copy_from_slice(&head.public_key),
    }
}

fn hashes(proof: Vec<Digest>) -> Vec<bytes::Bytes> {
    proof.into_iter().map(digest).collect()
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn get_audit_head(
        &self,
        request: Request<pb::GetAuditHeadRequest>,
    ) -> Answer<pb::GetAuditHeadResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let (newest, unsealed) = self.0.audit_head(&caller, &wire.project).await.map_err(Failure::from)?;
        let unsealed = unsealed.cast_signed();
        Ok(Response::new(pb::GetAuditHeadResponse { head: newest.map(head), unsealed }))
    }

    async fn list_audit_entries(
        &self,
        request: Request<pb::ListAuditEntriesRequest>,
    ) -> Answer<pb::ListAuditEntriesResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let size = page_size(wire.page_size);
        let listed = self.0.audit_entries(&caller, &wire.project, unsigned(wire.start), size).await;
        let entries = (wire.start..).zip(listed.map_err(Failure::from)?);
        let entries = entries.map(|(index, body)| pb::AuditEntry { index, body }).collect();
        Ok(Response::new(pb::ListAuditEntriesResponse { entries }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<pb::GetInclusionProofRequest>,
    ) -> Answer<pb::GetInclusionProofResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let (index, size) = (unsigned(wire.index), unsigned(wire.size));
        let proved = self.0.inclusion_proof(&caller, &wire.project, index, size).await;
        let (body, size, proof) = proved.map_err(Failure::from)?;
        Ok(Response::new(pb::GetInclusionProofResponse {
            entry: Some(pb::AuditEntry { index: wire.index, body }),
            size: size.cast_signed(),
            hashes: hashes(proof),
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<pb::GetConsistencyProofRequest>,
    ) -> Answer<pb::GetConsistencyProofResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let (first, second) = (unsigned(wire.first), unsigned(wire.second));
        let proved = self.0.consistency_proof(&caller, &wire.project, first, second).await;
        let (second, proof) = proved.map_err(Failure::from)?;
        let second = second.cast_signed();
        Ok(Response::new(pb::GetConsistencyProofResponse { second, hashes: hashes(proof) }))
    }
}
