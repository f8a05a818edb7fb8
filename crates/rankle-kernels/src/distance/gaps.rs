//! Sums of a function of gaps between distances over a whole gallery, with their exact gradient, in one pass.

use super::pairs::distances_to_on;
use super::{BLOCK, GalleryRows, Group, Metric, TASK, blocks};
use crate::aligned::Aligned;
use crate::features::exp;
use crate::simd::{Isa, Kernel, Vector};
use crate::size::product;
use crate::tile::{Left, Right, Store, Stretches, split, tile};
use rayon::prelude::*;

/// The function of a gap that is summed; a gap is positive while an item is on the wrong side of a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GapLoss {
    /// `[gap]₊`.
    Hinge,
    /// `1/(1 + exp(-gap/temperature))`, a smooth count of the positive gaps. The temperature is positive.
    Sigmoid {
        /// Gap at which the function is at 0.73.
        temperature: f32,
    },
}

/// One term of a sum of gaps.
#[derive(Clone, Copy, Debug)]
pub struct GapTerm<'a> {
    /// Gallery indices, `n x set`, row-major.
    pub targets: &'a [u32],
    /// True to raise the targets, with gaps `d(p,c) - d(p,x)`; false to lower them, with gaps `d(p,x) - d(p,c)`.
    pub raise: bool,
    /// Factor of the sum.
    pub weight: f32,
}

/// Sums over gaps and their gradient.
#[derive(Clone, Debug)]
pub struct GapSums {
    /// One loss per point.
    pub loss: Vec<f64>,
    /// `n x dim`: the derivative of each point's loss with respect to that point; empty where it is not asked for.
    pub gradient: Vec<f32>,
    /// Per point `Σ_terms weight ·` the number of positive gaps.
    pub active: Vec<f64>,
}

/// `Σ_terms weight · Σ_c Σ_x f(±(d(p,c) - d(p,x)))` for each point `p`, with its gradient, where `f` is `of`.
///
/// The gradient of hinges needs only the number of positive gaps (METHOD.md 7.3). Per block of the gallery: distances, a comparison
/// with each target's own distance, and one product of the resulting weights with the block's rows.
pub fn gap_sums(metric: Metric, points: &[f32], rows: &GalleryRows, terms: &[GapTerm<'_>], of: GapLoss) -> GapSums {
    gap_sums_on(Isa::best(), metric, points, rows, terms, of, true)
}

/// Does as [`gap_sums`], to the last bit, but for the gradient, which is about half of the work.
pub fn gap_values(metric: Metric, points: &[f32], rows: &GalleryRows, terms: &[GapTerm<'_>], of: GapLoss) -> GapSums {
    gap_sums_on(Isa::best(), metric, points, rows, terms, of, false)
}

/// Sums over one list of distances in ascending order, at the `distance` of an image: of the sigmoids
/// `1/(1 + exp(±(list - distance)/temperature))`, `-` to raise the image, and of their derivatives with respect to `distance`, which
/// have the sign of `raise`. Only the numbers given are summed: those at a gap of many temperatures can be left out and counted.
pub fn list_sigmoids(list: &[f32], distance: f32, raise: bool, temperature: f32) -> (f64, f64) {
    Isa::best().run(Sigmoids { list, distance, raise, temperature })
}

struct Sigmoids<'a> {
    list: &'a [f32],
    distance: f32,
    raise: bool,
    temperature: f32,
}

impl Kernel for Sigmoids<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<V: Vector>(self) -> (f64, f64) {
        const LANES: usize = 32;
        let Self { list, distance, raise, temperature } = self;
        let (sign, inverse) = (if raise { 1.0f32 } else { -1.0 }, 1.0 / temperature);
        let (mut sums, mut derivatives) = (0.0f64, 0.0f64);
        for chunk in list.chunks(LANES) {
            let (mut sum, mut derivative) = (0.0f32, 0.0f32);
            let mut values = [(0.0f32, 0.0f32); LANES];
            for (value, &other) in values.iter_mut().zip(chunk) {
                *value = sigmoid::<V>(sign * (distance - other) * inverse);
            }
            for (value, slope) in &values[..chunk.len()] {
                sum += value;
                derivative += slope;
            }
            sums += f64::from(sum);
            derivatives += f64::from(derivative);
        }
        (sums, f64::from(sign * inverse) * derivatives)
    }
}

/// `1/(1 + exp(-x))` and its derivative.
#[inline(always)]
fn sigmoid<V: Vector>(x: f32) -> (f32, f32) {
    let small = exp::<V>(-x.abs());
    let large = 1.0 / (1.0 + small);
    (if x < 0.0 { small * large } else { large }, small * large * large)
}

fn gap_sums_on(
    isa: Isa,
    metric: Metric,
    points: &[f32],
    rows: &GalleryRows,
    terms: &[GapTerm<'_>],
    of: GapLoss,
    with_gradient: bool,
) -> GapSums {
    let (dim, panel) = (rows.dim, isa.panel());
    let n = rows.count(points);
    let own: Vec<Vec<f32>> = terms.iter().map(|term| distances_to_on(isa, metric, points, rows, term.targets)).collect();
    let mut sum = GapSums { loss: vec![0.0; n], gradient: Vec::new(), active: vec![0.0; n] };
    let sum_up = |task: usize, loss: &mut [f64], active: &mut [f64], gradient: Option<&mut [f32]>| {
        let mut groups: Vec<Active> = (task * TASK..task * TASK + loss.len())
            .step_by(panel)
            .map(|first| {
                let range = first..(first + panel).min(task * TASK + loss.len());
                let lists: Vec<List> =
                    terms.iter().zip(&own).flat_map(|(term, own)| List::of_term(n, term, own, range.clone(), isa)).collect();
                let group = Group::pack(isa, metric, &points[range.start * dim..range.end * dim], dim);
                Active::new(group, lists, gradient.is_some().then_some(dim))
            })
            .collect();
        let mut buffer = vec![0.0; BLOCK * panel];
        for block in blocks(rows.len) {
            for group in &mut groups {
                group.add(rows, block.clone(), &mut buffer, of);
            }
        }
        for (group, (loss, active)) in groups.iter().zip(loss.chunks_mut(panel).zip(active.chunks_mut(panel))) {
            loss.copy_from_slice(&group.loss[..loss.len()]);
            for (lane, active) in active.iter_mut().enumerate() {
                *active = group.lists.iter().map(|list| f64::from(list.weight.abs()) * f64::from(list.positive[lane])).sum();
            }
        }
        let gradients = gradient.map(|gradient| gradient.chunks_mut(product([panel, dim])));
        for ((group, first), gradient) in groups.iter().zip((task * TASK..).step_by(panel)).zip(gradients.into_iter().flatten()) {
            group.finish(rows, &points[first * dim..], gradient);
        }
    };
    let tasks = sum.loss.par_chunks_mut(TASK).zip(sum.active.par_chunks_mut(TASK)).enumerate();
    if with_gradient {
        sum.gradient = vec![0.0; n * dim];
        let tasks = tasks.zip(sum.gradient.par_chunks_mut(product([TASK, dim])));
        tasks.for_each(|((task, (loss, active)), gradient)| sum_up(task, loss, active, Some(gradient)));
    } else {
        tasks.for_each(|(task, (loss, active))| sum_up(task, loss, active, None));
    }
    sum
}

/// One column of targets: the c-th target of every point of a group.
struct List {
    /// Weight of the term, negative for a term that lowers.
    weight: f32,
    targets: Vec<u32>,
    /// Distances of the targets; in lanes without a point, a value that makes no gap positive.
    own: Vec<f32>,
    /// Derivative of the sum with respect to the target's own distance; of hinges the number of positive gaps, times the weight.
    active: Vec<f32>,
    /// Number of positive gaps.
    positive: Vec<f32>,
}

impl List {
    fn of_term(n: usize, term: &GapTerm<'_>, own: &[f32], range: std::ops::Range<usize>, isa: Isa) -> Vec<Self> {
        let set = term.targets.len() / n;
        let columns = if range.len() <= isa.lanes() { isa.lanes() } else { isa.panel() };
        let idle = if term.raise { f32::NEG_INFINITY } else { f32::INFINITY };
        (0..set)
            .map(|c| {
                let mut thresholds = vec![idle; columns];
                thresholds.iter_mut().zip(range.clone()).for_each(|(slot, point)| *slot = own[point * set + c]);
                Self {
                    weight: if term.raise { term.weight } else { -term.weight },
                    targets: range.clone().map(|point| term.targets[point * set + c]).collect(),
                    own: thresholds,
                    active: vec![0.0; columns],
                    positive: vec![0.0; columns],
                }
            })
            .collect()
    }
}

struct Active {
    group: Group,
    lists: Vec<List>,
    loss: Vec<f64>,
    /// `dim x columns`: the weighted sum of gallery rows, if it is asked for.
    gradient: Option<Aligned>,
    /// Euclidean only: the sum of the weights, which multiplies the point itself.
    share: Vec<f32>,
    weights: Aligned,
}

impl Active {
    /// `dim` where there is a gradient.
    fn new(group: Group, lists: Vec<List>, dim: Option<usize>) -> Self {
        let columns = group.columns;
        let (gradient, weights) = (dim.map(|dim| Aligned::zeros(product([dim, columns]))), Aligned::zeros(BLOCK * columns));
        Self { group, lists, loss: vec![0.0; columns], gradient, share: vec![0.0; columns], weights }
    }

    /// Adds the gaps of one block of the gallery.
    fn add(&mut self, rows: &GalleryRows, block: std::ops::Range<usize>, distances: &mut [f32], of: GapLoss) {
        let (isa, columns) = (self.group.isa, self.group.columns);
        self.group.distances(rows, block.clone(), distances);
        let any = isa.run(Compare { active: self, distances: &distances[..block.len() * columns], of });
        let Some(gradient) = self.gradient.as_mut().filter(|_| any) else { return };
        let right = Right { data: &self.weights, stride: columns };
        for piece in split(rows.dim, isa.rows()) {
            let data = &rows.data[block.start * rows.stride + piece.start..];
            let left = Left { data, row: 1, step: rows.stride, stretches: Stretches::ONE, len: block.len() };
            tile(isa, piece.len(), columns, left, right, &mut gradient[piece.start * columns..], columns, Store::Add);
        }
    }

    /// Adds the targets' part of the gradient and writes the sums as rows.
    fn finish(&self, rows: &GalleryRows, points: &[f32], gradient: &mut [f32]) {
        let dim = rows.dim;
        let Some(sums) = &self.gradient else { return };
        for (lane, gradient) in gradient.chunks_exact_mut(dim).enumerate() {
            let point = &points[lane * dim..][..dim];
            let sums = sums[lane..].iter().step_by(self.group.columns);
            for ((gradient, &sum), &x) in gradient.iter_mut().zip(sums).zip(point) {
                *gradient = sum - self.share[lane] * x;
            }
            for list in &self.lists {
                let (active, own, row) = (list.active[lane], list.own[lane], rows.row(list.targets[lane] as usize));
                match self.group.metric {
                    Metric::Cosine => gradient.iter_mut().zip(row).for_each(|(gradient, &c)| *gradient -= active * c),
                    Metric::Euclidean if own > 0.0 => {
                        let active = active / own;
                        gradient
                            .iter_mut()
                            .zip(point.iter().zip(row))
                            .for_each(|(gradient, (&x, &c))| *gradient += active * (x - c));
                    }
                    Metric::Euclidean => {}
                }
            }
        }
    }
}

/// Sums over the gaps of a block, and fills the weights of its rows.
struct Compare<'a> {
    active: &'a mut Active,
    distances: &'a [f32],
    of: GapLoss,
}

impl Kernel for Compare<'_> {
    /// True if any row has a weight.
    type Output = bool;

    #[inline(always)]
    fn run<V: Vector>(self) -> bool {
        // The number of columns is a constant, so that a row of lanes is one or two registers.
        match self.active.group.columns {
            4 => self.compute::<V, 4>(),
            8 => self.compute::<V, 8>(),
            16 => self.compute::<V, 16>(),
            _ => self.compute::<V, 32>(),
        }
    }
}

impl Compare<'_> {
    #[inline(always)]
    fn compute<V: Vector, const W: usize>(self) -> bool {
        let Active { group, lists, loss, share, weights, .. } = self.active;
        let mut any = 0.0f32;
        weights.fill(0.0);
        for list in lists {
            let mut own = [0.0f32; W];
            own.copy_from_slice(&list.own);
            let (mut lost, mut count) = ([0.0f32; W], [0.0f32; W]);
            let (weight, sign) = (list.weight, if list.weight < 0.0 { -1.0f32 } else { 1.0 });
            if let GapLoss::Sigmoid { temperature } = self.of {
                let (inverse, mut slopes) = (1.0 / temperature, [0.0f32; W]);
                let scale = weight * inverse;
                for (distances, weights) in self.distances.chunks_exact(W).zip(weights.chunks_exact_mut(W)) {
                    for lane in 0..W {
                        let gap = sign * (own[lane] - distances[lane]);
                        // A lane without a point has an infinite gap, which must not become NaN.
                        let (value, slope) = sigmoid::<V>((gap * inverse).max(-100.0));
                        lost[lane] += value;
                        count[lane] += if gap > 0.0 { 1.0 } else { 0.0 };
                        slopes[lane] += slope;
                        weights[lane] += scale * slope;
                    }
                }
                for lane in 0..W {
                    loss[lane] += f64::from(weight.abs()) * f64::from(lost[lane]);
                    list.active[lane] += scale * slopes[lane];
                    list.positive[lane] += count[lane];
                    any = any.max(slopes[lane]);
                }
                continue;
            }
            for (distances, weights) in self.distances.chunks_exact(W).zip(weights.chunks_exact_mut(W)) {
                for lane in 0..W {
                    let gap = sign * (own[lane] - distances[lane]);
                    let live = gap > 0.0;
                    lost[lane] += if live { gap } else { 0.0 };
                    count[lane] += if live { 1.0 } else { 0.0 };
                    weights[lane] += if live { weight } else { 0.0 };
                }
            }
            for lane in 0..W {
                loss[lane] += f64::from(weight.abs()) * f64::from(lost[lane]);
                list.active[lane] += weight * count[lane];
                list.positive[lane] += count[lane];
                any = any.max(count[lane]);
            }
        }
        if group.metric == Metric::Euclidean {
            for (distances, weights) in self.distances.chunks_exact(W).zip(weights.chunks_exact_mut(W)) {
                for lane in 0..W {
                    // A row equal to the point has no direction.
                    weights[lane] = if distances[lane] > 0.0 { weights[lane] / distances[lane] } else { 0.0 };
                    share[lane] += weights[lane];
                }
            }
        }
        any > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::{distances_on, tests::METRICS};
    use super::*;
    use crate::testing::random;

    /// The definition, pair by pair, in double precision.
    fn slow(
        metric: Metric,
        points: &[f32],
        rows: &GalleryRows,
        terms: &[GapTerm<'_>],
        of: GapLoss,
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (dim, len) = (rows.dim, rows.len);
        let n = points.len() / dim;
        let all = distances_on(Isa::PORTABLE, metric, points, rows);
        let (mut loss, mut gradient, mut active) = (vec![0.0; n], vec![0.0; n * dim], vec![0.0; n]);
        for i in 0..n {
            let (point, list) = (&points[i * dim..][..dim], &all[i * len..][..len]);
            let away = |x: usize, k: usize| match metric {
                Metric::Cosine => -f64::from(rows.row(x)[k]),
                Metric::Euclidean if list[x] > 0.0 => f64::from(point[k] - rows.row(x)[k]) / f64::from(list[x]),
                Metric::Euclidean => 0.0,
            };
            for term in terms {
                let set = term.targets.len() / n;
                let sign = if term.raise { 1.0 } else { -1.0 };
                for &c in &term.targets[i * set..][..set] {
                    for (x, &distance) in list.iter().enumerate() {
                        let gap = sign * f64::from(list[c as usize] - distance);
                        let (value, slope) = match of {
                            GapLoss::Hinge => (gap.max(0.0), f64::from(u8::from(gap > 0.0))),
                            GapLoss::Sigmoid { temperature } => {
                                let value = 1.0 / (1.0 + (-gap / f64::from(temperature)).exp());
                                (value, value * (1.0 - value) / f64::from(temperature))
                            }
                        };
                        loss[i] += f64::from(term.weight) * value;
                        active[i] += f64::from(term.weight) * f64::from(u8::from(gap > 0.0));
                        for k in 0..dim {
                            gradient[i * dim + k] += f64::from(term.weight) * sign * slope * (away(c as usize, k) - away(x, k));
                        }
                    }
                }
            }
        }
        (loss, gradient, active)
    }

    #[test]
    fn sums_and_gradients_agree_with_the_definition() {
        for isa in Isa::available() {
            for (n, len, dim) in [(1, 5, 3), (TASK + 9, 150, 17)] {
                let (points, rows) = (random(1, n * dim), GalleryRows::new(&random(2, len * dim), dim));
                let first: Vec<u32> = (0..n * 3).map(|at| (at * 7 % len) as u32).collect();
                let second: Vec<u32> = (0..n * 2).map(|at| (at * 3 % len) as u32).collect();
                let terms = [
                    GapTerm { targets: &first, raise: false, weight: 0.01 },
                    GapTerm { targets: &second, raise: true, weight: 0.03 },
                ];
                for metric in METRICS {
                    let soft = [0.01, 0.3].map(|temperature| GapLoss::Sigmoid { temperature });
                    let all = [(&terms[..1], GapLoss::Hinge), (&terms[1..], GapLoss::Hinge), (&terms[..], GapLoss::Hinge)];
                    for (terms, of) in all.into_iter().chain(soft.map(|of| (&terms[..], of))) {
                        let (loss, gradient, active) = slow(metric, &points, &rows, terms, of);
                        let fast = gap_sums_on(isa, metric, &points, &rows, terms, of, true);
                        let values = gap_sums_on(isa, metric, &points, &rows, terms, of, false);
                        assert_eq!((&values.loss, &values.active, values.gradient.len()), (&fast.loss, &fast.active, 0));
                        let scale = gradient.iter().fold(1.0f64, |most, g| most.max(g.abs()));
                        for (fast, slow) in fast.active.iter().zip(&active) {
                            assert!((fast - slow).abs() < 1e-4 * slow.max(1.0), "{isa} {metric:?}: active {fast} {slow}");
                        }
                        for (fast, slow) in fast.loss.iter().zip(&loss) {
                            assert!((fast - slow).abs() < 1e-4 * slow.abs().max(1.0), "{isa} {metric:?}: loss {fast} {slow}");
                        }
                        for (at, (&fast, slow)) in fast.gradient.iter().zip(&gradient).enumerate() {
                            assert!(
                                (f64::from(fast) - slow).abs() < 1e-4 * scale,
                                "{isa} {metric:?} {at}: gradient {fast} {slow}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_point_does_not_depend_on_its_neighbors() {
        for isa in Isa::available() {
            let (n, len, dim) = (TASK + 9, 150, 17);
            let (points, rows) = (random(1, n * dim), GalleryRows::new(&random(2, len * dim), dim));
            let targets: Vec<u32> = (0..n).map(|at| (at * 7 % len) as u32).collect();
            for of in [GapLoss::Hinge, GapLoss::Sigmoid { temperature: 0.1 }] {
                let term = |targets| [GapTerm { targets, raise: true, weight: 1.0 }];
                let together = gap_sums_on(isa, Metric::Cosine, &points, &rows, &term(&targets[..]), of, true);
                for i in 0..n {
                    let (point, term) = (&points[i * dim..][..dim], term(&targets[i..=i]));
                    let alone = gap_sums_on(isa, Metric::Cosine, point, &rows, &term, of, true);
                    assert_eq!(alone.loss[0].to_bits(), together.loss[i].to_bits());
                    assert_eq!(alone.gradient, together.gradient[i * dim..][..dim]);
                }
            }
        }
    }

    #[test]
    fn sigmoids_of_a_list_are_those_of_the_definition() {
        let list: Vec<f32> = random(3, 1003).into_iter().map(|x| x * 4.0).collect();
        for isa in Isa::available() {
            for (raise, sign) in [(true, 1.0), (false, -1.0)] {
                for temperature in [0.003f32, 0.4] {
                    let (sum, derivative) = isa.run(Sigmoids { list: &list, distance: 0.7, raise, temperature });
                    let value = |x: &f32| 1.0 / (1.0 + (-sign * f64::from(0.7 - x) / f64::from(temperature)).exp());
                    let expected: f64 = list.iter().map(value).sum();
                    let slope: f64 = list.iter().map(value).map(|y| sign * y * (1.0 - y) / f64::from(temperature)).sum();
                    assert!((sum - expected).abs() < 1e-5 * expected, "{isa} {raise} {temperature}: {sum} {expected}");
                    assert!((derivative - slope).abs() < 1e-4 * slope.abs(), "{isa} {raise} {temperature}: {derivative} {slope}");
                }
            }
        }
    }
}
