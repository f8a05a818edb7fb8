//! Input and output files: checks before the work, writing, hashes, and the error messages.

use crate::stop::Stop;
use anyhow::{Context, Result, bail};
use rankle_files::Draft;
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// A file or folder that a command reads.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// The option that names the path.
    option: &'static str,
    path: PathBuf,
    /// True if the path is a folder in which every image is read.
    has_images: bool,
}

impl Input {
    pub(crate) fn new(option: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { option, path: path.into(), has_images: false }
    }

    pub(crate) fn photographs(option: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { option, path: path.into(), has_images: true }
    }

    /// True if an output at this path would be read as one of the images, or would replace one.
    fn would_have(&self, output: &Path) -> std::io::Result<bool> {
        Ok(self.has_images && rankle_data::is_photo(output) && rankle_files::is_within(output, &self.path)?)
    }
}

/// Bytes that a disk must have room for before the work begins. A larger check proves no more: others write to the disk as well.
static ROOM: [u8; 1 << 16] = [0; 1 << 16];

/// Checks that `path` can be written, before hours of work are spent. No file is left behind.
///
/// # Errors
/// One line that names the path.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    match path.metadata() {
        Ok(found) if found.is_dir() => bail!("{} is a folder: name a file in it", path.display()),
        Ok(found) if !found.is_file() => bail!("{} is not a regular file: name one that is, or a new one", path.display()),
        // A name that is too long, or a folder without permission.
        Err(error) if ![ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Err(error).with_context(|| refused(path));
        }
        _ => {}
    }
    let folder = rankle_files::folder_of(path);
    if !folder.is_dir() {
        bail!("{} cannot be written: there is no folder {}", path.display(), folder.display());
    }
    Draft::of(path).and_then(|mut draft| draft.write_all(&ROOM)).with_context(|| refused(path))
}

/// Checks that every output can be written, that no output is another output or an input, and that no output lies among the
/// images of an input.
///
/// # Errors
/// As [`check_writable`]; [`Stop`] with the exit code for wrong arguments when two options name one file, or when an output is an
/// image in an input folder.
pub(crate) fn check_outputs(outputs: &[(&str, Option<&Path>)], inputs: &[Input]) -> Result<()> {
    let outputs: Vec<(&str, &Path)> = outputs.iter().filter_map(|&(option, path)| Some((option, path?))).collect();
    let read = inputs.iter().map(|input| (input.option, input.path.as_path()));
    for (at, &(option, path)) in outputs.iter().enumerate() {
        for (other, read) in outputs[at + 1..].iter().copied().chain(read.clone()) {
            if rankle_files::are_one(path, read).with_context(|| refused(path))? {
                return Err(Stop::usage(format!("{option} and {other} both name {}: give them two files", path.display())).into());
            }
        }
        inputs.iter().try_for_each(|input| check_place(option, path, input))?;
        check_writable(path)?;
    }
    Ok(())
}

/// Checks that an image, or a folder of images, may be written at `path`.
///
/// # Errors
/// [`Stop`] with the exit code for wrong arguments when the image would be among those that `input` reads.
pub(crate) fn check_place(option: &str, path: &Path, input: &Input) -> Result<()> {
    if !input.would_have(path).with_context(|| refused(path))? {
        return Ok(());
    }
    let (path, folder) = (path.display(), input.path.display());
    let why = format!("{option} names {path}, and every image in {folder} is read by {}: choose another place", input.option);
    Err(Stop::usage(why).into())
}

/// Writes a file atomically: after an error the old content is still there.
///
/// # Errors
/// One line that names the path.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    rankle_files::write(path, contents).with_context(|| refused(path))
}

fn refused(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}

/// SHA-256 of bytes, in hexadecimal. Not of a path: the file may have changed between two reads.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a regular file, in hexadecimal, without reading it into memory.
///
/// # Errors
/// When the file cannot be read, and for devices and pipes, which may have no end.
pub(crate) fn hash_file(path: &Path) -> std::io::Result<String> {
    // Opening a pipe would block.
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut hash = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_check_leaves_nothing_and_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        check_writable(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        write(&path, "abc").unwrap();
        let hashes = [hash(&fs::read(&path).unwrap()), hash_file(&path).unwrap()];
        assert_eq!(hashes, ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; 2]);
        assert!(hash_file(folder.path()).is_err());
        for wrong in [folder.path(), &folder.path().join("none/file"), &path.join("file")] {
            for message in [check_writable(wrong).unwrap_err(), write(wrong, "").unwrap_err()].map(|error| error.to_string()) {
                assert!(message.starts_with(wrong.to_str().unwrap()), "{message}");
            }
        }
    }

    #[test]
    fn two_options_need_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let [file, same, other] = ["file", "./file", "other"].map(|name| folder.path().join(name));
        let message = |outputs: &[(&str, Option<&Path>)], inputs: &[Input]| {
            check_outputs(outputs, inputs).map_err(|error| error.to_string()).err()
        };
        let (a, b) = (("--a", Some(file.as_path())), ("--b", Some(same.as_path())));
        for said in [message(&[a, b], &[]), message(&[a], &[Input::new("--other", &other), Input::new("--b", &same)])] {
            assert!(said.unwrap().starts_with("--a and --b both name "));
        }
        assert_eq!(message(&[a, ("--b", Some(&other)), ("--c", None)], &[]), None);
        assert!(message(&[("--a", Some(folder.path()))], &[]).unwrap().contains("is a folder"));
    }

    /// `picture --output DATASET/a/0.png` once replaced an image of the dataset; under a new name the picture became one of them.
    #[test]
    fn a_folder_of_photographs_gets_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        fs::create_dir_all(images.join("a")).unwrap();
        fs::write(images.join("a/0.png"), "").unwrap();
        let message = |path: &Path| {
            check_outputs(&[("--output", Some(path))], &[Input::photographs("--dataset", &images)])
                .map_err(|error| error.to_string())
                .err()
        };
        for path in ["a/0.png", "a/../a/0.png", "a/1.PNG", "new/0.jpg"].map(|name| images.join(name)) {
            assert!(message(&path).unwrap().contains(" is read by --dataset: choose another place"));
        }
        // Records are no images: the same command must be able to resume with them.
        assert_eq!([images.join("records.jsonl"), folder.path().join("0.png")].map(|path| message(&path)), [None, None]);
        #[cfg(unix)]
        {
            let link = folder.path().join("link.png");
            std::os::unix::fs::symlink(images.join("a/0.png"), &link).unwrap();
            assert!(message(&link).unwrap().contains(" is read by --dataset"));
        }
    }

    #[test]
    fn a_name_that_cannot_be_is_found_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(300));
        assert!(format!("{:#}", check_writable(&path).unwrap_err()).contains("cannot be written: "));
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_left_alone_and_links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&path, "").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        check_writable(&link).unwrap();
        assert!(check_writable(Path::new("/dev/null")).unwrap_err().to_string().contains("not a regular file"));
    }
}
