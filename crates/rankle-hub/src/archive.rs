//! Unpacking of archives that are not trusted.
//!
//! An archive is refused as a whole, and nothing of it is kept, if it contains a name that leads out of the folder, a link, a
//! device, two files of one name, or more files or bytes than allowed. Limits count the unpacked bytes, not the sizes in the
//! headers. An archive that ends too early or has a wrong checksum is refused as well.

use crate::{Error, Result, Watch, folder};
use flate2::read::MultiGzDecoder;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Limits of an unpacked archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of files and folders.
    pub entries: usize,
    /// Maximum total size of the files, in bytes.
    pub bytes: u64,
}

/// Maximum number of bytes for the headers between two files of a tar archive.
const HEADERS: u64 = 1 << 20;

/// Maximum number of parts in a name.
const DEPTH: usize = 16;

/// Unpacks a zip or a gzipped tar archive, and renames its folder that holds `landmark` (the top folder or one directly in it)
/// to `output`. On an error nothing is kept. The first bytes of the file decide the format, not its name.
///
/// # Errors
/// [`Error::Archive`] for an archive that is refused or damaged, and if `output` exists; [`Error::File`],
/// [`Error::Interrupted`].
pub fn unpack(archive: &Path, output: &Path, landmark: &str, limits: Limits, watch: Watch<'_>) -> Result<()> {
    let fault = |found: String| Error::Archive { path: archive.into(), found };
    if output.symlink_metadata().is_ok() {
        return Err(fault(format!("{} is there already: remove it first", output.display())));
    }
    let temporary = folder::temporary(rankle_files::folder_of(output))?;
    let mut file = File::open(archive).map_err(Error::read(archive))?;
    let mut magic = [0; 4];
    let read = file.read(&mut magic).map_err(Error::read(archive))?;
    io::Seek::rewind(&mut file).map_err(Error::read(archive))?;
    let mut room = Room { archive, root: temporary.path(), limits, entries: 0, bytes: 0, watch: &mut *watch };
    match &magic[..read] {
        [0x1F, 0x8B, ..] => room.tar(file)?,
        b"PK\x03\x04" => room.zip(file)?,
        _ => return Err(fault("it is neither a zip nor a gzipped tar archive".into())),
    }
    let landed = (candidates(temporary.path())?.into_iter()).find(|folder| folder.join(landmark).symlink_metadata().is_ok());
    let landed = landed.ok_or_else(|| fault(format!("there is no {landmark} in it: it is another archive")))?;
    folder::settle(&landed, output, watch)
}

/// The folder `root` and the folders directly in it, in the order of their names.
fn candidates(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root).map_err(Error::read(root))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.insert(0, root.to_owned());
    Ok(folders)
}

/// State of unpacking: target folder, limits, and the entries and bytes counted so far.
struct Room<'a> {
    archive: &'a Path,
    root: &'a Path,
    limits: Limits,
    entries: usize,
    bytes: u64,
    watch: Watch<'a>,
}

impl Room<'_> {
    fn zip(&mut self, file: File) -> Result<()> {
        let damaged = |path: &Path, error: zip::result::ZipError| {
            let found = format!("it is damaged or not understood ({error})");
            Error::Archive { path: path.into(), found }
        };
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(self.archive, error))?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(|error| damaged(self.archive, error))?;
            let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
            // The file type, if the archive was made on Unix. Allowed: regular, folder, not given.
            let kind = entry.unix_mode().unwrap_or(0) & 0o170_000;
            if ![0, 0o100_000, 0o040_000].contains(&kind) {
                return Err(self.refused(&name, "is a link or a device"));
            }
            if entry.is_dir() { self.folder(&name)? } else { self.file(&name, &mut entry)? }
        }
        Ok(())
    }

    fn tar(&mut self, file: File) -> Result<()> {
        let meter = Meter { left: Cell::new(HEADERS).into(), ended: Cell::new(false).into() };
        let inner = Metered { inner: MultiGzDecoder::new(BufReader::new(file)), meter: meter.clone() };
        let damaged = |path: &Path, error: io::Error| {
            let found = format!("it is damaged or not understood ({error})");
            Error::Archive { path: path.into(), found }
        };
        let mut archive = tar::Archive::new(inner);
        let mut entries = archive.entries().map_err(|error| damaged(self.archive, error))?;
        loop {
            // A name in a header may have any length, and would be read into memory.
            meter.left.set(HEADERS);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(|error| damaged(self.archive, error))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            meter.left.set(self.limits.bytes.saturating_sub(self.bytes).saturating_add(HEADERS));
            match entry.header().entry_type() {
                tar::EntryType::Directory => self.folder(&name)?,
                tar::EntryType::Regular | tar::EntryType::Continuous => self.file(&name, &mut entry)?,
                tar::EntryType::XGlobalHeader => {}
                _ => return Err(self.refused(&name, "is a link or a device")),
            }
        }
        // The library accepts the end of the file as the end of the archive.
        if meter.ended.get() {
            let found = "it has no end mark: a part of it is missing".to_owned();
            return Err(Error::Archive { path: self.archive.into(), found });
        }
        // The checksum of everything comes last.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| damaged(self.archive, error))?;
        Ok(())
    }

    fn folder(&mut self, name: &str) -> Result<()> {
        let Some(path) = self.place(name.trim_end_matches('/'))? else { return Ok(()) };
        fs::create_dir_all(&path).map_err(Error::write(path))
    }

    fn file(&mut self, name: &str, content: &mut dyn Read) -> Result<()> {
        let Some(path) = self.place(name)? else { return Err(self.refused(name, "has no name")) };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::write(folder))?;
        }
        let mut file = match File::create_new(&path) {
            Ok(file) => file,
            Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => return Err(self.refused(name, "is in it twice")),
            Err(reason) => return Err(Error::write(path)(reason)),
        };
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match content.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(reason) if reason.kind() == io::ErrorKind::Interrupted => continue,
                Err(reason) => return Err(self.refused(name, &format!("is damaged ({reason})"))),
            };
            self.bytes += read as u64;
            if self.bytes > self.limits.bytes {
                return Err(self.refused(name, &format!("is past the {} bytes that are allowed", self.limits.bytes)));
            }
            file.write_all(&buffer[..read]).map_err(Error::write(&path))?;
            self.watch.see(self.bytes, None)?;
        }
    }

    /// Checks the name of an entry, and returns its path; `None` for `./`, the folder that exists already.
    fn place(&mut self, name: &str) -> Result<Option<PathBuf>> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.refused(name, &format!("is past the {} files that are allowed", self.limits.entries)));
        }
        let name = name.trim_start_matches("./");
        if name.is_empty() || name == "." {
            return Ok(None);
        }
        let inside = |part: &str| !["", ".", ".."].contains(&part) && !part.contains(['\\', ':', '\0']);
        if !name.split('/').all(inside) {
            return Err(self.refused(name, "leads out of the folder"));
        }
        if name.split('/').count() > DEPTH || name.len() > 1000 {
            return Err(self.refused(&name.chars().take(100).collect::<String>(), "lies too deep"));
        }
        Ok(Some(self.root.join(name)))
    }

    fn refused(&self, name: &str, why: &str) -> Error {
        Error::Archive { path: self.archive.into(), found: format!("'{}' {why}", name.escape_default()) }
    }
}

/// Limit and state of a [`Metered`] reader that the tar library owns.
#[derive(Clone)]
struct Meter {
    /// Number of bytes that may still be read.
    left: Rc<Cell<u64>>,
    /// True if a read has reached the end of the file.
    ended: Rc<Cell<bool>>,
}

struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.meter.left.get()).unwrap_or(usize::MAX);
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("more bytes than are allowed"));
        }
        let most = buffer.len().min(left);
        let read = self.inner.read(&mut buffer[..most])?;
        self.meter.left.set(self.meter.left.get() - read as u64);
        self.meter.ended.set(self.meter.ended.get() || (read == 0 && most > 0));
        Ok(read)
    }
}
