//! Constants outside of the file, beside it.

use candle_core::{Result, bail};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Most bytes of all constants of a model together.
const ROOM: usize = 8 << 30;

/// The folder of an ONNX file. Constants may be in other files of this folder and in none besides.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// True once numbers were read from another file.
    is_used: Cell<bool>,
    /// Bytes that further constants may take.
    room: Cell<usize>,
}

impl Folder {
    pub(crate) fn of(file: &Path) -> Self {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self { path: folder.to_owned(), is_used: Cell::new(false), room: Cell::new(ROOM) }
    }

    /// True once numbers were read from another file than the model's own.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.get()
    }

    /// Takes the room of a constant, once for each that names the same bytes.
    ///
    /// # Errors
    /// Constants of more bytes together than there is room for.
    pub(crate) fn take(&self, bytes: usize) -> Result<()> {
        let Some(left) = self.room.get().checked_sub(bytes) else {
            bail!("{bytes} bytes, beyond the {} MiB that all constants may take together", ROOM >> 20)
        };
        self.room.set(left);
        Ok(())
    }

    /// Reads `size` bytes of the place that `entries` name.
    ///
    /// # Errors
    /// A file that is missing, too short, or not inside of the folder, and another length than `size`.
    pub(crate) fn read(&self, entries: &[(&str, &str)], size: usize) -> Result<Vec<u8>> {
        let entry = |key: &str| entries.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let Some(location) = entry("location") else { bail!("numbers in another file, which it does not name") };
        let number = |key: &str| match entry(key) {
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => bail!("numbers in '{location}' at an {key} of '{text}'"),
            },
            None => Ok(None),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|length| length != size as u64) {
            bail!("{} bytes in '{location}' where its shape needs {size}", length.unwrap_or(0))
        }
        let mut file = self.open(location)?;
        self.is_used.set(true);
        let mut read = || -> std::io::Result<Option<Vec<u8>>> {
            // Before the memory is taken: a shape may claim anything.
            let held = file.metadata()?.len();
            if offset.checked_add(size as u64).is_none_or(|end| end > held) {
                return Ok(None);
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(size)?;
            let read = (&file).take(size as u64).read_to_end(&mut bytes)?;
            Ok((read == size).then_some(bytes))
        };
        match read() {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => bail!("{size} bytes in '{location}' from {offset} on, which is beyond its end"),
            Err(error) => bail!("numbers in '{location}', which cannot be read ({error})"),
        }
    }

    fn open(&self, location: &str) -> Result<File> {
        let relative = Path::new(location);
        if location.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            bail!("numbers in '{location}', which is outside of the model's folder")
        }
        let resolved = fs::canonicalize(&self.path).and_then(|folder| Ok((fs::canonicalize(self.path.join(relative))?, folder)));
        let (path, folder) = match resolved {
            Ok(paths) => paths,
            Err(error) => bail!("numbers in '{location}', which cannot be read ({error}): it belongs beside the model"),
        };
        if !path.starts_with(folder) {
            bail!("numbers in '{location}', a link to outside of the model's folder: put a copy there")
        }
        match path.is_file().then(|| File::open(&path)) {
            Some(Ok(file)) => Ok(file),
            Some(Err(error)) => bail!("numbers in '{location}', which cannot be read ({error})"),
            None => bail!("numbers in '{location}', which is not a regular file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_inside_is_read() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("secret"), [7; 16]).unwrap();
        let inner = outer.path().join("model");
        fs::create_dir_all(inner.join("parts")).unwrap();
        fs::write(inner.join("weights"), [1, 2, 3, 4]).unwrap();
        fs::write(inner.join("parts/weights"), [5, 6]).unwrap();
        let folder = Folder::of(&inner.join("model.onnx"));
        let place = |location, offset, length| [("location", location), ("offset", offset), ("length", length)];
        assert_eq!(folder.read(&place("weights", "1", "2"), 2).unwrap(), [2, 3]);
        assert_eq!(folder.read(&[("location", "parts/weights")], 2).unwrap(), [5, 6]);

        let secret = outer.path().join("secret").to_str().unwrap().to_owned();
        #[allow(unused_mut)]
        let mut outside = vec!["../secret", "parts/../../secret", &secret, ""];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../secret", inner.join("link")).unwrap();
            outside.push("link");
        }
        for location in outside {
            let message = folder.read(&[("location", location)], 4).unwrap_err().to_string();
            assert!(message.contains("outside of the model's folder"), "{location}: {message}");
        }
        let refused = |entries: &[(&str, &str)], size, part: &str| {
            let message = folder.read(entries, size).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("weights"), "{message}");
        };
        refused(&place("weights", "3", "2"), 2, "beyond its end");
        refused(&place("weights", "0", "2"), 4, "2 bytes in");
        refused(&place("weights", "18446744073709551615", "4"), 4, "beyond its end");
        refused(&[("location", "weights")], usize::MAX, "beyond its end");
        refused(&place("weights", "x", "4"), 4, "an offset of 'x'");
        refused(&[("location", "no-weights")], 4, "cannot be read");
        assert_eq!(folder.read(&place("./weights", "1", "2"), 2).unwrap(), [2, 3]);
        folder.take(ROOM - 1).unwrap();
        assert!(folder.take(2).unwrap_err().to_string().contains("2 bytes, beyond the 8192 MiB"));
        assert!(folder.read(&[("location", ".")], 4).unwrap_err().to_string().contains("not a regular file"));
        assert!(folder.read(&[("location", "parts")], 4).unwrap_err().to_string().contains("not a regular file"));
        assert!(folder.read(&[], 4).unwrap_err().to_string().contains("does not name"));
    }
}
