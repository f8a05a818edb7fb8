//! One process at a time makes a file or a folder.

use crate::{Error, Result, Watch};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The right to make something: a locked file that says whose it is. It ends with its process, however that ends, or when it is let go.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    waited: bool,
    /// The system's lock is on this; it goes when the file is closed.
    _file: File,
}

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two lines about the wait.
const SILENCE: Duration = Duration::from_secs(60);

impl Lock {
    /// The right to make `output`: the lock lies beside it.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn beside(output: &Path, watch: Watch<'_>) -> Result<Self> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let path = rankle_files::folder_of(output).join(format!(".{name}.lock"));
        Self::take(&path, &output.display().to_string(), watch)
    }

    /// Takes the lock at `path`, for making `what`, as soon as no other process has it; `watch` is told for whom it waits.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Interrupted`].
    pub fn take(path: &Path, what: &str, watch: Watch<'_>) -> Result<Self> {
        let folder = rankle_files::folder_of(path);
        fs::create_dir_all(folder).map_err(Error::write(folder))?;
        let (mut waited, mut told) = (false, None::<Instant>);
        loop {
            let mut file = open(path).map_err(Error::write(path))?;
            match file.try_lock() {
                // Whoever had it may have taken the file away in between: then others lock the next one.
                Ok(()) if rankle_files::is_still(path, &file) => {
                    sign(&mut file).map_err(Error::write(path))?;
                    return Ok(Self { path: path.into(), waited, _file: file });
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    waited = true;
                    if told.is_none_or(|told| told.elapsed() >= SILENCE) {
                        watch.tell(&format!("waiting for {}, which is fetching {what}", holder(path)));
                        told = Some(Instant::now());
                    }
                    watch.look()?;
                    sleep(PAUSE);
                }
                Err(TryLockError::Error(reason)) => return Err(Error::write(path)(reason)),
            }
        }
    }

    /// Whether another process had it first: what it made may be there now.
    pub fn waited(&self) -> bool {
        self.waited
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Where it cannot be removed it stays, unlocked.
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).read(true).write(true).open(path)
}

/// Writes down whose it is.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(std::process::id().to_string().as_bytes())
}

/// Whose it is.
fn holder(path: &Path) -> String {
    let process = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwatched;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_at_a_time_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("deep/out");
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let lock = Lock::beside(&output, &mut unwatched()).unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_a_dead_process_left_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "4294967295 and more than a number").unwrap();
        assert_eq!(holder(&path), "another process");
        let lock = Lock::take(&path, "it", &mut unwatched()).unwrap();
        assert!(!lock.waited());
        assert_eq!(holder(&path), format!("process {}", std::process::id()));
        drop(lock);
        assert!(!path.exists());
    }
}
