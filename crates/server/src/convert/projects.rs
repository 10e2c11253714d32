//! Projects.

use quarterdeck_api::operations::v1 as pb;
use quarterdeck_core::project::{Change, Project};

use super::{int64, revision, time, violation};
use crate::status::Violation;

pub fn to_wire(project: Project) -> pb::Project {
    let state = if project.archived { pb::ProjectState::Archived } else { pb::ProjectState::Active };
    pb::Project {
        name: project.name,
        display_name: project.display_name,
        state: state.into(),
        revision: int64(project.revision),
        create_time: Some(time::timestamp(project.created_at)),
        update_time: Some(time::timestamp(project.updated_at)),
    }
}

/// Which project to change, and how: the fields in the mask, and no others.
pub fn change(wire: pb::UpdateProjectRequest) -> Result<(String, Change), Violation> {
    let project = wire.project.ok_or_else(|| violation("project", "is required"))?;
    let mask = wire.update_mask.ok_or_else(|| violation("update_mask", "is required"))?;
    let mut change = Change { if_revision: revision(wire.if_revision_match), ..Change::default() };
    if mask.paths.is_empty() {
        return Err(violation("update_mask", "names no field"));
    }
    for path in mask.paths {
        match path.as_str() {
            "display_name" => change.display_name = Some(project.display_name.clone()),
            "state" => change.archived = Some(archived(project.state)?),
            _ => return Err(violation("update_mask", format!("`{path:.80}` cannot be changed"))),
        }
    }
    Ok((project.name, change))
}

fn archived(state: i32) -> Result<bool, Violation> {
    match pb::ProjectState::try_from(state) {
        Ok(pb::ProjectState::Active) => Ok(false),
        Ok(pb::ProjectState::Archived) => Ok(true),
        Ok(pb::ProjectState::Unspecified) | Err(_) => {
            Err(violation("project.state", "must be ACTIVE or ARCHIVED where the mask names it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(paths: &[&str], state: pb::ProjectState) -> pb::UpdateProjectRequest {
        let project = pb::Project {
            name: "alpha".into(),
            display_name: "Alpha".into(),
            state: state.into(),
            ..Default::default()
        };
        pb::UpdateProjectRequest {
            project: Some(project),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|&path| path.into()).collect(),
            }),
            if_revision_match: Some(3),
            ..Default::default()
        }
    }

    #[test]
    fn only_what_the_mask_names_is_changed() {
        let (name, one) = change(request(&["state"], pb::ProjectState::Archived)).unwrap();
        assert_eq!(name, "alpha");
        assert_eq!(one, Change { display_name: None, archived: Some(true), if_revision: Some(3) });
        let (_, other) = change(request(&["display_name"], pb::ProjectState::Unspecified)).unwrap();
        assert_eq!((other.display_name.as_deref(), other.archived), (Some("Alpha"), None));
    }

    #[test]
    fn a_mask_that_means_nothing_is_refused() {
        for (paths, field) in
            [(&[][..], "update_mask"), (&["name"], "update_mask"), (&["state"], "project.state")]
        {
            assert_eq!(change(request(paths, pb::ProjectState::Unspecified)).unwrap_err().field, field);
        }
    }
}
