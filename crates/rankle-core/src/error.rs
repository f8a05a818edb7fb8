//! The error type of rankle's libraries.

/// Result type of rankle's libraries.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of rankle's libraries. Each message is one line that names the wrong value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An attack that wants more targets than there are to choose from.
    #[error("the attack wants {wanted} targets, but there are only {available} to choose from: ask for fewer")]
    TooFewTargets {
        /// Number of targets that the attack wants.
        wanted: usize,
        /// Number of targets to choose from.
        available: usize,
    },
    /// An index beyond the end of a set.
    #[error("{what} index {index} is out of range: there are {len}, counted from 0")]
    Index {
        /// Name of the indexed items.
        what: &'static str,
        /// The wrong index.
        index: usize,
        /// Number of items.
        len: usize,
    },
    /// An empty set where at least one item is needed; holds the name of the items.
    #[error("there are no {0}: at least one is needed")]
    Empty(&'static str),
    /// A tensor of the wrong shape.
    #[error("{what} has shape {actual:?}, expected {expected}")]
    Shape {
        /// Name of the tensor.
        what: &'static str,
        /// Actual shape.
        actual: Vec<usize>,
        /// Expected shape.
        expected: String,
    },
    /// A NaN or an infinity where a finite number is needed.
    #[error("{0} holds a value that is not finite (NaN or infinity)")]
    NotFinite(String),
    /// An embedding without finite distances to others.
    #[error("the embedding of {whose} {why}, so it cannot be ranked: check the weights and the images")]
    Unrankable {
        /// The image of the embedding.
        whose: String,
        /// Fault of the embedding.
        why: &'static str,
    },
    /// An unknown name, with the known names.
    #[error("unknown {what} '{name}'; known: {known}")]
    Unknown {
        /// Kind of the name, as in `distance`.
        what: &'static str,
        /// The name.
        name: String,
        /// The known names, separated by commas.
        known: String,
    },
    /// An image of a dataset that cannot be read; the message names the file and what to do. The image alone can be left out.
    #[error("{0}")]
    Image(String),
    /// A file, a name or a number that cannot be used where it was given; the message names it and says what to do.
    #[error("{0}")]
    Refused(String),
    /// A missing gradient of the images: the embedding does not depend on them, or an operation in between has no gradient.
    #[error(
        "no gradient reaches the images: the embedding does not depend on them, or an operation between them and it has no gradient \
         in candle (detach, argmax, argsort, comparisons, round, a cast to integers, numbers that were read back into a new tensor, a \
         custom operation without a backward pass)"
    )]
    NoGradient,
    /// A gradient-based search on a model without gradients.
    #[error("the model is a black box: it embeds images and gives no gradient, which this search follows")]
    BlackBox,
    /// A stop that the caller asked for.
    #[error("interrupted")]
    Interrupted,
    /// A failed tensor operation. Its message leaves out the backtrace that candle appends under `RUST_BACKTRACE`.
    #[error("tensor operation failed: {}", .0.to_string().lines().next().unwrap_or_default())]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// True if a device had no memory left for a tensor.
    pub fn is_out_of_memory(&self) -> bool {
        let Self::Tensor(error) = self else { return false };
        // candle passes on the words of the driver: CUDA_ERROR_OUT_OF_MEMORY, "out of memory".
        let words = error.to_string().to_lowercase().replace('_', " ");
        words.contains("out of memory") || words.contains("insufficient memory")
    }
}
