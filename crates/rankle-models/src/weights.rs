//! Weights in safetensors files.

mod header;

use crate::foreign;
use candle_core::{DType, Device, Tensor};
use rankle_core::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// In front of a parameter's name in a checkpoint: Adam's moments of it.
pub(crate) const FIRST_MOMENT: &str = "adam.first.";
pub(crate) const SECOND_MOMENT: &str = "adam.second.";

/// Reads every tensor of a safetensors file.
///
/// # Errors
/// [`Error::Refused`] naming the file when it is missing, truncated or not safetensors.
pub fn read(path: &Path) -> Result<Tensors> {
    parse(path, &bytes(path)?)
}

/// The bytes of a file of weights, for [`parse`]: whoever hashes them hashes what is used.
///
/// # Errors
/// [`Error::Refused`] naming the file when it cannot be read, and for devices and pipes, which may have no end.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    rankle_files::read(path)
        .map_err(|error| Error::Refused(format!("{}: cannot be read ({error}); give a safetensors file", path.display())))
}

/// In front of all names when a network was wrapped before it was saved: by PyTorch's `DataParallel` and its kin, by
/// `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Every tensor of a safetensors file whose bytes were read from `path`. What PyTorch's wrappers put in front of all names
/// (`module.`, `_orig_mod.`) is taken off.
///
/// # Errors
/// [`Error::Refused`] naming the file when it is truncated or not safetensors, or has two tensors of one name.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Tensors> {
    if let Some(name) = header::twice(bytes) {
        let problem = format!("has two tensors called '{name}', of which one reader takes the first and another the last");
        return Err(Error::Refused(format!("{}: {problem}; write the file anew", path.display())));
    }
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|error| {
        let problem = match foreign::explain(bytes) {
            Some(what) => format!("is not a readable safetensors file but {what}"),
            None => format!(
                "is not a readable safetensors file ({error}); is it complete? A checkpoint of PyTorch becomes one by \
                 safetensors.torch.save_file"
            ),
        };
        Error::Refused(format!("{}: {problem}", path.display()))
    })?;
    Ok(unwrapped(tensors.into_iter().collect()))
}

/// The tensors without a prefix that all names have, as in `model.`, and without a wrapper's behind it; as they were where one of
/// the names does not begin with it. So a file has one reading only, whatever prefix is tried.
#[must_use]
pub fn without_prefix(tensors: Tensors, prefix: &str) -> Tensors {
    if !share(&tensors, prefix) {
        return tensors;
    }
    let dotted = format!("{prefix}.");
    // Said without its point.
    let prefix = if share(&tensors, &dotted) { &dotted } else { prefix };
    unwrapped(stripped(tensors, prefix))
}

fn unwrapped(mut tensors: Tensors) -> Tensors {
    while let Some(wrapper) = WRAPPERS.into_iter().find(|wrapper| share(&tensors, wrapper)) {
        tensors = stripped(tensors, wrapper);
    }
    tensors
}

/// Whether all names begin with `prefix`, and go on behind it.
fn share(tensors: &Tensors, prefix: &str) -> bool {
    let begins = |name: &String| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    !prefix.is_empty() && !tensors.is_empty() && tensors.keys().all(begins)
}

fn stripped(tensors: Tensors, prefix: &str) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

/// Puts the file's name in front of what is wrong with its tensors.
pub(crate) fn named<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| match error {
        Error::Refused(problem) => Error::Refused(format!("{}: {problem}", path.display())),
        other => other,
    })
}

/// Writes tensors to a safetensors file, which is whole or what it was. The same tensors give the same bytes.
///
/// # Errors
/// [`Error::Refused`] naming the file when it cannot be written.
pub fn write(path: &Path, tensors: &Tensors) -> Result<()> {
    let fail = |problem: &dyn std::fmt::Display| Error::Refused(format!("{} cannot be written: {problem}", path.display()));
    let bytes = serialize(tensors).map_err(|error| fail(&error))?;
    rankle_files::write(path, bytes).map_err(|error| fail(&error))
}

/// The bytes that [`write()`] writes.
///
/// # Errors
/// [`Error::Refused`] when the tensors are no safetensors file.
pub fn serialize(tensors: &Tensors) -> Result<Vec<u8>> {
    // The only key that PyTorch's own tools look for.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| Error::Refused(error.to_string()))
}

/// Takes one parameter out of `tensors`, checked.
pub(crate) fn take(tensors: &mut Tensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let tensor = tensors.remove(name).ok_or_else(|| missing(tensors, name, shape))?;
    if tensor.dims() != shape {
        return Err(Error::Refused(format!("tensor '{name}' has shape {:?}, this model needs {shape:?}", tensor.dims())));
    }
    if !tensor.dtype().is_float() {
        let dtype = tensor.dtype().as_str();
        return Err(Error::Refused(format!("tensor '{name}' holds numbers of type {dtype}; weights are floating-point numbers")));
    }
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => {
            Err(Error::Refused(format!("tensor '{name}' holds {} at position {place}; weights must be finite", values[place])))
        }
        None => Ok(values),
    }
}

/// What is said of a missing tensor; where most names have something in front that this one lacks, what that is.
fn missing(tensors: &Tensors, name: &str, shape: &[usize]) -> Error {
    let problem = format!("tensor '{name}' of shape {shape:?} is missing");
    let Some(prefix) = prefix_of(tensors, name) else { return Error::Refused(problem) };
    let remedy = match tensors.keys().find(|other| !other.starts_with(prefix)) {
        None => format!("take '{prefix}' off all names with --strip-prefix {prefix}"),
        Some(other) => format!("'{other}' is beside it: save only what begins with '{prefix}'"),
    };
    Error::Refused(format!("{problem}, but there is '{prefix}{name}': {remedy}"))
}

/// The prefix of more than half of the names, that of `name` among them.
fn prefix_of<'a>(tensors: &'a Tensors, name: &str) -> Option<&'a str> {
    let prefixes = tensors.keys().filter_map(|other| other.strip_suffix(name));
    let count = |prefix: &str| tensors.keys().filter(|other| other.starts_with(prefix)).count();
    prefixes.max_by_key(|prefix| count(prefix)).filter(|prefix| 2 * count(prefix) > tensors.len())
}

/// Complains about what no parameter asked for.
pub(crate) fn none_left(tensors: &Tensors) -> Result<()> {
    match tensors.keys().next() {
        Some(name) => {
            Err(Error::Refused(format!("tensor '{name}' belongs to no parameter of this model; is it another architecture?")))
        }
        None => Ok(()),
    }
}
