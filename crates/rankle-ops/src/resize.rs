//! Images in another size.

use crate::attach::attach;
use crate::check::detached;
use candle_core::{Device, Result, Shape, Tensor, bail};

/// How pixels are interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// Two neighbors along each dimension, weighted by their distance.
    Bilinear,
    /// Four neighbors along each dimension, weighted by a cubic spline.
    Bicubic,
}

/// The size that images shall have, and how they get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Height and width of the results, at most 65,536.
    pub size: (usize, usize),
    /// Interpolation.
    pub filter: Filter,
    /// Whether the filter grows with the pixels of a smaller result, so that it takes in all pixels of the image.
    pub antialias: bool,
}

/// Resizes images `(n, c, h, w)` to `(n, c, height, width)`.
///
/// Pixels are squares with the sampled point in their center, as in PyTorch's `interpolate` with `align_corners=False`. The modes
/// there are `nearest-exact` (`nearest` takes another pixel where sizes are not multiples), `bilinear` and `bicubic`. The cubic
/// spline has the parameter -0.75, with antialiasing -0.5. Bicubic results may lie outside of the range of the pixels.
///
/// Each dimension is a product with a matrix: a pixel that is not finite turns other results of its image into NaN, too.
///
/// # Errors
/// Images of another shape or without a pixel, a size of zero or above 65,536, `Nearest` with antialiasing, or anything but f32
/// and f64.
pub fn resize(x: &Tensor, &Resize { size: (height, width), filter, antialias }: &Resize) -> Result<Tensor> {
    let (h, w) = match *x.dims() {
        [_, _, h, w] if x.elem_count() > 0 => (h, w),
        _ => bail!("resize: images of shape {:?}, where (n, c, h, w) without a zero is needed", x.shape()),
    };
    let sizes = 1..=LARGEST_SIDE;
    if !sizes.contains(&height) || !sizes.contains(&width) {
        bail!("resize: images of shape {:?} to {height} x {width}, where sides of 1 to {LARGEST_SIDE} are needed", x.shape())
    }
    if antialias && filter == Filter::Nearest {
        bail!("resize: antialiasing needs the filter Bilinear or Bicubic, images of shape {:?}", x.shape())
    }
    let images = detached("resize", x)?;
    // Filters at their own pixels' centers weigh these pixels alone.
    let matrix = |from: usize, to: usize| {
        (from != to).then(|| coefficients(weights(filter, antialias, from, to), (to, from), &images)).transpose()
    };
    let (rows, columns) = (matrix(h, height)?, matrix(w, width)?);
    let resized = separable(&images, rows.as_ref(), columns.as_ref())?;
    attach([x], resized, move |gradient, _| {
        let transposed = |matrix: &Option<Tensor>| matrix.as_ref().map(|matrix| matrix.t()?.contiguous()).transpose();
        let (rows, columns) = (transposed(&rows)?, transposed(&columns)?);
        Ok([Some(separable(gradient, rows.as_ref(), columns.as_ref())?)])
    })
}

const LARGEST_SIDE: usize = 1 << 16;

/// `rows · image · columnsᵀ` for every channel of contiguous images: `(n, c, h, w)`, `(height, h)` and `(width, w)` give
/// `(n, c, height, width)`. Without a matrix, its dimension stays.
pub(crate) fn separable(images: &Tensor, rows: Option<&Tensor>, columns: Option<&Tensor>) -> Result<Tensor> {
    let (n, c, h, w) = images.dims4()?;
    let mut images = images.clone();
    if let Some(columns) = columns {
        let product = images.reshape((n * c * h, w))?.matmul(&columns.t()?)?;
        images = product.reshape((n, c, h, ()))?;
    }
    if let Some(rows) = rows {
        let height = rows.dim(0)?;
        let product = rows.broadcast_as((n * c, height, h))?.matmul(&images.flatten_to(1)?)?;
        images = product.reshape((n, c, height, ()))?;
    }
    Ok(images)
}

/// Numbers of the host, as a tensor of the type and device of `like`.
pub(crate) fn coefficients(numbers: Vec<f64>, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    // Rounded here, as not every device has f64.
    Tensor::from_vec(numbers, shape.into(), &Device::Cpu)?.to_dtype(like.dtype())?.to_device(like.device())
}

/// The weight of each pixel, a column, in each pixel of the result, a row.
fn weights(filter: Filter, antialias: bool, from: usize, to: usize) -> Vec<f64> {
    let mut weights = vec![0.0; to * from];
    for (index, row) in weights.chunks_exact_mut(from).enumerate() {
        // In pixels of the image, from its edge.
        let center = (index as f64 + 0.5) * from as f64 / to as f64;
        match filter {
            Filter::Nearest => row[(2 * index + 1) * from / (2 * to)] = 1.0,
            Filter::Bilinear if antialias => average(row, from as f64 / to as f64, center, 1.0, triangle),
            Filter::Bicubic if antialias => average(row, from as f64 / to as f64, center, 2.0, |distance| cubic(distance, -0.5)),
            Filter::Bilinear => interpolate(row, center, 1, triangle),
            Filter::Bicubic => interpolate(row, center, 2, |distance| cubic(distance, -0.75)),
        }
    }
    weights
}

/// The `reach` pixels on each side of `center`, weighted by their distance. Beyond the edge, the last pixel stands in.
fn interpolate(row: &mut [f64], center: f64, reach: isize, weight: impl Fn(f64) -> f64) {
    let last = row.len() as isize - 1;
    let left = (center - 0.5).floor() as isize;
    for pixel in left + 1 - reach..=left + reach {
        row[pixel.clamp(0, last) as usize] += weight(center - 0.5 - pixel as f64);
    }
}

/// The pixels within `reach` of `center`, weighted by their distance. If pixels of the result are larger than those of the image,
/// `scale` times, both are in their units. Beyond the edge is nothing: the weights are divided by their sum.
fn average(row: &mut [f64], scale: f64, center: f64, reach: f64, weight: impl Fn(f64) -> f64) {
    let scale = scale.max(1.0);
    let first = (center - reach * scale + 0.5).max(0.0) as usize;
    let end = ((center + reach * scale + 0.5) as usize).min(row.len());
    let within = &mut row[first..end];
    for (pixel, share) in within.iter_mut().enumerate() {
        *share = weight(((first + pixel) as f64 + 0.5 - center) / scale);
    }
    let sum: f64 = within.iter().sum();
    within.iter_mut().for_each(|share| *share /= sum);
}

/// A filter over two pixels.
fn triangle(distance: f64) -> f64 {
    (1.0 - distance.abs()).max(0.0)
}

/// The cubic convolution filter of Keys (1981) with the parameter `a`, over four pixels.
fn cubic(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    } else {
        0.0
    }
}
