//! Where a JPEG ends, which decoders do not say: what is missing they fill with gray.

/// Whether a JPEG goes on to its end marker. Segments are skipped by their lengths, for metadata may hold a preview with markers
/// of its own, and what follows the end is nobody's business: cameras put sounds and depth maps there.
pub(super) fn has_end(jpeg: &[u8]) -> bool {
    let mut rest = jpeg.get(2..).unwrap_or_default();
    let mut is_scan = false;
    // In a scan 0xFF stands for itself before 0x00, and a restart marker (0xD0 to 0xD7) is a part of it.
    while let Some(place) = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xD0..=0xD7 | 0xFF)) {
        let marker = rest[place + 1];
        rest = &rest[place + 2..];
        is_scan |= marker == 0xDA;
        match (marker, rest) {
            (0xD9, _) => return true,
            (0x01 | 0xD8, _) => {} // these have no length
            // What cannot follow a scan is damage in it, and the decoder's business.
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

/// Whether an image is put together from several passes over it.
pub(super) fn is_progressive(jpeg: &[u8]) -> bool {
    let frame = segments(jpeg).find(|(marker, _)| matches!(marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF));
    frame.is_some_and(|(marker, _)| !matches!(marker, 0xC0 | 0xC1))
}

/// The segments in front of the image, the last of them the beginning of a scan: the marker, and what comes from the length on.
pub(super) fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = jpeg.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        // What lies between segments is passed over, as decoders do.
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
        // Two scans, with 0xFF itself, a restart, filling, a table that holds an end, and damage.
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
