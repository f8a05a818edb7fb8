//! Lists of photographs: text files of which every line is checked.

use crate::{Error, Result};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A photograph: its path, relative to the folder of its dataset, and its label.
pub(crate) type Item = (PathBuf, u32);

/// File name extensions of photographs.
pub(super) const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];
/// Largest list in bytes; the list of 60,502 products has 4 MB.
const LARGEST: u64 = 64 << 20;

pub(super) struct List {
    path: PathBuf,
    text: String,
}

pub(super) struct Line<'a> {
    list: &'a List,
    number: usize,
    pub(super) text: &'a str,
}

impl List {
    /// Reads a list of a dataset: UTF-8, or UTF-16 with a byte-order mark.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Layout`] for a file that is no text, larger than a list, or no regular file.
    pub(super) fn read(path: PathBuf) -> Result<Self> {
        match path.metadata() {
            Ok(metadata) if !metadata.is_file() => {
                Err(Error::Layout { path, found: "is not a regular file".into(), help: "put the list itself there".into() })
            }
            _ => Self::read_once(path),
        }
    }

    /// As [`List::read`], but also from a pipe.
    pub(super) fn read_once(path: PathBuf) -> Result<Self> {
        let wrong = |path, found: String, help: &str| Err(Error::Layout { path, found, help: help.into() });
        match rankle_files::read_limited(&path, LARGEST) {
            Err(reason) if reason.kind() == io::ErrorKind::FileTooLarge => {
                let found = format!("is larger than {} MiB", LARGEST >> 20);
                wrong(path, found, "it is no list of photographs, get it again")
            }
            Err(reason) => Err(Error::Read { path, reason }),
            Ok(bytes) => match rankle_files::text(bytes) {
                Some(text) => Ok(Self { path, text }),
                None => wrong(path, "is no text in UTF-8, or in UTF-16 with a byte-order mark".into(), "save it as UTF-8"),
            },
        }
    }

    /// The lines, without empty ones.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let lines = self.text.lines().enumerate();
        lines.map(|(place, text)| Line { list: self, number: place + 1, text: text.trim() }).filter(|line| !line.text.is_empty())
    }
}

impl<'a> Line<'a> {
    /// Splits the line into exactly `N` columns; the last column takes the rest of the line, because a path may contain blanks.
    pub(super) fn columns<const N: usize>(&self) -> Result<[&'a str; N]> {
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

    /// Checks that the line is the header of the list, with any blanks between its words.
    pub(super) fn check_header(&self, header: &str) -> Result<()> {
        if self.text.split_whitespace().eq(header.split_whitespace()) {
            return Ok(());
        }
        let start: String = self.text.chars().take(60).collect();
        self.fault(format!("'{start}' instead of '{header}'"), "this is another file, get the list again")
    }

    /// Parses a whole number.
    pub(super) fn number(&self, text: &str) -> Result<u32> {
        text.parse().or_else(|_| self.fault(format!("'{text}' is no number"), "the list is damaged, get it again"))
    }

    /// Parses the path of a photograph inside the folder of the dataset.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf> {
        // `find` writes paths as `./a.jpg`.
        let path: PathBuf = Path::new(text).components().filter(|part| *part != Component::CurDir).collect();
        if !is_inside(&path) {
            return self.fault(format!("'{text}' leads out of the folder of the dataset"), "get the list again");
        }
        if !is_photo(&path) {
            return self.fault(format!("'{text}' names no photograph"), "the list is truncated or damaged, get it again");
        }
        Ok(path)
    }

    /// Returns [`Error::Line`] with `found` and `help` for this line.
    pub(super) fn fault<T>(&self, found: String, help: &'static str) -> Result<T> {
        Err(Error::Line { path: self.list.path.clone(), line: self.number, found, help })
    }
}

/// True if a relative path stays inside its folder, judged by its components alone.
pub(super) fn is_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// True if a file name has the extension of a photograph.
pub fn is_photo(path: &Path) -> bool {
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
        let list = List { path: "LIST".into(), text: "1 22  3 a b.jpg\n\n7 8\nx 2 3 /a.jpg".into() };
        let lines: Vec<Line<'_>> = list.lines().collect();
        assert_eq!(lines[0].columns().unwrap(), ["1", "22", "3", "a b.jpg"]);
        let says = |result: Result<[&str; 4]>| result.unwrap_err().to_string();
        assert_eq!(says(lines[1].columns()), "LIST, line 3: 2 of 4 columns: the list is truncated or damaged, get it again");
        assert_eq!(
            lines[2].number("x").unwrap_err().to_string(),
            "LIST, line 4: 'x' is no number: the list is damaged, get it again"
        );
        assert_eq!(lines[2].path("././a/./b.jpg").unwrap(), Path::new("a/b.jpg"));
        for (path, says) in [
            ("/a.jpg", "leads out"),
            ("./../a.jpg", "leads out"),
            (".", "leads out"),
            ("a/../../b.jpg", "leads out"),
            ("a/b.jp", "names no photograph"),
        ] {
            assert!(lines[2].path(path).unwrap_err().to_string().contains(says), "{path}");
        }
    }

    /// Endless files are read up to a limit, and messages show only a part of a long line.
    #[cfg(unix)]
    #[test]
    fn devices_pipes_and_endless_lists() {
        let says = |list: Result<List>| list.err().expect("it has an end").to_string();
        assert!(says(List::read("/dev/zero".into())).contains("is not a regular file"));
        assert!(says(List::read_once("/dev/zero".into())).contains("cannot read /dev/zero"));
        let folder = tempfile::tempdir().unwrap();
        let (large, pipe) = (folder.path().join("large"), folder.path().join("pipe"));
        std::fs::File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(says(List::read(large)).contains("is larger than 64 MiB"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(says(List::read(pipe.clone())).contains("is not a regular file"));
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&pipe, "a/b.jpg").unwrap());
            assert_eq!(List::read_once(pipe.clone()).unwrap().text, "a/b.jpg");
        });
        let list = List { path: "LIST".into(), text: "x".repeat(6 << 20) };
        let message = list.lines().next().unwrap().path(&list.text).unwrap_err().to_string();
        assert!(message.starts_with("LIST, line 1: 'xxx") && message.chars().count() < 400, "{}", message.len());
    }
}
