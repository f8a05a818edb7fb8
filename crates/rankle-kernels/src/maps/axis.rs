//! One side of a convolution: which source coordinates feed which target coordinate.

use crate::size::{product, sum};

/// Target coordinates that look alike: they have the same taps, and from each to the next all sources move by the same step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// The first target coordinate.
    pub target: usize,
    /// From one target coordinate to the next.
    pub target_step: usize,
    /// How the sources move meanwhile.
    pub source_step: usize,
    /// How many target coordinates.
    pub count: usize,
    /// The taps inside the source; none where nothing reaches.
    pub taps: Vec<Tap>,
}

/// One position of the kernel over the source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tap {
    /// Which row or column of the kernel.
    pub index: usize,
    /// The source coordinate under it, for the run's first target.
    pub source: usize,
}

/// How kernel, stride and padding tie the two sides together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub kernel: usize,
    pub stride: usize,
    /// Zeros in front of the input.
    pub before: usize,
    /// Length of the convolution's input and output.
    pub input: usize,
    pub output: usize,
}

impl Reach {
    /// The input coordinate under a tap of the output coordinate `target`, if it is inside: `target * stride + tap - before`.
    pub(super) fn source(self, target: usize, tap: usize) -> Option<usize> {
        let behind = target.checked_mul(self.stride)?.checked_add(tap)?;
        behind.checked_sub(self.before).filter(|&source| source < self.input)
    }

    /// From input to output.
    pub(super) fn forward(self) -> Vec<Run> {
        self.runs(self.output, 1, self.stride, |target, tap| self.source(target, tap))
    }

    /// From the output's gradient to the input's: target `t` reads the outputs whose tap lay on it.
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
    /// Whether there are taps and each lies right behind the one before, in the kernel and in the source.
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

    /// Every pair of input and output coordinates under every tap, once forward and once backward.
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
