//! Fields of protobuf messages, read in place.
//!
//! Nothing is copied and nothing is read ahead: a message costs no memory before somebody asks for its fields, whatever its
//! length claims.

use candle_core::{Result, bail};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    /// A text, a message, or packed numbers.
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message, number and value, in the order of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>)> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Fixed64(fixed(&mut self.0)?),
            2 => {
                let len = varint(&mut self.0)?;
                let Some((bytes, rest)) = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len)) else {
                    bail!("a field of {len} bytes where {} are left: the file is cut off or no ONNX file", self.0.len())
                };
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(fixed(&mut self.0)?),
            kind => bail!("a protobuf field of kind {kind}: the file is damaged or no ONNX file"),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Takes a number of 7 bits a byte, lowest first, from the front.
pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let Some((&byte, rest)) = bytes.split_first() else { bail!("the file ends within a number: it is cut off") };
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    bail!("a number of more than 64 bits: the file is damaged or no ONNX file")
}

/// Takes `N` bytes from the front.
fn fixed<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let Some((first, rest)) = bytes.split_first_chunk() else { bail!("the file ends within a number: it is cut off") };
    *bytes = rest;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>> {
        Fields::new(bytes).collect()
    }

    #[test]
    fn fields_of_every_kind() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 1, 0, 0, 0, 0, 0, 0, 0];
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Fixed32(1f32.to_le_bytes())),
            (4, Value::Fixed64(1u64.to_le_bytes())),
        ];
        assert_eq!(read(&bytes).unwrap(), expected);
        let negative = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(&negative).unwrap(), [(1, Value::Varint(u64::MAX))]);
    }

    #[test]
    fn damage_is_an_error() {
        let lying = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        let endless = [0xff; 11];
        for bytes in [&[0x08][..], &[0x08, 0x80], &[0x12, 5, 1], &[0x1d, 1], &[0x21, 1], &[0x0b], &lying, &endless] {
            let message = read(bytes).unwrap_err().to_string();
            assert!(message.contains("cut off") || message.contains("damaged"), "{bytes:?}: {message}");
        }
    }
}
