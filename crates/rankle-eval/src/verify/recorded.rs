//! Records as written: every column, also those that this version does not know.

use crate::error::{Error, Result, invalid};
use rankle_record::{Columns, Record};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Largest size of a file of records, in bytes; a pipe may have no end.
const LONGEST: u64 = 256 << 20;

/// One record of a file.
pub struct Recorded {
    /// The file of the record.
    pub file: PathBuf,
    /// Location in the file.
    pub place: Location,
    /// Its columns.
    pub columns: Map<String, Value>,
}

/// Location of a record in its file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// Line of a JSON Lines file.
    Line(usize),
    /// Position in a JSON array.
    Record(usize),
}

/// Reads a file of records: one JSON object a line, or one array of them.
///
/// # Errors
/// One line that names the file and, if a record cannot be read, its location.
pub fn read(path: &Path) -> Result<Vec<Recorded>> {
    let shown = path.display();
    let refused = |what: String, error: &dyn std::fmt::Display| Error::Invalid(format!("{shown}{what}: {error}"));
    let text = rankle_files::read_text_or_pipe(path, LONGEST).map_err(|error| refused(" cannot be read".into(), &error))?;
    let values: Vec<(Location, serde_json::Result<Columns>)> = match text.trim_start().starts_with('[') {
        true => {
            let array = serde_json::from_str(&text).map_err(|error| refused(" is no array of records".into(), &error));
            let array: Vec<Columns> = array?;
            array.into_iter().enumerate().map(|(at, value)| (Location::Record(at + 1), Ok(value))).collect()
        }
        false => text.lines().enumerate().map(|(at, line)| (Location::Line(at + 1), serde_json::from_str(line))).collect(),
    };
    let recorded = |(place, columns): (Location, serde_json::Result<Columns>)| match columns {
        Ok(Columns(columns)) => Ok(Recorded { file: path.to_owned(), place, columns }),
        Err(reason) => invalid(format!("{shown} {place} is not a record: {reason}")),
    };
    values.into_iter().map(recorded).collect()
}

impl Recorded {
    /// True if the record is of an attack on a classifier, not on a ranking.
    pub fn is_of_a_classifier(&self) -> bool {
        self.columns.contains_key("accuracy_after")
    }

    /// The parsed record, without the columns that a report adds.
    ///
    /// # Errors
    /// One line that names the record, when it is not one of this version.
    pub fn record(&self) -> Result<Record> {
        let columns = self.columns.iter().filter(|(name, _)| *name != "caveat");
        let line = Value::Object(columns.map(|(name, value)| (name.clone(), value.clone())).collect()).to_string();
        let refused = |reason| Error::Invalid(format!("{} is not a record of this version: {reason}", self.name()));
        Record::from_line(line.as_bytes()).map_err(refused)
    }

    /// File and location, for messages.
    pub fn name(&self) -> String {
        format!("{} {}", self.file.display(), self.place)
    }

    /// Run time in seconds; infinite if it is not recorded.
    pub fn seconds(&self) -> f64 {
        self.columns.get("seconds").and_then(Value::as_f64).unwrap_or(f64::INFINITY)
    }
}

impl Location {
    /// The line or position.
    pub fn number(self) -> usize {
        match self {
            Self::Line(number) | Self::Record(number) => number,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Record(number) => write!(f, "record {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_arrays_are_read_and_anything_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let line = "{\"targets\":1,\"seconds\":2.5,\"of_tomorrow\":[1]}\n";
        let array = format!("[{line},\n{line}]");
        for (text, place) in [(line.repeat(2), Location::Line as fn(usize) -> Location), (array, Location::Record)] {
            let read = read(&file("good", &text)).unwrap();
            assert_eq!(read.iter().map(|recorded| recorded.place).collect::<Vec<_>>(), [1, 2].map(place));
            assert!(!read[1].is_of_a_classifier() && read[1].seconds() == 2.5 && read[1].columns.contains_key("of_tomorrow"));
            let message = read[1].record().unwrap_err().to_string();
            assert!(message.contains(&format!("good {} is not a record of this version: ", place(2))), "{message}");
        }
        for (text, part) in [
            (format!("{line}{{"), "line 2 is not a record"),
            (format!("{line}\n{line}"), "line 2 is not a record"),
            (format!("{line}{{\"rank_after\": NaN}}"), "line 2 is not a record"),
            (format!("{line}3\n"), "line 2 is not a record: invalid type: integer `3`, expected a JSON object"),
            ("[3]".to_owned(), "is no array of records: invalid type: integer `3`, expected a JSON object"),
            (format!("{line}{{\"targets\":1,\"targets\":2}}"), "line 2 is not a record: duplicate column `targets`"),
            ("[".to_owned(), "is no array of records"),
        ] {
            let error = read(&file("bad", &text)).err().unwrap();
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(read(&folder.path().join("none")).err().unwrap().to_string().contains("none cannot be read: "));
        assert!(read(folder.path()).is_err());
    }
}
