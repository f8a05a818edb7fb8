//! Serialization of finite numbers, with an error for NaN and infinity.
//!
//! `serde_json` writes NaN and infinity as `null`, and a `null` reads as "not measured". Every floating-point field of a record
//! is therefore serialized by one of these functions.

use serde::{Serializer, ser::Error};

/// Serializes a finite number.
///
/// # Errors
/// For NaN and infinity.
pub fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(checked(*value)?)
}

/// Serializes a finite number, or `None` as `null`.
///
/// # Errors
/// For NaN and infinity.
pub fn optional<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(&checked(*value)?),
        None => serializer.serialize_none(),
    }
}

/// Serializes two finite numbers, or `None` as `null`.
///
/// # Errors
/// For NaN and infinity.
pub fn interval<S: Serializer>(value: &Option<[f64; 2]>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some([low, high]) => serializer.serialize_some(&[checked(*low)?, checked(*high)?]),
        None => serializer.serialize_none(),
    }
}

fn checked<E: Error>(value: f64) -> Result<f64, E> {
    if value.is_finite() { Ok(value) } else { Err(E::custom(format_args!("{value} is not a finite number"))) }
}
