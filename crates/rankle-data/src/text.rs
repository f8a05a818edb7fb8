//! Texts from files and arguments, as messages may show them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// What is shown of a text, in characters.
const TEXT: usize = 200;
/// What is shown of a path: more, for it says where to look.
const PATH: usize = 400;

/// A text without its middle where it is too long for a message.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    shortened(text, TEXT)
}

/// A path, likewise.
pub(crate) fn shown(path: &Path) -> String {
    shortened(&path.to_string_lossy(), PATH).into_owned()
}

/// The end of an absolute path, or `otherwise`; a relative one as it is.
pub(crate) fn portable(path: &Path, otherwise: &str) -> PathBuf {
    match path.is_absolute() {
        true => path.file_name().map_or_else(|| otherwise.into(), PathBuf::from),
        false => path.into(),
    }
}

fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    // Characters are looked at only up to the end of what is shown: the text may have gigabytes.
    if text.len() <= most || text.chars().nth(most).is_none() {
        return text.into();
    }
    let half = (most - 1) / 2;
    let place = |found: Option<(usize, char)>| found.map_or(0, |(place, _)| place);
    let (start, end) = (place(text.char_indices().nth(half)), place(text.char_indices().nth_back(half - 1)));
    format!("{}…{}", &text[..start], &text[end..]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_middle() {
        let short = "é".repeat(TEXT);
        assert_eq!(cut(&short), short);
        let long = cut(&("é".repeat(6_000_000) + "end")).into_owned();
        assert!(long.chars().count() < TEXT && long.starts_with("éé") && long.ends_with("éend"), "{long}");
        assert_eq!(long.matches('…').count(), 1);
        let path = shown(&Path::new(&"folder/".repeat(1000)).join("file.png"));
        assert!(path.chars().count() < PATH && path.ends_with("/folder/file.png"), "{path}");
    }
}
