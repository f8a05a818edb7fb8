//! Verification: records are computed again and compared.

pub mod choose;
mod compare;
mod recorded;

pub use compare::Difference;
pub use recorded::{Location, Recorded, read};

use crate::Inputs;
use crate::error::{Error, Result, invalid};
use crate::plan::Job;
use rankle_record::schema::{self, Role};
use rankle_record::{Cell, Record};
use serde_json::{Map, Value};

/// A record whose weights are available.
pub struct Ready<K> {
    /// The record as written.
    pub recorded: Recorded,
    /// Its inputs as written.
    pub cell: Cell,
    /// The job that computes it again.
    pub job: Job<K>,
}

impl<K> Ready<K> {
    /// True if the record was computed on another device or instruction set than `inputs` name.
    pub fn is_of_another_machine(&self, inputs: &Inputs) -> bool {
        compare::is_of_another_machine(&self.recorded.columns, &inputs.facts.provenance)
    }
}

/// Every column of every record that is different when computed again.
///
/// # Errors
/// When a computed number is not finite.
pub fn differences<K>(wanted: &[&Ready<K>], computed: &[Record]) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    for (Ready { recorded, cell, .. }, record) in wanted.iter().zip(computed) {
        let outcome = columns(serde_json::to_value(record))?;
        let mut inputs = columns(serde_json::to_value(&record.cell))?;
        inputs.extend(columns(serde_json::to_value(&record.facts))?);
        inputs.retain(|name, _| schema::find(name).is_some_and(|column| column.role != Role::Circumstance));
        let differing = compare::columns(&recorded.columns, &outcome, &inputs);
        found.extend(differing.into_iter().map(|column| Difference::of(recorded, cell, column)));
    }
    Ok(found)
}

fn columns(record: serde_json::Result<Value>) -> Result<Map<String, Value>> {
    match record.map_err(|error| Error::Invalid(error.to_string()))? {
        Value::Object(columns) => Ok(columns),
        _ => invalid("a record is a JSON object"),
    }
}

/// Number of records with differences.
pub fn records_of(differences: &[Difference]) -> usize {
    differences.chunk_by(Difference::is_beside).count()
}
