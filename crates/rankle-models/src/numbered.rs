//! Names of numbered layers.

/// Names that begin with a prefix and end with a number each.
macro_rules! numbered {
    ($prefix:literal, $($number:literal)*) => { &[$(concat!($prefix, $number)),*] };
}

pub(crate) use numbered;
