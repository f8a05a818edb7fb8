//! One axis of a convolution: the source coordinates of each target coordinate.

use crate::size::{product, sum};

/// Target coordinates with the same taps, whose sources all move by the same step from one target to the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// The first target coordinate.
    pub target: usize,
    /// Step from one target coordinate to the next.
    pub target_step: usize,
    /// Step of the sources from one target coordinate to the next.
    pub source_step: usize,
    /// Number of target coordinates.
    pub count: usize,
    /// The taps inside the source; may be empty.
    pub taps: Vec<Tap>,
}

/// One position of the kernel over the source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tap {
    /// Row or column of the kernel.
    pub index: usize,
    /// The source coordinate under the tap, for the run's first target.
    pub source: usize,
}

/// Kernel, stride, padding and lengths of a convolution along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub kernel: usize,
    pub stride: usize,
    /// Zeros in front of the input.
    pub before: usize,
    /// Lengths of the convolution's input and output.
    pub input: usize,
    pub output: usize,
}

impl Reach {
    /// The input coordinate under a tap of the output coordinate `target`, if it is inside: `target * stride + tap - before`.
    pub(super) fn source(self, target: usize, tap: usize) -> Option<usize> {
        let behind = target.checked_mul(self.stride)?.checked_add(tap)?;
        behind.checked_sub(self.before).filter(|&source| source < self.input)
    }

    /// Runs of the forward pass, from input to output.
    pub(super) fn forward(self) -> Vec<Run> {
        self.runs(self.output, 1, self.stride, |target, tap| self.source(target, tap))
    }

    /// Runs of the input gradient: target `t`, an input coordinate, reads the outputs that had a tap on it.
    pub(super) fn backward(self) -> Vec<Run> {
        let source = |target: usize, tap: usize| {
            let distance = target.checked_add(self.before)?.checked_sub(tap)?;
            Some(distance / self.stride).filter(|&s| distance % self.stride == 0 && s < self.output)
        };
        self.runs(self.input, self.stride, 1, source)
    }

    fn runs(
        self,
        len: usize,
        target_step: usize,
        source_step: usize,
        source: impl Fn(usize, usize) -> Option<usize>,
    ) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for phase in 0..target_step.min(len) {
            for target in (phase..len).step_by(target_step) {
                let taps: Vec<Tap> =
                    (0..self.kernel).filter_map(|index| source(target, index).map(|source| Tap { index, source })).collect();
                match runs.last_mut().filter(|run| run.goes_on(target, &taps)) {
                    Some(run) => run.count += 1,
                    None => runs.push(Run { target, target_step, source_step, count: 1, taps }),
                }
            }
        }
        runs
    }
}

impl Run {
    /// True if there are taps and they are contiguous, in the kernel and in the source.
    pub(super) fn taps_lie_together(&self) -> bool {
        let next = |pair: &[Tap]| pair[1].index == pair[0].index + 1 && pair[1].source == pair[0].source + 1;
        !self.taps.is_empty() && self.taps.windows(2).all(next)
    }

    fn goes_on(&self, target: usize, taps: &[Tap]) -> bool {
        let moved = product([self.count, self.source_step]);
        let follows = |tap: &Tap, first: &Tap| tap.index == first.index && tap.source == sum([first.source, moved]);
        target == sum([self.target, product([self.count, self.target_step])])
            && taps.len() == self.taps.len()
            && taps.iter().zip(&self.taps).all(|(tap, first)| follows(tap, first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the pairs of input and output coordinates under every tap, forward and backward.
    #[test]
    fn both_directions_hold_the_same_pairs() {
        for (kernel, stride, before, input, output) in [
            (3, 1, 1, 7, 7),
            (3, 2, 1, 7, 4),
            (3, 2, 1, 2, 1),
            (1, 2, 0, 7, 4),
            (4, 1, 2, 14, 14),
            (7, 2, 3, 9, 5),
            (5, 3, 0, 11, 3),
        ] {
            let reach = Reach { kernel, stride, before, input, output };
            let pairs = |runs: Vec<Run>| {
                let mut pairs = Vec::new();
                for run in runs {
                    for step in 0..run.count {
                        for tap in &run.taps {
                            let target = run.target + step * run.target_step;
                            pairs.push((target, tap.index, tap.source + step * run.source_step));
                        }
                    }
                }
                pairs
            };
            let mut expected = Vec::new();
            for o in 0..output {
                for tap in 0..kernel {
                    let place = (o * stride + tap) as isize - before as isize;
                    if (0..input as isize).contains(&place) {
                        expected.push((o, tap, place as usize));
                    }
                }
            }
            let mut forward = pairs(reach.forward());
            forward.sort_unstable();
            assert_eq!(forward, expected);
            let mut backward: Vec<_> = pairs(reach.backward()).into_iter().map(|(i, tap, o)| (o, tap, i)).collect();
            backward.sort_unstable();
            assert_eq!(backward, expected);
        }
    }

    #[test]
    fn the_inside_of_a_map_is_one_run() {
        let runs = Reach { kernel: 3, stride: 1, before: 1, input: 14, output: 14 }.forward();
        assert_eq!(runs.iter().map(|run| (run.target, run.count)).collect::<Vec<_>>(), [(0, 1), (1, 12), (13, 1)]);
    }
}
