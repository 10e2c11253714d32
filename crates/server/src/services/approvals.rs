//! `quarterdeck.approvals.v1.ApprovalService`.

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_api::approvals::v1::approval_service_server::ApprovalService;
use quarterdeck_engine::Engine;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::{caller, watches};
use crate::convert::{action, approvals, page_size, time};
use crate::status::Failure;

pub struct Approvals {
    pub engine: Engine,
    pub tracker: TaskTracker,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ApprovalService for Approvals {
    type WatchApprovalsStream = watches::ApprovalFrames;

    async fn get_approval(
        &self,
        request: Request<pb::GetApprovalRequest>,
    ) -> Answer<pb::GetApprovalResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let shown = self.engine.get_approval(&caller, &wire.approval_id).await.map_err(Failure::from)?;
        Ok(Response::new(pb::GetApprovalResponse {
            approval: Some(approvals::to_wire(&shown.approval)),
            preview: Some(approvals::preview(shown.preview)),
        }))
    }

    async fn list_approvals(
        &self,
        request: Request<pb::ListApprovalsRequest>,
    ) -> Answer<pb::ListApprovalsResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let filter = approvals::filter(wire.filter).map_err(Failure::from)?;
        let size = page_size(wire.page_size);
        let listed = self.engine.list_approvals(&caller, &wire.project, filter, size, &wire.page_token).await;
        let page = listed.map_err(Failure::from)?;
        let approvals = page.items.iter().map(approvals::listed).collect();
        Ok(Response::new(pb::ListApprovalsResponse { approvals, next_page_token: page.next }))
    }

    async fn count_approvals(
        &self,
        request: Request<pb::CountApprovalsRequest>,
    ) -> Answer<pb::CountApprovalsResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let counted = self.engine.count_approvals(&caller, &wire.project).await;
        let [low, medium, high] = counted.map_err(Failure::from)?.map(|count| count.cast_signed());
        Ok(Response::new(pb::CountApprovalsResponse { low, medium, high }))
    }

    async fn watch_approvals(
        &self,
        request: Request<pb::WatchApprovalsRequest>,
    ) -> Answer<Self::WatchApprovalsStream> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let least = approvals::min_level(wire.min_level);
        let watch = self.engine.watch_approvals(&caller, &wire.project, least, &wire.resume_after).await;
        Ok(Response::new(watches::approvals(&self.tracker, watch.map_err(Failure::from)?)))
    }

    async fn decide_approvals(
        &self,
        request: Request<pb::DecideApprovalsRequest>,
    ) -> Answer<pb::DecideApprovalsResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let targets = approvals::targets(&wire.targets).map_err(Failure::from)?;
        let vote = approvals::vote(wire.vote).map_err(Failure::from)?;
        let decided =
            self.engine.decide_approvals(&caller, &targets, vote, &wire.comment, &wire.request_id).await;
        let approvals = decided.map_err(Failure::from)?.iter().map(approvals::to_wire).collect();
        Ok(Response::new(pb::DecideApprovalsResponse { approvals }))
    }

    async fn edit_approval(
        &self,
        request: Request<pb::EditApprovalRequest>,
    ) -> Answer<pb::EditApprovalResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let target = approvals::target("", &wire.approval_id, &wire.digest).map_err(Failure::from)?;
        let action = action::from_wire("action", wire.action).map_err(Failure::from)?;
        let edited =
            self.engine.edit_approval(&caller, target, &action, &wire.comment, &wire.request_id).await;
        let approval = approvals::to_wire(&edited.map_err(Failure::from)?);
        Ok(Response::new(pb::EditApprovalResponse { approval: Some(approval) }))
    }

    async fn delegate_approval(
        &self,
        request: Request<pb::DelegateApprovalRequest>,
    ) -> Answer<pb::DelegateApprovalResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let lifetime = wire.lifetime.map(time::span);
        let delegated = self
            .engine
            .delegate_approval(&caller, &wire.approval_id, &wire.to, lifetime, &wire.request_id)
            .await;
        let approval = approvals::to_wire(&delegated.map_err(Failure::from)?);
        Ok(Response::new(pb::DelegateApprovalResponse { approval: Some(approval) }))
    }

    async fn withdraw_approval(
        &self,
        request: Request<pb::WithdrawApprovalRequest>,
    ) -> Answer<pb::WithdrawApprovalResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let withdrawn =
            self.engine.withdraw_approval(&caller, &wire.approval_id, &wire.comment, &wire.request_id).await;
        let approval = approvals::to_wire(&withdrawn.map_err(Failure::from)?);
        Ok(Response::new(pb::WithdrawApprovalResponse { approval: Some(approval) }))
    }

    async fn revoke_approval(
        &self,
        request: Request<pb::RevokeApprovalRequest>,
    ) -> Answer<pb::RevokeApprovalResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let revoked =
            self.engine.revoke_approval(&caller, &wire.approval_id, &wire.comment, &wire.request_id).await;
        let approval = approvals::to_wire(&revoked.map_err(Failure::from)?);
        Ok(Response::new(pb::RevokeApprovalResponse { approval: Some(approval) }))
    }

    async fn reveal_action(
        &self,
        request: Request<pb::RevealActionRequest>,
    ) -> Answer<pb::RevealActionResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let revealed = self.engine.reveal_action(&caller, &wire.approval_id, &wire.reason).await;
        let (revealed, at) = revealed.map_err(Failure::from)?;
        Ok(Response::new(pb::RevealActionResponse {
            action: Some(action::to_wire(revealed)),
            reveal_time: Some(time::timestamp(at)),
        }))
    }
}
