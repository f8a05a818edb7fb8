//! The file format: safetensors with one f32 tensor per record.

use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;

/// Maximum size of a file of ranks in bytes.
const LONGEST: u64 = 1 << 30;

/// Value of the metadata entry [`KEY`].
const FORMAT: &str = "1";
const KEY: &str = "format";

/// The remedy in error messages.
pub(super) const ANEW: &str = "delete it, and `rankle sweep --image-ranks` with the plan of the records makes it anew";

/// Values by the key of their record.
pub(super) type Values = BTreeMap<String, Vec<f32>>;

/// Reads the values of a file; empty if it does not exist.
pub(super) fn read(path: &Path) -> Result<Values> {
    match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Values::new()),
        Ok(found) if !found.is_file() => {
            return Err(Error::file("read", path)(std::io::Error::other("it is not a regular file")));
        }
        _ => {}
    }
    let bytes = rankle_files::read_limited(path, LONGEST).map_err(Error::file("read", path))?;
    parse(&bytes).map_err(|reason| Error::Ranks { path: path.to_owned(), reason: format!("{reason}; {ANEW}") })
}

fn parse(bytes: &[u8]) -> Result<Values, String> {
    let readable = |error: safetensors::SafeTensorError| format!("is no readable safetensors file ({error})");
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(readable)?;
    let format = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    if format.map(String::as_str) != Some(FORMAT) {
        return Err(match format {
            Some(other) => format!("has ranks in format {other}, and this version reads {FORMAT}"),
            None => "holds other tensors than ranks".to_owned(),
        });
    }
    let mut values = Values::new();
    for (name, tensor) in SafeTensors::deserialize(bytes).map_err(readable)?.iter() {
        if tensor.dtype() != Dtype::F32 || tensor.shape().len() != 1 {
            return Err(format!("has under {name} no list of f32 but {:?} of shape {:?}", tensor.dtype(), tensor.shape()));
        }
        let (numbers, _) = tensor.data().as_chunks();
        values.insert(name.to_owned(), numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect());
    }
    Ok(values)
}

/// Creates or replaces a file atomically.
pub(super) fn write(path: &Path, values: &Values) -> Result<()> {
    let bytes: Vec<(&String, Vec<u8>)> =
        values.iter().map(|(key, values)| (key, values.iter().flat_map(|value| value.to_le_bytes()).collect())).collect();
    let view = |(key, bytes)| -> Result<_, safetensors::SafeTensorError> {
        let bytes: &Vec<u8> = bytes;
        Ok((key, TensorView::new(Dtype::F32, vec![bytes.len() / size_of::<f32>()], bytes)?))
    };
    let views: Vec<_> =
        bytes.iter().map(|(key, bytes)| view((*key, bytes))).collect::<Result<_, _>>().map_err(Error::make("the ranks"))?;
    let metadata = HashMap::from([(KEY.to_owned(), FORMAT.to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(Error::make("the ranks"))?;
    rankle_files::write(path, bytes).map_err(Error::file("write", path))
}
