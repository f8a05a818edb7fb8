//! Timing of calls.

use super::lab::{Answer, Call};
use super::row::Row;
use crate::interrupt;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Times of the calls of a row, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Timing {
    pub(super) name: String,
    pub(super) images: usize,
    pub(super) threads: usize,
    pub(super) median_ms: f64,
    pub(super) minimum_ms: f64,
    pub(super) repeats: usize,
    /// Processor time divided by the wall-clock time of all threads; `None` if the system does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_share: Option<f64>,
    /// Floating-point operations of one call, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<f64>,
    /// Results of the first call, compared with those of other programs.
    results: BTreeMap<&'static str, f64>,
}

impl Timing {
    /// Makes two calls to warm up, then repeats for at least `seconds`, and at least five times unless one call takes longer.
    pub(super) fn take(row: &Row, call: &mut Call, seconds: f64) -> Result<Self> {
        let results = call()?.results()?;
        let mut answer: Answer = call()?;
        let (start, processor, mut times) = (Instant::now(), processor_seconds(), Vec::<f64>::new());
        while start.elapsed().as_secs_f64() < seconds || (times.len() < 5 && times.first().is_none_or(|ms| *ms < 1e3 * seconds)) {
            if interrupt::asked() {
                return Err(rankle_core::Error::Interrupted.into());
            }
            let before = Instant::now();
            answer = call()?; // the time includes freeing the previous answer, as in any loop
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

/// Processor time of this process so far, in seconds.
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
