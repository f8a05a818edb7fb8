//! Construction of the attack and the search that a spec describes.

use crate::goal::counts_ranks;
use crate::{
    AnySearch, AttackId, AttackOptions, AttackSpec, CandidateAttack, ObjectiveKind, Prescribed, PreservingQueryAttack,
    QueryAttack, RankingAttack, Search, SearchKind, ShiftAttack, Threat, custom,
};
use rankle_core::{Error, Result};

/// Builds the attack with `targets` targets per image; `es` has no targets and ignores `options`. Without an objective it follows the
/// hinges.
pub fn build(attack: AttackId, targets: usize, options: AttackOptions) -> Box<dyn RankingAttack> {
    let AttackOptions { objective, target_band: target_pool, xi } = options;
    let objective = objective.unwrap_or_default();
    match attack {
        AttackId::Candidate(direction) => Box::new(CandidateAttack { direction, queries: targets, objective, target_pool }),
        AttackId::Query(direction) => Box::new(QueryAttack { direction, candidates: targets, objective, target_pool }),
        AttackId::PreservingQuery(direction) => {
            let usual = PreservingQueryAttack::new(direction, targets);
            Box::new(PreservingQueryAttack { xi: xi.unwrap_or(usual.xi), objective, target_pool, ..usual })
        }
        AttackId::EmbeddingShift => Box::new(ShiftAttack),
        AttackId::Custom(declaration) => custom::build(declaration, targets, options),
    }
}

/// Builds the search of a spec: the one that is [`Prescribed`] unless it names another one.
///
/// # Errors
/// [`Error::Refused`] for a radius that its norm cannot have, and for a parameter or an objective that the search does not take.
pub fn search(spec: &AttackSpec) -> Result<AnySearch> {
    let threat = Threat::new(spec.norm, spec.epsilon)?;
    let prescribed = match spec.universal {
        Some(_) => Prescribed::universal(threat),
        None => Prescribed::by(spec.protocol, threat),
    };
    let search = prescribed.fill(Search { kind: Some(spec.search_kind()), ..spec.search })?;
    if search.kind() == SearchKind::Standard && spec.options.objective.is_some() {
        return Err(Error::Refused(
            "objective (--objective) is no parameter of the search standard, which follows several".into(),
        ));
    }
    Ok(search)
}

/// True for attacks that are after ranks of targets, in the sense of this crate; `xi` is the weight of preserved items.
pub(crate) fn has_soft_rank(attack: AttackId, xi: Option<f64>) -> bool {
    let has_ranks = matches!(attack, AttackId::Candidate(_) | AttackId::Query(_) | AttackId::PreservingQuery(_));
    has_ranks && counts_ranks(xi.unwrap_or(0.0))
}

/// Fills in the values that a spec leaves to its protocol.
///
/// # Errors
/// As [`search`].
pub fn resolve(spec: &AttackSpec) -> Result<AttackSpec> {
    let search = search(spec)?;
    let xi = match spec.attack {
        AttackId::PreservingQuery(direction) => {
            Some(spec.options.xi.unwrap_or(PreservingQueryAttack::new(direction, spec.targets).xi))
        }
        _ => None,
    };
    // Records of other searches leave the hinges out.
    let objective = match (search.kind(), spec.options.objective) {
        _ if !spec.attack.has_targets() => None,
        (SearchKind::Apgd, None) if has_soft_rank(spec.attack, xi) && spec.universal.is_none() => Some(ObjectiveKind::SoftRank),
        (SearchKind::Apgd, objective) => objective.or(spec.universal.is_none().then_some(ObjectiveKind::Ranking)),
        (_, objective) => objective.filter(|objective| *objective != ObjectiveKind::default()),
    };
    Ok(AttackSpec {
        // Turns `-0.0` into `0.0`.
        epsilon: spec.epsilon + 0.0,
        targets: if spec.attack.has_targets() { spec.targets } else { 0 },
        search: search.parameters(),
        options: AttackOptions { xi, objective, ..spec.options },
        ..*spec
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Apgd, Iterate, Norm, Pgd, Protocol, SharedBy};
    use rankle_core::Role;

    fn spec(attack: AttackId, protocol: Protocol) -> AttackSpec {
        AttackSpec::new(attack, 0.3, protocol, 0)
    }

    #[test]
    fn candidate_attacks_perturb_candidates_and_all_others_queries() {
        for attack in AttackId::ALL {
            let role = build(attack, 2, AttackOptions::default()).perturbs();
            assert_eq!(role == Role::Candidate, attack.name().starts_with("ca"), "{attack}");
        }
    }

    #[test]
    fn what_a_spec_leaves_open_the_protocol_prescribes() {
        let threat = Threat::linf(0.3).unwrap();
        let plain = spec(AttackId::CA_PLUS, Protocol::Paper);
        assert_eq!(search(&spec(AttackId::CA_PLUS, Protocol::Strict)).unwrap(), Apgd::strict(threat).into());
        let search = |spec: &AttackSpec| match search(spec)? {
            AnySearch::Pgd(pgd) => Ok(pgd),
            other => Err(Error::Refused(format!("{other:?}"))),
        };
        assert_eq!(search(&plain).unwrap(), Pgd::paper(threat));
        // Only PGD has a step.
        let stepped = Search { step: Some(0.02), ..Search::default() };
        let stepped = AttackSpec { search: stepped, ..spec(AttackId::CA_PLUS, Protocol::Strict) };
        assert_eq!(search(&stepped).unwrap(), Pgd { step: 0.02, ..Pgd::strict(threat) });
        let shared = AttackSpec { universal: Some(SharedBy { batches: 1, perturbations: 1 }), ..plain };
        let Pgd { step, iterations, keep, .. } = search(&shared).unwrap();
        assert_eq!((step, iterations, keep), (2.0 / 255.0, 100, Iterate::Last));
        // Restarts from the clean image would all be alike, so a strict search without random starts makes one.
        let clean = Search { kind: Some(SearchKind::Pgd), random_start: Some(false), ..Search::default() };
        let clean = AttackSpec { search: clean, ..spec(AttackId::CA_PLUS, Protocol::Strict) };
        assert_eq!(search(&clean).unwrap().restarts, 1);
        assert!(search(&AttackSpec { epsilon: 1.5, ..plain }).is_err());
        let round = AttackSpec { epsilon: 1.5, norm: Norm::L2, ..plain };
        assert_eq!(search(&round).unwrap(), Pgd::paper(Threat::l2(1.5).unwrap()));
    }

    #[test]
    fn a_resolved_spec_says_everything_and_means_the_same() {
        for attack in AttackId::ALL {
            for protocol in Protocol::ALL {
                let open = spec(attack, protocol);
                let whole = resolve(&open).unwrap();
                assert_eq!(search(&whole).unwrap(), search(&open).unwrap());
                assert_eq!(resolve(&whole).unwrap(), whole);
                assert_eq!(whole.options.xi.is_some(), matches!(attack, AttackId::PreservingQuery(_)));
                assert!(whole.search.iterations.is_some() && whole.search.restarts.is_some());
                // APGD follows the soft rank, if there is one, and says so.
                let said = protocol == Protocol::Strict && attack.has_targets();
                let usual = if attack == AttackId::SP_QA_MINUS { ObjectiveKind::Ranking } else { ObjectiveKind::SoftRank };
                assert_eq!(whole.options.objective, said.then_some(usual), "{attack}");
                let hinges = AttackOptions { objective: Some(ObjectiveKind::Ranking), ..AttackOptions::default() };
                let hinges = resolve(&AttackSpec { options: hinges, ..open }).unwrap();
                assert_eq!(hinges.options.objective, said.then_some(ObjectiveKind::Ranking), "{attack}");
            }
        }
        let pointless = AttackSpec { targets: 3, ..spec(AttackId::EmbeddingShift, Protocol::Paper) };
        assert_eq!(resolve(&pointless).unwrap().targets, 0);
        assert_eq!(resolve(&spec(AttackId::SP_QA_MINUS, Protocol::Paper)).unwrap().options.xi, Some(100.0));
    }
}
