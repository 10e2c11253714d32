//! `quarterdeck.operations.v1.ProjectService`.

use quarterdeck_api::operations::v1 as pb;
use quarterdeck_api::operations::v1::project_service_server::ProjectService;
use quarterdeck_engine::Engine;
use tonic::{Request, Response, Status};

use super::caller;
use crate::convert::{page_size, projects};
use crate::status::Failure;

pub struct Projects(pub Engine);

#[tonic::async_trait]
impl ProjectService for Projects {
    async fn create_project(
        &self,
        request: Request<pb::CreateProjectRequest>,
    ) -> Result<Response<pb::CreateProjectResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        // The codec requires it.
        let new = wire.project.unwrap_or_default();
        let created = self.0.create_project(&caller, &wire.request_id, &new.name, &new.display_name).await;
        let project = projects::to_wire(created.map_err(Failure::from)?);
        Ok(Response::new(pb::CreateProjectResponse { project: Some(project) }))
    }

    async fn get_project(
        &self,
        request: Request<pb::GetProjectRequest>,
    ) -> Result<Response<pb::GetProjectResponse>, Status> {
        let caller = caller(&request)?;
        let project = self.0.get_project(&caller, &request.into_inner().name).await.map_err(Failure::from)?;
        Ok(Response::new(pb::GetProjectResponse { project: Some(projects::to_wire(project)) }))
    }

    async fn list_projects(
        &self,
        request: Request<pb::ListProjectsRequest>,
    ) -> Result<Response<pb::ListProjectsResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let listed = self.0.list_projects(&caller, page_size(wire.page_size), &wire.page_token).await;
        let page = listed.map_err(Failure::from)?;
        let projects = page.items.into_iter().map(projects::to_wire).collect();
        Ok(Response::new(pb::ListProjectsResponse { projects, next_page_token: page.next }))
    }

    async fn update_project(
        &self,
        request: Request<pb::UpdateProjectRequest>,
    ) -> Result<Response<pb::UpdateProjectResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let request_id = wire.request_id.clone();
        let (name, change) = projects::change(wire).map_err(Failure::from)?;
        let updated = self.0.update_project(&caller, &request_id, &name, change).await;
        let project = projects::to_wire(updated.map_err(Failure::from)?);
        Ok(Response::new(pb::UpdateProjectResponse { project: Some(project) }))
    }
}
