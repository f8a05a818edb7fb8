//! Shortens texts from files and arguments for use in messages.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Longest text in a message, in characters.
const TEXT: usize = 200;
/// Longest path in a message, in characters: longer, because it tells the user where to look.
const PATH: usize = 400;

/// Cuts the middle out of a text that is too long for a message.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    shortened(text, TEXT)
}

/// Cuts the middle out of a path that is too long for a message.
pub(crate) fn shown(path: &Path) -> String {
    shortened(&path.to_string_lossy(), PATH).into_owned()
}

/// The last component of an absolute path, or `otherwise` if it has none; a relative path is unchanged.
pub(crate) fn portable(path: &Path, otherwise: &str) -> PathBuf {
    match path.is_absolute() {
        true => path.file_name().map_or_else(|| otherwise.into(), PathBuf::from),
        false => path.into(),
    }
}

fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    // Characters are counted only up to the limit: the text may have gigabytes.
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
