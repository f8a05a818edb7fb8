//! Image tables of the hub: Parquet files with a column `image` (a struct whose `bytes` are an encoded file) and a column
//! `label`, as written by the Python library `datasets`.

use crate::{Error, Result, Watch, folder};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// One split of a table, and the folder for its images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Parquet files of the split, in order.
    pub files: Vec<PathBuf>,
    /// Folder for the images, below the output folder.
    pub folder: String,
    /// Required number of images.
    pub images: usize,
}

/// Writes the images and labels of a split as a pair of IDX files: a header, then gray bytes row by row, or labels.
///
/// # Errors
/// [`Error::Table`] for anything but gray images of one size and labels below 256; [`Error::File`], [`Error::Interrupted`].
pub fn idx(files: &[PathBuf], images: &Path, labels: &Path, watch: Watch<'_>) -> Result<()> {
    let (mut size, mut pixels, mut classes) = (None, Vec::new(), Vec::new());
    each(files, watch, &mut |path, bytes, label| {
        let fault = |found: String| Error::Table { path: path.into(), found };
        let image =
            image::load_from_memory(bytes).map_err(|error| fault(format!("has an entry that is not an image ({error})")))?;
        let image::DynamicImage::ImageLuma8(image) = image else { return Err(fault("has an image that is not gray".into())) };
        if *size.get_or_insert(image.dimensions()) != image.dimensions() {
            return Err(fault("has images of several sizes".into()));
        }
        pixels.extend_from_slice(image.as_raw());
        classes.push(u8::try_from(label).map_err(|_| fault(format!("has label {label}, expected 0 to 255")))?);
        Ok(())
    })?;
    let count = classes.len() as u32;
    let (width, height) = size.unwrap_or_default();
    write(images, &[0x0803, count, height, width], &pixels)?;
    write(labels, &[0x0801, count], &classes)
}

fn write(path: &Path, header: &[u32], content: &[u8]) -> Result<()> {
    let header: Vec<u8> = header.iter().flat_map(|number| number.to_be_bytes()).collect();
    rankle_files::write(path, [&header, content].concat()).map_err(Error::write(path))
}

/// Writes the images of several splits below `output`, as `FOLDER/CLASS/NUMBER.jpg` or `.png`. On an error nothing is written.
/// Classes are counted from 1 and have three digits, so that their names sort as the labels.
///
/// # Errors
/// [`Error::Table`] for a wrong number of images, for labels that are not below `classes`, and for images that are neither JPEG
/// nor PNG; [`Error::File`], [`Error::Interrupted`].
pub fn photos(parts: &[Part], classes: usize, output: &Path, watch: Watch<'_>) -> Result<()> {
    let temporary = folder::temporary(rankle_files::folder_of(output))?;
    for part in parts {
        let mut number = 0;
        each(&part.files, watch, &mut |path, bytes, label| {
            let fault = |found: String| Error::Table { path: path.into(), found };
            let class = usize::try_from(label).ok().filter(|&class| class < classes);
            let class = class.ok_or_else(|| fault(format!("has label {label}, expected one below {classes}")))?;
            let extension = match bytes {
                [0xFF, 0xD8, 0xFF, ..] => "jpg",
                [0x89, b'P', b'N', b'G', ..] => "png",
                _ => return Err(fault("has an image that is neither JPEG nor PNG".into())),
            };
            number += 1;
            let folder = temporary.path().join(&part.folder).join(format!("{:03}", class + 1));
            fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
            let path = folder.join(format!("{number:05}.{extension}"));
            fs::write(&path, bytes).map_err(Error::write(&path))
        })?;
        if number != part.images {
            let path = part.files.first().cloned().unwrap_or_default();
            return Err(Error::Table {
                path,
                found: format!("and the other files of its split have {number} images, expected {}", part.images),
            });
        }
    }
    folder::settle(temporary.path(), output, watch)
}

/// Callback for an encoded image and its label. The path is that of the Parquet file.
type Take<'a> = &'a mut dyn FnMut(&Path, &[u8], i64) -> Result<()>;

/// Calls `take` for every image and its label, file by file, row by row.
fn each(files: &[PathBuf], watch: Watch<'_>, take: Take<'_>) -> Result<()> {
    let mut done = 0;
    for path in files {
        let fault = |found: String| Error::Table { path: path.clone(), found };
        let damaged = |error: parquet::errors::ParquetError| fault(format!("is damaged or no Parquet file ({error})"));
        let file = File::open(path).map_err(Error::read(path))?;
        let reader = SerializedFileReader::new(file).map_err(damaged)?;
        for row in reader.get_row_iter(None).map_err(damaged)? {
            let row = row.map_err(damaged)?;
            let (bytes, label) = cells(&row).ok_or_else(|| fault("has no columns image (bytes) and label".into()))?;
            take(path, bytes, label)?;
            done += bytes.len() as u64;
            watch.see(done, None)?;
        }
    }
    Ok(())
}

fn cells(row: &Row) -> Option<(&[u8], i64)> {
    let (mut image, mut label) = (None, None);
    for (name, field) in row.get_column_iter() {
        match (name.as_str(), field) {
            ("image", Field::Group(image_file)) => {
                image = image_file.get_column_iter().find_map(|(name, field)| match field {
                    Field::Bytes(bytes) if name == "bytes" => Some(bytes.data()),
                    _ => None,
                });
            }
            ("label", Field::Long(value)) => label = Some(*value),
            ("label", Field::Int(value)) => label = Some(i64::from(*value)),
            _ => {}
        }
    }
    Some((image?, label?))
}
