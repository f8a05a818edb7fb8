//! The file that records are kept in.

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

    /// Keeps everybody from appending until the file is dropped: for files that belong to the records.
    ///
    /// # Errors
    /// [`Error::File`] when there is no file that can be written.
    pub fn hold(&self) -> Result<File> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path);
        file.and_then(|file| file.lock().map(|()| file)).map_err(Error::file("lock", &self.path))
    }

    fn append_line(&self, line: &[u8]) -> io::Result<()> {
        let mut file = loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
            file.lock()?; // released when the file is closed
            // Whoever held it may have put another file in its place.
            if rankle_files::is_still(&self.path, &file) {
                break file;
            }
        };
        let end = mend(&mut file)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(line)?;
        file.sync_data()
    }

    /// All complete records.
    ///
    /// # Errors
    /// As [`Follower::more`].
    pub fn read(&self) -> Result<Reading> {
        self.follow().more()
    }

    /// Reads on and on, from the first record.
    pub fn follow(&self) -> Follower {
        Follower { path: self.path.clone(), lines: 0, end: 0 }
    }
}

/// Reads what others append to a journal.
#[derive(Clone, Debug)]
pub struct Follower {
    path: PathBuf,
    /// Complete lines read so far, and where the last of them ends.
    lines: usize,
    end: u64,
}

impl Follower {
    /// The complete records that are new.
    ///
    /// # Errors
    /// [`Error::File`] when the file exists and cannot be read, [`Error::Line`] for a complete line that is not a record, and where
    /// there is no line at all that could be the beginning of one.
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
                // Complete but for its line break, which the next writer adds: it is read again then.
                Ok(record) => reading.records.push(record),
                Err(_) if !line.ends_with(b"\n") && (number > 1 || is_torn(line)) => {
                    reading.torn = Some(Torn { path: self.path.clone(), line: number });
                }
                Err(reason) => {
                    return Err(Error::Line { path: self.path.clone(), line: number, what: "record", reason });
                }
            }
        }
        Ok(reading)
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        // Before it is opened: a pipe would wait for a writer.
        if !std::fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file"));
        }
        let mut file = File::open(&self.path)?;
        file.lock_shared()?;
        file.seek(SeekFrom::Start(self.end))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Whether the only line of a file was the beginning of a record, or is what a machine that lost its power leaves of one. Anything
/// else is somebody's text, which must not be cut off.
fn is_torn(line: &[u8]) -> bool {
    line.starts_with(b"{") || line.iter().all(|&byte| byte == 0)
}

/// Puts the end of the file behind its last complete record and returns that place. A last line that lacks nothing but its
/// line break is complete and gets one; what is less than a record is cut off.
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
    // What is whole was not cut off: an older record, say.
    if (start == 0 && !is_torn(&line)) || serde_json::from_slice::<IgnoredAny>(&line).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it holds something else than records of format {FORMAT}"),
        ));
    }
    file.set_len(start)?;
    Ok(start)
}

/// Where the last line begins, its end if it is whole: read backwards, a block at a time, for the file may be long.
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

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, line) = (self.path.display(), self.line);
        write!(f, "{path} line {line} was cut off while it was written; that one record is computed again")
    }
}
