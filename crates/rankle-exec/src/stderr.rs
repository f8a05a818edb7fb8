//! Standard error of a process: each line is traced, the last ones are kept for messages.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Number of lines kept, and the longest piece of a line in bytes: a program may say anything.
const LINES: usize = 3;
const LONGEST: usize = 1024;

/// Longest wait for the last words of a process that has ended; processes that it started may keep the stream open.
const PATIENCE: Duration = Duration::from_millis(300);

/// The last lines of a process.
pub(crate) struct LastWords {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl LastWords {
    /// Reads the stream on a thread of its own until it ends.
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let kept = lines.clone();
        let reader = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                keep(&kept, String::from_utf8_lossy(&line).trim());
                line.clear();
            }
        });
        Self { lines, reader }
    }

    /// The last lines, as the end of a message; waits for those of a process that has ended.
    pub(crate) fn quoted(&self) -> String {
        let start = Instant::now();
        while !self.reader.is_finished() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return "; it said nothing on standard error".to_owned();
        }
        format!("; its last words: {}", lines.iter().cloned().collect::<Vec<_>>().join(" | "))
    }
}

fn keep(kept: &Mutex<VecDeque<String>>, line: &str) {
    if line.is_empty() {
        return;
    }
    tracing::debug!("the model says: {line}");
    let mut lines = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() == LINES {
        lines.pop_front();
    }
    lines.push_back(line.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn the_last_lines_are_kept_whatever_a_program_says() {
        let words = LastWords::of(Cursor::new("one\ntwo\n\n  three\nfour"));
        assert_eq!(words.quoted(), "; its last words: two | three | four");
        assert_eq!(LastWords::of(Cursor::new("")).quoted(), "; it said nothing on standard error");
        let endless = LastWords::of(std::io::repeat(b'x').take(1 << 20)).quoted();
        assert!(endless.len() < 4 * LONGEST, "{}", endless.len());
    }
}
