//! Distances (interface first; the kernels follow).

/// How two rows are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `1 - a·b`; rows are expected to have unit length.
    Cosine,
    /// `‖a - b‖`.
    Euclidean,
}

/// Gallery rows, `len x dim`.
#[derive(Clone, Debug)]
pub struct Rows {
    data: Vec<f32>,
    dim: usize,
}

impl Rows {
    /// Copies `len x dim` numbers.
    pub fn new(data: &[f32], dim: usize) -> Self {
        Self { data: data.to_vec(), dim }
    }
    /// How many rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }
    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
    /// Numbers per row.
    pub fn dim(&self) -> usize {
        self.dim
    }
    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.dim..][..self.dim]
    }
}

/// Where a target stands in a list: everything that a rule for ties needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placing {
    /// Items strictly nearer.
    pub closer: u32,
    /// Items at exactly the same distance with a lower index.
    pub tied_before: u32,
    /// Items at exactly the same distance, the target itself included.
    pub tied: u32,
}

/// One term of a hinge sum.
#[derive(Clone, Copy, Debug)]
pub struct Hinge<'a> {
    /// Gallery indices, `n x set`, row-major.
    pub targets: &'a [u32],
    /// `true`: `[d(p,c) - d(p,x)]₊`, which raises the targets; `false`: `[d(p,x) - d(p,c)]₊`, which lowers them.
    pub raise: bool,
    /// What the sum is multiplied with.
    pub weight: f32,
}

/// A hinge sum and its slope.
#[derive(Clone, Debug)]
pub struct HingeSum {
    /// One number per point.
    pub loss: Vec<f64>,
    /// `n x dim`: the derivative of each point's loss with respect to that point.
    pub slope: Vec<f32>,
}

fn one(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    match metric {
        Metric::Cosine => 1.0 - a.iter().zip(b).fold(0.0f32, |sum, (&x, &y)| x.mul_add(y, sum)),
        Metric::Euclidean => a.iter().zip(b).fold(0.0f32, |sum, (&x, &y)| (x - y).mul_add(x - y, sum)).sqrt(),
    }
}

/// `n x len` distances.
pub fn distances(metric: Metric, points: &[f32], rows: &Rows) -> Vec<f32> {
    points.chunks_exact(rows.dim).flat_map(|p| (0..rows.len()).map(move |j| one(metric, rows.row(j), p))).collect()
}

/// The distance of each point to each of its own targets, `n x set`.
pub fn distances_to(metric: Metric, points: &[f32], rows: &Rows, targets: &[u32]) -> Vec<f32> {
    let n = points.len() / rows.dim;
    let set = targets.len() / n;
    (0..n * set).map(|at| one(metric, rows.row(targets[at] as usize), &points[at / set * rows.dim..][..rows.dim])).collect()
}

/// Where each target stands in the list of its own point, `n x set`.
pub fn placings(metric: Metric, points: &[f32], rows: &Rows, targets: &[u32]) -> Vec<Placing> {
    let n = points.len() / rows.dim;
    let (set, len) = (targets.len() / n, rows.len());
    let all = distances(metric, points, rows);
    (0..n * set)
        .map(|at| {
            let (list, target) = (&all[at / set * len..][..len], targets[at] as usize);
            let own = list[target];
            Placing {
                closer: list.iter().filter(|&&d| d < own).count() as u32,
                tied_before: list[..target].iter().filter(|&&d| d == own).count() as u32,
                tied: list.iter().filter(|&&d| d == own).count() as u32,
            }
        })
        .collect()
}

/// `Σ_terms weight · Σ_c Σ_x [±(d(p,c) - d(p,x))]₊` per point, with its slope.
pub fn hinges(metric: Metric, points: &[f32], rows: &Rows, terms: &[Hinge<'_>]) -> HingeSum {
    let (dim, len) = (rows.dim, rows.len());
    let n = points.len() / dim;
    let all = distances(metric, points, rows);
    let mut sum = HingeSum { loss: vec![0.0; n], slope: vec![0.0; n * dim] };
    for i in 0..n {
        let (point, list) = (&points[i * dim..][..dim], &all[i * len..][..len]);
        let mut coefficient = vec![0.0f64; len];
        for term in terms {
            let set = term.targets.len() / n;
            let sign = if term.raise { 1.0 } else { -1.0 };
            for &c in &term.targets[i * set..][..set] {
                for (x, &d) in list.iter().enumerate() {
                    let gap = sign * f64::from(list[c as usize] - d);
                    if gap > 0.0 {
                        sum.loss[i] += f64::from(term.weight) * gap;
                        coefficient[c as usize] += sign * f64::from(term.weight);
                        coefficient[x] -= sign * f64::from(term.weight);
                    }
                }
            }
        }
        for (x, &weight) in coefficient.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            for (k, (&r, &p)) in rows.row(x).iter().zip(point).enumerate() {
                let slope = match metric {
                    Metric::Cosine => -f64::from(r),
                    Metric::Euclidean if list[x] > 0.0 => f64::from(p - r) / f64::from(list[x]),
                    Metric::Euclidean => 0.0,
                };
                sum.slope[i * dim + k] += (weight * slope) as f32;
            }
        }
    }
    sum
}
