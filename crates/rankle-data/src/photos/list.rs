//! Lists of photographs: text files that are believed only line by line.

use crate::{Error, Result};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// A file, as seen from the folder of its dataset, and its label.
pub(crate) type Item = (PathBuf, u32);

/// How photographs are called.
pub(super) const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];
/// A list is at most so large; that of 60,502 products has 4 MB.
const LARGEST: u64 = 64 << 20;

/// A list that was read.
pub(super) struct List {
    path: PathBuf,
    text: String,
}

/// A line of it.
pub(super) struct Line<'a> {
    list: &'a List,
    number: usize,
    pub(super) text: &'a str,
}

impl List {
    /// # Errors
    /// [`Error::Read`], also for what is no UTF-8; [`Error::Layout`] for what is too large to be a list.
    pub(super) fn read(path: PathBuf) -> Result<Self> {
        if path.exists() && !path.is_file() {
            return Err(Error::Layout { path, found: "is no ordinary file".into(), help: "put the list itself there".into() });
        }
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
        if let Err(reason) = read {
            return Err(Error::Read { path, reason });
        }
        if text.len() as u64 > LARGEST {
            let found = format!("is larger than {} MiB", LARGEST >> 20);
            return Err(Error::Layout { path, found, help: "it is no list of photographs, get it again".into() });
        }
        Ok(Self { path, text })
    }

    /// Its lines, without those that are empty, and without the byte order mark that some editors put in front.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let text = self.text.strip_prefix('\u{FEFF}').unwrap_or(&self.text);
        let lines = text.lines().enumerate().map(|(place, text)| Line { list: self, number: place + 1, text: text.trim() });
        lines.filter(|line| !line.text.is_empty())
    }
}

impl Line<'_> {
    /// Exactly `N` columns; the last one takes all that is left, for a path may hold blanks.
    ///
    /// # Errors
    /// [`Error::Line`] when there are fewer.
    pub(super) fn columns<const N: usize>(&self) -> Result<[&str; N]> {
        let mut rest = self.text;
        let mut columns = [""; N];
        for column in &mut columns[..N - 1] {
            (*column, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = rest.trim_start();
        }
        columns[N - 1] = rest;
        let found = columns.iter().filter(|column| !column.is_empty()).count();
        if found < N {
            self.fault(format!("{found} of {N} columns"), "the list is truncated or damaged, get it again")
        } else {
            Ok(columns)
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub(super) fn number(&self, text: &str) -> Result<u32> {
        text.parse().or_else(|_| self.fault(format!("'{text}' is no number"), "the list is damaged, get it again"))
    }

    /// A path that stays in the folder and ends as photographs do.
    ///
    /// # Errors
    /// [`Error::Line`].
    pub(super) fn path(&self, text: &str) -> Result<PathBuf> {
        let path = PathBuf::from(text);
        if !is_inside(&path) {
            return self.fault(format!("'{text}' leads out of the folder of the dataset"), "get the list again");
        }
        if !is_photo(&path) {
            return self.fault(format!("'{text}' names no photograph"), "the list is truncated or damaged, get it again");
        }
        Ok(path)
    }

    /// # Errors
    /// Always: what was found in this line.
    pub(super) fn fault<T>(&self, found: String, help: &'static str) -> Result<T> {
        Err(Error::Line { path: self.list.path.clone(), line: self.number, found, help })
    }
}

/// Whether a path, relative to a folder, leads to something in it by its words alone.
pub(super) fn is_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a file is called as photographs are.
pub(super) fn is_photo(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for inside in ["a.jpg", "a b/c d.JPG", "a/..b/c.png", "./a.jpg"] {
            assert_eq!(is_inside(Path::new(inside)), !inside.starts_with('.'), "{inside}");
        }
        for outside in ["", "/etc/a.jpg", "../a.jpg", "a/../../b.jpg", "a/..", "."] {
            assert!(!is_inside(Path::new(outside)), "{outside}");
        }
        assert!(is_photo(Path::new("a.JPG")) && is_photo(Path::new("b.webp")));
        assert!(!is_photo(Path::new("a.jp")) && !is_photo(Path::new("jpg")) && !is_photo(Path::new("a.txt")));
    }

    #[test]
    fn columns_and_faults() {
        let list = List { path: "LIST".into(), text: "\u{FEFF}1 22  3 a b.jpg\n\n7 8\nx 2 3 /a.jpg".into() };
        let lines: Vec<Line<'_>> = list.lines().collect();
        assert_eq!(lines[0].columns().unwrap(), ["1", "22", "3", "a b.jpg"]);
        let says = |result: Result<[&str; 4]>| result.unwrap_err().to_string();
        assert_eq!(says(lines[1].columns()), "LIST, line 3: 2 of 4 columns: the list is truncated or damaged, get it again");
        assert_eq!(
            lines[2].number("x").unwrap_err().to_string(),
            "LIST, line 4: 'x' is no number: the list is damaged, get it again"
        );
        for (path, says) in [("/a.jpg", "leads out"), ("a/../../b.jpg", "leads out"), ("a/b.jp", "names no photograph")] {
            assert!(lines[2].path(path).unwrap_err().to_string().contains(says), "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_no_list() {
        let Err(error) = List::read("/dev/zero".into()) else { panic!("it has an end") };
        assert!(error.to_string().contains("is no ordinary file"), "{error}");
    }
}
