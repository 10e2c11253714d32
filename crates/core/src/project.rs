//! Projects: the walls between tenants.

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::stream::{Kind, Recorded, StreamEvent};
use crate::time::Timestamp;

/// Project that exists from the start.
pub const DEFAULT: &str = "default";

/// A project after some of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub name: String,
    pub display_name: String,
    pub archived: bool,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    Created { name: String, display_name: String },
    Changed { display_name: Option<String>, archived: Option<bool> },
}

impl StreamEvent for Event {
    const KIND: Kind = Kind::Project;
}

/// What [`update`] changes; `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub display_name: Option<String>,
    pub archived: Option<bool>,
    pub if_revision: Option<u64>,
}

/// Creates a project that does not exist yet.
pub fn create(existing: Option<&Project>, name: &str, display_name: &str) -> Result<Vec<Event>, Refusal> {
    match existing {
        Some(_) => Err(Refusal::ProjectExists),
        None => Ok(vec![Event::Created { name: name.to_owned(), display_name: display_name.to_owned() }]),
    }
}

/// Changes a project. A change to what it is already is no event.
pub fn update(project: &Project, change: &Change) -> Result<Vec<Event>, Refusal> {
    if let Some(required) = change.if_revision.filter(|&required| required != project.revision) {
        return Err(Refusal::RevisionMismatch { required, actual: project.revision });
    }
    let display_name = change.display_name.clone().filter(|name| *name != project.display_name);
    let archived = change.archived.filter(|&archived| archived != project.archived);
    if display_name.is_none() && archived.is_none() {
        return Ok(Vec::new());
    }
    Ok(vec![Event::Changed { display_name, archived }])
}

/// The state after one more event. `None` before the first.
pub fn apply(state: Option<Project>, recorded: &Recorded<Event>) -> Option<Project> {
    match (&recorded.event, state) {
        (Event::Created { name, display_name }, None) => Some(Project {
            name: name.clone(),
            display_name: display_name.clone(),
            archived: false,
            revision: recorded.sequence,
            created_at: recorded.at,
            updated_at: recorded.at,
        }),
        (Event::Changed { display_name, archived }, Some(mut project)) => {
            if let Some(name) = display_name {
                project.display_name.clone_from(name);
            }
            project.archived = archived.unwrap_or(project.archived);
            project.revision = recorded.sequence;
            project.updated_at = recorded.at;
            Some(project)
        }
        (_, state) => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(sequence: u64, event: Event) -> Recorded<Event> {
        Recorded { sequence, at: Timestamp::from_micros(sequence as i64), event }
    }

    #[test]
    fn a_project_is_created_once_and_changed_under_its_revision() {
        let events = create(None, "alpha", "Alpha").unwrap();
        let project = apply(None, &recorded(1, events[0].clone())).unwrap();
        assert_eq!(create(Some(&project), "alpha", "x"), Err(Refusal::ProjectExists));

        let archive = Change { archived: Some(true), if_revision: Some(1), ..Change::default() };
        let events = update(&project, &archive).unwrap();
        let project = apply(Some(project), &recorded(2, events[0].clone())).unwrap();
        assert!(project.archived);
        assert_eq!(update(&project, &archive), Err(Refusal::RevisionMismatch { required: 1, actual: 2 }));
        let same = Change { archived: Some(true), ..Change::default() };
        assert_eq!(update(&project, &same), Ok(vec![]));
    }
}
