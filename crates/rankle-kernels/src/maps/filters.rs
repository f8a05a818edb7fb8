//! Conversion of filters between PyTorch's layout and the panels of the kernels.

use super::Conv;
use super::winograd::{POINTS, Winograd, turned};
use crate::dense::Panels;
use crate::simd::Isa;
use crate::size::product;

impl Conv {
    /// Packs PyTorch's weights `(outputs, inputs, kernel, kernel)`, each output's multiplied by its `scale`: rows of the panels
    /// are the outputs, columns are taps from top left to bottom right, channels fastest.
    pub fn pack(&self, isa: Isa, weight: &[f32], scale: impl Fn(usize) -> f32) -> Panels {
        let (inputs, taps) = (self.shape.inputs, self.shape.taps());
        assert!(weight.len() == self.shape.filters_len(), "one weight per output, input and tap");
        Panels::pack(isa, self.shape.outputs, taps * inputs, |output, column| {
            let (tap, input) = (column / inputs, column % inputs);
            weight[(output * inputs + input) * taps + tap] * scale(output)
        })
    }

    /// Converts packed filters to PyTorch's layout.
    pub fn unpack(&self, filters: &Panels) -> Vec<f32> {
        let (inputs, taps) = (self.shape.inputs, self.shape.taps());
        self.check_filters(filters, taps);
        let mut weight = vec![0.0; self.shape.filters_len()];
        for (output, weight) in weight.chunks_exact_mut(inputs * taps).enumerate() {
            for (input, weight) in weight.chunks_exact_mut(taps).enumerate() {
                weight.iter_mut().enumerate().for_each(|(tap, weight)| *weight = filters.get(output, tap * inputs + input));
            }
        }
        weight
    }

    /// Converts packed filters to Winograd's form, which needs fewer multiplications: rows are the outputs, columns are points,
    /// channels fastest. `None` if the shape or the panels do not allow it, or if the map is too small for it to be faster.
    /// [`Conv::forward`] and [`Conv::transpose`] take either form.
    pub fn winograd(&self, filters: &Panels) -> Option<Panels> {
        self.check_filters(filters, self.shape.taps());
        self.winograd.and_then(|_| Winograd::filters(filters))
    }

    /// Transposes filters for the input gradient: rows are the inputs, columns are taps or points, outputs fastest.
    pub fn transpose(&self, filters: &Panels) -> Panels {
        // The input gradient uses the rotated kernel: its geometry rotates the plain form; the points are permuted here.
        match self.winograd.is_some() && filters.inputs() == product([POINTS, self.shape.inputs]) {
            true => self.transpose_each(filters, POINTS, turned),
            false => self.transpose_each(filters, self.shape.taps(), |tap| tap),
        }
    }

    /// Panics on filters of another convolution. In Winograd's form `taps` is the number of points.
    pub(super) fn check_filters(&self, filters: &Panels, taps: usize) {
        let columns = product([taps, self.shape.inputs]);
        assert!(filters.outputs() == self.shape.outputs && filters.inputs() == columns, "filters of this shape");
    }

    fn transpose_each(&self, filters: &Panels, taps: usize, place: impl Fn(usize) -> usize) -> Panels {
        self.check_filters(filters, taps);
        let (inputs, outputs) = (self.shape.inputs, self.shape.outputs);
        let panel = filters.isa().panel();
        let mut transposed = Panels::zeros(filters.isa(), inputs, product([taps, outputs]));
        let len = transposed.panel_len();
        let target = transposed.as_mut_slice();
        for (first, source) in filters.panels().enumerate().map(|(index, source)| (index * panel, source)) {
            let width = panel.min(outputs - first);
            for tap in 0..taps {
                // Blocks of a panel's width on both sides stay in the cache while rows become columns.
                let source = &source[tap * inputs * panel..][..inputs * panel];
                for (index, source) in source.chunks(panel * panel).enumerate() {
                    let target = &mut target[index * len + (place(tap) * outputs + first) * panel..][..width * panel];
                    for (input, source) in source.chunks_exact(panel).enumerate() {
                        let column = target[input..].iter_mut().step_by(panel);
                        column.zip(source).for_each(|(target, &value)| *target = value);
                    }
                }
            }
        }
        transposed
    }
}
