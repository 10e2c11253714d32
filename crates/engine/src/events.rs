//! Reading stored rows back into events.

use quarterdeck_core::stream::{Recorded, StreamEvent};
use quarterdeck_store::StoreError;
use quarterdeck_store::rows::EventRow;

/// The events of one row. A row that this version cannot read is an error, never
/// a gap.
pub fn decode_row<E: StreamEvent>(row: &EventRow) -> Result<Vec<Recorded<E>>, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt {
        table: "event",
        column: "body",
        id: format!("{:?}@{}", row.stream, row.last),
        why,
    };
    let events: Vec<E> = serde_json::from_str(&row.body).map_err(|error| corrupt(error.to_string()))?;
    if events.len() != row.count as usize || (row.count as u64) > row.last {
        return Err(corrupt(format!("{} events where {} are stated", events.len(), row.count)));
    }
    let first = row.last - u64::from(row.count) + 1;
    let recorded = (first..).zip(events).map(|(sequence, event)| Recorded { sequence, at: row.at, event });
    Ok(recorded.collect())
}
