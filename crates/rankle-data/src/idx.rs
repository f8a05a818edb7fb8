//! Strict reader of the IDX format of MNIST: a magic number, one big-endian `u32` per dimension, then bytes.

use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

/// Unsigned bytes (08) in three dimensions (03).
const IMAGES: u32 = 2051;
/// Unsigned bytes (08) in one dimension (01).
const LABELS: u32 = 2049;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes read at first; from there the buffer at most doubles.
const CHUNK: usize = 1 << 20;

/// Gray images of one size.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Images {
    /// The file, for messages.
    pub path: PathBuf,
    /// Number of images.
    pub count: usize,
    /// Height of each image in pixels.
    pub rows: usize,
    /// Width of each image in pixels.
    pub columns: usize,
    /// `count * rows * columns` bytes: image by image, row by row.
    pub pixels: Vec<u8>,
    /// SHA-256 of the decompressed file, header included, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// One label per image.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Labels {
    /// The file, for messages.
    pub path: PathBuf,
    /// The labels, all below the number of classes.
    pub labels: Vec<u8>,
    /// SHA-256 of the decompressed file, header included, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// Opens a file for [`images`] or [`labels`].
///
/// # Errors
/// [`Error::Directory`] for a folder, [`Error::Read`] for anything else that is no regular file or cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    let refused = |reason| Error::Read { path: path.into(), reason };
    // Checked before opening: opening a pipe would wait for a writer.
    let kind = path.metadata().map_err(refused)?.file_type();
    if kind.is_dir() {
        return Err(Error::Directory { path: path.into() });
    }
    if !kind.is_file() {
        return Err(refused(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    File::open(path).map_err(refused)
}

/// Reads images of any size, gzipped or plain. `path` only names the file in messages; `limit` bounds the decompressed size
/// in bytes, header included. Whatever the header says, the buffer stays below twice the true size of the file plus 1 MiB.
///
/// # Errors
/// [`Error::Gzip`], [`Error::Read`], [`Error::Magic`], [`Error::Zero`], [`Error::TooLarge`], [`Error::Truncated`] or
/// [`Error::Trailing`].
pub fn images(path: &Path, from: impl Read, limit: u64) -> Result<Images> {
    let (dims, pixels, sha256) = read(path, from, IMAGES, ["images", "rows", "columns"], limit)?;
    let [count, rows, columns] = dims.map(|dim| dim as usize);
    Ok(Images { path: path.into(), count, rows, columns, pixels, sha256 })
}

/// Reads labels below `classes`, gzipped or plain. `path` and `limit` as in [`images`].
///
/// # Errors
/// As [`images`], and [`Error::Label`].
pub fn labels(path: &Path, from: impl Read, classes: usize, limit: u64) -> Result<Labels> {
    let (_, labels, sha256) = read(path, from, LABELS, ["labels"], limit)?;
    match labels.iter().position(|&label| usize::from(label) >= classes) {
        Some(index) => Err(Error::Label { path: path.into(), index, found: labels[index], classes }),
        None => Ok(Labels { path: path.into(), labels, sha256 }),
    }
}

/// Returns the dimensions, the bytes after the header, and the hash of header and bytes together.
fn read<const N: usize>(
    path: &Path,
    from: impl Read,
    magic: u32,
    dimensions: [&'static str; N],
    limit: u64,
) -> Result<([u32; N], Vec<u8>, String)> {
    let refused = |reason| Error::Read { path: path.into(), reason };
    // Compressed data is never much larger than its contents. Without this limit a stream of empty gzip members has no end.
    let from = from.take(limit.saturating_add(limit / 64).saturating_add(CHUNK as u64));
    let (mut from, gzipped) = decompressed(from).map_err(refused)?;
    // A failure inside the decompressor is a fault of the gzip stream: the file itself could be opened.
    let failed = |reason| if gzipped { Error::Gzip { path: path.into(), reason } } else { refused(reason) };
    let truncated = |found: usize, expected| Error::Truncated { path: path.into(), found: found as u64, expected };

    let header = fill(&mut from, 4 + 4 * N).map_err(failed)?;
    let number = |place: usize| header.get(4 * place..4 * place + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    // The magic number is checked first: a text file of ten bytes is not a truncated IDX file.
    if let Some(found) = number(0).filter(|&found| found != magic) {
        let help = match found {
            IMAGES => "these are images, pass the file of labels",
            LABELS => "these are labels, pass the file of images",
            _ => "it is no IDX file of bytes, get it again",
        };
        return Err(Error::Magic { path: path.into(), found, expected: magic, what: dimensions[0], help });
    }
    let mut dims = [0; N];
    for (place, dim) in dims.iter_mut().enumerate() {
        *dim = number(place + 1).ok_or_else(|| truncated(header.len(), 4 + 4 * N as u64))?;
        if *dim == 0 {
            return Err(Error::Zero { path: path.into(), what: dimensions[place] });
        }
    }
    // A product of three u32 has at most 96 bits: this cannot overflow.
    let promised = header.len() as u128 + dims.iter().map(|&dim| u128::from(dim)).product::<u128>();
    let too_large = || Error::TooLarge { path: path.into(), promised, limit };
    let expected = u64::try_from(promised).ok().filter(|&bytes| bytes <= limit).ok_or_else(too_large)?;
    let payload = usize::try_from(expected).map_err(|_| too_large())? - header.len();

    let bytes = fill(&mut from, payload).map_err(failed)?;
    if bytes.len() < payload {
        return Err(truncated(header.len() + bytes.len(), expected));
    }
    // Reading to the end also makes the decompressor verify its checksum.
    if !fill(&mut from, 1).map_err(failed)?.is_empty() {
        return Err(Error::Trailing { path: path.into(), expected });
    }
    let hash = Sha256::new().chain_update(&header).chain_update(&bytes).finalize();
    Ok((dims, bytes, hash.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Returns the decompressed stream, and true if it was gzipped. Bytes after a gzip stream are an error of that stream.
fn decompressed<'a>(mut from: impl Read + 'a) -> io::Result<(Box<dyn Read + 'a>, bool)> {
    let start = fill(&mut from, GZIP.len())?;
    let gzipped = start == GZIP;
    let whole = Cursor::new(start).chain(from);
    Ok(if gzipped { (Box::new(MultiGzDecoder::new(whole)), true) } else { (Box::new(whole), false) })
}

/// Reads up to `wanted` bytes, fewer only at the end of the stream. The buffer grows with the bytes read, not with `wanted`.
fn fill(from: &mut impl Read, wanted: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < wanted {
        let room = (wanted - bytes.len()).min(bytes.len().max(CHUNK));
        bytes.reserve_exact(room);
        if from.by_ref().take(room as u64).read_to_end(&mut bytes)? < room {
            break;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_the_stream_and_not_the_wish() {
        for (holds, wanted) in [(0, 1 << 40), (10, 1 << 40), (3 * CHUNK + 7, 1 << 40), (5 * CHUNK, 5 * CHUNK), (9, 4)] {
            let bytes = fill(&mut io::repeat(1).take(holds as u64), wanted).unwrap();
            assert_eq!(bytes.len(), holds.min(wanted));
            assert!(bytes.capacity() <= 2 * holds + CHUNK, "{} bytes for {holds}", bytes.capacity());
        }
    }
}
