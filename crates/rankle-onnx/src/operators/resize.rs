//! Maps in another size.

use super::{Build, Operator, axes, axis, one};
use crate::differentiable as d;
use candle_core::{Result, Tensor, bail};

/// How a place in the result is found in the input.
#[derive(Clone, Copy, Debug)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

#[derive(Clone, Copy, Debug)]
enum Filter {
    Nearest(Rounding),
    Linear,
    Cubic { a: f64, exclude_outside: bool },
}

#[derive(Clone, Copy, Debug)]
enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

pub(crate) fn resize(build: &Build<'_>) -> Result<Operator> {
    let node = build.node;
    let coordinates = match node.text("coordinate_transformation_mode")?.unwrap_or("half_pixel") {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => bail!("coordinates by '{other}'"),
    };
    let rounding = match node.text("nearest_mode")?.unwrap_or("round_prefer_floor") {
        "round_prefer_floor" => Rounding::PreferFloor,
        "round_prefer_ceil" => Rounding::PreferCeil,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => bail!("a nearest_mode '{other}'"),
    };
    let exclude_outside = node.flag("exclude_outside", false)?;
    let filter = match node.text("mode")?.unwrap_or("nearest") {
        "nearest" => Filter::Nearest(rounding),
        "linear" => Filter::Linear,
        "cubic" => Filter::Cubic { a: node.float("cubic_coeff_a")?.unwrap_or(-0.75), exclude_outside },
        other => bail!("a mode '{other}'"),
    };
    if node.flag("antialias", false)? {
        bail!("antialias")
    }
    if let Some(policy) = node.text("keep_aspect_ratio_policy")?.filter(|policy| *policy != "stretch") {
        bail!("an aspect ratio by '{policy}'")
    }
    let given = node.ints("axes")?.map(<[i64]>::to_vec);
    let scales = build.constant(2)?.filter(|scales| scales.elem_count() > 0);
    let scales = scales.map(|scales| scales.flatten_all()?.to_vec1::<f32>()).transpose()?;
    let sizes = build.integers(3)?.filter(|sizes| !sizes.is_empty());

    one(move |inputs| {
        let x = inputs.floats(0)?;
        let along = given.clone().unwrap_or_else(|| (0..x.rank() as i64).collect());
        axes(&along, x.rank())?;
        let mut resized = x.clone();
        for (at, &along) in along.iter().enumerate() {
            let along = axis(along, x.rank())?;
            let from = x.dims()[along];
            let (to, scale) = match (&sizes, &scales) {
                (Some(sizes), _) => {
                    let to = sizes.get(at).copied().and_then(|to| usize::try_from(to).ok()).unwrap_or(0);
                    (to, to as f32 / from as f32)
                }
                (None, Some(scales)) => {
                    let scale = scales.get(at).copied().unwrap_or(0.0);
                    ((from as f32 * scale).floor() as usize, scale)
                }
                (None, None) => bail!("neither its scales nor its sizes are there"),
            };
            if to == 0 || from == 0 {
                bail!("a length of {from} to {to} along axis {along}")
            }
            if to == from && scale == 1.0 {
                continue;
            }
            let mut dims = resized.dims().to_vec();
            dims[along] = to;
            inputs.room(&dims)?;
            let place = |at: usize| coordinates.place(at, from, to, scale);
            resized = match filter {
                Filter::Nearest(rounding) => {
                    let nearest = (0..to).map(|at| rounding.round(place(at)).clamp(0.0, from as f32 - 1.0) as u32);
                    d::select(&resized, along, &nearest.collect::<Vec<_>>())?
                }
                filter => {
                    inputs.room(&[to, from])?;
                    let mut weights = vec![0.0; to * from];
                    weights.chunks_exact_mut(from).enumerate().for_each(|(at, row)| filter.weigh(f64::from(place(at)), row));
                    let weights = weights.into_iter().map(|weight| weight as f32).collect::<Vec<_>>();
                    let weights = Tensor::from_vec(weights, (to, from), x.device())?;
                    d::from_last(&rankle_ops::linear(&d::to_last(&resized, along)?, &weights, None)?, along)?
                }
            };
        }
        Ok(resized)
    })
}

impl Coordinates {
    /// The place in the input of number `at` of the result. In f32, as in onnxruntime: rounded places depend on it.
    fn place(self, at: usize, from: usize, to: usize, scale: f32) -> f32 {
        let (x, from, to) = (at as f32, from as f32, to as f32);
        match self {
            Self::PytorchHalfPixel if to <= 1.0 => 0.0,
            Self::HalfPixel | Self::PytorchHalfPixel => (x + 0.5) / scale - 0.5,
            Self::HalfPixelSymmetric => {
                let [from, to, by] = [from, to, scale].map(f64::from);
                (from / 2.0 * (1.0 - to / (by * from))) as f32 + (x + 0.5) / scale - 0.5
            }
            Self::AlignCorners if to <= 1.0 => 0.0,
            Self::AlignCorners => x * (from - 1.0) / (to - 1.0),
            Self::Asymmetric => x / scale,
        }
    }
}

impl Rounding {
    fn round(self, place: f32) -> f32 {
        match self {
            Self::PreferFloor => (place - 0.5).ceil(),
            Self::PreferCeil => (place + 0.5).floor(),
            Self::Floor => place.floor(),
            Self::Ceil => place.ceil(),
        }
    }
}

impl Filter {
    /// Adds the weights of the neighbors of a place. Beyond the ends stands the last number.
    fn weigh(self, place: f64, row: &mut [f64]) {
        let (first, offset) = (place.floor(), place - place.floor());
        let (weights, before, excluded) = match self {
            Self::Cubic { a, exclude_outside } => {
                let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
                let far = |x: f64| ((x - 5.0) * x + 8.0) * x * a - 4.0 * a;
                (vec![far(1.0 + offset), near(offset), near(1.0 - offset), far(2.0 - offset)], 1, exclude_outside)
            }
            _ => (vec![1.0 - offset, offset], 0, false),
        };
        let last = row.len() as i64 - 1;
        for (at, weight) in (first as i64 - before..).zip(weights) {
            if !excluded || (0..=last).contains(&at) {
                row[at.clamp(0, last) as usize] += weight;
            }
        }
        if excluded {
            let sum = row.iter().sum::<f64>();
            row.iter_mut().for_each(|weight| *weight /= sum);
        }
    }
}
