//! JSON of unknown origin: texts and messages of bounded length.

use super::refuse;
use rankle_core::Result;
use serde::de::DeserializeOwned;

/// Longest accepted text, in bytes. Public ones have a few thousand.
const LONGEST: usize = 1 << 20;
/// Longest part of a text in a message, in characters.
const QUOTED: usize = 100;

/// Parses the text of a file.
///
/// # Errors
/// [`Error::Refused`](rankle_core::Error::Refused) naming the file, for a long text and for one that does not fit.
pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    if text.len() > LONGEST {
        return refuse(file, format!("{} bytes, where at most {LONGEST} are read", text.len()));
    }
    serde_json::from_str(text).or_else(|error| refuse(file, quoted(error.to_string())))
}

/// A text for a message: one line of bounded length.
pub(super) fn quoted(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let mut short: String = text.chars().take(QUOTED).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(QUOTED).is_some() {
        short.push('…');
    }
    short
}
