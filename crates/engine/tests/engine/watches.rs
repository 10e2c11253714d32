//! Watches of a project, which break and are opened again.

use std::collections::{BTreeMap, BTreeSet};

use quarterdeck_engine::project_watch::ProjectItem;

use crate::world::*;

#[tokio::test]
async fn a_snapshot_is_told_to_its_end_wherever_its_watch_broke() {
    let world = World::new();
    let replica = world.replica().await;
    let mut tasks = BTreeSet::new();
    for _ in 0..3 {
        let task = replica.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
        tasks.insert(task.id);
    }
    for handled in 0..3 {
        let (mut cursor, mut told) = (String::new(), BTreeSet::new());
        for frames in [handled, 3] {
            let caller = caller();
            let watch = replica.engine.watch_tasks(&caller, "", BTreeMap::new(), false, &cursor);
            let mut watch = watch.await.unwrap();
            for _ in 0..frames {
                let frame = soon("a frame", watch.next()).await.unwrap().unwrap();
                cursor = frame.cursor;
                match frame.item {
                    ProjectItem::Snapshot(row) => drop(told.insert(row.task)),
                    other => panic!("{other:?} instead of the snapshot"),
                }
            }
        }
        assert_eq!(told, tasks, "after {handled} frames");
        assert!(!cursor.is_empty(), "after the snapshot there is a cursor");
    }
}
