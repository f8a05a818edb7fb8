//! Errors of a study.

use std::fmt;

/// The result of every study.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a study. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of a model, an attack or a ranking.
    #[error("{0}")]
    Core(#[from] rankle_core::Error),
    /// A record or a file of records that cannot be used.
    #[error("{0}")]
    Record(#[from] rankle_record::Error),
    /// An input that does not fit or cannot be used; the line says why.
    #[error("{0}")]
    Invalid(String),
    /// A subject that cannot be opened. If opening was interrupted, the error is [`rankle_core::Error::Interrupted`] instead.
    #[error("{0}")]
    Opening(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An error with its location.
    #[error("{place}: {error}")]
    At {
        /// The file, the line or the cell.
        place: String,
        /// The error at that location.
        #[source]
        error: Box<Error>,
    },
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Core(error.into())
    }
}

impl Error {
    /// True if the work was interrupted on request.
    pub fn is_interrupt(&self) -> bool {
        match self {
            Self::Core(error) => matches!(error, rankle_core::Error::Interrupted),
            Self::At { error, .. } => error.is_interrupt(),
            Self::Record(_) | Self::Invalid(_) | Self::Opening(_) => false,
        }
    }

    /// Adds a location to an error.
    pub(crate) fn at(place: impl fmt::Display) -> impl FnOnce(Self) -> Self {
        move |error| Self::At { place: place.to_string(), error: Box::new(error) }
    }
}

/// Returns [`Error::Invalid`] with this line.
pub(crate) fn invalid<T>(line: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(line.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_one_wherever_it_happened() {
        let interrupted = || Error::Core(rankle_core::Error::Interrupted);
        assert!(interrupted().is_interrupt() && Error::at("cell 7")(interrupted()).is_interrupt());
        assert!(!Error::Invalid("7 images".into()).is_interrupt());
        assert_eq!(Error::at("cell 7")(Error::Invalid("too few".into())).to_string(), "cell 7: too few");
    }
}
