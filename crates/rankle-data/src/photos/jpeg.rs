//! Position of the end of a JPEG. Decoders do not report a missing end: they fill the missing part with gray.

/// True if a JPEG reaches its end marker. Segments are skipped by their lengths, because metadata may hold a preview with markers
/// of its own. Bytes after the end are ignored: cameras store sounds and depth maps there.
pub(super) fn has_end(jpeg: &[u8]) -> bool {
    let mut rest = jpeg.get(2..).unwrap_or_default();
    let mut is_scan = false;
    // In a scan 0xFF is written as 0xFF 0x00, and a restart marker (0xD0 to 0xD7) belongs to the scan.
    while let Some(place) = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xD0..=0xD7 | 0xFF)) {
        let marker = rest[place + 1];
        rest = &rest[place + 2..];
        is_scan |= marker == 0xDA;
        match (marker, rest) {
            (0xD9, _) => return true,
            (0x01 | 0xD8, _) => {} // markers without a length
            // A marker that cannot follow a scan is damage inside the scan, which is left to the decoder.
            _ if is_scan && !matches!(marker, 0xC4 | 0xCC | 0xDA..=0xDD | 0xE0..=0xEF | 0xFE) => {}
            (_, [high, low, ..]) => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest = rest.get(length..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    false
}

/// True if the frame is not sequential with Huffman coding; most often it is progressive then.
pub(super) fn is_progressive(jpeg: &[u8]) -> bool {
    let frame = segments(jpeg).find(|(marker, _)| matches!(marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF));
    frame.is_some_and(|(marker, _)| !matches!(marker, 0xC0 | 0xC1))
}

/// The segments in front of the image data, up to the start of a scan: each marker, and the bytes from its length field on.
pub(super) fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = jpeg.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        // Bytes between segments are skipped, as decoders do.
        let place = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0x01 | 0xD0..=0xD8 | 0xFF))?;
        let (marker, segment) = (rest[place + 1], &rest[place + 2..]);
        let length = usize::from(u16::from_be_bytes([*segment.first()?, *segment.get(1)?]));
        rest = if marker == 0xDA { &[] } else { segment.get(length..)? };
        Some((marker, segment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        // Two scans, with an escaped 0xFF, a restart marker, fill bytes, a table that contains an end marker, and damage.
        let scans = b"\xFF\xD8\xFF\xDA\0\x02\x01\xFF\0\xFF\xD0\xFF\xFF\xC4\0\x04\xFF\xD9\xFF\xDA\0\x02\xFF\x7A\x7F\xFF\xFF\xD9";
        assert!(has_end(scans) && !has_end(&scans[..scans.len() - 2]));
        assert!(has_end(b"\xFF\xD8\xFF\xE0\0\0\xFF\x01\xFF\xD9"));
        assert!(!has_end(b"") && !has_end(b"\xFF\xD8\xFF\xE0") && !has_end(b"\xFF\xD8\xFF\xE0\0\x09"));
    }

    #[test]
    fn frames() {
        let head = |frame: u8| [b"\xFF\xD8\xFF\xFE\0\x04\xFF\xC2\xFF", &[frame][..], b"\0\x02\xFF\xDA\0\x02"].concat();
        assert!(is_progressive(&head(0xC2)) && !is_progressive(&head(0xC0)) && !is_progressive(&head(0xC4)));
        assert!(!is_progressive(b"\xFF\xD8\xFF\xC2\0") && !is_progressive(b""));
        let markers: Vec<u8> = segments(&head(0xC1)).map(|(marker, _)| marker).collect();
        assert_eq!(markers, [0xFE, 0xC1, 0xDA]);
    }
}
