//! What each choice of the paper's attacks is worth: one is changed at a time.

use super::grid::Grid;
use super::{Experiment, Outcome, Published, beyond};
use crate::files;
use crate::reproduce::{Scope, Session};
use anyhow::Result;
use rankle_report::{Attack, Planned, Record, System};

/// The ordinary and the defended model, and every variation of four attacks on them.
pub(super) struct Ablations;

/// The models, each with a radius at which its attacks are neither idle nor saturated.
fn places() -> [(&'static str, System, f64); 2] {
    let plain = System::plain("mnist", "c2f2", "cosine", "triplet");
    [("ordinary model (CT)", plain.clone(), 0.1), ("defended model (CTD)", plain.hardened(), 0.3)]
}

/// One choice, made otherwise.
struct Variation {
    name: &'static str,
    /// Which attacks have that choice.
    of: &'static [Attack],
    /// How many usual cells it costs.
    cost: usize,
    change: fn(Planned) -> Planned,
}

const PLUS: &[Attack] = &[Attack::CandidateRaise, Attack::PreservingQueryRaise];
const PRESERVING: &[Attack] = &[Attack::PreservingQueryRaise, Attack::PreservingQueryLower];

/// What is the same for every attack, or for every plus attack.
static VARIATIONS: [Variation; 11] = [
    Variation { name: "as in the paper", of: &Attack::TABLE, cost: 1, change: |cell| cell },
    Variation { name: "objective: distance instead of ranking", of: &Attack::TABLE, cost: 1, change: distance },
    Variation { name: "ten targets", of: &Attack::TABLE, cost: 2, change: ten },
    Variation { name: "ten targets, objective: distance", of: &Attack::TABLE, cost: 2, change: |cell| distance(ten(cell)) },
    Variation {
        name: "targets: the first 1 to 5 % of the list",
        of: PLUS,
        cost: 1,
        change: |cell| Planned { target_band: Some("local".to_owned()), ..cell },
    },
    Variation { name: "start: one random", of: &Attack::TABLE, cost: 1, change: |cell| random(cell, 1) },
    Variation { name: "start: best of three random", of: &Attack::TABLE, cost: 4, change: |cell| random(cell, 3) },
    Variation { name: "steps: 1 of ε", of: &Attack::TABLE, cost: 1, change: |cell| steps(1.0, 1, cell) },
    Variation { name: "steps: 50 of ε/10", of: &Attack::TABLE, cost: 3, change: |cell| steps(0.1, 50, cell) },
    Variation { name: "steps: 100 of ε/50", of: &Attack::TABLE, cost: 6, change: |cell| steps(0.02, 100, cell) },
    Variation {
        name: "protocol: strict",
        of: &Attack::TABLE,
        cost: 8,
        change: |cell| Planned { protocol: "strict".to_owned(), ..cell },
    },
];

/// The weight of what shall stay in front.
static WEIGHTS: [Variation; 4] = [
    Variation { name: "ξ = 0", of: PRESERVING, cost: 1, change: |cell| Planned { xi: Some(0.0), ..cell } },
    Variation { name: "ξ = 1 (SP-QA+ of the paper)", of: PRESERVING, cost: 1, change: |cell| Planned { xi: Some(1.0), ..cell } },
    Variation {
        name: "ξ = 100 (SP-QA- of the paper)",
        of: PRESERVING,
        cost: 1,
        change: |cell| Planned { xi: Some(100.0), ..cell },
    },
    Variation { name: "ξ = 10000", of: PRESERVING, cost: 1, change: |cell| Planned { xi: Some(10_000.0), ..cell } },
];

/// With one target, the slopes of both objectives have the same signs in CA, and so the same images come out.
fn distance(cell: Planned) -> Planned {
    Planned { objective: Some("distance".to_owned()), ..cell }
}

fn ten(cell: Planned) -> Planned {
    Planned { targets: 10, ..cell }
}

fn random(cell: Planned, restarts: usize) -> Planned {
    Planned { random_start: Some(true), restarts: Some(restarts), ..cell }
}

/// Steps of this share of the radius.
fn steps(share: f64, iterations: usize, cell: Planned) -> Planned {
    Planned { step: Some(share * cell.epsilon), iterations: Some(iterations), ..cell }
}

/// Every cell: the place of its model, its variation and its attack, in the order of the plan.
fn cells() -> impl Iterator<Item = (usize, &'static Variation, Attack)> {
    (0..places().len()).flat_map(|place| {
        let variations = VARIATIONS.iter().chain(&WEIGHTS);
        variations.flat_map(move |variation| variation.of.iter().map(move |&attack| (place, variation, attack)))
    })
}

fn plan(scope: &Scope, weights: impl Fn(&System) -> Result<String>) -> Result<Vec<Planned>> {
    let places = places();
    let planned = |(place, variation, attack): (usize, &Variation, Attack)| {
        let (_, system, epsilon) = &places[place];
        let cell = Planned::of_system("ablations", system, &weights(system)?, attack, *epsilon, &scope.setting());
        Ok((variation.change)(cell))
    };
    cells().map(planned).collect()
}

/// The record of one cell, in records in the order of the plan.
fn record<'a>(records: &'a [Record], place: usize, variation: &Variation, attack: Attack) -> Option<&'a Record> {
    let same = |(a, b, c): &(usize, &Variation, Attack)| (*a, b.name, *c) == (place, variation.name, attack);
    cells().zip(records).find(|(cell, _)| same(cell)).map(|(_, record)| record)
}

/// As rows of a table.
fn rows(variations: &'static [Variation]) -> impl Iterator<Item = (String, &'static Variation)> {
    variations.iter().map(|variation| (variation.name.to_owned(), variation))
}

/// All attacks; a dash where an attack has no such choice.
fn variations(place: usize, records: &[Record]) -> Grid {
    let columns = Attack::TABLE.map(|attack| (attack.name().to_uppercase(), attack));
    Grid::of("what is changed", columns, rows(&VARIATIONS), |variation, &attack| {
        let record = record(records, place, variation, attack);
        record.map_or_else(|| "–".to_owned(), |record| beyond::before_after(record.rank_before, record.rank_after))
    })
}

/// A rank of a record, before and after.
type Ranks = fn(&Record) -> (Option<f64>, Option<f64>);

/// What the targets gain, and what the preserved items lose.
fn weights(place: usize, records: &[Record]) -> Grid {
    let ranks: [(&str, Ranks); 2] = [
        ("target", |record| (record.rank_before, record.rank_after)),
        ("preserved", |record| (record.preserved_rank_before, record.preserved_rank_after)),
    ];
    let column = |attack: &Attack| {
        let (attack, name) = (*attack, attack.name().to_uppercase());
        ranks.map(|(of, ranks)| (format!("{name}, {of}"), (attack, ranks)))
    };
    let columns = PRESERVING.iter().flat_map(column);
    Grid::of("weight", columns, rows(&WEIGHTS), |variation, (attack, ranks)| {
        let (before, after) = record(records, place, variation, *attack).map_or((None, None), ranks);
        beyond::before_after(before, after)
    })
}

/// Two for each model.
fn grids(records: &[Record]) -> Vec<(String, Grid)> {
    let of_place = |(at, (name, _, epsilon)): (usize, (&str, System, f64))| {
        [
            (format!("The {name} at ε = {epsilon}"), variations(at, records)),
            (format!("SP-QA on the {name}: what shall stay in front"), weights(at, records)),
        ]
    };
    places().into_iter().enumerate().flat_map(of_place).collect()
}

impl Experiment for Ablations {
    fn name(&self) -> &'static str {
        "ablations"
    }

    fn summary(&self) -> &'static str {
        "objective, weight ξ, targets, start, steps and protocol, one changed at a time, on MNIST CT and CTD"
    }

    fn published(&self) -> Published {
        Published::None
    }

    /// In usual cells.
    fn work(&self, _scope: &Scope) -> Vec<(System, usize)> {
        let cost = |at| cells().filter(|(place, ..)| *place == at).map(|(_, variation, _)| variation.cost).sum();
        places().into_iter().enumerate().map(|(at, (_, system, _))| (system, cost(at))).collect()
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let systems = places().map(|(_, system, _)| system);
        let models = session.weights(&systems)?;
        eprintln!("{}: {scope}, into {}", self.name(), files::shown(&session.output));
        let records = session.sweep(&plan(scope, |system| Ok(models.of(system)?.name.clone()))?)?;
        let note = "Mean normalised rank in percent, before → after, one target unless said. Plus attacks want it low, minus attacks \
                    high. One choice differs from the paper's at a time; strict changes targets, ranks, start, steps and what is \
                    kept together. With one target both objectives of CA are the same search: their slopes differ in size, not in \
                    sign. No numbers of these tables are public.";
        let caveats = beyond::caveats(&models, &systems)?;
        let about = beyond::About { title: "What each choice of the attacks is worth, on MNIST", scope, note, caveats: &caveats };
        beyond::report(&session.output, &about, &grids(&records), &[], &records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::Kept;
    use super::*;
    use crate::reproduce::sample;
    use std::collections::HashSet;

    fn whole() -> Vec<Planned> {
        plan(&Scope::default(), |system| Ok(system.id())).unwrap()
    }

    /// Each cell is another one, and differs from the paper's in what its name says.
    #[test]
    fn one_choice_is_changed_at_a_time() {
        let (plan, cells) = (whole(), cells().count());
        assert_eq!((plan.len(), cells), (2 * (10 * 4 + 2 + 4 * 2), plan.len()));
        let lines = Planned::to_lines(&plan).unwrap();
        assert_eq!(lines.lines().collect::<HashSet<_>>().len(), plan.len());
        let first = |attack: Attack| plan.iter().find(|planned| planned.attack == attack).unwrap();
        let changed = plan.iter().filter(|planned| planned.weights == first(Attack::CandidateRaise).weights);
        for planned in changed.filter(|planned| *planned != first(planned.attack)) {
            let usual = serde_json::to_value(first(planned.attack)).unwrap();
            let other = serde_json::to_value(planned).unwrap();
            let names = other.as_object().unwrap().iter().filter(|(name, value)| usual.get(name) != Some(value));
            let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
            let one = [
                &["objective"][..],
                &["targets"],
                &["objective", "targets"],
                &["target_band"],
                &["xi"],
                &["protocol"],
                &["random_start", "restarts"],
                &["iterations", "step"],
            ];
            assert!(one.contains(&&*names), "{names:?}");
        }
        let long = plan.iter().find(|planned| planned.iterations == Some(50)).unwrap();
        assert!((long.step.unwrap() - 0.01).abs() < 1e-12 && long.epsilon == 0.1);
    }

    #[test]
    fn a_record_stands_where_its_cell_is_named() {
        let mut records = vec![sample::answered().1.swap_remove(0); cells().count()];
        for (n, ((_, variation, attack), record)) in cells().zip(&mut records).enumerate() {
            (record.rank_before, record.rank_after) = (Some(variation.cost as f64), Some(n as f64));
            record.preserved_rank_before = PRESERVING.contains(&attack).then_some(0.5);
            record.preserved_rank_after = record.preserved_rank_before.map(|rank| 2.0 * rank);
        }
        let (ordinary, defended) = (variations(0, &records), variations(1, &records));
        assert_eq!(ordinary.rows[0].1, ["1.00 → 0.00", "1.00 → 1.00", "1.00 → 2.00", "1.00 → 3.00"]);
        assert_eq!(ordinary.rows[4].1, ["1.00 → 16.00", "–", "1.00 → 17.00", "–"]);
        assert_eq!(defended.rows[10].1[3], format!("8.00 → {}.00", 50 + 41));
        let kept = weights(1, &records);
        assert_eq!((kept.columns.len(), kept.columns[3].as_str()), (4, "SP-QA-, preserved"));
        assert_eq!(kept.rows[3].1, ["1.00 → 98.00", "0.50 → 1.00", "1.00 → 99.00", "0.50 → 1.00"]);
    }

    #[test]
    fn the_kept_report_is_made_of_the_kept_records() {
        let kept = Kept::of("ablations");
        let records = &kept.answer(|weights| plan(&Scope::default(), weights));
        kept.assert_grids(&grids(records));
    }
}
