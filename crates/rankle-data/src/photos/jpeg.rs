//! Where a JPEG ends, which decoders do not say: what is missing they fill with grey.

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

/// Two ways to go on with a JPEG that has no end marker. Where the image was whole, both are the same image, for what is behind it
/// has no part in it; where it was not, they differ.
///
/// The last bytes of the file give way first, as many as Pillow reads ahead at least: it does not open a file that ends with its
/// image. Nor does it open one without its end that is progressive or has several scans, for another scan could follow; so there
/// are no two ways for those.
pub(super) fn continued(jpeg: &[u8]) -> Option<[Vec<u8>; 2]> {
    const AHEAD: usize = 4;
    /// As data, both differ in the first bit, and neither can be taken for a marker.
    const DATA: [u8; 2] = [0x00, 0xAA];
    const END: [u8; 2] = [0xFF, 0xD9];
    if !is_one_scan(jpeg) {
        return None;
    }
    let data = &jpeg[..jpeg.len().checked_sub(AHEAD)?];
    Some(DATA.map(|byte| [data, &[byte; 256], &END].concat()))
}

/// Whether an image is put together from several passes over it.
pub(super) fn is_progressive(jpeg: &[u8]) -> bool {
    header(jpeg).is_some_and(|(frame, _, _)| !SEQUENTIAL.contains(&frame))
}

/// Whether one pass over an image holds all of it.
fn is_one_scan(jpeg: &[u8]) -> bool {
    header(jpeg).is_some_and(|(frame, components, scanned)| SEQUENTIAL.contains(&frame) && components == scanned)
}

/// The frames that are read in one pass, where the first scan has all components.
const SEQUENTIAL: [u8; 2] = [0xC0, 0xC1];

/// The kind of frame, how many components it has, and how many of them the first scan has.
fn header(jpeg: &[u8]) -> Option<(u8, u8, u8)> {
    let (mut rest, mut frame) = (jpeg.get(2..)?, None);
    loop {
        // What lies between segments is passed over, as decoders do.
        let place = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0x01 | 0xD0..=0xD8 | 0xFF))?;
        let (marker, segment) = (rest[place + 1], rest.get(place + 2..)?);
        match marker {
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => frame = Some((marker, *segment.get(7)?)),
            0xDA => return frame.and_then(|(marker, components)| Some((marker, components, *segment.get(2)?))),
            0xD9 => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*segment.first()?, *segment.get(1)?]));
        rest = segment.get(length..)?;
    }
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

    /// A comment, a frame of `components` and the beginning of a scan of `scanned`.
    fn head(frame: u8, components: u8, scanned: u8) -> Vec<u8> {
        let mut jpeg = b"\xFF\xD8\xFF\xFE\0\x04\xFF\xDA".to_vec();
        jpeg.extend([0xFF, frame, 0, 8, 8, 0, 1, 0, 1, components, 0xFF, 0xDA, 0, 3, scanned, 1, 2, 3, 4]);
        jpeg
    }

    #[test]
    fn frames_and_scans() {
        for (jpeg, expected) in [
            (head(0xC0, 3, 3), Some((0xC0, 3, 3))),
            (head(0xC2, 3, 1), Some((0xC2, 3, 1))),
            (head(0xC0, 3, 3)[..18].to_vec(), None),
            (b"\xFF\xD8\xFF\xDA\0\x03\x01".to_vec(), None),
            (b"\xFF\xD8\xFF\xD9".to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(header(&jpeg), expected, "{jpeg:?}");
        }
        let [one, other] = continued(&head(0xC1, 1, 1)).unwrap();
        assert!(one.ends_with(b"\0\xFF\xD9") && other.ends_with(b"\xAA\xFF\xD9") && one.len() == other.len());
        assert!(continued(&head(0xC0, 3, 1)).is_none() && continued(&head(0xC2, 1, 1)).is_none());
        assert!(is_progressive(&head(0xC2, 1, 1)) && !is_progressive(&head(0xC0, 3, 1)));
    }
}
