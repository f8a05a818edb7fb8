//! An attack with all its choices.

use crate::options::is_usual;
use crate::{AttackId, Direction, Norm, ObjectiveKind, Protocol, SearchKind, TargetPool, finite};
use serde::{Deserialize, Serialize};

/// An attack on images with all its choices: parsed from the command line, listed in plans, stored in records.
///
/// A search number or a weight that is `None` is the one that the protocol prescribes. The spec of a record has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackSpec {
    /// The attack.
    pub attack: AttackId,
    /// Number of queries or candidates attacked at once; 0 for `es`, which has no targets.
    pub targets: usize,
    /// Radius of the ball in pixel units: in `[0, 1]` for L∞, any for L2.
    #[serde(serialize_with = "finite::number")]
    pub epsilon: f64,
    /// Norm of the radius; omitted if it is the default.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub norm: Norm,
    /// Parameters of the search in the ball.
    #[serde(flatten)]
    pub search: Search,
    /// Choices of the loss and of the targets.
    #[serde(flatten)]
    pub options: AttackOptions,
    /// Definitions of targets and ranks.
    pub protocol: Protocol,
    /// True if the image is ranked after rounding to 1/255.
    pub eight_bit: bool,
    /// Seed of the sample, the targets and the random starts.
    pub seed: u64,
    /// Batches and perturbations of a universal attack. `None`, and omitted, if each image has its own perturbation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universal: Option<SharedBy>,
}

/// Deviations of an attack from the paper's tables, for ablations; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackOptions {
    /// Weight ξ of the semantics-preserving term; `None` for attacks without it.
    #[serde(default, serialize_with = "finite::optional")]
    pub xi: Option<f64>,
    /// Loss that the attack minimizes. `None`, and omitted, for that of the search: the soft rank for APGD on single images, the hinges
    /// for all others. A record has it where it is not the hinges, and with APGD on single images.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub objective: Option<ObjectiveKind>,
    /// Part of the list that the targets of plus attacks are drawn from; omitted if it is the default.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub target_band: TargetPool,
}

/// A search and its parameters; `None` stands for the value that the protocol prescribes, or for a parameter that the search does
/// not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The algorithm; `None`, and omitted, for the one of [`AttackSpec::search_kind`]. A record without it is of PGD.
    #[serde(default, rename = "search", skip_serializing_if = "Option::is_none")]
    pub kind: Option<SearchKind>,
    /// Step size in pixel units, in the norm of the ball.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "finite::optional")]
    pub step: Option<f64>,
    /// Number of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<usize>,
    /// True if the first iterate is drawn from the ball.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_start: Option<bool>,
    /// Number of starts per image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<usize>,
    /// Number of times that each image is embedded by a search without gradients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_budget: Option<usize>,
}

/// Numbers of batches and of universal perturbations. A perturbation is computed on one half of its batch; the other half
/// measures its effect on unseen images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedBy {
    /// Number of batches that the attacked images are split into.
    pub batches: usize,
    /// Number of perturbations per batch, each for a target of its own.
    pub perturbations: usize,
}

impl AttackSpec {
    /// The attack as the protocol prescribes it, with one target if it has targets.
    pub fn new(attack: AttackId, epsilon: f64, protocol: Protocol, seed: u64) -> Self {
        Self {
            attack,
            targets: usize::from(attack.has_targets()),
            epsilon,
            norm: Norm::default(),
            search: Search::default(),
            options: AttackOptions::default(),
            protocol,
            eight_bit: false,
            seed,
            universal: None,
        }
    }

    /// The algorithm of the search: the one that is named or, since only PGD has one, PGD where there is a step; else that of the protocol,
    /// PGD for `paper` and APGD for `strict`.
    pub fn search_kind(&self) -> SearchKind {
        self.search.kind.unwrap_or(match self.protocol {
            Protocol::Strict if self.search.step.is_none() => SearchKind::Apgd,
            Protocol::Paper | Protocol::Strict => SearchKind::Pgd,
        })
    }

    /// Checks that the choices apply to the attack and that the numbers are in range.
    ///
    /// # Errors
    /// One line that names the choice or the number.
    pub fn check(&self) -> Result<(), String> {
        let Self { attack, targets, epsilon, norm, options: AttackOptions { xi, .. }, .. } = *self;
        norm.check(epsilon)?;
        if targets == 0 && attack.has_targets() {
            return Err("targets is 0: at least one is needed".to_owned());
        }
        if let Some(xi) = xi.filter(|xi| !(xi.is_finite() && *xi >= 0.0)) {
            return Err(format!("xi is {xi}: a number of at least 0 is needed"));
        }
        self.check_options()?;
        self.search.check()
    }

    fn check_options(&self) -> Result<(), String> {
        let Self { attack, options: AttackOptions { objective, target_band, xi }, .. } = *self;
        if xi.is_some() && !matches!(attack, AttackId::PreservingQuery(_)) {
            return Err(format!("xi (--xi) weighs the items that sp-qa+ and sp-qa- keep in front; {attack} has no such items"));
        }
        if let Some(objective) = objective.filter(|_| !attack.has_targets()) {
            return Err(format!("the objective '{objective}' is for attacks with targets; {attack} has none"));
        }
        if target_band != TargetPool::Global && attack.direction() != Some(Direction::Raise) {
            return Err(format!("the target band '{target_band}' is for ca+, qa+ and sp-qa+, not for {attack}"));
        }
        Ok(())
    }

    /// Checks a universal attack on this number of images; passes if [`AttackSpec::universal`] is `None`.
    ///
    /// # Errors
    /// One line that names the obstacle.
    pub fn check_universal(&self, images: usize) -> Result<(), String> {
        let Some(SharedBy { batches, perturbations }) = self.universal else { return Ok(()) };
        let Self { attack, options, targets, .. } = *self;
        if !matches!(attack, AttackId::Candidate(_) | AttackId::Query(_) | AttackId::Custom(_)) {
            return Err(format!("{attack} has no universal form: choose ca+, ca-, qa+ or qa-"));
        }
        if perturbations == 0 {
            return Err("perturbations is 0: at least one is needed".to_owned());
        }
        if batches == 0 || !images.is_multiple_of(batches) {
            return Err(format!("{images} images cannot be split into {batches} equal batches"));
        }
        if images / batches < 2 {
            return Err(format!("a batch of {} cannot be halved: at least two images are needed", images / batches));
        }
        if options != AttackOptions::default() {
            return Err("a universal perturbation has no objective, target_band and xi of its own: leave them out".to_owned());
        }
        if targets != 1 {
            return Err(format!("targets is {targets}: a universal perturbation has 1"));
        }
        let Search { random_start, restarts, .. } = self.search;
        if self.search_kind() == SearchKind::Pgd && (random_start == Some(true) || restarts.is_some_and(|restarts| restarts > 1))
        {
            return Err("a universal perturbation by pgd starts at zero: leave random_start (--random-start) and restarts \
                        (--restarts) out, or choose apgd"
                .to_owned());
        }
        Ok(())
    }
}

impl Search {
    /// Checks that the numbers are in range.
    ///
    /// # Errors
    /// One line that names the number.
    pub fn check(&self) -> Result<(), String> {
        if let Some(step) = self.step.filter(|step| !(0.0..=Norm::LONGEST).contains(step)) {
            return Err(format!("step is {step}: a number from 0 to {} is needed", Norm::LONGEST));
        }
        for (name, count) in [("iterations", self.iterations), ("restarts", self.restarts), ("query_budget", self.query_budget)] {
            if count == Some(0) {
                return Err(format!("{name} is 0: at least one is needed"));
            }
        }
        Ok(())
    }

    /// Checks that the search takes all parameters that have a value.
    ///
    /// # Errors
    /// One line that names the parameter.
    pub fn check_parameters(&self, kind: SearchKind) -> Result<(), String> {
        match self.parameters().into_iter().find(|(name, has)| *has && !Self::takes(kind, name)) {
            Some((name, _)) => Err(format!("{name} (--{}) is no parameter of the search {kind}", name.replace('_', "-"))),
            None => Ok(()),
        }
    }

    /// The name of a parameter of this search that has no value; `None` in a record.
    pub fn lacks(&self) -> Option<&'static str> {
        let kind = self.kind.unwrap_or_default();
        self.parameters().into_iter().find(|(name, has)| !has && Self::takes(kind, name)).map(|(name, _)| name)
    }

    /// Names of all parameters, and whether they have a value.
    fn parameters(&self) -> [(&'static str, bool); 5] {
        [
            ("step", self.step.is_some()),
            ("iterations", self.iterations.is_some()),
            ("random_start", self.random_start.is_some()),
            ("restarts", self.restarts.is_some()),
            ("query_budget", self.query_budget.is_some()),
        ]
    }

    fn takes(kind: SearchKind, parameter: &str) -> bool {
        match kind {
            SearchKind::Pgd => parameter != "query_budget",
            SearchKind::Apgd => !matches!(parameter, "step" | "query_budget"),
            SearchKind::Square => parameter == "query_budget",
            SearchKind::Standard => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(attack: &str) -> AttackSpec {
        AttackSpec::new(attack.parse().unwrap(), 0.3, Protocol::Paper, 0)
    }

    #[test]
    fn what_is_usual_is_not_written() {
        let line = serde_json::to_string(&spec("ca+")).unwrap();
        let expected = r#"{"attack":"ca+","targets":1,"epsilon":0.3,"xi":null,"protocol":"paper","eight_bit":false,"seed":0}"#;
        assert_eq!(line, expected);
        assert_eq!(serde_json::from_str::<AttackSpec>(&line).unwrap(), spec("ca+"));
        let search = Search {
            step: Some(0.1 + 0.2),
            iterations: Some(24),
            random_start: Some(false),
            restarts: Some(1),
            ..Search::default()
        };
        let whole = AttackSpec {
            search,
            options: AttackOptions { xi: None, objective: Some(ObjectiveKind::Distance), target_band: TargetPool::Local },
            ..spec("sp-qa+")
        };
        let line = serde_json::to_string(&whole).unwrap();
        assert!(
            line.contains(r#""step":0.30000000000000004,"iterations":24,"random_start":false,"restarts":1,"xi":null"#),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<AttackSpec>(&line).unwrap(), whole);
    }

    #[test]
    #[rustfmt::skip] // a table
    fn what_does_not_fit_together_is_told() {
        assert_eq!(spec("es").check(), Ok(()));
        type Change = fn(AttackSpec) -> AttackSpec;
        let cases: [(&str, Change, &str); 10] = [
            ("ca+",    |spec| AttackSpec { epsilon: f64::NAN, ..spec }, "epsilon NaN is outside [0, 1]; pixels are in [0, 1], so write 8/255 as 0.0314, not as 8"),
            ("ca+",    |spec| AttackSpec { targets: 0, ..spec }, "targets is 0: at least one is needed"),
            ("sp-qa+", |spec| AttackSpec { options: AttackOptions { xi: Some(-1.0), ..spec.options }, ..spec }, "xi is -1: a number of at least 0 is needed"),
            ("qa+",    |spec| AttackSpec { options: AttackOptions { xi: Some(1.0), ..spec.options }, ..spec }, "xi (--xi) weighs the items that sp-qa+ and sp-qa- keep in front; qa+ has no such items"),
            ("es",     |spec| AttackSpec { options: AttackOptions { objective: Some(ObjectiveKind::Distance), ..spec.options }, ..spec }, "the objective 'distance' is for attacks with targets; es has none"),
            ("ca-",    |spec| AttackSpec { options: AttackOptions { target_band: TargetPool::Local, ..spec.options }, ..spec }, "the target band 'local' is for ca+, qa+ and sp-qa+, not for ca-"),
            ("ca+",    |spec| AttackSpec { search: Search { step: Some(f64::INFINITY), ..spec.search }, ..spec }, "step is inf: a number from 0 to 1000000 is needed"),
            ("ca+",    |spec| AttackSpec { search: Search { iterations: Some(0), ..spec.search }, ..spec }, "iterations is 0: at least one is needed"),
            ("ca+",    |spec| AttackSpec { search: Search { restarts: Some(0), ..spec.search }, ..spec }, "restarts is 0: at least one is needed"),
            ("ca+",    |spec| AttackSpec { search: Search { query_budget: Some(0), ..spec.search }, ..spec }, "query_budget is 0: at least one is needed"),
        ];
        for (attack, change, line) in cases {
            assert_eq!(change(spec(attack)).check().unwrap_err(), line);
        }
    }

    #[test]
    fn a_universal_perturbation_is_for_halves_of_equal_batches() {
        let of = |attack: &str, batches, perturbations| AttackSpec {
            universal: Some(SharedBy { batches, perturbations }),
            ..spec(attack)
        };
        assert_eq!(of("ca+", 2, 10).check_universal(20), Ok(()));
        assert_eq!(spec("es").check_universal(1), Ok(()));
        let with = |search: Search| AttackSpec { search, ..of("ca+", 1, 1) };
        let random = Search { random_start: Some(true), restarts: Some(3), ..Search::default() };
        for kind in [SearchKind::Apgd, SearchKind::Square, SearchKind::Standard] {
            assert_eq!(with(Search { kind: Some(kind), ..random }).check_universal(10), Ok(()));
        }
        for (wrong, images, part) in [
            (of("es", 1, 1), 10, "es has no universal form"),
            (of("ca+", 1, 0), 10, "perturbations is 0"),
            (of("ca+", 3, 1), 10, "10 images cannot be split into 3 equal batches"),
            (of("ca+", 10, 1), 10, "a batch of 1 cannot be halved"),
            (AttackSpec { targets: 2, ..of("ca+", 1, 1) }, 10, "targets is 2"),
            (with(Search { random_start: Some(true), ..Search::default() }), 10, "by pgd starts at zero"),
            (with(Search { restarts: Some(2), kind: Some(SearchKind::Pgd), ..Search::default() }), 10, "or choose apgd"),
            (
                AttackSpec {
                    options: AttackOptions { objective: Some(ObjectiveKind::Distance), ..AttackOptions::default() },
                    ..of("ca+", 1, 1)
                },
                10,
                "of its own",
            ),
        ] {
            let line = wrong.check_universal(images).unwrap_err();
            assert!(line.contains(part), "{line}");
        }
    }
}
