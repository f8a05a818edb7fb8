//! What a file does not say of its model.

use rankle_core::{Error, Filter, Resize, Result};
use std::path::{Path, PathBuf};

/// What a file does not say of its model: which result is the embedding, and how images are prepared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Name of the result that is the embedding: an output of the graph, or any result of a node. Without it the only output.
    pub output: Option<String>,
    /// Reduces an output that has a vector for each place of an image, or for each token.
    pub pool: Option<Pool>,
    /// Side of the images, in pixels, where the graph leaves it open.
    pub size: Option<usize>,
    /// Resizing of photographs.
    pub resize: Option<Resize>,
    /// Side after resizing and before the center crop, in pixels.
    pub edge: Option<usize>,
    /// Interpolation filter of the resizing.
    pub filter: Option<Filter>,
    /// Mean of each channel, or one for all: pixels are normalized first. Without `mean` and `std` they go in as they are, in
    /// `[0, 1]`.
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, or one for all.
    pub std: Option<Vec<f32>>,
    /// Order of the dimensions of the images, where the graph leaves it open.
    pub layout: Option<Layout>,
}

/// Order of the dimensions of the images that a graph takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `(n, channels, height, width)`, as in PyTorch.
    Nchw,
    /// `(n, height, width, channels)`, as in TensorFlow.
    Nhwc,
}

impl Layout {
    /// Every layout, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Nchw, Self::Nhwc];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nchw => "nchw",
            Self::Nhwc => "nhwc",
        }
    }
}

/// An embedding from a vector for each place `(n, d, height, width)`, by [`Layout::Nhwc`] `(n, height, width, d)`, or for each token
/// `(n, tokens, d)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// The mean of all vectors.
    Mean,
    /// The first token: the class token of most transformers.
    First,
}

impl Pool {
    /// Every kind, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Mean, Self::First];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::First => "first",
        }
    }
}

/// Names of the options.
const NAMES: [&str; 9] = ["output", "pool", "size", "resize", "edge", "filter", "mean", "std", "layout"];

impl Options {
    /// Splits `FILE[,name=value..]` into the file and its options. A list has its numbers between colons: `mean=0.5:0.4:0.4`.
    ///
    /// ```
    /// use rankle_onnx::Options;
    ///
    /// let (file, options) = Options::parse("model.onnx,output=features,mean=0.5,std=0.25")?;
    /// assert_eq!(file.to_str(), Some("model.onnx"));
    /// assert_eq!((options.output.as_deref(), options.std), (Some("features"), Some(vec![0.25])));
    /// # Ok::<(), rankle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unknown`] for another name or word, [`Error::Refused`] for a value that is none and an option given twice.
    pub fn parse(text: &str) -> Result<(PathBuf, Self)> {
        let (file, rest) = Self::split(text);
        if file.is_empty() {
            return Err(Error::Refused("an ONNX file is missing: onnx:FILE[,option=value..]".into()));
        }
        Ok((file.into(), Self::of(rest)?))
    }

    /// The options alone: `[,name=value..]`.
    ///
    /// # Errors
    /// As [`Options::parse`].
    pub fn of(rest: &str) -> Result<Self> {
        let mut options = Self::default();
        let mut last = "";
        for option in rest.split(',').skip(1) {
            match (option.split_once('='), &mut options.output) {
                (Some((name, value)), _) => {
                    options.set(name, value)?;
                    last = name;
                }
                // Names of results may hold commas.
                (None, Some(output)) if last == "output" => output.extend([",", option]),
                _ => {
                    let names = NAMES.join(", ");
                    return Err(Error::Refused(format!("option '{option}' has no value: {names} take one after =")));
                }
            }
        }
        Ok(options)
    }

    /// The two parts of `FILE[,name=value..]`; the second one begins with its comma, or is empty.
    pub fn split(text: &str) -> (&str, &str) {
        // Names of files may hold commas; they end where the first option begins, or a word in the place of one.
        let is_file = |file: &str| file.to_ascii_lowercase().ends_with(".onnx") || Path::new(file).is_file();
        let begins = |at: &usize| {
            text[at + 1..]
                .split_once('=')
                .is_some_and(|(name, _)| NAMES.contains(&name) || !name.contains([',', '/', '\\']) && is_file(&text[..*at]))
        };
        text.split_at(text.match_indices(',').map(|(at, _)| at).find(begins).unwrap_or(text.len()))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "output" => once(&mut self.output, name, value.to_owned()),
            "pool" => once(&mut self.pool, name, word("pool", &Pool::ALL, Pool::as_str, value)?),
            "size" => once(&mut self.size, name, side(name, value)?),
            "edge" => once(&mut self.edge, name, side(name, value)?),
            "resize" => once(&mut self.resize, name, word("resize", &Resize::ALL, Resize::as_str, value)?),
            "filter" => once(&mut self.filter, name, word("filter", &Filter::ALL, Filter::as_str, value)?),
            "layout" => once(&mut self.layout, name, word("layout", &Layout::ALL, Layout::as_str, value)?),
            "mean" => once(&mut self.mean, name, numbers(name, value, |_| true)?),
            "std" => once(&mut self.std, name, numbers(name, value, |number| number > 0.0)?),
            _ => Err(Error::Unknown { what: "option of an ONNX file", name: name.into(), known: NAMES.join(", ") }),
        }
    }
}

fn once<T>(option: &mut Option<T>, name: &str, value: T) -> Result<()> {
    match option.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::Refused(format!("option {name} is given twice"))),
    }
}

fn side(name: &str, value: &str) -> Result<usize> {
    match value.parse() {
        Ok(side) if (1..=65_536).contains(&side) => Ok(side),
        _ => Err(Error::Refused(format!("{name}={value} is no number of pixels"))),
    }
}

fn word<T: Copy>(what: &'static str, all: &[T], name_of: fn(T) -> &'static str, name: &str) -> Result<T> {
    all.iter().copied().find(|&one| name_of(one) == name).ok_or_else(|| {
        let known = all.iter().map(|&one| name_of(one)).collect::<Vec<_>>().join(", ");
        Error::Unknown { what, name: name.into(), known }
    })
}

fn numbers(name: &str, value: &str, valid: fn(f32) -> bool) -> Result<Vec<f32>> {
    let number = |text: &str| text.parse().ok().filter(|number: &f32| number.is_finite() && valid(*number));
    let wrong = || Error::Refused(format!("{name}={value} is no list of numbers between colons, as in {name}=0.5:0.4:0.4"));
    value.split(':').map(number).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_options() {
        let text = "a,b/c.onnx,output=/fc/out:0,pool=mean,size=224,resize=shorter,edge=256,filter=bicubic,mean=0.5:0:-1,std=2,layout=nhwc";
        let (file, options) = Options::parse(text).unwrap();
        assert_eq!(file.to_str(), Some("a,b/c.onnx"));
        let expected = Options {
            output: Some("/fc/out:0".into()),
            pool: Some(Pool::Mean),
            size: Some(224),
            resize: Some(Resize::Shorter),
            edge: Some(256),
            filter: Some(Filter::Bicubic),
            mean: Some(vec![0.5, 0.0, -1.0]),
            std: Some(vec![2.0]),
            layout: Some(Layout::Nhwc),
        };
        assert_eq!(options, expected);
        for file in ["x=1/model.onnx", "a,b=c/ok.onnx", "a,b=c"] {
            assert_eq!(Options::parse(file).unwrap(), (file.into(), Options::default()));
        }
        let (file, options) = Options::parse("M.ONNX,output=f,1,2,size=8").unwrap();
        assert_eq!((file.to_str(), options.output.as_deref(), options.size), (Some("M.ONNX"), Some("f,1,2"), Some(8)));
    }

    #[test]
    fn wrong_ones_are_named() {
        for (text, part) in [
            ("", "an ONNX file is missing"),
            ("m.onnx,sise=2", "unknown option of an ONNX file 'sise'"),
            ("m,size=2,edge", "option 'edge' has no value"),
            ("m,size=0", "size=0 is no number of pixels"),
            ("m,size=-3", "size=-3 is no number"),
            ("m,resize=longer", "unknown resize 'longer'; known: shorter, square, none"),
            ("m,layout=chw", "known: nchw, nhwc"),
            ("m,pool=max", "unknown pool 'max'; known: mean, first"),
            ("m,mean=a", "mean=a is no list of numbers"),
            ("m,std=0.5:0", "std=0.5:0 is no list"),
            ("m,mean=inf", "mean=inf is no list"),
            ("m,size=2,size=2", "size is given twice"),
        ] {
            let message = Options::parse(text).unwrap_err().to_string();
            assert!(message.contains(part) && message.lines().count() == 1, "{text}: {message}");
        }
    }
}
