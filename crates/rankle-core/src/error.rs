//! What can go wrong between an image and its rank.

/// The result of everything in rankle's libraries.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between an image and its rank. Each message is one line that names the wrong value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An attack wants more targets than there are to choose from.
    #[error("the attack wants {wanted} targets, but there are only {available} to choose from: ask for fewer")]
    TooFewTargets {
        /// How many it asked for.
        wanted: usize,
        /// How many there are.
        available: usize,
    },
    /// An index points behind the end of a set.
    #[error("{what} index {index} is out of range: there are {len}, counted from 0")]
    Index {
        /// What is indexed.
        what: &'static str,
        /// The wrong index.
        index: usize,
        /// How many items there are.
        len: usize,
    },
    /// A set that must not be empty is empty.
    #[error("there are no {0}: at least one is needed")]
    Empty(&'static str),
    /// A tensor does not have the shape that was asked for.
    #[error("{what} has shape {actual:?}, expected {expected}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// Its shape.
        actual: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// NaN or infinity where a number is needed.
    #[error("{0} holds a value that is not finite (NaN or infinity)")]
    NotFinite(String),
    /// An embedding that has no distance to others.
    #[error("the embedding of {whose} {why}, so it cannot be ranked: check the weights and the images")]
    Unrankable {
        /// Which image.
        whose: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that is not known, with the known ones.
    #[error("unknown {what} '{name}'; known: {known}")]
    Unknown {
        /// What was named.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// An image of a dataset cannot be read; the line names the file and what to do. It alone can be left out.
    #[error("{0}")]
    Image(String),
    /// A file, a name or a number that cannot be used where it was given; the line names it and says what to do.
    #[error("{0}")]
    Refused(String),
    /// No gradient reaches the images: the embedding does not depend on them, or an operation on the way has none.
    #[error(
        "no gradient reaches the images: the embedding does not depend on them, or an operation between them and it has no gradient \
         in candle (detach, argmax, argsort, comparisons, round, a cast to integers, numbers that were read back into a new tensor, a \
         custom operation without a backward pass)"
    )]
    NoGradient,
    /// A search that follows gradients was asked of a model that has none.
    #[error("the model is a black box: it embeds images and gives no gradient, which this search follows")]
    BlackBox,
    /// The caller asked for the work to stop.
    #[error("interrupted")]
    Interrupted,
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}
