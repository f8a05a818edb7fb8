//! Central differences along directions, with two steps.

/// Copies of the image `here`, moved along each direction: for each step once ahead, then once behind.
pub(crate) fn sides<'a>(here: &[f32], directions: impl Iterator<Item = &'a [f32]>, steps: [f32; 2]) -> Vec<f32> {
    let signed = || steps.into_iter().flat_map(|step| [step, -step]);
    let along = |way: &'a [f32]| signed().flat_map(move |step| here.iter().zip(way).map(move |(x, way)| x + step * way));
    directions.flat_map(along).collect()
}

/// Central difference quotients of the values at [`sides`]: for each direction one per step.
pub(crate) fn quotients(values: &[f64], steps: [f32; 2]) -> impl Iterator<Item = [f64; 2]> {
    values
        .chunks_exact(2 * steps.len())
        .map(move |values| std::array::from_fn(|at| (values[2 * at] - values[2 * at + 1]) / (2.0 * f64::from(steps[at]))))
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
