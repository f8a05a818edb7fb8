//! Central differences along directions, with two steps.

/// What one image looks like on both sides of `here` along each direction: for each step ahead, then behind.
pub(crate) fn sides<'a>(here: &[f32], directions: impl Iterator<Item = &'a [f32]>, steps: [f32; 2]) -> Vec<f32> {
    let signed = || steps.into_iter().flat_map(|step| [step, -step]);
    let along = |way: &'a [f32]| signed().flat_map(move |step| here.iter().zip(way).map(move |(x, way)| x + step * way));
    directions.flat_map(along).collect()
}

/// For each direction the difference quotient of each step, of the values at [`sides`].
pub(crate) fn quotients(values: &[f64], steps: [f32; 2]) -> impl Iterator<Item = [f64; 2]> {
    values
        .chunks_exact(2 * steps.len())
        .map(move |values| std::array::from_fn(|at| (values[2 * at] - values[2 * at + 1]) / (2.0 * f64::from(steps[at]))))
}

/// The product of two rows.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
