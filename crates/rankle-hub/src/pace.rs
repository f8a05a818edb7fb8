//! How long a download may take.

use crate::{Error, Result};
use std::time::{Duration, Instant};

/// The time of one download.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    /// How much was there before.
    first: u64,
    most: Option<Duration>,
}

/// A line may take this long to get going.
const GRACE: Duration = Duration::from_secs(300);

/// In bytes a second. Only what stays counts: a server that sends its first bytes again and again is slow.
const SLOWEST: u64 = 10_000;

impl Pace {
    /// From now on; `have` bytes are there already. Without `most`, the time grows with what comes.
    pub(crate) fn new(have: u64, most: Option<Duration>) -> Self {
        Self { start: Instant::now(), first: have, most }
    }

    /// What is left of the time that was named.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.most.map(|most| most.saturating_sub(self.start.elapsed()))
    }

    /// # Errors
    /// [`Error::TooSlow`] when the time is up and `have` bytes are there.
    pub(crate) fn check(&self, url: &str, have: u64) -> Result<()> {
        let (bytes, spent) = (have.saturating_sub(self.first), self.start.elapsed());
        if spent < self.most.unwrap_or_else(|| usual(bytes)) {
            return Ok(());
        }
        Err(Error::TooSlow { url: url.into(), bytes, seconds: spent.as_secs() })
    }
}

/// The time for so many bytes where none was named.
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
        // A modem of 56 kbit/s is too slow after ten minutes, one of 100 kbit/s is not; what was there before does not count.
        spent(600, 1_000_000, None).check("u", 1_000_000 + 600 * 12_500).unwrap();
        let says = spent(700, 1_000_000, None).check("u", 1_000_000 + 700 * 5_600).unwrap_err().to_string();
        assert!(says.starts_with("u sent 3920000 bytes in 700 s") && says.contains("--max-time"), "{says}");
        assert!(spent(301, 1_000_000, None).check("u", 0).is_err());
        spent(700, 0, Some(701)).check("u", 0).unwrap();
        assert!(spent(700, 0, Some(699)).check("u", 10_000_000).is_err());
    }
}
