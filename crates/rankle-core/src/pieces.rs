//! Work in pieces that fit the memory of a device.

use crate::{Error, Result};
use std::ops::Range;

/// Does `work` on `0..len` in pieces of at most `most`. A piece for which the device has no memory is halved, with a warning; `most`
/// then is what fits, for all that follow. `work` must not have counted a piece that fails.
///
/// # Errors
/// Errors of `work`; [`Error::Refused`] when the memory does not suffice for a single one.
pub fn in_pieces(len: usize, most: &mut usize, mut work: impl FnMut(Range<usize>) -> Result<()>) -> Result<()> {
    let mut done = 0;
    *most = (*most).max(1);
    while done < len {
        let piece = done..len.min(done.saturating_add(*most));
        match work(piece.clone()) {
            Err(error) if error.is_out_of_memory() && piece.len() > 1 => {
                *most = piece.len() / 2;
                tracing::warn!("the device has no memory for {} images at once: going on with {most}", piece.len());
            }
            Err(error) if error.is_out_of_memory() => {
                let remedy = "end other programs on the device, or use --device cpu";
                return Err(Error::Refused(format!("the device has no memory for a single image ({error}): {remedy}")));
            }
            result => {
                result?;
                done = piece.end;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Error {
        Error::Tensor(candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into()))
    }

    #[test]
    fn pieces_shrink_until_they_fit_and_none_is_lost_or_doubled() {
        for (len, most, room) in [(10, 4, 4), (10, 4, 3), (100, 100, 7), (5, 1, 1), (0, 3, 1), (7, 0, 9)] {
            let (mut done, mut failed) = (Vec::new(), 0);
            let work = |piece: Range<usize>| {
                if piece.len() > room {
                    failed += 1;
                    return Err(full());
                }
                done.extend(piece);
                Ok(())
            };
            let mut fits = most;
            in_pieces(len, &mut fits, work).unwrap();
            assert!(fits >= 1 && (failed == 0 || fits <= room), "{len} {most} {room}");
            assert_eq!(done, (0..len).collect::<Vec<_>>(), "{len} {most} {room}");
            assert!(failed <= 5, "{failed}");
        }
    }

    #[test]
    fn what_does_not_fit_at_all_and_other_errors_end_the_work() {
        let message = in_pieces(4, &mut 4, |_| Err(full())).unwrap_err().to_string();
        assert!(
            message.contains("a single image") && message.contains("--device cpu") && message.lines().count() == 1,
            "{message}"
        );
        let mut calls = 0;
        let failed = in_pieces(4, &mut 2, |_| {
            calls += 1;
            Err(Error::BlackBox)
        });
        assert!(matches!(failed, Err(Error::BlackBox)) && calls == 1);
    }
}
