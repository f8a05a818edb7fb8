//! What a program says of its model.

use crate::frame::VERSION;
use rankle_core::{Filter, InputSpec, Resize};
use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// A program's answer to `describe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Images that the model takes.
    pub input: InputSpec,
    /// Dimension of the embeddings.
    pub embedding_size: usize,
    /// True if the program answers `gradient`.
    pub gradient: bool,
}

/// Sides of images in pixels, and dimensions of embeddings: a slip or a lie would ask for gigabytes.
const SIDES: RangeInclusive<usize> = 1..=4096;
const SIZES: RangeInclusive<usize> = 1..=1 << 20;

impl Description {
    /// # Errors
    /// What is wrong, for a message that names the program.
    pub(crate) fn parse(words: &HashMap<String, String>) -> Result<Self, String> {
        let word = |name: &str| words.get(name).map(String::as_str).filter(|word| !word.is_empty());
        let needed = |name: &str| word(name).ok_or_else(|| format!("no \"{name}\" among the words of its description"));
        match needed("protocol")? {
            VERSION => (),
            other => return Err(format!("protocol {other:.20?}, and this program speaks protocol {VERSION}")),
        }
        let number = |name: &str, range: &RangeInclusive<usize>| {
            let text = needed(name)?;
            let number = text.parse().ok().filter(|number| range.contains(number));
            number
                .ok_or_else(|| format!("{name} {text:.20?}: a whole number from {} to {} is needed", range.start(), range.end()))
        };
        let channels = number("channels", &(1..=3))?;
        if channels == 2 {
            return Err("channels \"2\": 1 for gray or 3 for color is needed".into());
        }
        let side = number("side", &SIDES)?;
        let edge = word("edge").map(|_| number("edge", &(side..=*SIDES.end()))).transpose()?;
        let gradient = match word("gradient").map(str::to_lowercase).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(format!("gradient {other:.20?}: true or false is needed")),
        };
        Ok(Self {
            input: InputSpec {
                shape: (channels, side, side),
                resize: word("resize").map(|word| one_of("resize", word, &Resize::ALL)).transpose()?,
                edge,
                filter: word("filter").map(|word| one_of("filter", word, &Filter::ALL)).transpose()?,
            },
            embedding_size: number("embedding_size", &SIZES)?,
            gradient,
        })
    }
}

fn one_of<T: Copy + Display>(what: &str, word: &str, all: &[T]) -> Result<T, String> {
    let known = || all.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    all.iter().copied().find(|one| one.to_string() == word).ok_or_else(|| format!("{what} {word:.20?}; known: {}", known()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(said: &str) -> Result<Description, String> {
        let words = said.split_whitespace().filter_map(|word| word.split_once('='));
        Description::parse(&words.map(|(name, word)| (name.to_owned(), word.to_owned())).collect())
    }

    const LEAST: &str = "protocol=1 channels=3 side=224 embedding_size=512";

    #[test]
    fn what_is_left_out_is_not_specified() {
        let input = InputSpec::of_shape((3, 224, 224));
        assert_eq!(parse(LEAST), Ok(Description { input, embedding_size: 512, gradient: false }));
        let whole = parse(&format!("{LEAST} resize=shorter edge=256 filter=bicubic gradient=True more=1")).unwrap();
        let (resize, filter) = (Some(Resize::Shorter), Some(Filter::Bicubic));
        assert_eq!(whole.input, InputSpec { resize, edge: Some(256), filter, ..input });
        assert!(whole.gradient);
    }

    #[test]
    fn a_wrong_word_is_told() {
        for (said, reason) in [
            ("channels=3", "no \"protocol\" among the words of its description"),
            ("protocol=2", "protocol \"2\", and this program speaks protocol 1"),
            ("protocol=1 channels=3 side=224", "no \"embedding_size\" among the words of its description"),
            ("protocol=1 channels=2 side=1 embedding_size=1", "channels \"2\": 1 for gray or 3 for color is needed"),
            ("protocol=1 channels=3 side=99999", "side \"99999\": a whole number from 1 to 4096 is needed"),
            (&format!("{LEAST} edge=100"), "edge \"100\": a whole number from 224 to 4096 is needed"),
            (&format!("{LEAST} resize=long"), "resize \"long\"; known: shorter, square, none"),
            (&format!("{LEAST} filter=nearest"), "filter \"nearest\"; known: bilinear, bicubic"),
            (&format!("{LEAST} gradient=1"), "gradient \"1\": true or false is needed"),
        ] {
            assert_eq!(parse(said).unwrap_err(), reason);
        }
    }
}
