//! Reading what may have no end.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a file or of a pipe, `limit` at most.
///
/// # Errors
/// When it cannot be read, is a folder or a device, or holds more.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() && !is_pipe(kind) {
        let what = if kind.is_dir() { "it is a folder" } else { "it is a device or a socket" };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        false => Ok(bytes),
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it holds more than {}", in_words(limit)))),
    }
}

/// As [`read_limited`], for text.
///
/// # Errors
/// As [`read_limited`], and when it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let bytes = read_limited(path, limit)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
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
        assert_eq!(read_limited(&path, 4).unwrap(), b"1234");
        assert_eq!(read_limited(&path, 3).unwrap_err().to_string(), "it holds more than 3 bytes");
        assert_eq!(read_limited(folder.path(), 3).unwrap_err().to_string(), "it is a folder");
        assert_eq!(read_text(&path, 4).unwrap(), "1234");
        fs::write(&path, [0xFF]).unwrap();
        assert_eq!(read_text(&path, 4).unwrap_err().to_string(), "it is no UTF-8 text");
        assert_eq!([2048, 64 << 20].map(in_words), ["2 KiB", "64 MiB"]);
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_refused_and_pipes_are_read() {
        assert_eq!(read_limited(Path::new("/dev/zero"), 9).unwrap_err().to_string(), "it is a device or a socket");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&path, "1234").unwrap());
            assert_eq!(read_limited(&path, 9).unwrap(), b"1234");
        });
    }
}
