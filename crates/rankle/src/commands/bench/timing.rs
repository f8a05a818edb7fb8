//! How long calls take.

use super::lab::{Answer, Call};
use super::row::Row;
use crate::interrupt;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Milliseconds per call.
#[derive(Debug, Serialize)]
pub(super) struct Timing {
    pub(super) name: String,
    pub(super) images: usize,
    pub(super) threads: usize,
    pub(super) median_ms: f64,
    pub(super) minimum_ms: f64,
    pub(super) repeats: usize,
    /// Of all the time that its threads could have had, the share in which they had a processor; where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_share: Option<f64>,
    /// Floating-point operations of one call, where nothing is skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<f64>,
    /// What the first call computed, for a comparison with others.
    results: BTreeMap<&'static str, f64>,
}

impl Timing {
    /// Two calls to warm up; then repeats for at least `seconds`, and at least five unless a single one takes longer than that.
    pub(super) fn take(row: Row, call: &mut Call, seconds: f64) -> Result<Self> {
        let results = call()?.results()?;
        let mut answer: Answer = call()?;
        let (start, processor, mut times) = (Instant::now(), processor_seconds(), Vec::<f64>::new());
        while start.elapsed().as_secs_f64() < seconds || (times.len() < 5 && times.first().is_none_or(|ms| *ms < 1e3 * seconds)) {
            if interrupt::asked() {
                return Err(rankle_core::Error::Interrupted.into());
            }
            let before = Instant::now();
            answer = call()?; // what it replaces is freed under the clock, as in any loop
            times.push(before.elapsed().as_secs_f64() * 1e3);
        }
        let (passed, threads) = (start.elapsed().as_secs_f64(), rayon::current_num_threads());
        let used = processor_seconds().zip(processor).map(|(after, before)| after - before);
        drop(answer);
        times.sort_by(f64::total_cmp);
        Ok(Self {
            name: row.name(),
            images: row.images,
            threads,
            median_ms: times[times.len() / 2],
            minimum_ms: times[0],
            repeats: times.len(),
            cpu_share: used.map(|used| (used / passed / threads as f64).min(1.0)),
            operations: row.operations(),
            results,
        })
    }
}

/// Processor time of this program so far.
#[cfg(unix)]
fn processor_seconds() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(not(unix))]
fn processor_seconds() -> Option<f64> {
    None
}
