//! Shapes: what they are, and the same numbers in another.

use super::{Build, Operator, axes, axis, integers, one};
use crate::differentiable as d;
use candle_core::{Device, Result, Tensor, bail};

pub(crate) fn identity(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| Ok(inputs.get(0)?.clone()))
}

pub(crate) fn shape(build: &Build<'_>) -> Result<Operator> {
    let (start, end) = (build.node.int("start")?.unwrap_or(0), build.node.int("end")?.unwrap_or(i64::MAX));
    one(move |inputs| {
        let dims = inputs.get(0)?.dims();
        let place = |at: i64| {
            let at = if at < 0 { at.saturating_add(dims.len() as i64) } else { at };
            at.clamp(0, dims.len() as i64) as usize
        };
        let part = dims.get(place(start)..place(end)).unwrap_or_default();
        Tensor::from_iter(part.iter().map(|&len| len as i64), &Device::Cpu)
    })
}

pub(crate) fn size(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| Tensor::new(inputs.get(0)?.elem_count() as i64, &Device::Cpu))
}

/// A length of 0 is that of the input, unless `allowzero`; one of -1 is what is left.
pub(crate) fn reshape(build: &Build<'_>) -> Result<Operator> {
    let zero_is_zero = build.node.flag("allowzero", false)?;
    one(move |inputs| {
        let (x, wanted) = (inputs.get(0)?, integers(inputs.get(1)?)?);
        let mut open = None;
        let mut dims = Vec::with_capacity(wanted.len());
        for (at, &len) in wanted.iter().enumerate() {
            dims.push(match (len, usize::try_from(len)) {
                (0, _) if !zero_is_zero => x.dims().get(at).copied().unwrap_or(0),
                (_, Ok(len)) => len,
                (-1, _) if open.is_none() => {
                    open = Some(at);
                    1
                }
                _ => bail!("shape {wanted:?} for an input of shape {:?}", x.shape()),
            });
        }
        let count = dims.iter().try_fold(1usize, |count, &len| count.checked_mul(len));
        match (open, count) {
            (Some(at), Some(count)) if count > 0 && x.elem_count().is_multiple_of(count) => dims[at] = x.elem_count() / count,
            (None, Some(count)) if count == x.elem_count() => {}
            _ => bail!("shape {wanted:?} for an input of shape {:?}", x.shape()),
        }
        inputs.room(&dims)?;
        d::reshape(x, &dims)
    })
}

/// A matrix: the dimensions before the axis are one, and those from it on.
pub(crate) fn flatten(build: &Build<'_>) -> Result<Operator> {
    let given = build.node.int("axis")?.unwrap_or(1);
    one(move |inputs| {
        let x = inputs.get(0)?;
        let at = if given == x.rank() as i64 { x.rank() } else { axis(given, x.rank())? };
        let (rows, columns) = x.dims().split_at(at);
        d::reshape(x, &[rows.iter().product(), columns.iter().product()])
    })
}

pub(crate) fn transpose(build: &Build<'_>) -> Result<Operator> {
    let order = build.node.ints("perm")?.map(<[i64]>::to_vec);
    one(move |inputs| {
        let x = inputs.get(0)?;
        let order = match &order {
            Some(order) => {
                let valid = axes(order, x.rank())?.len() == x.rank();
                if !valid {
                    bail!("order {order:?} for an input of shape {:?}", x.shape())
                }
                order.iter().map(|&given| axis(given, x.rank())).collect::<Result<Vec<_>>>()?
            }
            None => (0..x.rank()).rev().collect(),
        };
        d::permute(x, &order)
    })
}

pub(crate) fn squeeze(build: &Build<'_>) -> Result<Operator> {
    let given = build.integers_of("axes", 1)?;
    one(move |inputs| {
        let x = inputs.get(0)?;
        let gone = match &given {
            Some(given) => axes(given, x.rank())?,
            None => (0..x.rank()).filter(|&axis| x.dims()[axis] == 1).collect(),
        };
        if let Some(axis) = gone.iter().find(|&&axis| x.dims()[axis] != 1) {
            bail!("axis {axis} of shape {:?}, whose length is not 1", x.shape())
        }
        let dims = x.dims().iter().enumerate().filter(|(axis, _)| !gone.contains(axis)).map(|(_, &len)| len);
        d::reshape(x, &dims.collect::<Vec<_>>())
    })
}

pub(crate) fn unsqueeze(build: &Build<'_>) -> Result<Operator> {
    let Some(given) = build.integers_of("axes", 1)? else { bail!("its axes are missing") };
    one(move |inputs| {
        let x = inputs.get(0)?;
        let rank = x.rank() + given.len();
        let new = axes(&given, rank)?;
        let mut old = x.dims().iter().copied();
        let dims = (0..rank).map(|axis| if new.contains(&axis) { 1 } else { old.next().unwrap_or(1) });
        d::reshape(x, &dims.collect::<Vec<_>>())
    })
}

/// Block sizes and images `(n, c, h, w)` for the two operators below.
fn blocks(build: &Build<'_>) -> Result<usize> {
    let size = build.node.int("blocksize")?.unwrap_or(0);
    match usize::try_from(size) {
        Ok(size) if size > 0 => Ok(size),
        _ => bail!("a block size of {size}"),
    }
}

/// Channels become blocks of pixels.
pub(crate) fn depth_to_space(build: &Build<'_>) -> Result<Operator> {
    let size = blocks(build)?;
    let columns_first = match build.node.text("mode")? {
        None | Some("DCR") => true,
        Some("CRD") => false,
        Some(mode) => bail!("a mode '{mode}'"),
    };
    one(move |inputs| {
        let x = inputs.floats(0)?;
        let (n, c, h, w) = x.dims4()?;
        let area = size.saturating_mul(size);
        let depth = c / area;
        if !c.is_multiple_of(area) {
            bail!("{c} channels for blocks of {size} by {size}")
        }
        inputs.room(&[n, size, size, depth, h, w])?;
        let split = match columns_first {
            true => d::permute(&d::reshape(x, &[n, size, size, depth, h, w])?, &[0, 3, 4, 1, 5, 2])?,
            false => d::permute(&d::reshape(x, &[n, depth, size, size, h, w])?, &[0, 1, 4, 2, 5, 3])?,
        };
        d::reshape(&split, &[n, depth, h * size, w * size])
    })
}

/// Blocks of pixels become channels.
pub(crate) fn space_to_depth(build: &Build<'_>) -> Result<Operator> {
    let size = blocks(build)?;
    one(move |inputs| {
        let x = inputs.floats(0)?;
        let (n, c, h, w) = x.dims4()?;
        if !h.is_multiple_of(size) || !w.is_multiple_of(size) {
            bail!("maps of {h} by {w} for blocks of {size} by {size}")
        }
        let blocks = [n, c, h / size, size, w / size, size];
        inputs.room(&blocks)?;
        let split = d::reshape(x, &blocks)?;
        d::reshape(&d::permute(&split, &[0, 3, 5, 1, 2, 4])?, &[n, c * size * size, h / size, w / size])
    })
}
