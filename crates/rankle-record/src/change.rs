//! Deviations of a plan from the paper's tables.

use crate::options::is_usual;
use crate::{AttackOptions, AttackSpec, Norm, ObjectiveKind, Protocol, Search, SearchKind, TargetPool, finite};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Choices that replace those of an attack; `None` keeps the attack's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Definitions of targets and ranks.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub protocol: Option<Protocol>,
    /// Norm of the radius.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub norm: Option<Norm>,
    /// Loss that the attack minimizes.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub objective: Option<ObjectiveKind>,
    /// Part of the list that the targets of plus attacks are drawn from.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub target_band: Option<TargetPool>,
    /// Weight ξ of the semantics-preserving term.
    #[serde(default, skip_serializing_if = "is_usual", serialize_with = "finite::optional")]
    pub xi: Option<f64>,
    /// Step size as a fraction of the radius.
    #[serde(default, skip_serializing_if = "is_usual", serialize_with = "finite::optional")]
    pub step_per_epsilon: Option<f64>,
    /// Number of steps.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub iterations: Option<usize>,
    /// True if the first iterate is drawn from the ball.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub random_start: Option<bool>,
    /// Number of starts per image.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub restarts: Option<usize>,
    /// The search.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub search: Option<SearchKind>,
}

impl Change {
    /// Applies the choices to an attack.
    pub fn of(&self, spec: AttackSpec) -> AttackSpec {
        let AttackSpec { epsilon, search, options, .. } = spec;
        AttackSpec {
            protocol: self.protocol.unwrap_or(spec.protocol),
            norm: self.norm.unwrap_or(spec.norm),
            options: AttackOptions {
                xi: self.xi.or(options.xi),
                objective: self.objective.or(options.objective),
                target_band: self.target_band.unwrap_or(options.target_band),
            },
            search: Search {
                kind: self.search.or(search.kind),
                query_budget: search.query_budget,
                step: self.step_per_epsilon.map(|share| share * epsilon).or(search.step),
                iterations: self.iterations.or(search.iterations),
                random_start: self.random_start.or(search.random_start),
                restarts: self.restarts.or(search.restarts),
            },
            ..spec
        }
    }
}

/// Choices in the words of a plan, sorted by name, as in `iterations = 100, protocol = "strict"`; empty if nothing is changed.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        let written = fields.as_object().into_iter().flatten().map(|(name, value)| format!("{name} = {value}"));
        f.write_str(&written.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttackId;

    #[test]
    fn what_is_not_written_stays() {
        let usual = AttackSpec { targets: 5, ..AttackSpec::new(AttackId::CA_PLUS, 0.1, Protocol::Paper, 3) };
        assert_eq!((Change::default().of(usual), Change::default().to_string().as_str()), (usual, ""));
        let json = r#"{"protocol":"strict","step_per_epsilon":0.5,"iterations":7,"objective":"distance"}"#;
        let change: Change = serde_json::from_str(json).unwrap();
        let changed = change.of(usual);
        let expected = AttackSpec {
            protocol: Protocol::Strict,
            options: AttackOptions { objective: Some(ObjectiveKind::Distance), ..usual.options },
            search: Search { step: Some(0.05), iterations: Some(7), ..Search::default() },
            ..usual
        };
        assert_eq!(changed, expected);
        assert_eq!(change.to_string(), r#"iterations = 7, objective = "distance", protocol = "strict", step_per_epsilon = 0.5"#);
        // A second change keeps the choices of the first one.
        let longer = Change { restarts: Some(2), ..Change::default() }.of(changed);
        assert_eq!(longer, AttackSpec { search: Search { restarts: Some(2), ..expected.search }, ..expected });
    }
}
