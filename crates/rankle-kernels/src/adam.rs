//! The update of the optimizer Adam, on slices.

use crate::simd::{Isa, Kernel, Vector};

/// One step of Adam with coupled weight decay, as in PyTorch's `Adam`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Factor of the weight in the gradient: the coupled weight decay.
    pub weight_decay: f64,
    /// The number of this step, counted from 1.
    pub step: u32,
}

impl AdamStep {
    /// Updates weights and both moments in place.
    pub fn update(&self, isa: Isa, weights: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
        let len = weights.len();
        assert!(first.len() == len && second.len() == len && gradient.len() == len, "one moment and one gradient per weight");
        assert!(self.step > 0, "optimizer steps are counted from 1");
        isa.run(Update { step: self, weights, first, second, gradient });
    }
}

struct Update<'a> {
    step: &'a AdamStep,
    weights: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    gradient: &'a [f32],
}

impl Kernel for Update<'_> {
    type Output = ();

    // Plain Rust: inside `Isa::run` the compiler vectorizes this loop for the instruction set.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let AdamStep { learning_rate, beta1, beta2, epsilon, weight_decay, step } = *self.step;
        let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(step).unwrap_or(i32::MAX));
        let rate = (learning_rate / correction(beta1)) as f32;
        let root = correction(beta2).sqrt() as f32;
        let (keep1, keep2) = (beta1 as f32, beta2 as f32);
        let (new1, new2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        let (epsilon, decay) = (epsilon as f32, weight_decay as f32);
        for (((w, m), v), &g) in self.weights.iter_mut().zip(self.first).zip(self.second).zip(self.gradient) {
            let g = g + decay * *w;
            *m = keep1 * *m + new1 * g;
            *v = keep2 * *v + new2 * (g * g);
            *w -= rate * *m / (v.sqrt() / root + epsilon);
        }
    }
}
