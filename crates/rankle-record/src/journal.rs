//! The file of records.

use crate::{Error, FORMAT, Record, Result};
use serde::de::IgnoredAny;
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

/// Records that were read from a journal.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The complete records, oldest first.
    pub records: Vec<Record>,
    /// The torn last line, if a killed process left one.
    pub torn: Option<TornLine>,
}

/// A last line that was cut off. Its `Display` is a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornLine {
    /// The file.
    pub path: PathBuf,
    /// Line number, counted from 1.
    pub line: usize,
}

impl Journal {
    /// The journal at `path`. The file is not opened; a file that does not exist is an empty journal.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Appends one record, under a lock that lasts as long as the write, and waits until the disk has it.
    ///
    /// # Errors
    /// [`Error::Record`] for a record with a number that is not finite, before anything is opened; [`Error::File`] if the file
    /// cannot be written.
    pub fn append(&self, record: &Record) -> Result<()> {
        let mut line = record.to_line()?.into_bytes();
        line.push(b'\n');
        self.append_line(&line).map_err(Error::file("append to", &self.path))
    }

    /// Locks the file against appending until the handle is dropped, for work on it or on files that belong to its records.
    ///
    /// # Errors
    /// [`Error::File`] if the file does not exist or cannot be written.
    pub fn hold(&self) -> Result<File> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path);
        file.and_then(|file| file.lock().map(|()| file)).map_err(Error::file("lock", &self.path))
    }

    fn append_line(&self, line: &[u8]) -> io::Result<()> {
        let mut file = loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
            file.lock()?; // released when the file is closed
            // The previous holder of the lock may have replaced the file.
            if rankle_files::is_still(&self.path, &file) {
                break file;
            }
        };
        let end = mend(&mut file)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(line)?;
        file.sync_data()
    }

    /// Reads all complete records.
    ///
    /// # Errors
    /// As [`Follower::more`].
    pub fn read(&self) -> Result<Reading> {
        self.follow().more()
    }

    /// A reader that starts at the first record.
    pub fn follow(&self) -> Follower {
        Follower { path: self.path.clone(), lines: 0, end: 0 }
    }
}

/// Reader of the records that are appended to a journal.
#[derive(Clone, Debug)]
pub struct Follower {
    path: PathBuf,
    /// Number of complete lines read so far; `end` is the offset in bytes at which the last of them ends.
    lines: usize,
    end: u64,
}

impl Follower {
    /// Reads the complete records since the last call.
    ///
    /// # Errors
    /// [`Error::File`] if the file exists and cannot be read; [`Error::Line`] for a complete line that is not a record, and for a
    /// file whose only line is incomplete and cannot be the beginning of a record.
    pub fn more(&mut self) -> Result<Reading> {
        let bytes = match self.bytes() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::default()),
            bytes => bytes.map_err(Error::file("read", &self.path))?,
        };
        let mut reading = Reading::default();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let number = self.lines + 1;
            match Record::from_line(line) {
                Ok(record) if line.ends_with(b"\n") => {
                    reading.records.push(record);
                    self.lines = number;
                    self.end += line.len() as u64;
                }
                // Only the line break is missing. The next writer adds it, and the record is then read again.
                Ok(record) => reading.records.push(record),
                Err(_) if !line.ends_with(b"\n") && (number > 1 || is_torn(line)) => {
                    reading.torn = Some(TornLine { path: self.path.clone(), line: number });
                }
                Err(reason) => {
                    return Err(Error::Line { path: self.path.clone(), line: number, what: "record", reason });
                }
            }
        }
        Ok(reading)
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        // Checked before the file is opened: opening a pipe would wait for a writer.
        if !std::fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut file = File::open(&self.path)?;
        file.lock_shared()?;
        file.seek(SeekFrom::Start(self.end))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// True if the only line of a file is the beginning of a record, or the zeros that a power cut leaves. Any other line is the
/// user's text, which must not be cut off.
fn is_torn(line: &[u8]) -> bool {
    line.starts_with(b"{") || line.iter().all(|&byte| byte == 0)
}

/// Ends the file behind its last complete record and returns that offset. A last line that lacks only its line break is complete
/// and gets one; an incomplete record is cut off.
fn mend(file: &mut File) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    let start = last_line(file, end)?;
    if start == end {
        return Ok(end);
    }
    file.seek(SeekFrom::Start(start))?;
    let mut line = Vec::new();
    file.take(end - start).read_to_end(&mut line)?;
    if Record::from_line(&line).is_ok() {
        file.seek(SeekFrom::End(0))?;
        file.write_all(b"\n")?;
        return Ok(end + 1);
    }
    // Complete JSON was not cut off; it may be a record of an older format.
    if (start == 0 && !is_torn(&line)) || serde_json::from_slice::<IgnoredAny>(&line).is_ok() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it holds other data than records of format {FORMAT}")));
    }
    file.set_len(start)?;
    Ok(start)
}

/// Offset of the last line, or of its end if it is complete. Reads backward, one block at a time: the file may be long.
fn last_line(file: &mut File, end: u64) -> io::Result<u64> {
    let mut start = end;
    let mut block = [0; 4096];
    while start > 0 {
        let bytes = &mut block[..start.min(4096) as usize];
        start -= bytes.len() as u64;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(bytes)?;
        if let Some(place) = bytes.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
    }
    Ok(0)
}

impl fmt::Display for TornLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, line) = (self.path.display(), self.line);
        write!(f, "{path} line {line} was cut off while it was written; that one record is computed again")
    }
}
