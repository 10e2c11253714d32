//! `quarterdeck.approvals.v1.GateService`.

use std::time::Duration;

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_api::approvals::v1::gate_service_server::GateService;
use quarterdeck_core::Span;
use quarterdeck_engine::Engine;
use quarterdeck_engine::approvals::Ask;
use tonic::{Request, Response, Status};

use super::caller;
use crate::convert::{action, approvals, time};
use crate::layers::TimeAllowed;
use crate::status::Failure;

/// What a call that waits keeps of its time, so that its answer is not too late.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

pub struct Gates(pub Engine);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GateService for Gates {
    async fn assess_action(
        &self,
        request: Request<pb::AssessActionRequest>,
    ) -> Answer<pb::AssessActionResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let action = action::from_wire("action", wire.action).map_err(Failure::from)?;
        let judged = self.0.assess_action(&caller, &wire.project, &action).await.map_err(Failure::from)?;
        Ok(Response::new(pb::AssessActionResponse {
            assessment: Some(approvals::assessment(&judged.assessment)),
            terms: Some(approvals::terms(&judged.terms)),
            preview: Some(approvals::preview(judged.preview)),
            digest: approvals::digest(judged.digest),
        }))
    }

    async fn authorize(&self, request: Request<pb::AuthorizeRequest>) -> Answer<pb::AuthorizeResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let action = action::from_wire("action", wire.action).map_err(Failure::from)?;
        let ask = Ask {
            lease_token: wire.lease_token,
            request_key: wire.request_key,
            action,
            comment: wire.comment,
        };
        let approval = self.0.authorize(&caller, ask).await.map_err(Failure::from)?;
        Ok(Response::new(pb::AuthorizeResponse { approval: Some(approvals::to_wire(&approval)) }))
    }

    async fn await_approval(
        &self,
        request: Request<pb::AwaitApprovalRequest>,
    ) -> Answer<pb::AwaitApprovalResponse> {
        let caller = caller(&request)?;
        let allowed = request.extensions().get::<TimeAllowed>().map_or(Duration::ZERO, |time| time.0);
        let most = Span::from_std(allowed - ANSWER_WITHIN.min(allowed / 4));
        let wire = request.into_inner();
        let wait = wire.wait.map_or(Span::ZERO, time::span).min(most);
        let approval =
            self.0.await_approval(&caller, &wire.approval_id, wait).await.map_err(Failure::from)?;
        Ok(Response::new(pb::AwaitApprovalResponse { approval: Some(approvals::to_wire(&approval)) }))
    }

    async fn redeem_grant(
        &self,
        request: Request<pb::RedeemGrantRequest>,
    ) -> Answer<pb::RedeemGrantResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let runs = wire.action.map(|action| action::from_wire("action", Some(action))).transpose();
        let runs = runs.map_err(Failure::from)?;
        let redeemed =
            self.0.redeem_grant(&caller, &wire.approval_id, &wire.lease_token, runs.as_ref()).await;
        let (approval, handed_out) = redeemed.map_err(Failure::from)?;
        Ok(Response::new(pb::RedeemGrantResponse {
            idempotency_key: approval.id().to_string(),
            approval: Some(approvals::to_wire(&approval)),
            action: handed_out.map(action::to_wire),
        }))
    }

    async fn report_effects(
        &self,
        request: Request<pb::ReportEffectsRequest>,
    ) -> Answer<pb::ReportEffectsResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let effects = approvals::effects(wire.effects);
        let reported = self.0.report_effects(&caller, &wire.approval_id, effects, wire.exit_code).await;
        let approval = approvals::to_wire(&reported.map_err(Failure::from)?);
        Ok(Response::new(pb::ReportEffectsResponse { approval: Some(approval) }))
    }
}
