//! Helpers of the tests.

pub(crate) mod convnext;
pub(crate) mod formula;
pub(crate) mod resnet;
