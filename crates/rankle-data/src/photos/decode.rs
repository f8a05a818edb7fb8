//! Decoder of image files to 8-bit RGB.

use super::budget::{Budget, Share};
use super::{jpeg, jpeg_scan};
use crate::{Error, Result};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use std::fmt;
use std::io::{self, Cursor};
use std::path::Path;

/// Treatment of the orientation that cameras write into the EXIF data of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exif {
    /// Turns the photograph upright, as viewers do.
    Rotate,
    /// Ignores the orientation and takes the pixels as stored, as torchvision's `ImageFolder` does.
    Ignore,
}

impl Exif {
    /// Both treatments, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Rotate, Self::Ignore];

    /// The name on the command line and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Ignore => "ignore",
        }
    }
}

impl fmt::Display for Exif {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Largest file of a photograph: 128 MiB.
const LARGEST_FILE: u64 = 128 << 20;
/// Largest decoded photograph: 256 MiB, 89 megapixels in 8-bit RGB.
const LARGEST_IMAGE: u64 = 256 << 20;
/// Longest side in pixels: that of a square of 256 MiB with one byte per pixel.
const LONGEST_SIDE: u32 = 16_384;
/// Accepted formats, recognized by the first bytes of a file, not by its name.
const FORMATS: [ImageFormat; 4] = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp];

/// Memory shared by all files being decoded in the process.
static FILES: Budget = Budget::new(256 << 20);
/// Memory shared by all images being decoded in the process.
static IMAGES: Budget = Budget::new(1 << 30);

/// A decoded photograph, and its share of the memory for decoding.
pub(super) struct Decoded {
    pub(super) image: RgbImage,
    _memory: Share<'static>,
}

/// Reads a JPEG (baseline or progressive), PNG, WebP or BMP file, turned upright if `exif` says so. Gray is repeated, 16 bits are
/// rounded to 8, and alpha is dropped, as in Pillow's `convert("RGB")`, except that Pillow clips 16-bit gray to white.
///
/// # Errors
/// [`Error::Read`], [`Error::Directory`], and [`Error::Photo`] for a file too large, of another format, broken or truncated.
pub(super) fn decode(path: &Path, exif: Exif) -> Result<Decoded> {
    let refused = |reason| Error::Read { path: path.into(), reason };
    let metadata = path.metadata().map_err(refused)?;
    if metadata.is_dir() {
        return Err(Error::Directory { path: path.into() });
    }
    if !metadata.is_file() {
        return Err(photo(path, "is not a regular file", "put the image itself there"));
    }
    let _memory = FILES.take(metadata.len().min(LARGEST_FILE));
    let bytes = rankle_files::read_limited(path, LARGEST_FILE).map_err(|reason| match reason.kind() {
        io::ErrorKind::FileTooLarge => photo(path, format!("is larger than {} MiB", LARGEST_FILE >> 20), "store it smaller"),
        _ => refused(reason),
    })?;
    decode_bytes(path, &bytes, exif)
}

const AGAIN: &str = "get it again, or convert it to JPEG, PNG, WebP or BMP";

fn decode_bytes(path: &Path, bytes: &[u8], exif: Exif) -> Result<Decoded> {
    let format = image::guess_format(bytes).map_err(|_| photo(path, "does not begin like an image", AGAIN))?;
    if !FORMATS.contains(&format) {
        return Err(photo(path, format!("is an image of the kind {format:?}"), "convert it to JPEG, PNG, WebP or BMP"));
    }
    if format == ImageFormat::Jpeg && !jpeg::has_end(bytes) && !jpeg_scan::is_whole(bytes) {
        return Err(photo(path, "ends in the middle of the image", "it is truncated, get it again"));
    }
    pixels(path, bytes, format, exif)
}

/// Decodes a file of known format.
fn pixels(path: &Path, bytes: &[u8], format: ImageFormat, exif: Exif) -> Result<Decoded> {
    let broken = |error: ImageError| photo(path, format!("cannot be decoded ({})", one_line(&error)), AGAIN);
    let mut limits = Limits::default();
    limits.max_alloc = Some(LARGEST_IMAGE);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    // Checked before memory is allocated: a header of a few bytes can announce any size.
    let (width, height) = decoder.dimensions();
    let rgb = 3 * u64::from(width) * u64::from(height);
    let size = decoder.total_bytes().max(rgb); // the larger of the stored form and 8-bit RGB
    if width == 0 || height == 0 {
        return Err(photo(path, format!("is {width}×{height} pixels"), AGAIN));
    }
    if width > LONGEST_SIDE || height > LONGEST_SIDE || size > LARGEST_IMAGE {
        let found = format!("is {width}×{height} pixels, {size} bytes when decoded");
        let help = format!("at most {LONGEST_SIDE} pixels a side and {LARGEST_IMAGE} bytes are decoded, so store it smaller");
        return Err(photo(path, found, help));
    }
    // An invalid orientation counts as none.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let turned = exif == Exif::Rotate && orientation != Orientation::NoTransforms;
    // The JPEG decoder copies the file. Progressive JPEG and WebP images are held once more while they are assembled.
    let inner = match format {
        ImageFormat::Png | ImageFormat::Bmp => 0,
        ImageFormat::Jpeg if !jpeg::is_progressive(bytes) => bytes.len() as u64,
        _ => bytes.len() as u64 + 2 * rgb,
    };
    let copies = u64::from(decoder.color_type() != ColorType::Rgb8) + u64::from(turned);
    let memory = IMAGES.take(decoder.total_bytes() + inner + copies * rgb);
    let mut image = DynamicImage::ImageRgb8(DynamicImage::from_decoder(decoder).map_err(broken)?.into_rgb8());
    if turned {
        image.apply_orientation(orientation);
    }
    Ok(Decoded { image: image.into_rgb8(), _memory: memory })
}

fn photo(path: &Path, found: impl Into<String>, help: impl Into<String>) -> Error {
    Error::Photo { path: path.into(), found: found.into(), help: help.into() }
}

fn one_line(error: &ImageError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, ImageEncoder, Luma, Rgb, Rgba, RgbaImage};
    use proptest::prelude::*;

    fn bytes(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn with(bytes: &[u8], exif: Exif) -> Result<RgbImage> {
        decode_bytes(Path::new("FILE"), bytes, exif).map(|decoded| decoded.image)
    }

    fn open(bytes: &[u8]) -> Result<RgbImage> {
        with(bytes, Exif::Rotate)
    }

    /// An image wider than high, red above and blue below.
    fn flag() -> RgbImage {
        RgbImage::from_fn(24, 16, |_, y| if y < 8 { Rgb([250, 10, 10]) } else { Rgb([10, 10, 250]) })
    }

    #[test]
    fn lossless_formats_come_back_and_jpeg_comes_near() {
        let image = flag();
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp] {
            assert_eq!(open(&bytes(&image.clone().into(), format)).unwrap(), image, "{format:?}");
        }
        let jpeg = open(&bytes(&image.clone().into(), ImageFormat::Jpeg)).unwrap();
        let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) < 16;
        assert!(jpeg.dimensions() == (24, 16) && jpeg.iter().zip(image.iter()).all(near));
    }

    #[test]
    fn gray_alpha_and_sixteen_bits() {
        let png = |image: DynamicImage| open(&bytes(&image, ImageFormat::Png)).unwrap().get_pixel(0, 0).0;
        assert_eq!(png(GrayImage::from_pixel(1, 1, Luma([77])).into()), [77; 3]);
        assert_eq!(png(GrayAlphaImage::from_pixel(1, 1, image::LumaA([77, 0])).into()), [77; 3]);
        assert_eq!(png(RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 0])).into()), [1, 2, 3]);
        assert_eq!(png(ImageBuffer::from_pixel(1, 1, Luma([257u16 * 130 + 100])).into()), [130; 3]);
        assert_eq!(png(ImageBuffer::from_pixel(1, 1, Rgb([0u16, 65_535, 257 * 9])).into()), [0, 255, 9]);
    }

    /// A photograph stored on its side is turned upright by its orientation.
    #[test]
    fn orientation_is_obeyed_and_nonsense_is_none() {
        let exif = |value: u8| {
            // Big-endian TIFF with one entry: tag 0x0112, a short.
            let mut chunk = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
            chunk.extend([value, 0, 0, 0, 0, 0, 0]);
            chunk
        };
        let with = |chunk: Vec<u8>| {
            let mut bytes = Vec::new();
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 100);
            encoder.set_exif_metadata(chunk).unwrap();
            encoder.encode_image(&flag()).unwrap();
            open(&bytes).unwrap()
        };
        let red = |image: &RgbImage, x, y| image.get_pixel(x, y)[0] > 128;
        let upright = with(exif(1));
        assert!(upright.dimensions() == (24, 16) && red(&upright, 12, 2) && !red(&upright, 12, 13));
        let turned = with(exif(3));
        assert!(turned.dimensions() == (24, 16) && !red(&turned, 12, 2) && red(&turned, 12, 13));
        // 6 turns a quarter clockwise, which brings the top to the right; 8 brings it to the left.
        let right = with(exif(6));
        assert!(right.dimensions() == (16, 24) && red(&right, 13, 12) && !red(&right, 2, 12));
        let left = with(exif(8));
        assert!(left.dimensions() == (16, 24) && !red(&left, 13, 12) && red(&left, 2, 12));
        for nonsense in [exif(77), b"MM".to_vec(), b"not exif at all".to_vec()] {
            assert_eq!(with(nonsense), upright);
        }
    }

    /// An orientation of a quarter turn, in each format that can store one.
    #[test]
    fn orientation_is_ignored_where_that_is_asked_for() {
        for (name, file) in [
            ("jpg", &include_bytes!("../../tests/fixtures/turned.jpg")[..]),
            ("png", include_bytes!("../../tests/fixtures/turned.png")),
            ("webp", include_bytes!("../../tests/fixtures/turned.webp")),
        ] {
            let sides = |exif| with(file, exif).unwrap().dimensions();
            assert_eq!((sides(Exif::Rotate), sides(Exif::Ignore)), ((16, 24), (24, 16)), "{name}");
            let red = |exif, x, y| with(file, exif).unwrap().get_pixel(x, y)[0] > 128;
            // Red is on top; turned clockwise, it is on the right.
            assert!(red(Exif::Ignore, 12, 2) && !red(Exif::Ignore, 12, 13), "{name}");
            assert!(red(Exif::Rotate, 13, 12) && !red(Exif::Rotate, 2, 12), "{name}");
        }
    }

    #[test]
    fn files_that_are_no_whole_image_are_refused() {
        let says = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
        let again = "get it again, or convert it to JPEG, PNG, WebP or BMP";
        assert_eq!(says(b""), format!("FILE does not begin like an image: {again}"));
        assert_eq!(says(b"<html>not found</html>"), format!("FILE does not begin like an image: {again}"));
        assert_eq!(says(b"GIF89a\0\0"), "FILE is an image of the kind Gif: convert it to JPEG, PNG, WebP or BMP");
        for format in FORMATS {
            let whole = bytes(&flag().into(), format);
            for end in [8, whole.len() / 2] {
                let message = says(&whole[..end]);
                assert!(message.starts_with("FILE ") && message.contains("get it again"), "{format:?} {end}: {message}");
                assert_eq!(message.lines().count(), 1);
            }
        }
        let truncated = bytes(&flag().into(), ImageFormat::Jpeg);
        let message = says(&truncated[..truncated.len() - 10]);
        assert_eq!(message, "FILE ends in the middle of the image: it is truncated, get it again");
    }

    /// The end of a preview in the metadata is not the end of a truncated JPEG, and bytes after the end do not matter.
    #[test]
    fn a_jpeg_ends_at_its_own_end() {
        let preview = bytes(&flag().into(), ImageFormat::Jpeg);
        let mut whole = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut whole, 100);
        encoder.set_exif_metadata(preview.clone()).unwrap();
        encoder.encode_image(&flag()).unwrap();
        let image = open(&whole).unwrap();
        for behind in [b"\xFF\xD8\xFF".as_slice(), b"\xFF\xDA", &[0; 9], &preview[..preview.len() / 2]] {
            assert_eq!(open(&[&whole, behind].concat()).unwrap(), image);
        }
        for end in [preview.len() + 40, whole.len() / 2 + preview.len() / 2, whole.len() - 1] {
            assert!(open(&whole[..end]).unwrap_err().to_string().contains("get it again"), "{end}");
        }
    }

    /// Pillow opens these files, because it reads up to eight bytes ahead, but no progressive ones.
    #[test]
    fn a_jpeg_without_its_end_needs_bytes_behind() {
        let noise = RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 37 + y * 101) as u8, (x * y) as u8, ((x ^ y) * 8) as u8]));
        for image in [noise, flag(), RgbImage::from_pixel(64, 64, Rgb([128; 3]))] {
            let whole = bytes(&image.into(), ImageFormat::Jpeg);
            let (image, data) = (open(&whole).unwrap(), &whole[..whole.len() - 2]);
            for behind in [&[0; 2][..], &[0; 9], &[0; 4000], b"a text of the camera's", &[0x55; 20], b"\xFF\xD8 and no more"] {
                assert_eq!(open(&[data, behind].concat()).unwrap(), image, "{behind:?}");
            }
            for cut in [1, 2, 5, 10, data.len() / 4] {
                let message = open(&data[..data.len() - cut]).unwrap_err().to_string();
                assert!(message.contains("FILE ends in the middle of the image: it is truncated"), "{cut}: {message}");
            }
            assert!(open(data).is_err() && open(&[data, b"\xFF"].concat()).is_err());
        }
        let progressive = include_bytes!("../../tests/fixtures/progressive.jpg");
        assert!(with(progressive, Exif::Ignore).is_ok());
        let message = open(&[&progressive[..progressive.len() - 2], &[0; 100]].concat()).unwrap_err().to_string();
        assert!(message.contains("is truncated"), "{message}");
    }

    /// Decoding waits for memory that another thread holds.
    #[test]
    fn decoding_waits_for_its_share_of_memory() {
        let (file, (sender, receiver)) = (bytes(&flag().into(), ImageFormat::Png), std::sync::mpsc::channel());
        let everything = IMAGES.take(u64::MAX);
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(open(&file).unwrap().dimensions()).unwrap());
            assert!(receiver.recv_timeout(std::time::Duration::from_millis(200)).is_err());
            drop(everything);
            assert_eq!(receiver.recv().unwrap(), (24, 16));
        });
    }

    /// Each header announces gigabytes in a few bytes.
    #[test]
    fn bombs_are_refused_by_their_header() {
        let mut bmp = bytes(&flag().into(), ImageFormat::Bmp);
        bmp[18..22].copy_from_slice(&16_000i32.to_le_bytes());
        bmp[22..26].copy_from_slice(&16_000i32.to_le_bytes());
        let message = open(&bmp).unwrap_err().to_string();
        assert!(
            message.starts_with("FILE is 16000×16000 pixels, 768000000 bytes when decoded: at most 16384 pixels"),
            "{message}"
        );

        let mut jpeg = bytes(&flag().into(), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        jpeg[frame + 5..frame + 9].fill(0xFF);
        assert!(open(&jpeg).unwrap_err().to_string().contains("65535×65535"));

        // Gray has one byte per pixel in the file, and three when decoded.
        let mut gray = bytes(&GrayImage::new(2, 2).into(), ImageFormat::Png);
        gray[16..24].copy_from_slice(&[0, 0, 0x3E, 0x80, 0, 0, 0x3E, 0x80]);
        let check = crc(&gray[12..29]);
        gray[29..33].copy_from_slice(&check.to_be_bytes());
        assert!(open(&gray).unwrap_err().to_string().starts_with("FILE is 16000×16000 pixels, 768000000 bytes when decoded"));

        // A valid file: 20,000 blank rows in a kilobyte.
        let long = bytes(&GrayImage::new(1, 20_000).into(), ImageFormat::Png);
        assert!(open(&long).unwrap_err().to_string().starts_with("FILE is 1×20000 pixels"));
    }

    /// The checksum of a PNG chunk, bit by bit.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))))
    }

    #[test]
    fn folders_and_absent_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let says = |path: &Path| decode(path, Exif::Rotate).err().unwrap().to_string();
        assert!(says(folder.path()).contains("is a folder, expected a file"));
        assert!(says(&folder.path().join("none.jpg")).contains("none.jpg: "));
        let large = folder.path().join("large.jpg");
        std::fs::File::create(&large).unwrap().set_len(LARGEST_FILE + 1).unwrap();
        assert!(says(&large).contains("large.jpg is larger than 128 MiB"), "{}", says(&large));
        #[cfg(unix)]
        assert!(says(Path::new("/dev/zero")).contains("is not a regular file"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_never_panics(which in 0usize..4, place in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut file = bytes(&flag().into(), FORMATS[which]);
            let place = place.index(file.len());
            file[place] = value;
            if let Ok(image) = open(&file) {
                prop_assert!(image.width() > 0 && image.height() > 0);
            }
        }
    }
}
