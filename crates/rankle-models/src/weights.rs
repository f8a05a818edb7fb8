//! Weights in safetensors files.

mod header;

use crate::foreign;
use candle_core::{DType, Device, Tensor};
use rankle_core::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Prefixes of the parameter's name for Adam's moments in a checkpoint.
pub(crate) const FIRST_MOMENT: &str = "adam.first.";
pub(crate) const SECOND_MOMENT: &str = "adam.second.";

/// Reads every tensor of a safetensors file.
///
/// # Errors
/// [`Error::Refused`] naming the file when it is missing, truncated or not safetensors.
pub fn read(path: &Path) -> Result<Tensors> {
    parse(path, &bytes(path)?)
}

/// Reads the bytes of a file of weights, for [`parse`]. A hash of these bytes is a hash of the weights in use.
///
/// # Errors
/// [`Error::Refused`] naming the file when it cannot be read, and for devices and pipes, which may have no end.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    rankle_files::read(path)
        .map_err(|error| Error::Refused(format!("{}: cannot be read ({error}); give a safetensors file", path.display())))
}

/// Prefixes of all names of a network that was saved inside a wrapper: PyTorch's `DataParallel` and the like, `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Parses the bytes of a safetensors file, read from `path`. Removes the prefixes of PyTorch's wrappers (`module.`,
/// `_orig_mod.`) if all names have them.
///
/// # Errors
/// [`Error::Refused`] naming the file when it is truncated or not safetensors, or has two tensors of one name.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Tensors> {
    if let Some(name) = header::twice(bytes) {
        let problem = format!("has two tensors called '{name}', and readers differ in the one they take");
        return Err(Error::Refused(format!("{}: {problem}; write the file again", path.display())));
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

/// Removes a prefix (`model.`, or `model` without its dot) and the wrappers' prefixes after it from all names. If one name
/// does not begin with `prefix`, returns all tensors unchanged: so a file has only one reading, whatever prefix is tried.
#[must_use]
pub fn without_prefix(tensors: Tensors, prefix: &str) -> Tensors {
    if !share(&tensors, prefix) {
        return tensors;
    }
    let dotted = format!("{prefix}.");
    // `prefix` may be given without its dot.
    let prefix = if share(&tensors, &dotted) { &dotted } else { prefix };
    unwrapped(stripped(tensors, prefix))
}

fn unwrapped(mut tensors: Tensors) -> Tensors {
    while let Some(wrapper) = WRAPPERS.into_iter().find(|wrapper| share(&tensors, wrapper)) {
        tensors = stripped(tensors, wrapper);
    }
    tensors
}

/// True if all names begin with `prefix` and are longer than it.
fn share(tensors: &Tensors, prefix: &str) -> bool {
    let begins = |name: &String| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    !prefix.is_empty() && !tensors.is_empty() && tensors.keys().all(begins)
}

fn stripped(tensors: Tensors, prefix: &str) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

/// Adds the file's name to an error about its tensors.
pub(crate) fn named<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| match error {
        Error::Refused(problem) => Error::Refused(format!("{}: {problem}", path.display())),
        other => other,
    })
}

/// Writes tensors to a safetensors file. If it fails, an older file stays as it was. Equal tensors give equal bytes.
///
/// # Errors
/// [`Error::Refused`] naming the file when it cannot be written.
pub fn write(path: &Path, tensors: &Tensors) -> Result<()> {
    let fail = |problem: &dyn std::fmt::Display| Error::Refused(format!("{} cannot be written: {problem}", path.display()));
    let bytes = serialize(tensors).map_err(|error| fail(&error))?;
    rankle_files::write(path, bytes).map_err(|error| fail(&error))
}

/// Serializes tensors to the bytes that [`write()`] writes.
///
/// # Errors
/// [`Error::Refused`] when the tensors cannot be serialized.
pub fn serialize(tensors: &Tensors) -> Result<Vec<u8>> {
    // The only metadata that PyTorch's tools look for.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| Error::Refused(error.to_string()))
}

/// Takes one parameter out of `tensors`, and checks its shape, type and values.
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

/// Error for a missing tensor. If most names have a prefix that `name` lacks, the message names the prefix.
fn missing(tensors: &Tensors, name: &str, shape: &[usize]) -> Error {
    let problem = format!("tensor '{name}' of shape {shape:?} is missing");
    let Some(prefix) = prefix_of(tensors, name) else { return Error::Refused(problem) };
    let remedy = match tensors.keys().find(|other| !other.starts_with(prefix)) {
        None => format!("take '{prefix}' off all names with --strip-prefix {prefix}"),
        Some(other) => format!("'{other}' is beside it: save only what begins with '{prefix}'"),
    };
    Error::Refused(format!("{problem}, but there is '{prefix}{name}': {remedy}"))
}

/// Prefix of more than half of the names, one of which is the prefix followed by `name`.
fn prefix_of<'a>(tensors: &'a Tensors, name: &str) -> Option<&'a str> {
    let prefixes = tensors.keys().filter_map(|other| other.strip_suffix(name));
    let count = |prefix: &str| tensors.keys().filter(|other| other.starts_with(prefix)).count();
    prefixes.max_by_key(|prefix| count(prefix)).filter(|prefix| 2 * count(prefix) > tensors.len())
}

/// True if tensors hold a moment of Adam.
pub(crate) fn have_moments(tensors: &Tensors) -> bool {
    tensors.keys().any(|name| name.starts_with(FIRST_MOMENT) || name.starts_with(SECOND_MOMENT))
}

/// Refuses tensors that belong to no parameter.
pub(crate) fn none_left(tensors: &Tensors) -> Result<()> {
    match tensors.keys().next() {
        Some(name) => {
            Err(Error::Refused(format!("tensor '{name}' belongs to no parameter of this model; is it another architecture?")))
        }
        None => Ok(()),
    }
}
