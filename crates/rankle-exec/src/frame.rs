//! Frames: a length of eight bytes, little-endian, and that many bytes of a safetensors file.

use rankle_core::Result;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// Version of the protocol in every frame.
pub(crate) const VERSION: &str = "1";

/// Bytes of the length in front of a frame.
pub(crate) const LENGTH: usize = 8;

/// Bytes that an answer may have beside its numbers: header, names and words.
const HEADER: usize = 64 << 10;

/// What a frame asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Describe,
    Embed,
    Gradient,
}

impl Request {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Embed => "embed",
            Self::Gradient => "gradient",
        }
    }

    /// The name of the tensor in the answer; empty for a description, which is words.
    pub(crate) fn tensor(self) -> &'static str {
        match self {
            Self::Describe => "",
            Self::Embed => "embeddings",
            Self::Gradient => "gradient",
        }
    }
}

/// A tensor of a request.
pub(crate) struct Part<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) numbers: &'a [f32],
}

/// The frame of a request, with its length.
///
/// # Errors
/// [`rankle_core::Error::Refused`] for a shape that does not fit its numbers.
pub(crate) fn request(request: Request, parts: &[Part<'_>]) -> Result<Vec<u8>> {
    let words = [("protocol", VERSION), ("request", request.as_str())].map(|(name, word)| (name.to_owned(), word.to_owned()));
    let bytes: Vec<Vec<u8>> = parts.iter().map(|part| part.numbers.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let mut tensors = Vec::new();
    for (part, bytes) in parts.iter().zip(&bytes) {
        tensors.push((part.name, TensorView::new(Dtype::F32, part.shape.to_vec(), bytes).map_err(refused)?));
    }
    let body = safetensors::serialize(tensors, Some(HashMap::from(words))).map_err(refused)?;
    Ok([&(body.len() as u64).to_le_bytes()[..], &body].concat())
}

fn refused(error: safetensors::SafeTensorError) -> rankle_core::Error {
    rankle_core::Error::Refused(format!("a frame cannot be written: {error}"))
}

/// Largest answer with this many numbers, in bytes. Twice what is needed: numbers in f64 get a message of their own.
pub(crate) fn most(numbers: usize) -> usize {
    HEADER + 8 * numbers
}

/// The words of an answer.
///
/// # Errors
/// What is wrong, for a message that names the program.
pub(crate) fn words(body: &[u8]) -> Result<HashMap<String, String>, String> {
    let (_, header) = SafeTensors::read_metadata(body).map_err(|error| format!("no safetensors file ({error})"))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// The numbers of the tensor `name` of an answer.
///
/// # Errors
/// What is wrong, for a message that names the program.
pub(crate) fn tensor(body: &[u8], name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let file = SafeTensors::deserialize(body).map_err(|error| format!("no safetensors file ({error})"))?;
    let names = || file.names().iter().map(|name| format!("{name:.40?}")).collect::<Vec<_>>().join(", ");
    let tensor = file.tensor(name).map_err(|_| format!("no tensor \"{name}\" (its tensors: {})", names()))?;
    if tensor.dtype() != Dtype::F32 {
        return Err(format!("\"{name}\" as {:?}, not as F32: convert it to float32", tensor.dtype()));
    }
    if tensor.shape() != shape {
        return Err(format!("\"{name}\" of shape {:?}, not {shape:?}", tensor.shape()));
    }
    Ok(tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parts: &[Part<'_>]) -> Vec<u8> {
        request(Request::Embed, parts).unwrap().split_off(LENGTH)
    }

    #[test]
    fn a_frame_is_its_length_and_a_safetensors_file() {
        let frame = request(Request::Gradient, &[Part { name: "a", shape: &[1, 2], numbers: &[0.5, -1.0] }]).unwrap();
        assert_eq!(u64::from_le_bytes(frame[..LENGTH].try_into().unwrap()) as usize, frame.len() - LENGTH);
        let told = words(&frame[LENGTH..]).unwrap();
        assert_eq!((&*told["protocol"], &*told["request"]), ("1", "gradient"));
        assert_eq!(tensor(&frame[LENGTH..], "a", &[1, 2]).unwrap(), [0.5, -1.0]);
        assert!(words(&request(Request::Describe, &[]).unwrap()[LENGTH..]).is_ok());
    }

    #[test]
    fn a_wrong_answer_is_told() {
        let one = body(&[Part { name: "a", shape: &[1, 2], numbers: &[0.5, -1.0] }]);
        let told = |body: &[u8], name: &str, shape: &[usize]| tensor(body, name, shape).unwrap_err();
        assert_eq!(told(&one, "b", &[1, 2]), "no tensor \"b\" (its tensors: \"a\")");
        assert_eq!(told(&one, "a", &[2, 1]), "\"a\" of shape [1, 2], not [2, 1]");
        assert!(told(&one[..one.len() - 1], "a", &[1, 2]).starts_with("no safetensors file ("));
        let at = one.windows(3).position(|bytes| bytes == b"F32").unwrap();
        let whole = [&one[..at], b"I32", &one[at + 3..]].concat();
        assert_eq!(told(&whole, "a", &[1, 2]), "\"a\" as I32, not as F32: convert it to float32");
        for hostile in [&b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"[..], b"\x02\0\0\0\0\0\0\0[]", b"", b"{}"] {
            assert!(words(hostile).is_err(), "{hostile:?}");
        }
    }
}
