//! Constants of a file as tensors.

use crate::external::Folder;
use crate::proto;
use candle_core::{DType, Device, Result, Tensor, bail};
use half::{bf16, f16};

/// Names of `TensorProto.DataType`, by number.
const NAMES: [&str; 17] = [
    "undefined",
    "float",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "double",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
];

/// A type of numbers in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Double,
    Half,
    Brain,
    Integer { bytes: usize, signed: bool },
    Boolean,
}

impl Kind {
    /// The type of a number of `TensorProto.DataType`.
    ///
    /// # Errors
    /// Texts, complex numbers, and numbers of 8 bits or fewer that are no integers.
    pub(crate) fn new(number: i64) -> Result<Self> {
        let integer = |bytes, signed| Ok(Self::Integer { bytes, signed });
        match number {
            1 => Ok(Self::Float),
            2 => integer(1, false),
            3 => integer(1, true),
            4 => integer(2, false),
            5 => integer(2, true),
            6 => integer(4, true),
            7 => integer(8, true),
            9 => Ok(Self::Boolean),
            10 => Ok(Self::Half),
            11 => Ok(Self::Double),
            12 => integer(4, false),
            13 => integer(8, false),
            16 => Ok(Self::Brain),
            number => bail!("numbers of type {}, which is not read", name(number)),
        }
    }

    /// The type of a tensor of such numbers: f32 for all that have a gradient, i64 for integers, u8 for truth values.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::Float | Self::Double | Self::Half | Self::Brain => DType::F32,
            Self::Integer { .. } => DType::I64,
            Self::Boolean => DType::U8,
        }
    }

    /// Numbers as this type holds them, and none beyond: halves are rounded, integers keep their last bits. The gradient of
    /// rounding is 1.
    pub(crate) fn narrowed(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Half => rounded(x, DType::F16),
            Self::Brain => rounded(x, DType::BF16),
            Self::Integer { bytes, signed } if bytes < 8 => {
                let unused = 64 - 8 * bytes as u32;
                let narrow = |&number: &i64| match signed {
                    true => number << unused >> unused,
                    false => ((number as u64) << unused >> unused) as i64,
                };
                let numbers = x.flatten_all()?.to_vec1()?;
                Tensor::from_vec(numbers.iter().map(narrow).collect(), x.dims(), &Device::Cpu)
            }
            _ => Ok(x.clone()),
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Float => 4,
            Self::Double => 8,
            Self::Half | Self::Brain => 2,
            Self::Integer { bytes, .. } => bytes,
            Self::Boolean => 1,
        }
    }
}

/// The name of a type, for messages.
pub(crate) fn name(number: i64) -> String {
    match usize::try_from(number).ok().and_then(|number| NAMES.get(number)) {
        Some(name) => (*name).to_owned(),
        None => format!("number {number}"),
    }
}

/// A constant: f32 on `device`, integers and truth values on the host.
///
/// # Errors
/// A type or a place that is not read, and a shape that its numbers do not have.
pub(crate) fn constant(tensor: &proto::Tensor<'_>, folder: &Folder, device: &Device) -> Result<Tensor> {
    let kind = Kind::new(tensor.kind)?;
    let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<Vec<_>>>();
    // Lengths beside one of 0 count, too: strides are their products.
    let width = kind.bytes().max(kind.dtype().size_in_bytes());
    let room = dims.as_ref().and_then(|dims| dims.iter().try_fold(width, |room, &dim| room.checked_mul(dim.max(1))));
    let (Some(dims), Some(room)) = (dims, room) else { bail!("a shape of {:?}", tensor.dims) };
    let count = dims.iter().product::<usize>();
    let size = count * kind.bytes();

    if tensor.is_external {
        folder.take(room)?;
        let bytes = folder.read(&tensor.external, size)?;
        return of_bytes(kind, &bytes, dims, device);
    }
    if let Some(raw) = tensor.raw {
        if raw.len() != size {
            bail!("{} bytes where its shape {dims:?} needs {size}", raw.len())
        }
        folder.take(room)?;
        return of_bytes(kind, raw, dims, device);
    }
    let stored = tensor.floats.len().max(tensor.doubles.len()).max(tensor.ints.len());
    if stored != count {
        bail!("{stored} numbers where its shape {dims:?} needs {count}")
    }
    folder.take(room)?;
    let ints = &tensor.ints;
    match kind {
        Kind::Float if ints.is_empty() => Tensor::from_slice(&tensor.floats, dims, device),
        Kind::Double if ints.is_empty() => floats(tensor.doubles.iter().map(|&number| number as f32), dims, device),
        // The bits of each number.
        Kind::Half => floats(ints.iter().map(|&bits| f16::from_bits(bits as u16).to_f32()), dims, device),
        Kind::Brain => floats(ints.iter().map(|&bits| bf16::from_bits(bits as u16).to_f32()), dims, device),
        Kind::Integer { .. } if tensor.floats.is_empty() => Tensor::from_slice(ints, dims, &Device::Cpu),
        Kind::Boolean if tensor.floats.is_empty() => truths(ints.iter().map(|&bit| bit != 0), dims),
        _ => bail!("numbers of another type than {}", name(tensor.kind)),
    }
}

/// Numbers, lowest byte first, of which `bytes` holds as many as the shape needs.
fn of_bytes(kind: Kind, bytes: &[u8], dims: Vec<usize>, device: &Device) -> Result<Tensor> {
    match kind {
        Kind::Float => floats(chunks(bytes).map(f32::from_le_bytes), dims, device),
        Kind::Double => floats(chunks(bytes).map(|bytes| f64::from_le_bytes(bytes) as f32), dims, device),
        Kind::Half => floats(chunks(bytes).map(|bytes| f16::from_le_bytes(bytes).to_f32()), dims, device),
        Kind::Brain => floats(chunks(bytes).map(|bytes| bf16::from_le_bytes(bytes).to_f32()), dims, device),
        Kind::Boolean => truths(bytes.iter().map(|&byte| byte != 0), dims),
        Kind::Integer { bytes: size, signed } => {
            let integers = bytes.chunks_exact(size).map(|bytes| {
                let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut number = [if negative { 0xff } else { 0 }; 8];
                number[..size].copy_from_slice(bytes);
                i64::from_le_bytes(number)
            });
            Tensor::from_vec(integers.collect(), dims, &Device::Cpu)
        }
    }
}

fn rounded(x: &Tensor, dtype: DType) -> Result<Tensor> {
    crate::differentiable::unary(x, |x| x.to_dtype(dtype)?.to_dtype(DType::F32), |x, _| x.ones_like())
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}

fn floats(numbers: impl Iterator<Item = f32>, dims: Vec<usize>, device: &Device) -> Result<Tensor> {
    Tensor::from_vec(numbers.collect(), dims, device)
}

fn truths(values: impl Iterator<Item = bool>, dims: Vec<usize>) -> Result<Tensor> {
    Tensor::from_vec(values.map(u8::from).collect(), dims, &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(tensor: proto::Tensor<'_>) -> Result<Tensor> {
        constant(&tensor, &Folder::of(Path::new("model.onnx")), &Device::Cpu)
    }

    #[test]
    fn numbers_of_every_type() {
        let raw = |kind, bytes: &'static [u8], dims: &[i64]| {
            read(proto::Tensor { kind, dims: dims.to_vec(), raw: Some(bytes), ..Default::default() }).unwrap()
        };
        assert_eq!(raw(1, &[0, 0, 0x80, 0x3f], &[1]).to_vec1::<f32>().unwrap(), [1.0]);
        assert_eq!(raw(11, &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f], &[1]).to_vec1::<f32>().unwrap(), [1.5]);
        assert_eq!(raw(10, &[0, 0x3c, 0, 0xc0], &[2]).to_vec1::<f32>().unwrap(), [1.0, -2.0]);
        assert_eq!(raw(16, &[0x80, 0x3f], &[1, 1]).to_vec2::<f32>().unwrap(), [[1.0]]);
        assert_eq!(raw(3, &[0xff, 1], &[2]).to_vec1::<i64>().unwrap(), [-1, 1]);
        assert_eq!(raw(2, &[0xff, 1], &[2]).to_vec1::<i64>().unwrap(), [255, 1]);
        assert_eq!(raw(6, &[0xfe, 0xff, 0xff, 0xff], &[]).to_scalar::<i64>().unwrap(), -2);
        assert_eq!(raw(9, &[2, 0], &[2]).to_vec1::<u8>().unwrap(), [1, 0]);
        assert_eq!(raw(7, &[], &[0]).to_vec1::<i64>().unwrap(), [] as [i64; 0]);
        let half = proto::Tensor { kind: 10, dims: vec![1], ints: vec![0x3c00], ..Default::default() };
        assert_eq!(read(half).unwrap().to_vec1::<f32>().unwrap(), [1.0]);
    }

    #[test]
    fn lies_are_refused() {
        let refused = |kind, dims: &[i64], raw: Option<&'static [u8]>, ints: Vec<i64>, part: &str| {
            let message = read(proto::Tensor { kind, dims: dims.to_vec(), raw, ints, ..Default::default() }).unwrap_err();
            assert!(message.to_string().contains(part), "{message}");
        };
        refused(1, &[3], Some(&[0; 8]), vec![], "8 bytes where its shape [3] needs 12");
        refused(1, &[-1], Some(&[0; 8]), vec![], "a shape of [-1]");
        refused(1, &[i64::MAX, i64::MAX], None, vec![], "a shape of");
        refused(7, &[1 << 40], None, vec![1], "1 numbers where");
        refused(1, &[1], None, vec![1], "another type than float");
        refused(8, &[1], None, vec![], "type string");
        refused(99, &[1], None, vec![], "type number 99");
    }
}
