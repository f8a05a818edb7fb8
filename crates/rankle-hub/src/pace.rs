//! Time limit of a download.

use crate::{Error, Result};
use std::time::{Duration, Instant};

/// Timer of one download.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    /// Number of bytes at the start.
    first: u64,
    most: Option<Duration>,
}

/// Time that a download has by default, however slow.
const GRACE: Duration = Duration::from_secs(300);

/// Minimum speed in bytes per second. Only bytes that are kept count: a server that sends its first bytes repeatedly is slow.
const SLOWEST: u64 = 10_000;

impl Pace {
    /// Starts the timer, with `have` bytes present already. Without a limit `most`, the time grows with the received bytes.
    pub(crate) fn new(have: u64, most: Option<Duration>) -> Self {
        Self { start: Instant::now(), first: have, most }
    }

    /// Time left of the limit; `None` without a limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.most.map(|most| most.saturating_sub(self.start.elapsed()))
    }

    /// Returns [`Error::TooSlow`] when the time is up, with `have` bytes present.
    pub(crate) fn check(&self, url: &str, have: u64) -> Result<()> {
        let (bytes, spent) = (have.saturating_sub(self.first), self.start.elapsed());
        if spent < self.most.unwrap_or_else(|| usual(bytes)) {
            return Ok(());
        }
        Err(Error::TooSlow { url: url.into(), bytes, seconds: spent.as_secs() })
    }
}

/// Default time for a number of received bytes.
fn usual(bytes: u64) -> Duration {
    GRACE + Duration::from_secs(bytes / SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_grows_with_what_comes_unless_it_was_named() {
        assert_eq!(usual(0), Duration::from_secs(300));
        assert_eq!(usual(3_000_000_000), Duration::from_secs(300_300));
        let spent = |seconds: u64, first: u64, most: Option<u64>| {
            let start = Instant::now().checked_sub(Duration::from_secs(seconds)).expect("this machine runs longer than that");
            Pace { start, first, most: most.map(Duration::from_secs) }
        };
        // 5,600 bytes a second are too slow after 700 s, 12,500 bytes a second never; bytes from before do not count.
        spent(600, 1_000_000, None).check("u", 1_000_000 + 600 * 12_500).unwrap();
        let says = spent(700, 1_000_000, None).check("u", 1_000_000 + 700 * 5_600).unwrap_err().to_string();
        assert!(says.starts_with("u sent 3920000 bytes in 700 s") && says.contains("--max-time"), "{says}");
        assert!(spent(301, 1_000_000, None).check("u", 0).is_err());
        spent(700, 0, Some(701)).check("u", 0).unwrap();
        assert!(spent(700, 0, Some(699)).check("u", 10_000_000).is_err());
    }
}
