//! Bounded reading of files and pipes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Reads an ordinary file, whose length is known.
///
/// # Errors
/// [`io::Error`] if it cannot be read, is not a regular file, or does not fit into memory.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path)?.file_type() {
        kind if kind.is_file() => fs::read(path),
        kind => Err(no_file(kind)),
    }
}

fn no_file(kind: fs::FileType) -> io::Error {
    let what = if kind.is_dir() { "it is a folder" } else { "it is not a regular file" };
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Reads a file or a pipe of at most `limit` bytes.
///
/// # Errors
/// [`io::Error`] if it cannot be read, is a folder or a device, or is longer.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() && !is_pipe(kind) {
        return Err(no_file(kind));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        false => Ok(bytes),
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it holds more than {}", in_words(limit)))),
    }
}

/// Reads a text with [`read_limited`] and decodes it with [`text()`].
///
/// # Errors
/// As [`read_limited`], and [`io::ErrorKind::InvalidData`] if it is no text.
pub fn read_text_or_pipe(path: &Path, limit: u64) -> io::Result<String> {
    let no_text = || io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8, or in UTF-16 with a byte-order mark");
    text(read_limited(path, limit)?).ok_or_else(no_text)
}

/// As [`read_text_or_pipe`], for ordinary files only: a pipe without a writer would block.
///
/// # Errors
/// As [`read_text_or_pipe`], and [`io::ErrorKind::InvalidInput`] for a pipe.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    match fs::metadata(path)?.file_type() {
        kind if kind.is_file() => read_text_or_pipe(path, limit),
        kind => Err(no_file(kind)),
    }
}

/// Decodes UTF-8, or UTF-16 with a byte-order mark, and drops the mark; `None` if the bytes are no such text.
pub fn text(bytes: Vec<u8>) -> Option<String> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes[2..].as_chunks();
        let text = String::from_utf16(&units.iter().map(|&bytes| unit(bytes)).collect::<Vec<_>>()).ok();
        text.filter(|_| rest.is_empty())
    };
    match bytes.as_slice() {
        [0xFF, 0xFE, ..] => utf16(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => utf16(u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, text @ ..] => String::from_utf8(text.to_vec()).ok(),
        _ => String::from_utf8(bytes).ok(),
    }
}

#[cfg(unix)]
fn is_pipe(kind: fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
fn is_pipe(_kind: fs::FileType) -> bool {
    false
}

fn in_words(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "1234").unwrap();
        assert_eq!((read(&path).unwrap(), read_limited(&path, 4).unwrap()), (b"1234".to_vec(), b"1234".to_vec()));
        assert_eq!(read_limited(&path, 3).unwrap_err().to_string(), "it holds more than 3 bytes");
        assert_eq!(read_limited(folder.path(), 3).unwrap_err().to_string(), "it is a folder");
        assert_eq!(read_text(&path, 4).unwrap(), "1234");
        fs::write(&path, [0xFF]).unwrap();
        assert_eq!(read_text(&path, 4).unwrap_err().to_string(), "it is no text in UTF-8, or in UTF-16 with a byte-order mark");
        assert_eq!([2048, 64 << 20].map(in_words), ["2 KiB", "64 MiB"]);
    }

    #[test]
    fn texts_of_every_kind() {
        let expected = "é\r\nb.jpg";
        let utf16 = |bytes: fn(u16) -> [u8; 2]| format!("\u{FEFF}{expected}").encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let (little, big) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
        for bytes in [expected.into(), format!("\u{FEFF}{expected}").into_bytes(), little.clone(), big] {
            assert_eq!(text(bytes.clone()).as_deref(), Some(expected), "{bytes:?}");
        }
        let lone = [0xFF, 0xFE, 0x00, 0xD8];
        for wrong in [&little[..little.len() - 1], &lone, b"a\xFFb", b"\xEF\xBB\xBF\xFF"] {
            assert_eq!(text(wrong.to_vec()), None, "{wrong:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_refused_and_pipes_are_read() {
        assert_eq!(read_limited(Path::new("/dev/zero"), 9).unwrap_err().to_string(), "it is not a regular file");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&path, "1234").unwrap());
            assert_eq!(read_limited(&path, 9).unwrap(), b"1234");
        });
        for error in [read(&path).unwrap_err(), read_text(&path, 9).unwrap_err()] {
            assert_eq!(error.to_string(), "it is not a regular file");
        }
    }
}
