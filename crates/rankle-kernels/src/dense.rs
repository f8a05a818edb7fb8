//! Dense layers: `y = x · Wᵀ`, its input gradient and its weight gradient.
//!
//! Weights are packed once into panels, `[outputs / panel][inputs][panel]`, so that the inner loop reads them in order.
//! In an attack the weights never change: one packing for the forward product and one, of the transpose, for the input
//! gradient serve hundreds of steps. In training the forward packing is the master copy that Adam updates.

use crate::aligned::Aligned;
use crate::simd::Isa;
use crate::size::{product, whole};
use crate::tile::{Left, Picks, Right, Store, Stretches, split, tile};

/// A matrix of `outputs x inputs` numbers in panels of [`Isa::panel`] outputs; a last, incomplete panel is filled with zeros.
#[derive(Clone, Debug)]
pub struct Panels {
    data: Aligned,
    outputs: usize,
    inputs: usize,
    isa: Isa,
}

/// The shape of [`Panels`] without the numbers: enough for a weight gradient, while an optimizer holds the numbers.
#[derive(Clone, Copy, Debug)]
pub struct PanelShape {
    outputs: usize,
    inputs: usize,
    isa: Isa,
}

impl Panels {
    /// Packs the matrix whose element at `(output, input)` is `element(output, input)`.
    pub fn pack(isa: Isa, outputs: usize, inputs: usize, element: impl Fn(usize, usize) -> f32) -> Self {
        let panel = isa.panel();
        let mut data = Aligned::zeros(product([whole(outputs, panel), inputs]));
        for output in 0..outputs {
            let column = &mut data[output / panel * inputs * panel + output % panel..];
            for input in 0..inputs {
                column[input * panel] = element(output, input);
            }
        }
        Self { data, outputs, inputs, isa }
    }
    /// A matrix of zeros.
    pub fn zeros(isa: Isa, outputs: usize, inputs: usize) -> Self {
        Self { data: Aligned::zeros(product([whole(outputs, isa.panel()), inputs])), outputs, inputs, isa }
    }
    /// A copy with each row multiplied by its factor.
    pub fn scaled(&self, factor: impl Fn(usize) -> f32) -> Self {
        let (panel, mut scaled) = (self.isa.panel(), self.clone());
        let len = self.panel_len();
        for (index, data) in scaled.data.chunks_exact_mut(len).enumerate() {
            let factors: Vec<f32> = (index * panel..(index + 1) * panel)
                .map(|output| if output < self.outputs { factor(output) } else { 0.0 })
                .collect();
            for row in data.chunks_exact_mut(panel) {
                row.iter_mut().zip(&factors).for_each(|(value, factor)| *value *= factor);
            }
        }
        scaled
    }
    /// Zeros in the shape of `self`, as for Adam's moments.
    pub fn zeros_like(&self) -> Self {
        Self { data: Aligned::zeros(self.data.len()), ..*self }
    }
    /// The transposed matrix in its own packing, for the input gradient.
    pub fn transposed(&self) -> Self {
        let panel = self.isa.panel();
        let mut data = Aligned::zeros(product([whole(self.inputs, panel), self.outputs]));
        for (first, block) in self.panels().enumerate().map(|(p, block)| (p * panel, block)) {
            for (input, row) in block.chunks_exact(panel).enumerate() {
                let column = &mut data[input / panel * self.outputs * panel + input % panel..];
                for (output, &value) in (first..self.outputs).zip(row) {
                    column[output * panel] = value;
                }
            }
        }
        Self { data, outputs: self.inputs, inputs: self.outputs, isa: self.isa }
    }
    /// The element at `(output, input)`.
    pub fn get(&self, output: usize, input: usize) -> f32 {
        assert!(output < self.outputs && input < self.inputs, "an element of the matrix");
        let panel = self.isa.panel();
        self.data[(output / panel * self.inputs + input) * panel + output % panel]
    }
    /// Rows of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
    /// Columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }
    /// The shape without the numbers.
    pub fn shape(&self) -> PanelShape {
        PanelShape { outputs: self.outputs, inputs: self.inputs, isa: self.isa }
    }
    /// Numbers per panel: `inputs * panel`.
    pub fn panel_len(&self) -> usize {
        product([self.inputs, self.isa.panel()])
    }
    /// The instruction set that the panels are packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }
    pub(crate) fn panels(&self) -> impl Iterator<Item = &[f32]> {
        self.data.chunks_exact(self.panel_len())
    }
    /// All panels, one after the other.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }
    /// All panels, one after the other.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// `y = x · Wᵀ`: `x` is `n x inputs`, `y` is `n x outputs`.
    ///
    /// The inner dimension is summed in blocks whose size depends on `inputs` alone, so a row of `y` depends on its row of
    /// `x` alone.
    pub fn multiply(&self, x: &[f32], y: &mut [f32]) {
        let (n, panel) = (x.len() / self.inputs, self.isa.panel());
        assert!(x.len() == n * self.inputs && y.len() == product([n, self.outputs]), "shapes of a dense layer");
        if n == 0 {
            return;
        }
        let mut edge = vec![0.0; self.isa.rows() * panel];
        // Rows side by side, as a tile reads them: rows a power of two apart would compete for the same cache lines.
        let mut packed = Aligned::zeros(n * BLOCK.min(self.inputs));
        // Per group of rows the inputs that are not zero in all of them: behind a ReLU they may be few.
        let mut live = vec![Picks::default(); n.div_ceil(self.isa.rows())];
        for block in split(self.inputs, BLOCK) {
            let store = if block.start == 0 { Store::Overwrite } else { Store::Add };
            for (rows, live) in split(n, self.isa.rows()).zip(&mut live) {
                let packed = &mut packed[rows.start * block.len()..rows.end * block.len()];
                for (m, row) in rows.clone().enumerate() {
                    let row = &x[row * self.inputs..][block.clone()];
                    packed[m..].iter_mut().step_by(rows.len()).zip(row).for_each(|(packed, &value)| *packed = value);
                }
                live.clear();
                for (input, values) in packed.chunks_exact(rows.len()).enumerate() {
                    if values.iter().any(|&value| value != 0.0) {
                        live.push(input * rows.len(), input * panel);
                    }
                }
            }
            for (first, weights) in self.panels().enumerate().map(|(p, weights)| (p * panel, weights)) {
                let right = Right { data: &weights[block.start * panel..block.end * panel], stride: panel };
                for (rows, live) in split(n, self.isa.rows()).zip(&live) {
                    let data = &packed[rows.start * block.len()..rows.end * block.len()];
                    let all = Left { data, row: 1, step: rows.len(), stretches: Stretches::ONE, len: block.len() };
                    let left = live.left(all);
                    let out = &mut y[rows.start * self.outputs + first..];
                    let width = panel.min(self.outputs - first);
                    if width == panel {
                        tile(self.isa, rows.len(), panel, left, right, out, self.outputs, store);
                    } else {
                        tile(self.isa, rows.len(), panel, left, right, &mut edge, panel, Store::Overwrite);
                        for (row, sums) in edge.chunks_exact(panel).take(rows.len()).enumerate() {
                            for (out, &sum) in out[row * self.outputs..][..width].iter_mut().zip(sums) {
                                *out = if store == Store::Add { *out + sum } else { sum };
                            }
                        }
                    }
                }
            }
        }
    }

    /// `dx = dy · W` straight from the forward packing, for training, where a packed transpose would be stale after every
    /// step. `dy` is `n x outputs`, `dx` is `n x inputs`.
    pub fn multiply_transposed(&self, dy: &[f32], dx: &mut [f32]) {
        let (n, panel) = (dy.len() / self.outputs, self.isa.panel());
        assert!(
            dy.len() == n * self.outputs && dx.len() == product([n, self.inputs]),
            "shapes of a dense layer's input gradient"
        );
        let panels = self.outputs.div_ceil(panel);
        let group_len = product([panels, panel, panel]);
        // Groups of images side by side in the lanes, outputs from top to bottom.
        let mut groups = Aligned::zeros(product([n.div_ceil(panel), group_len]));
        for (image, row) in dy.chunks_exact(self.outputs).enumerate() {
            let group = &mut groups[image / panel * group_len..];
            row.iter().enumerate().for_each(|(output, &value)| group[output * panel + image % panel] = value);
        }
        let mut sums = Aligned::zeros(self.isa.rows() * panel);
        for inputs in split(self.inputs, self.isa.rows()) {
            let data = &self.data[inputs.start * panel..];
            let left = Left {
                data,
                row: panel,
                step: 1,
                stretches: Stretches::Even { count: panels, apart: self.panel_len() },
                len: panel,
            };
            for (group, dx) in groups.chunks_exact(group_len).zip(dx.chunks_mut(panel * self.inputs)) {
                let columns = if dx.len() / self.inputs <= self.isa.lanes() { self.isa.lanes() } else { panel };
                tile(
                    self.isa,
                    inputs.len(),
                    columns,
                    left,
                    Right { data: group, stride: panel },
                    &mut sums,
                    columns,
                    Store::Overwrite,
                );
                for (image, dx) in dx.chunks_exact_mut(self.inputs).enumerate() {
                    for (row, dx) in dx[inputs.clone()].iter_mut().enumerate() {
                        *dx = sums[row * columns + image];
                    }
                }
            }
        }
    }
}

impl PanelShape {
    /// Computes the weight gradient `dyᵀ · x` of one panel of outputs, in strips: `visit(range, gradient)` gets each strip once,
    /// in the layout of the panel (`range` counts within the panel), so that an optimizer can use it while it is in the cache.
    pub fn gradient(&self, panel: usize, x: &[f32], dy: &[f32], mut visit: impl FnMut(std::ops::Range<usize>, &[f32])) {
        let (n, index, panel) = (x.len() / self.inputs, panel, self.isa.panel());
        assert!(
            x.len() == n * self.inputs && dy.len() == product([n, self.outputs]),
            "shapes of a dense layer's weight gradient"
        );
        assert!(n > 0 && index < self.outputs.div_ceil(panel), "at least one image, and a panel of this layer");
        let first = index * panel;
        let width = panel.min(self.outputs - first);
        let mut right = Aligned::zeros(product([n, panel]));
        for (row, dy) in right.chunks_exact_mut(panel).zip(dy.chunks_exact(self.outputs)) {
            row[..width].copy_from_slice(&dy[first..first + width]);
        }
        let right = Right { data: &right, stride: panel };
        let mut sums = Aligned::zeros(self.isa.rows() * panel);
        for inputs in split(self.inputs, self.isa.rows()) {
            let left = Left { data: &x[inputs.start..], row: 1, step: self.inputs, stretches: Stretches::ONE, len: n };
            tile(self.isa, inputs.len(), panel, left, right, &mut sums, panel, Store::Overwrite);
            visit(inputs.start * panel..inputs.end * panel, &sums[..inputs.len() * panel]);
        }
    }
}

/// Inner elements per block: 14 rows of a block fit in the first-level cache.
const BLOCK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    fn close(name: &str, a: &[f32], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
            assert!((f64::from(a) - b).abs() < 1e-4, "{name}[{i}]: {a} instead of {b}");
        }
    }

    /// Compares all four products with the definition in double precision, for shapes that fill no panel and no tile.
    #[test]
    fn products_agree_with_their_definition() {
        for isa in Isa::available() {
            for (n, outputs, inputs) in [(1, 32, 5), (3, 70, 1500), (isa.panel(), 33, 20), (29, 64, 64)] {
                let (w, x, dy) = (random(1, outputs * inputs), random(2, n * inputs), random(3, n * outputs));
                let panels = Panels::pack(isa, outputs, inputs, |o, i| w[o * inputs + i]);
                let sum = |len: usize, term: &dyn Fn(usize) -> f64| (0..len).map(term).sum::<f64>();
                let product = |a: f32, b: f32| f64::from(a) * f64::from(b);

                let mut y = vec![0.0; n * outputs];
                panels.multiply(&x, &mut y);
                let expected: Vec<f64> = (0..n * outputs)
                    .map(|at| sum(inputs, &|i| product(x[at / outputs * inputs + i], w[at % outputs * inputs + i])))
                    .collect();
                close("y", &y, &expected);

                let expected: Vec<f64> = (0..n * inputs)
                    .map(|at| sum(outputs, &|o| product(dy[at / inputs * outputs + o], w[o * inputs + at % inputs])))
                    .collect();
                let mut dx = vec![0.0; n * inputs];
                panels.transposed().multiply(&dy, &mut dx);
                close("dx", &dx, &expected);
                dx.fill(0.0);
                panels.multiply_transposed(&dy, &mut dx);
                close("dx from the forward packing", &dx, &expected);

                let mut gradient = panels.zeros_like();
                for index in 0..outputs.div_ceil(isa.panel()) {
                    let start = index * panels.panel_len();
                    panels.shape().gradient(index, &x, &dy, |range, strip| {
                        gradient.as_mut_slice()[start + range.start..start + range.end].copy_from_slice(strip);
                    });
                }
                for o in 0..outputs {
                    for i in 0..inputs {
                        let expected = sum(n, &|image| product(dy[image * outputs + o], x[image * inputs + i]));
                        close("dw", &[gradient.get(o, i)], &[expected]);
                    }
                }
            }
        }
    }

    /// A row of the result depends on its own row of the input alone, to the last bit.
    #[test]
    fn a_row_does_not_depend_on_its_batch() {
        for isa in Isa::available() {
            let (w, x) = (random(1, 40 * 3136), random(2, 31 * 3136));
            let panels = Panels::pack(isa, 40, 3136, |o, i| w[o * 3136 + i]);
            let mut together = vec![0.0; 31 * 40];
            panels.multiply(&x, &mut together);
            for (row, expected) in x.chunks_exact(3136).zip(together.chunks_exact(40)) {
                let mut alone = vec![0.0; 40];
                panels.multiply(row, &mut alone);
                assert_eq!(alone, expected, "{isa}");
            }
        }
    }

    /// Inputs that are zero in all rows of a tile are left out: a row gets the bits that it gets beside a row without zeros.
    #[test]
    fn zeros_are_left_out_without_a_trace() {
        for isa in Isa::available() {
            let (w, full) = (random(1, 40 * 1500), random(2, 1500));
            let panels = Panels::pack(isa, 40, 1500, |o, i| w[o * 1500 + i]);
            for live in [0, 1, 5, 9, 10] {
                let zero = |at: usize| if at.is_multiple_of(2) { 0.0 } else { -0.0 };
                let sparse: Vec<f32> = random(3, 1500)
                    .into_iter()
                    .enumerate()
                    .map(|(at, x)| if at * 7 % 10 < live { x } else { zero(at) })
                    .collect();
                let (mut alone, mut together) = (vec![0.0; 40], vec![0.0; 80]);
                panels.multiply(&sparse, &mut alone);
                panels.multiply(&[&sparse[..], &full].concat(), &mut together);
                assert_eq!(alone, together[..40], "{isa}, {live} of 10");
                assert_eq!(alone.iter().all(|&y| y == 0.0), live == 0);
            }
            // Nor is a number lost that is none.
            let mut broken = vec![0.0; 1500];
            broken[3] = f32::NAN;
            let mut y = vec![0.0; 40];
            panels.multiply(&broken, &mut y);
            assert!(y.iter().all(|y| y.is_nan()), "{isa}");
        }
    }
}
