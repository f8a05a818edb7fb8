//! Check that the image of a JPEG is complete although its end marker is missing: all blocks are read and their values skipped.

use super::jpeg::segments;

/// Number of bytes that must follow the image: the length of the missing marker. Pillow requires up to eight.
const BEHIND: usize = 2;

/// True if an image is complete and enough bytes follow. Only for images in one scan: after one of several, the next could be
/// missing. Pillow does not open images of several scans without their end either.
pub(super) fn is_whole(jpeg: &[u8]) -> bool {
    behind(jpeg).is_some_and(|bytes| bytes >= BEHIND)
}

/// Number of bytes after the image; `None` if it is incomplete, damaged, or not in one sequential scan.
fn behind(jpeg: &[u8]) -> Option<usize> {
    let (mut tables, mut frame, mut interval) = (Tables::default(), None, 0);
    for (marker, segment) in segments(jpeg) {
        let length = usize::from(short(segment, 0)?);
        match marker {
            0xC0 | 0xC1 => frame = Frame::read(segment),
            0xC4 => tables.read(segment.get(2..length)?)?,
            0xDD => interval = usize::from(short(segment, 2)?),
            0xDA => {
                let blocks = Blocks::new(frame?, segment, &tables)?;
                return blocks.pass(Bits::new(segment.get(length..)?), interval);
            }
            _ => {}
        }
    }
    None
}

fn short(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(place)?, *bytes.get(place + 1)?]))
}

/// A Huffman table: for each code length the first code, the number of codes, and the index of their first value.
#[derive(Default)]
struct HuffmanTable {
    lengths: Vec<(u32, u32, usize)>,
    values: Vec<u8>,
}

impl HuffmanTable {
    fn value(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let mut code = 0;
        for &(first, count, start) in &self.lengths {
            code = code << 1 | bits.next()?;
            if code >= first && code - first < count {
                return self.values.get(start + (code - first) as usize).copied();
            }
        }
        None
    }
}

/// Four Huffman tables for the DC coefficients of blocks, and four for the AC coefficients.
#[derive(Default)]
struct Tables([[HuffmanTable; 4]; 2]);

impl Tables {
    fn read(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [place, rest @ ..] = segment {
            let (mut code, mut start, mut lengths) = (0, 0, Vec::with_capacity(16));
            for &count in rest.get(..16)? {
                lengths.push((code, u32::from(count), start));
                code = (code + u32::from(count)) << 1;
                start += usize::from(count);
            }
            let values = rest.get(16..16 + start)?.to_vec();
            segment = &rest[16 + start..];
            *self.0.get_mut(usize::from(place >> 4))?.get_mut(usize::from(place & 15))? = HuffmanTable { lengths, values };
        }
        Some(())
    }
}

/// Height and width of the image, and for each component its id and its horizontal and vertical sampling factor.
struct Frame {
    height: usize,
    width: usize,
    components: Vec<(u8, usize, usize)>,
}

impl Frame {
    fn read(segment: &[u8]) -> Option<Self> {
        let (height, width) = (usize::from(short(segment, 3)?), usize::from(short(segment, 5)?));
        let count = usize::from(*segment.get(7)?);
        let components = segment.get(8..8 + 3 * count)?.chunks_exact(3);
        let components: Vec<_> = components.map(|one| (one[0], usize::from(one[1] >> 4), usize::from(one[1] & 15))).collect();
        let is_sound =
            height > 0 && width > 0 && components.iter().all(|&(_, x, y)| (1..=4).contains(&x) && (1..=4).contains(&y));
        is_sound.then_some(Self { height, width, components })
    }
}

/// The blocks of a scan: the number of MCUs (minimum coded units), and the DC and AC table of each block in one.
struct Blocks<'a> {
    units: usize,
    unit: Vec<(&'a HuffmanTable, &'a HuffmanTable)>,
}

impl<'a> Blocks<'a> {
    /// The blocks of a scan with all components; `None` for other scans.
    fn new(frame: Frame, scan: &[u8], tables: &'a Tables) -> Option<Self> {
        let Frame { height, width, components } = frame;
        if components.is_empty() || usize::from(*scan.get(2)?) != components.len() {
            return None;
        }
        // A component alone is coded block by block, whatever its sampling factors.
        let alone = components.len() == 1;
        let most =
            |side: fn(&(u8, usize, usize)) -> usize| if alone { 1 } else { components.iter().map(side).max().unwrap_or(1) };
        let (across, down) = (8 * most(|one| one.1), 8 * most(|one| one.2));
        let mut unit = Vec::new();
        for named in scan.get(3..3 + 2 * components.len())?.chunks_exact(2) {
            let &(_, x, y) = components.iter().find(|component| component.0 == named[0])?;
            let table = |kind: usize, place: u8| tables.0[kind].get(usize::from(place));
            let pair = (table(0, named[1] >> 4)?, table(1, named[1] & 15)?);
            unit.extend(std::iter::repeat_n(pair, if alone { 1 } else { x * y }));
        }
        Some(Self { units: width.div_ceil(across) * height.div_ceil(down), unit })
    }

    /// Skips all blocks and returns the number of bytes after them; `interval` is the number of MCUs between restarts or 0.
    fn pass(&self, mut bits: Bits<'_>, interval: usize) -> Option<usize> {
        for unit in 0..self.units {
            if interval > 0 && unit > 0 && unit.is_multiple_of(interval) {
                bits.restart()?;
            }
            for (means, others) in &self.unit {
                let length = means.value(&mut bits)?;
                bits.skip(length)?;
                let mut place = 1;
                while place < 64 {
                    let value = others.value(&mut bits)?;
                    match (value >> 4, value & 15) {
                        (15, 0) => place += 16,
                        (_, 0) => break,
                        (zeros, length) => {
                            place += 1 + usize::from(zeros);
                            bits.skip(length)?;
                        }
                    }
                }
            }
        }
        Some(bits.rest.len())
    }
}

/// A reader of the bits of a scan, up to the next marker.
struct Bits<'a> {
    rest: &'a [u8],
    byte: u8,
    left: u8,
}

impl<'a> Bits<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, byte: 0, left: 0 }
    }

    fn next(&mut self) -> Option<u32> {
        if self.left == 0 {
            (self.byte, self.rest) = match self.rest {
                [0xFF, 0x00, rest @ ..] => (0xFF, rest),
                [0xFF, ..] | [] => return None,
                [byte, rest @ ..] => (*byte, rest),
            };
            self.left = 8;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left & 1))
    }

    fn skip(&mut self, count: u8) -> Option<()> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }

    /// Continues after a restart marker.
    fn restart(&mut self) -> Option<()> {
        self.left = 0;
        while self.rest.starts_with(&[0xFF, 0xFF]) {
            self.rest = &self.rest[1..];
        }
        match self.rest {
            [0xFF, 0xD0..=0xD7, rest @ ..] => self.rest = rest,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files made with Pillow, 40×24 pixels: chroma at half or full resolution or none, with or without restarts.
    #[test]
    fn every_block_counts() {
        for jpeg in [
            &include_bytes!("../../tests/fixtures/scan-420.jpg")[..],
            include_bytes!("../../tests/fixtures/scan-444-restarts.jpg"),
            include_bytes!("../../tests/fixtures/scan-grey-restarts.jpg"),
        ] {
            assert_eq!(behind(jpeg), Some(2)); // the end marker
            let data = &jpeg[..jpeg.len() - 2];
            assert_eq!(behind(data), Some(0));
            assert!(is_whole(&[data, b"\0\0"].concat()) && !is_whole(&[data, b"\xFF"].concat()));
            for end in 0..data.len() {
                assert_eq!(behind(&data[..end]), None, "{end} of {}", data.len());
                assert_eq!(behind(&[&data[..end], &[0xFF, 0xD9, 0, 0]].concat()), None, "{end} of {}", data.len());
            }
        }
        let progressive = include_bytes!("../../tests/fixtures/progressive.jpg");
        assert_eq!(behind(progressive), None);
    }
}
