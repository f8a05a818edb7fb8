//! The file that records are kept in.

use crate::{Error, Record, Result};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// A file of records, one line of JSON each, that any number of processes may append to.
///
/// A record is complete once its line break is on the disk. A process that dies while writing leaves a torn last line: the
/// complete lines before it are never lost, readers report and skip it, and the next writer removes it.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

/// What a journal holds.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The complete records, oldest first.
    pub records: Vec<Record>,
    /// What a killed process left behind, if it did.
    pub torn: Option<Torn>,
}

/// A last line without an end. Its `Display` is a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl Journal {
    /// The journal at `path`. Nothing is opened yet; a file that does not exist is an empty journal.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Adds one record, under a lock that lasts as long as the write, and waits until the disk has it.
    ///
    /// # Errors
    /// [`Error::Record`] for a record with a number that is not finite, before anything is opened; [`Error::File`] when the
    /// file cannot be written.
    pub fn append(&self, record: &Record) -> Result<()> {
        let mut line = record.to_line()?.into_bytes();
        line.push(b'\n');
        self.append_line(&line).map_err(Error::file("append to", &self.path))
    }

    fn append_line(&self, line: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        file.lock()?; // released when the file is closed
        let end = mend(&mut file)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(line)?;
        file.sync_data()
    }

    /// All complete records.
    ///
    /// # Errors
    /// [`Error::File`] when the file exists and cannot be read, [`Error::Line`] for a complete line that is not a record.
    pub fn read(&self) -> Result<Reading> {
        let bytes = match self.bytes() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::default()),
            bytes => bytes.map_err(Error::file("read", &self.path))?,
        };
        let mut reading = Reading::default();
        for (number, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let line_number = number + 1;
            match serde_json::from_slice(line) {
                Ok(record) => reading.records.push(record),
                Err(_) if !line.ends_with(b"\n") => {
                    reading.torn = Some(Torn { path: self.path.clone(), line: line_number });
                }
                Err(reason) => {
                    return Err(Error::Line {
                        path: self.path.clone(),
                        line: line_number,
                        what: "record",
                        reason: reason.to_string(),
                    });
                }
            }
        }
        Ok(reading)
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.lock_shared()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Puts the end of the file behind its last complete record and returns that place. A last line that lacks nothing but its
/// line break is complete and gets one; what is less than a record is cut off.
fn mend(file: &mut File) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    let (mut start, mut tail) = (end, Vec::new());
    // Read backwards, a block at a time, until the last line break is found: the file may be long, a tail never is.
    while start > 0 && !tail.contains(&b'\n') {
        let block = start.min(4096);
        start -= block;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; block as usize];
        file.read_exact(&mut bytes)?;
        bytes.append(&mut tail);
        tail = bytes;
    }
    let complete = tail.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
    let torn = &tail[complete..];
    if torn.is_empty() {
        return Ok(end);
    }
    if serde_json::from_slice::<Record>(torn).is_ok() {
        file.seek(SeekFrom::End(0))?;
        file.write_all(b"\n")?;
        return Ok(end + 1);
    }
    let whole = start + complete as u64;
    file.set_len(whole)?;
    Ok(whole)
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, line) = (self.path.display(), self.line);
        write!(f, "{path} line {line} was cut off while it was written; that one record is computed again")
    }
}
