//! Batches that pass through a network in pieces.

use crate::Recorded;
use candle_core::{Error, Result, Tensor, Var};
use rayon::prelude::*;

/// Bytes of the results that may wait for their gradients, at most. Pieces beyond them pass through the network once more.
const WAITING: usize = 1 << 30;

/// How a batch passes through a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Number of images in a piece, at least 1; the last one is filled up with zeros.
    pub size: usize,
    /// True to run as many pieces at a time as there are threads, else one after the other.
    pub parallel: bool,
}

impl Pieces {
    /// The rows `(n, d)` that the network makes of `n` images. `network` gets one piece and returns a row for each of its images.
    ///
    /// # Errors
    /// Those of the network.
    pub fn forward(&self, images: &Tensor, network: impl Fn(&Tensor) -> Result<Tensor> + Sync) -> Result<Tensor> {
        let results = self.run(self.starts(images)?, |start| network(&self.piece(images, start)?))?;
        joined(&results, images.dims()[0])
    }

    /// The gradient of a loss with respect to the images, by the tape; `None` if the rows do not depend on them. `upstream` gets the
    /// rows of the whole batch and returns the gradient with respect to them.
    ///
    /// # Errors
    /// Those of the network and of `upstream`.
    pub fn input_gradient<E: From<Error>>(
        &self,
        images: &Tensor,
        network: impl Fn(&Tensor) -> Result<Tensor> + Sync,
        upstream: impl FnOnce(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Option<Tensor>, E> {
        self.input_gradient_within(WAITING, images, network, upstream)
    }

    fn input_gradient_within<E: From<Error>>(
        &self,
        limit: usize,
        images: &Tensor,
        network: impl Fn(&Tensor) -> Result<Tensor> + Sync,
        upstream: impl FnOnce(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Option<Tensor>, E> {
        let n = images.dims()[0];
        let record = |start: usize| {
            let piece = Var::from_tensor(&self.piece(images, start)?)?;
            let recorded = Recorded::new(|| network(&piece))?;
            Ok((start, piece, recorded))
        };
        // The loss sees the whole batch, so all recordings wait for it: those of one turn, and more within the limit.
        let mut again = self.starts(images)?;
        let mut waiting = self.run(take(&mut again, self.at_once()), record)?;
        let bytes = waiting.iter().map(|(_, _, recorded)| recorded.bytes()).max().unwrap_or_default();
        let more = (limit / bytes.max(1)).saturating_sub(waiting.len());
        waiting.extend(self.run(take(&mut again, more), record)?);
        let mut rows: Vec<Tensor> = waiting.iter().map(|(_, _, recorded)| recorded.output()).collect();
        rows.extend(self.run(again.clone(), |start| network(&self.piece(images, start)?))?);
        let gradient = upstream(&joined(&rows, n)?)?;
        drop(rows);

        let back = |(start, piece, recorded): (usize, Var, Recorded)| {
            Ok(recorded.gradients(&self.piece(&gradient, start)?, &[&piece])?.remove(0))
        };
        let mut gradients = self.run(waiting, back)?;
        gradients.extend(self.run(again, |start| back(record(start)?))?);
        let gradients: Option<Vec<Tensor>> = gradients.into_iter().collect();
        Ok(gradients.map(|gradients| joined(&gradients, n)).transpose()?)
    }

    /// Number of pieces that run at a time.
    fn at_once(&self) -> usize {
        if self.parallel { rayon::current_num_threads() } else { 1 }
    }

    /// Index of the first image of each piece.
    fn starts(&self, images: &Tensor) -> Result<Vec<usize>> {
        Ok((0..images.dim(0)?).step_by(self.size).collect())
    }

    /// The rows of the piece that begins at `start`.
    fn piece(&self, rows: &Tensor, start: usize) -> Result<Tensor> {
        let held = self.size.min(rows.dim(0)? - start);
        rows.narrow(0, start, held)?.pad_with_zeros(0, 0, self.size - held)?.force_contiguous()
    }

    /// Results of `work`, for as many items at a time as there are threads: a batch needs the memory of so many pieces.
    fn run<I: Send, T: Send>(&self, items: Vec<I>, work: impl Fn(I) -> Result<T> + Sync) -> Result<Vec<T>> {
        let (mut results, mut items) = (Vec::with_capacity(items.len()), items);
        while !items.is_empty() {
            let turn = take(&mut items, self.at_once());
            if self.parallel {
                results.extend(turn.into_par_iter().map(&work).collect::<Result<Vec<_>>>()?);
            } else {
                results.extend(turn.into_iter().map(&work).collect::<Result<Vec<_>>>()?);
            }
        }
        Ok(results)
    }
}

/// Removes the first items, at most so many, and returns them.
fn take<T>(items: &mut Vec<T>, most: usize) -> Vec<T> {
    items.drain(..most.min(items.len())).collect()
}

/// The first `n` rows of all pieces together.
fn joined(pieces: &[Tensor], n: usize) -> Result<Tensor> {
    Tensor::cat(pieces, 0)?.narrow(0, 0, n)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linear, relu};
    use candle_core::Device;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Pieces of all sizes, in parallel or not, with waiting and with repeated recordings, give what the whole batch gives.
    #[test]
    fn pieces_are_as_the_whole() {
        let images = Tensor::randn(0f32, 1.0, (7, 1, 2, 3), &Device::Cpu).unwrap();
        let weight = Tensor::randn(0f32, 1.0, (4, 6), &Device::Cpu).unwrap();
        let network = |x: &Tensor| relu(&linear(&x.flatten_from(1)?, &weight, None)?);
        let upstream = |rows: &Tensor| rows.broadcast_sub(&rows.mean_keepdim(0)?);
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let close = |ours: &Tensor, theirs: &Tensor| values(ours).iter().zip(values(theirs)).all(|(a, b)| (a - b).abs() < 1e-5);

        let whole = Pieces { size: 7, parallel: false };
        let rows = whole.forward(&images, network).unwrap();
        let gradient = whole.input_gradient::<Error>(&images, network, upstream).unwrap().unwrap();
        assert_eq!((rows.dims(), gradient.dims()), (&[7, 4][..], &[7, 1, 2, 3][..]));
        for (size, parallel, limit) in [(1, true, WAITING), (2, false, WAITING), (3, true, WAITING), (8, false, 0), (2, false, 0)]
        {
            let (pieces, passes) = (Pieces { size, parallel }, AtomicUsize::new(0));
            let counted = |x: &Tensor| {
                passes.fetch_add(1, Relaxed);
                network(x)
            };
            assert!(close(&pieces.forward(&images, counted).unwrap(), &rows), "{pieces:?}");
            let count = passes.swap(0, Relaxed);
            assert_eq!(count, 7usize.div_ceil(size), "{pieces:?}");
            let ours = pieces.input_gradient_within::<Error>(limit, &images, counted, upstream).unwrap().unwrap();
            assert!(close(&ours, &gradient), "{pieces:?}");
            // Those of the first turn are recorded in any case.
            let again = if limit == 0 { count - 1 } else { 0 };
            assert_eq!(passes.load(Relaxed), count + again, "{pieces:?}");
        }
    }

    #[test]
    fn rows_without_the_images_have_no_gradient() {
        let images = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let constant = |x: &Tensor| Tensor::ones(x.dims(), x.dtype(), x.device());
        let gradient = Pieces { size: 1, parallel: true }.input_gradient::<Error>(&images, constant, |rows| Ok(rows.clone()));
        assert!(gradient.unwrap().is_none());
    }
}
