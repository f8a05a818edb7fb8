//! Warnings about searches whose steps do not suit their radius.

use rankle_attacks::{AnySearch, Pgd};
use rankle_record::{Epsilon, Search};

/// The settings that a warning tells the user to change, in the words of the command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Remedy {
    /// Options of the command line.
    Options,
    /// Fields of a plan.
    Fields,
    /// The radius only; the command fixes the rest of the search.
    Radius,
}

/// Logs the [`warning`] about a search, if there is one.
pub(crate) fn heed(search: &AnySearch, chosen: Search, remedy: Remedy) {
    if let Some(warning) = warning(search, chosen, remedy) {
        tracing::warn!("{warning}");
    }
}

/// The warning about a search that cannot reach the edge of its ball, or whose step is longer than the radius. A long step is
/// reported only if the user chose it: below ε = 1/255 the steps of a protocol are longer by definition. Only PGD has a step.
pub(crate) fn warning(search: &AnySearch, chosen: Search, remedy: Remedy) -> Option<String> {
    let AnySearch::Pgd(search) = search else { return None };
    warning_of_steps(search, chosen, remedy)
}

fn warning_of_steps(search: &Pgd, chosen: Search, remedy: Remedy) -> Option<String> {
    let (epsilon, step) = (Epsilon(search.threat.radius()), four_digits(search.step));
    if search.falls_short() {
        let more = match remedy {
            Remedy::Options => "raise --iterations or --step",
            Remedy::Fields => "raise iterations or step",
            Remedy::Radius => "choose a smaller epsilon",
        };
        let (iterations, reach) = (search.iterations, four_digits(search.reach()));
        return Some(format!(
            "the edge of the ball is out of reach: {iterations} steps of {step} go at most {reach}, and epsilon is {epsilon}; {more}"
        ));
    }
    (chosen.step.is_some() && search.oversteps()).then(|| {
        let less = if matches!(remedy, Remedy::Fields) { "lower step" } else { "lower --step" };
        format!("a step of {step} is longer than epsilon, {epsilon}: the search sees only the edge of the ball; {less}")
    })
}

/// The value rounded to four significant digits, for messages.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_attacks::{ClassifierAttack, Threat};
    use rankle_defense::ShiftDefense;
    use rankle_record::{AttackId, AttackSpec, Protocol, SharedBy};

    fn said(epsilon: f64, chosen: Search, remedy: Remedy) -> Option<String> {
        let spec = AttackSpec { search: chosen, ..AttackSpec::new(AttackId::CA_PLUS, epsilon, Protocol::Paper, 0) };
        let search = rankle_attacks::search(&spec).unwrap();
        warning(&search, chosen, remedy)
    }

    #[test]
    fn a_search_that_cannot_reach_the_edge_is_told() {
        let few = Search { iterations: Some(5), ..Search::default() };
        let line = "the edge of the ball is out of reach: 5 steps of 0.01 go at most 0.05, and epsilon is 0.3; raise ";
        assert_eq!(said(0.3, few, Remedy::Options), Some(format!("{line}--iterations or --step")));
        assert_eq!(said(0.3, few, Remedy::Fields), Some(format!("{line}iterations or step")));
        assert!(said(0.3, few, Remedy::Radius).unwrap().ends_with("; choose a smaller epsilon"));
        assert!(said(0.05, few, Remedy::Options).unwrap().contains("5 steps of 0.005 go at most 0.025"));
        assert_eq!(said(0.0, few, Remedy::Options), None);
        let far = Search { step: Some(0.5), ..Search::default() };
        let line = "a step of 0.5 is longer than epsilon, 0.3: the search sees only the edge of the ball; lower --step";
        assert_eq!(said(0.3, far, Remedy::Options).as_deref(), Some(line));
        assert_eq!(said(0.0, far, Remedy::Options), None);
    }

    /// The prescribed searches cause no warning at any radius of the paper; above 0.3 the paper's schedule is too short.
    #[test]
    fn what_is_prescribed_is_quiet_up_to_the_radius_of_the_paper() {
        let own = |search: &Pgd| warning_of_steps(search, Search::default(), Remedy::Options);
        let published = rankle_report::published::table("mnist-ct-curves").unwrap();
        assert_eq!(published.epsilons.len(), 31);
        for epsilon in published.epsilons.iter().copied().chain([1.0 / 255.0, 0.5 / 255.0, 8.0 / 255.0]) {
            let threat = Threat::linf(epsilon).unwrap();
            for protocol in [Protocol::Paper, Protocol::Strict] {
                let universal = Some(SharedBy { batches: 1, perturbations: 1 });
                let shared = AttackSpec { universal, ..AttackSpec::new(AttackId::CA_PLUS, epsilon, protocol, 0) };
                assert_eq!(warning(&rankle_attacks::search(&shared).unwrap(), Search::default(), Remedy::Options), None);
            }
            let searches = [Pgd::paper(threat), Pgd::strict(threat), ShiftDefense::prescribed(threat).pgd];
            for search in searches {
                assert_eq!(own(&search), None, "{search:?}");
            }
            for part in ClassifierAttack::ALL.into_iter().flat_map(|attack| attack.parts(threat)) {
                assert_eq!(warning(&part.search, Search::default(), Remedy::Radius), None, "{part:?}");
            }
        }
        let half = Threat::linf(0.5).unwrap();
        assert!(own(&Pgd::paper(half)).unwrap().contains("30 steps of 0.01 go at most 0.3, and epsilon is 0.5"));
        assert_eq!(own(&Pgd::strict(half)), None);
    }
}
