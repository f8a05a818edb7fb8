//! Locks between processes that create the same file or folder.

use crate::{Error, Result, Watch};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Exclusive right to create a file or a folder: a locked file with the id of the process. Released when dropped, or when the
/// process ends for any reason.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    waited: bool,
    /// Locked file; the lock ends when the file is closed.
    _file: File,
}

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Time between two messages about the wait.
const SILENCE: Duration = Duration::from_secs(60);

impl Lock {
    /// Takes the lock for creating `output`. The lock file is beside it.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn beside(output: &Path, watch: Watch<'_>) -> Result<Self> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let path = rankle_files::folder_of(output).join(format!(".{name}.lock"));
        Self::take(&path, &output.display().to_string(), watch)
    }

    /// Takes the lock at `path`, for creating `what`, and waits while another process has it. `watch` is told which process.
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
                // The previous holder may have removed the file in between: then other processes lock a new one.
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

    /// True if another process had the lock first: the file or folder may exist now.
    pub fn waited(&self) -> bool {
        self.waited
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that cannot be removed stays, unlocked.
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).read(true).write(true).open(path)
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(std::process::id().to_string().as_bytes())
}

/// Name of the process that holds the lock.
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
