//! Projects.

use quarterdeck_api::operations::v1 as pb;

use super::page::{Items, Page, required};
use super::tasks::fill;
use crate::client::Client;
use crate::error::Error;
use crate::retry;

impl Client {
    /// Creates a project; an empty `request_id` is filled.
    ///
    /// # Errors
    /// PROJECT_EXISTS and what the contract says besides.
    pub async fn create_project(&self, mut request: pb::CreateProjectRequest) -> Result<pb::Project, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.project_stub();
            async move { stub.create_project(request).await }
        });
        required(response.await?.project, "project")
    }

    /// Reads a project.
    ///
    /// # Errors
    /// PROJECT_NOT_FOUND.
    pub async fn get_project(&self, name: impl Into<String>) -> Result<pb::Project, Error> {
        let request = pb::GetProjectRequest { name: name.into() };
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.project_stub();
            async move { stub.get_project(request).await }
        });
        required(response.await?.project, "project")
    }

    /// All projects that the credential covers, by name.
    #[must_use]
    pub fn list_projects(&self) -> Items<pb::Project> {
        let client = self.clone();
        Items::walk(String::new(), move |page_token| {
            let client = client.clone();
            async move {
                let request = pb::ListProjectsRequest { page_size: 0, page_token };
                let page = client.list_projects_page(request).await?;
                Ok(Page { items: page.projects, next: page.next_page_token })
            }
        })
    }

    /// One page of projects.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn list_projects_page(
        &self,
        request: pb::ListProjectsRequest,
    ) -> Result<pb::ListProjectsResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.project_stub();
            async move { stub.list_projects(request).await }
        })
        .await
    }

    /// Changes a project; an empty `request_id` is filled.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn update_project(&self, mut request: pb::UpdateProjectRequest) -> Result<pb::Project, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.project_stub();
            async move { stub.update_project(request).await }
        });
        required(response.await?.project, "project")
    }
}
