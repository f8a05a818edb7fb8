//! Normalization of embeddings to unit length, and its gradient.

use crate::simd::{Isa, Kernel, Vector};

/// Smallest divisor of a row: a zero vector stays zero.
const SMALLEST: f32 = 1e-12;

/// Divides each row of `dim` numbers by `max(‖row‖, 1e-12)`; returns the norms.
pub fn normalize_rows(rows: &mut [f32], dim: usize) -> Vec<f32> {
    assert!(dim > 0 && rows.len().is_multiple_of(dim), "whole rows");
    let isa = Isa::best();
    rows.chunks_exact_mut(dim)
        .map(|row| {
            let norm = isa.run(Dot(row, row)).sqrt();
            let scale = 1.0 / norm.max(SMALLEST);
            row.iter_mut().for_each(|x| *x *= scale);
            norm
        })
        .collect()
}

/// Turns the gradient with respect to unit rows `u` into the gradient with respect to the rows `v` before [`normalize_rows`], in
/// place: `(g - (g·u)u) / ‖v‖`.
pub fn normalize_rows_backward(unit: &[f32], norms: &[f32], gradient: &mut [f32], dim: usize) {
    assert!(dim > 0 && unit.len().is_multiple_of(dim) && gradient.len() == unit.len(), "whole rows and as many gradients");
    assert!(norms.len() == unit.len() / dim, "one norm per row");
    let isa = Isa::best();
    for ((u, &norm), g) in unit.chunks_exact(dim).zip(norms).zip(gradient.chunks_exact_mut(dim)) {
        let along = isa.run(Dot(u, g));
        let scale = 1.0 / norm.max(SMALLEST);
        g.iter_mut().zip(u).for_each(|(g, &u)| *g = (*g - along * u) * scale);
    }
}

/// The dot product `a·b`, summed in four registers and then over their lanes in order: always the same bits for the same rows.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "rows of one length");
    Isa::best().run(Dot(a, b))
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<V: Vector>(self) -> f32 {
        let Self(a, b) = self;
        let len = a.len().min(b.len());
        let whole = len / (4 * V::LANES) * (4 * V::LANES);
        let mut sums = [V::splat(0.0); 4];
        for at in (0..whole).step_by(4 * V::LANES) {
            for (n, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `at + 4 * LANES <= len`, the length of both rows.
                unsafe {
                    let (a, b) = (a.as_ptr().add(at + n * V::LANES), b.as_ptr().add(at + n * V::LANES));
                    *sum = V::load(a).multiply_add(V::load(b), *sum);
                }
            }
        }
        let mut lanes = [0.0f32; 4 * 16];
        for (n, sum) in sums.into_iter().enumerate() {
            // SAFETY: four registers of at most 16 lanes.
            unsafe { sum.store(lanes.as_mut_ptr().add(n * V::LANES)) };
        }
        let rest = a[whole..len].iter().zip(&b[whole..len]).map(|(a, b)| a * b).sum::<f32>();
        lanes[..4 * V::LANES].iter().sum::<f32>() + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    #[test]
    fn dot_products_agree_with_double_precision_for_every_length() {
        for isa in Isa::available() {
            for len in [0, 1, 15, 16, 63, 64, 65, 200, 1024] {
                let (a, b) = (random(1, len), random(2, len));
                let expected: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                assert!((f64::from(isa.run(Dot(&a, &b))) - expected).abs() < 1e-4, "{isa} {len}");
            }
        }
    }

    #[test]
    fn normalization_and_its_gradient_agree_with_finite_differences() {
        let (v, g, dim) = (random(1, 3 * 20), random(2, 3 * 20), 20);
        let loss = |v: &[f32]| {
            let mut v = v.to_vec();
            normalize_rows(&mut v, dim);
            v.iter().zip(&g).map(|(&v, &g)| f64::from(v) * f64::from(g)).sum::<f64>()
        };
        let (mut unit, mut gradient) = (v.clone(), g.clone());
        let norms = normalize_rows(&mut unit, dim);
        normalize_rows_backward(&unit, &norms, &mut gradient, dim);
        for i in 0..v.len() {
            let (mut up, mut down) = (v.clone(), v.clone());
            up[i] += 1e-2;
            down[i] -= 1e-2;
            let difference = (loss(&up) - loss(&down)) / 2e-2;
            assert!((difference - f64::from(gradient[i])).abs() < 1e-4, "{difference} {}", gradient[i]);
        }
        let mut zero = [0.0; 4];
        assert_eq!(normalize_rows(&mut zero, 4), [0.0]);
        assert_eq!(zero, [0.0; 4]);
    }
}
