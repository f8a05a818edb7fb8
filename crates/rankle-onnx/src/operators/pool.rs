//! Pooling.

use super::windows::{Windows, columns, rows};
use super::{Build, Operator, of_floats, one};
use crate::differentiable as d;
use candle_core::{Result, Tensor, bail};
use rankle_ops::{Pool, avg_pool2d, global_avg_pool, max_pool2d};

pub(crate) fn max(build: &Build<'_>) -> Result<Operator> {
    pooling(build, max_pool2d)
}

pub(crate) fn average(build: &Build<'_>) -> Result<Operator> {
    match build.node.flag("count_include_pad", false)? {
        true if build.node.flag("ceil_mode", false)? => bail!("count_include_pad with ceil_mode"),
        true => pooling(build, |x, pool| avg_pool2d(x, pool, true)),
        false => pooling(build, |x, pool| avg_pool2d(x, pool, false)),
    }
}

fn pooling(build: &Build<'_>, function: fn(&Tensor, &Pool) -> Result<Tensor>) -> Result<Operator> {
    let windows = Windows::new(build, None)?;
    if windows.dilation != [1, 1] {
        bail!("a pooling with dilations of {:?}", windows.dilation)
    }
    one(move |inputs| {
        let x = inputs.floats(0)?;
        let (n, c, height, width) = x.dims4()?;
        let padding = windows.padding([height, width])?;
        inputs.room(&[n, c, rows(height, padding), columns(width, padding)])?;
        function(x, &Pool { kernel: windows.kernel, stride: windows.stride, padding })
    })
}

pub(crate) fn global_average(_: &Build<'_>) -> Result<Operator> {
    of_floats(|x| {
        let (n, c, _, _) = x.dims4()?;
        d::reshape(&global_avg_pool(x)?, &[n, c, 1, 1])
    })
}

pub(crate) fn global_max(_: &Build<'_>) -> Result<Operator> {
    of_floats(|x| {
        let (n, c, height, width) = x.dims4()?;
        if height * width == 0 {
            bail!("images of shape {:?}", x.shape())
        }
        d::reshape(&d::extreme_last(&d::reshape(x, &[n, c, height * width])?, false)?, &[n, c, 1, 1])
    })
}
