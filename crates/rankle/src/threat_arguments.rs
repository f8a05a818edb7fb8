//! Options for the size of a perturbation: radius and norm.

use crate::arguments;
use crate::names;
use clap::Args;
use rankle_record::{AttackSpec, Norm};

/// Radius and norm of a ball around an image.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = arguments::heading::ATTACK)]
pub(crate) struct ThreatArguments {
    /// Largest change of a pixel, in units of the pixel range [0, 1], as in 0.03 or 8/255; with --norm l2 the largest Euclidean
    /// norm of the whole perturbation, which may be above 1
    #[arg(long, value_name = "E", value_parser = radius, allow_negative_numbers = true)]
    epsilon: Radius,
    /// Measure of a perturbation that epsilon limits: linf, the largest change of a pixel, or l2, the Euclidean norm over all
    /// pixels and channels
    #[arg(long, value_name = "NAME", default_value_t, value_parser = names::NORMS)]
    norm: Norm,
}

/// A radius with its spelling on the command line, which pictures show.
#[derive(Clone, Debug)]
struct Radius {
    value: f64,
    written: String,
}

fn radius(text: &str) -> Result<Radius, String> {
    let value = arguments::number(text).ok_or("it is no number; pixels are in [0, 1], so write 0.03 or 8/255")?;
    Ok(Radius { value, written: text.to_owned() })
}

impl ThreatArguments {
    /// The spec with this radius and norm.
    pub(crate) fn of(&self, spec: AttackSpec) -> AttackSpec {
        AttackSpec { epsilon: self.epsilon.value, norm: self.norm, ..spec }
    }

    /// The radius as it was written; the norm is added unless it is L∞.
    pub(crate) fn shown(&self) -> String {
        with_norm(&self.epsilon.written, self.norm)
    }

    /// Change of a pixel that is drawn white in the picture of a perturbation, and its label: the radius under L∞, under L2 the
    /// largest change in `added`.
    pub(crate) fn white<'a>(&self, added: impl IntoIterator<Item = &'a f32>) -> (f64, String) {
        match self.norm {
            Norm::Linf => (self.epsilon.value, self.epsilon.written.clone()),
            Norm::L2 => {
                let largest = added.into_iter().fold(0.0f32, |largest, added| largest.max(added.abs()));
                (f64::from(largest), format!("{largest:.3}"))
            }
        }
    }
}

/// A radius for display; the norm is added unless it is L∞.
pub(crate) fn with_norm(epsilon: impl std::fmt::Display, norm: Norm) -> String {
    match norm {
        Norm::Linf => epsilon.to_string(),
        Norm::L2 => format!("{epsilon} (L2)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_record::{AttackId, Protocol};

    fn parsed(words: &str) -> ThreatArguments {
        arguments::parsed(words.split(' ').map(Into::into)).unwrap()
    }

    #[test]
    fn a_radius_is_shown_as_it_was_written() {
        let (usual, round) = (parsed("--epsilon 8/255"), parsed("--epsilon 2 --norm l2"));
        assert_eq!((usual.shown().as_str(), round.shown().as_str()), ("8/255", "2 (L2)"));
        assert_eq!(usual.white(&[0.5]), (8.0 / 255.0, "8/255".to_owned()));
        assert_eq!(round.white(&[0.25, -0.5, 0.0]), (0.5, "0.500".to_owned()));
        let spec = round.of(AttackSpec::new(AttackId::CA_PLUS, 0.1, Protocol::Paper, 0));
        assert_eq!((spec.epsilon, spec.norm), (2.0, Norm::L2));
        assert!(arguments::parsed::<ThreatArguments>(["--epsilon=x".into()]).is_err());
    }
}
