//! Constants and conversions.

use super::{Build, Operator, axis, integers, one};
use crate::constant::Kind;
use crate::node::Attribute;
use candle_core::{DType, Device, Result, Tensor, bail};

pub(crate) fn constant(build: &Build<'_>) -> Result<Operator> {
    let mut attributes = build.node.attributes.iter();
    let (Some((name, attribute)), None) = (attributes.next(), attributes.next()) else { bail!("not one value") };
    let device = build.device;
    let value = match attribute {
        Attribute::Tensor(tensor) => tensor.clone(),
        Attribute::Float(number) => Tensor::new(*number, device)?,
        Attribute::Floats(numbers) => Tensor::new(numbers.as_slice(), device)?,
        Attribute::Int(number) => Tensor::new(*number, &Device::Cpu)?,
        Attribute::Ints(numbers) => Tensor::new(numbers.as_slice(), &Device::Cpu)?,
        Attribute::Text(_) | Attribute::Other => bail!("a value by '{name}'"),
    };
    one(move |_| Ok(value.clone()))
}

pub(crate) fn constant_of_shape(build: &Build<'_>) -> Result<Operator> {
    let value = match build.tensor("value")? {
        Some(value) if value.elem_count() == 1 => value.flatten_all()?,
        Some(value) => bail!("a value of shape {:?} where one number is needed", value.shape()),
        None => Tensor::zeros(1, DType::F32, build.device)?,
    };
    one(move |inputs| {
        let given = integers(inputs.get(0)?)?;
        let Some(dims) = given.iter().map(|&len| usize::try_from(len).ok()).collect::<Option<Vec<_>>>() else {
            bail!("a shape of {given:?}")
        };
        inputs.room(&dims)?;
        let ones = vec![1; dims.len()];
        // A view of the one number.
        value.reshape(ones)?.broadcast_as(dims)
    })
}

pub(crate) fn range(build: &Build<'_>) -> Result<Operator> {
    let device = build.device.clone();
    one(move |inputs| {
        let (start, limit, step) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        if start.dtype() == DType::I64 {
            let number = |x: &Tensor| Ok::<_, candle_core::Error>(integers(x)?.first().copied().unwrap_or(0));
            let (start, limit, step) = (number(start)?, number(limit)?, number(step)?);
            if step == 0 {
                bail!("a step of 0")
            }
            let span = i128::from(limit) - i128::from(start);
            let count = usize::try_from((span + i128::from(step) - i128::from(step.signum())) / i128::from(step)).unwrap_or(0);
            inputs.room(&[count])?;
            return Tensor::from_iter((0..count as i64).map(|at| start.wrapping_add(at.wrapping_mul(step))), &Device::Cpu);
        }
        let number = |x: &Tensor| Ok::<_, candle_core::Error>(x.flatten_all()?.to_vec1::<f32>()?.first().copied().unwrap_or(0.0));
        let (start, limit, step) = (number(start)?, number(limit)?, number(step)?);
        // As a number too large for a length becomes the largest, and NaN 0, there is no room for what is no length.
        let count = ((f64::from(limit) - f64::from(start)) / f64::from(step)).ceil() as usize;
        inputs.room(&[count])?;
        Tensor::from_iter((0..count).map(|at| start + at as f32 * step), &device)
    })
}

pub(crate) fn cast(build: &Build<'_>) -> Result<Operator> {
    let Some(to) = build.node.int("to")? else { bail!("its type is missing") };
    let (kind, device) = (Kind::new(to)?, build.device.clone());
    one(move |inputs| kind.narrowed(&convert(inputs.get(0)?, kind.dtype(), &device)?))
}

pub(crate) fn cast_like(build: &Build<'_>) -> Result<Operator> {
    let device = build.device.clone();
    one(move |inputs| convert(inputs.get(0)?, inputs.get(1)?.dtype(), &device))
}

/// Numbers of another type, where that type is kept. A gradient does not pass through integers.
fn convert(x: &Tensor, dtype: DType, device: &Device) -> Result<Tensor> {
    match (x.dtype(), dtype) {
        (from, to) if from == to => Ok(x.clone()),
        (_, DType::F32) => x.to_device(device)?.to_dtype(DType::F32),
        (_, DType::U8) => x.detach().ne(&x.zeros_like()?),
        (_, DType::I64) => x.detach().to_device(&Device::Cpu)?.to_dtype(DType::I64),
        (from, to) => bail!("{from:?} as {to:?}"),
    }
}

pub(crate) fn cumulative_sum(build: &Build<'_>) -> Result<Operator> {
    if build.node.flag("exclusive", false)? || build.node.flag("reverse", false)? {
        bail!("an exclusive or reversed sum")
    }
    one(|inputs| {
        let x = inputs.get(0)?;
        let along = axis(integers(inputs.get(1)?)?.first().copied().unwrap_or(0), x.rank())?;
        if x.dtype() == DType::F32 {
            inputs.room(&[x.dims()[along], x.dims()[along]])?;
            return x.cumsum(along);
        }
        let (len, inner) = (x.dims()[along], x.dims()[along + 1..].iter().product::<usize>());
        let mut numbers = integers(x)?;
        for at in inner..numbers.len() {
            if !(at / inner).is_multiple_of(len) {
                numbers[at] = numbers[at].wrapping_add(numbers[at - inner]);
            }
        }
        Tensor::from_vec(numbers, x.dims(), &Device::Cpu)
    })
}
