//! Parts of tensors, put together anew.

use super::{Build, Inputs, Operator, axes, axis, broadcast, integers, one, together};
use crate::differentiable as d;
use candle_core::{Result, Tensor, bail};

pub(crate) fn concat(build: &Build<'_>) -> Result<Operator> {
    let Some(along) = build.node.int("axis")? else { bail!("its axis is missing") };
    one(move |inputs| {
        let parts = (0..inputs.values.len()).map(|input| inputs.get(input)).collect::<Result<Vec<_>>>()?;
        let Some(&first) = parts.first() else { bail!("no inputs") };
        let along = axis(along, first.rank())?;
        let parts = parts.into_iter().filter(|part| part.elem_count() > 0 || part.rank() != 1).collect::<Vec<_>>();
        if let Some(other) = parts.iter().find(|part| part.dtype() != first.dtype() || part.rank() != first.rank()) {
            let shapes = [first.shape(), other.shape()];
            bail!("inputs of {:?} and {:?}, shapes {shapes:?}", first.dtype(), other.dtype())
        }
        match parts.as_slice() {
            [] => Ok(first.clone()),
            parts => {
                let len = parts.iter().map(|part| part.elem_count()).sum();
                inputs.room(&[len])?;
                d::concat(parts, along)
            }
        }
    })
}

pub(crate) fn split(build: &Build<'_>) -> Result<Operator> {
    let along = build.node.int("axis")?.unwrap_or(0);
    let lens = build.integers_of("split", 1)?;
    let count = build.node.outputs.len();
    Ok(Box::new(move |inputs| {
        let x = inputs.get(0)?;
        let along = axis(along, x.rank())?;
        let whole = x.dims()[along];
        let lens = match &lens {
            Some(lens) => lens.iter().map(|&len| usize::try_from(len).unwrap_or(usize::MAX)).collect::<Vec<_>>(),
            None => {
                // The last one may be shorter.
                let each = whole.div_ceil(count.max(1));
                (0..count).map(|at| each.min(whole.saturating_sub(at * each))).collect()
            }
        };
        if lens.iter().try_fold(0usize, |sum, &len| sum.checked_add(len)) != Some(whole) {
            bail!("parts of {lens:?} along axis {along} of shape {:?}", x.shape())
        }
        let mut start = 0;
        let part = |&len: &usize| {
            start += len;
            d::narrow(x, along, start - len, len)
        };
        lens.iter().map(part).collect()
    }))
}

pub(crate) fn gather(build: &Build<'_>) -> Result<Operator> {
    let along = build.node.int("axis")?.unwrap_or(0);
    one(move |inputs| {
        let (x, at) = (inputs.get(0)?, inputs.get(1)?);
        let along = axis(along, x.rank())?;
        let dims = [&x.dims()[..along], at.dims(), &x.dims()[along + 1..]].concat();
        inputs.room(&dims)?;
        let indices = positions(&integers(at)?, x.dims()[along])?;
        let part = match indices.as_slice() {
            &[only] => d::narrow(x, along, only as usize, 1)?,
            indices => pick(x, along, indices)?,
        };
        d::reshape(&part, &dims)
    })
}

/// Indices among `len`; negative ones count from the end.
fn positions(given: &[i64], len: usize) -> Result<Vec<u32>> {
    let position = |&given: &i64| {
        let at = if given < 0 { given.saturating_add(len as i64) } else { given };
        match u32::try_from(at) {
            Ok(at) if (at as usize) < len => Ok(at),
            _ => bail!("index {given} of {len}"),
        }
    };
    given.iter().map(position).collect()
}

/// What stands at `indices` along an axis; consecutive ones are a view.
fn pick(x: &Tensor, axis: usize, indices: &[u32]) -> Result<Tensor> {
    match indices {
        [] => x.narrow(axis, 0, 0),
        [first, rest @ ..] if rest.iter().zip(1..).all(|(&at, steps)| at == first + steps) => {
            d::narrow(x, axis, *first as usize, indices.len())
        }
        indices => d::select(x, axis, indices),
    }
}

pub(crate) fn slice(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| {
        let x = inputs.get(0)?;
        let (starts, ends) = (integers(inputs.get(1)?)?, integers(inputs.get(2)?)?);
        let given = inputs.optional(3).map(integers).transpose()?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = inputs.optional(4).map(integers).transpose()?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), given.len(), steps.len()] != [starts.len(); 3] {
            bail!("{} starts, {} ends, {} axes and {} steps", starts.len(), ends.len(), given.len(), steps.len())
        }
        axes(&given, x.rank())?;
        let mut part = x.clone();
        for (((start, end), along), step) in starts.into_iter().zip(ends).zip(given).zip(steps) {
            let along = axis(along, x.rank())?;
            part = pick(&part, along, &stepped(start, end, step, part.dims()[along])?)?;
        }
        Ok(part)
    })
}

/// Indices from `start` to before `end`, among `len`.
fn stepped(start: i64, end: i64, step: i64, len: usize) -> Result<Vec<u32>> {
    let last = u32::try_from(len).map_or(i64::from(u32::MAX), i64::from) - 1;
    let from_end = |at: i64| if at < 0 { at.saturating_add(last + 1) } else { at };
    let (start, end) = (from_end(start), from_end(end));
    match step {
        1.. => Ok((start.clamp(0, last + 1)..end.clamp(0, last + 1)).step_by(step as usize).map(|at| at as u32).collect()),
        0 => bail!("a step of 0"),
        _ => {
            let (start, end) = (start.clamp(-1, last), end.clamp(-1, last));
            let steps = (end + 1..=start).rev().step_by(step.unsigned_abs() as usize);
            Ok(steps.map(|at| at as u32).collect())
        }
    }
}

pub(crate) fn expand(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| {
        let x = inputs.get(0)?;
        let dims = broadcast(x.dims(), &lengths(inputs, 1)?)?;
        inputs.room(&dims)?;
        d::expand(x, &dims)
    })
}

/// Lengths of dimensions, from an input.
fn lengths(inputs: &Inputs<'_>, input: usize) -> Result<Vec<usize>> {
    let given = integers(inputs.get(input)?)?;
    match given.iter().map(|&len| usize::try_from(len).ok()).collect() {
        Some(lengths) => Ok(lengths),
        None => bail!("lengths of {given:?}"),
    }
}

pub(crate) fn tile(_: &Build<'_>) -> Result<Operator> {
    one(|inputs| {
        let (x, times) = (inputs.get(0)?, lengths(inputs, 1)?);
        if times.len() != x.rank() {
            bail!("{times:?} repetitions of an input of shape {:?}", x.shape())
        }
        let dims = x.dims().iter().zip(&times).map(|(&len, &times)| len.saturating_mul(times)).collect::<Vec<_>>();
        inputs.room(&dims)?;
        // Each dimension with its repetitions before it: (1, a, 1, b) to (m, a, n, b).
        let apart = x.dims().iter().flat_map(|&len| [1, len]).collect::<Vec<_>>();
        let repeated = x.dims().iter().zip(&times).flat_map(|(&len, &times)| [times, len]).collect::<Vec<_>>();
        d::reshape(&d::expand(&d::reshape(x, &apart)?, &repeated)?, &dims)
    })
}

pub(crate) fn pad(build: &Build<'_>) -> Result<Operator> {
    let mode = build.node.text("mode")?.unwrap_or("constant").to_owned();
    if !["constant", "reflect", "edge", "wrap"].contains(&mode.as_str()) {
        bail!("a mode '{mode}'")
    }
    let Some(pads) = build.integers_of("pads", 1)? else { bail!("its pads are missing") };
    let value = match build.node.float("value")? {
        Some(value) => value,
        None => build.number(2)?.unwrap_or(0.0),
    };
    let given = build.integers(3)?;
    one(move |inputs| {
        let x = inputs.get(0)?;
        let given = given.clone().unwrap_or_else(|| (0..x.rank() as i64).collect());
        axes(&given, x.rank())?;
        if pads.len() != 2 * given.len() {
            bail!("{} pads for {} axes", pads.len(), given.len())
        }
        let mut padded = x.clone();
        for (at, &along) in given.iter().enumerate() {
            let along = axis(along, x.rank())?;
            let (before, after) = (pads[at], pads[at + given.len()]);
            let mut dims = padded.dims().to_vec();
            let len = before.checked_add(after).and_then(|more| more.checked_add(dims[along] as i64));
            let Some(Ok(len)) = len.map(usize::try_from) else { bail!("{before} and {after} around shape {dims:?}") };
            dims[along] = len;
            inputs.room(&dims)?;
            padded = match mode.as_str() {
                "constant" => constant(&padded, along, before, after, value)?,
                mode => pick(&padded, along, &beyond(mode, padded.dims()[along], before, len)?)?,
            };
        }
        Ok(padded)
    })
}

/// Pads one axis with a number; negative lengths cut off.
fn constant(x: &Tensor, axis: usize, before: i64, after: i64, value: f64) -> Result<Tensor> {
    let (cut_before, cut_after) = ((-before).max(0) as usize, (-after).max(0) as usize);
    let Some(len) = x.dims()[axis].checked_sub(cut_before.saturating_add(cut_after)) else {
        bail!("{before} and {after} around shape {:?}", x.shape())
    };
    let x = d::narrow(x, axis, cut_before, len)?;
    let (before, after) = (before.max(0) as usize, after.max(0) as usize);
    if value == 0.0 || (before == 0 && after == 0) {
        return d::pad_with_zeros(&x, axis, before, after);
    }
    let filled = |len: usize| {
        let mut dims = x.dims().to_vec();
        dims[axis] = len;
        Tensor::full(value, dims, x.device())?.to_dtype(x.dtype())
    };
    d::concat(&[&filled(before)?, &x, &filled(after)?], axis)
}

/// Which of `len` numbers stands at each of `total` places, of which the first `before` are before the first one.
fn beyond(mode: &str, len: usize, before: i64, total: usize) -> Result<Vec<u32>> {
    if len == 0 || (mode == "reflect" && len == 1 && (before != 0 || total != 1)) {
        bail!("padding by '{mode}' along a length of {len}")
    }
    let len = len as i64;
    let index = |place: i64| {
        let at = place - before;
        match mode {
            "edge" => at.clamp(0, len - 1),
            "wrap" => at.rem_euclid(len),
            // There and back, the ends once.
            _ => {
                let at = at.rem_euclid((2 * (len - 1)).max(1));
                at.min(2 * (len - 1) - at)
            }
        }
    };
    Ok((0..total as i64).map(|place| index(place) as u32).collect())
}

/// `ScatterND`: the first input with rows replaced by those of the third.
pub(crate) fn scatter(build: &Build<'_>) -> Result<Operator> {
    if let Some(reduction) = build.node.text("reduction")?.filter(|reduction| *reduction != "none") {
        bail!("a reduction by '{reduction}'")
    }
    one(|inputs| {
        let (x, at, updates) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let depth = at.dims().last().copied().unwrap_or(0);
        if depth == 0 || depth > x.rank() {
            bail!("indices of shape {:?} for an input of shape {:?}", at.shape(), x.shape())
        }
        let (outer, row) = x.dims().split_at(depth);
        if updates.dims() != [&at.dims()[..at.rank() - 1], row].concat() || updates.dtype() != x.dtype() {
            bail!("updates of shape {:?} for indices of shape {:?} of shape {:?}", updates.shape(), at.shape(), x.shape())
        }
        let (rows, width) = (outer.iter().product::<usize>(), row.iter().product::<usize>());
        // Each row of the result comes from the input or, behind it, from the updates.
        let mut from = (0..rows as u32).collect::<Vec<_>>();
        for (update, index) in integers(at)?.chunks(depth).enumerate() {
            let mut row = 0;
            for (&given, &len) in index.iter().zip(outer) {
                row = row * len + positions(&[given], len)?[0] as usize;
            }
            from[row] = (rows + update) as u32;
        }
        let count = updates.elem_count() / width.max(1);
        let both = together(&[x, updates])?;
        let (old, new) = (d::reshape(&both[0], &[rows, width])?, d::reshape(&both[1], &[count, width])?);
        d::reshape(&d::select(&d::concat(&[&old, &new], 0)?, 0, &from)?, x.dims())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_slice() {
        let all = |start, end, step| stepped(start, end, step, 5).unwrap();
        assert_eq!(all(1, i64::MAX, 1), [1, 2, 3, 4]);
        assert_eq!(all(-2, 9, 1), [3, 4]);
        assert_eq!(all(0, -1, 2), [0, 2]);
        assert_eq!(all(-1, i64::MIN, -1), [4, 3, 2, 1, 0]);
        assert_eq!(all(3, 0, -2), [3, 1]);
        assert!(all(4, 2, 1).is_empty());
        assert_eq!(all(i64::MIN, i64::MAX, i64::MAX), [0]);
        assert!(stepped(0, 5, 1, 0).unwrap().is_empty());
        assert!(stepped(0, 5, 0, 5).is_err());
    }

    #[test]
    fn places_beyond_the_ends() {
        assert_eq!(beyond("reflect", 3, 2, 8).unwrap(), [2, 1, 0, 1, 2, 1, 0, 1]);
        assert_eq!(beyond("edge", 3, 2, 7).unwrap(), [0, 0, 0, 1, 2, 2, 2]);
        assert_eq!(beyond("wrap", 3, 2, 7).unwrap(), [1, 2, 0, 1, 2, 0, 1]);
        assert!(beyond("reflect", 1, 1, 3).is_err());
        assert!(beyond("edge", 0, 1, 3).is_err());
    }
}
