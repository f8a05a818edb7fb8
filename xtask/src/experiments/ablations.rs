//! What each choice of the paper's attacks is worth.

mod ask;

use super::{Experiment, Outcome, Published, beyond, pictures};
use crate::files;
use crate::reproduce::{Scope, Session};
use anyhow::Result;
use ask::{Asked, Shown};
use rankle_cli::say;
use rankle_report::{AttackId, AttackOptions, Cell, ObjectiveKind, Protocol, Search, System, TargetPool};

/// Tables of one choice after the other, of the objective, and of the weight ξ; each for the ordinary and the defended model.
pub(super) struct Ablations;

/// The models, each with a radius at which its attacks are neither idle nor saturated.
fn places() -> [(&'static str, System, f64); 2] {
    let plain = System::plain("mnist", "c2f2", "cosine", "triplet");
    [("ordinary model (CT)", plain.clone(), 0.1), ("defended model (CTD)", plain.hardened(), 0.3)]
}

/// The radius of the paper's own two ablations, and how many targets they have.
const EPSILON: f64 = 0.3;
const SETS: [usize; 4] = [1, 2, 5, 10];
const FEW_SETS: [usize; 2] = [1, 10];

fn sets(scope: &Scope) -> &'static [usize] {
    if scope.quick { &FEW_SETS } else { &SETS }
}

/// One choice, made otherwise.
struct Variation {
    name: &'static str,
    /// Which attacks have that choice.
    of: &'static [AttackId],
    change: fn(Cell) -> Cell,
}

const PLUS: &[AttackId] = &[AttackId::CA_PLUS, AttackId::SP_QA_PLUS];
/// Without what shall stay in front: beside its weight ξ, distances and ranks would count differently.
const PURE: [AttackId; 4] = [AttackId::CA_PLUS, AttackId::CA_MINUS, AttackId::QA_PLUS, AttackId::QA_MINUS];
const PRESERVING: [AttackId; 2] = [AttackId::SP_QA_PLUS, AttackId::SP_QA_MINUS];

/// What is the same for every attack, or for every plus attack.
static VARIATIONS: [Variation; 8] = [
    Variation { name: "as in the paper", of: &AttackId::TABLE, change: |cell| cell },
    Variation {
        name: "targets: the first 1 to 5 % of the list",
        of: PLUS,
        change: |cell| with(cell, |options| options.target_band = TargetPool::Local),
    },
    Variation { name: "start: one random", of: &AttackId::TABLE, change: |cell| random(cell, 1) },
    Variation { name: "start: best of three random", of: &AttackId::TABLE, change: |cell| random(cell, 3) },
    Variation { name: "steps: 1 of ε", of: &AttackId::TABLE, change: |cell| steps(1.0, 1, cell) },
    Variation { name: "steps: 50 of ε/10", of: &AttackId::TABLE, change: |cell| steps(0.1, 50, cell) },
    Variation { name: "steps: 100 of ε/50", of: &AttackId::TABLE, change: |cell| steps(0.02, 100, cell) },
    Variation { name: "protocol: strict", of: &AttackId::TABLE, change: strict },
];

/// The weights of what shall stay in front. The paper's are 1 for SP-QA+ and 100 for SP-QA-.
const XI: [f64; 4] = [0.0, 1.0, 100.0, 10_000.0];

fn random(mut cell: Cell, restarts: usize) -> Cell {
    cell.spec.search = Search { random_start: Some(true), restarts: Some(restarts), ..cell.spec.search };
    cell
}

fn strict(mut cell: Cell) -> Cell {
    cell.spec.protocol = Protocol::Strict;
    cell
}

/// The cell with other options.
fn with(mut cell: Cell, change: impl Fn(&mut AttackOptions)) -> Cell {
    change(&mut cell.spec.options);
    cell
}

/// The cell with so many targets.
fn targeting(mut cell: Cell, targets: usize) -> Cell {
    cell.spec.targets = targets;
    cell
}

/// Steps of this share of the radius.
fn steps(share: f64, iterations: usize, mut cell: Cell) -> Cell {
    let step = share * cell.spec.epsilon;
    cell.spec.search = Search { step: Some(step), iterations: Some(iterations), ..cell.spec.search };
    cell
}

fn heading(attack: AttackId) -> String {
    attack.name().to_uppercase()
}

const TARGET: Shown = |record| vec![beyond::before_after(record.rank_before, record.rank_after)];
const TARGET_AND_PRESERVED: Shown = |record| {
    let preserved = beyond::before_after(record.preserved_rank_before, record.preserved_rank_after);
    vec![beyond::before_after(record.rank_before, record.rank_after), preserved]
};

/// One choice after the other.
fn variations(name: &str, epsilon: f64, cell: impl Fn(AttackId, f64) -> Cell) -> Asked {
    let row = |variation: &Variation| {
        let asked = |attack| variation.of.contains(&attack).then(|| (variation.change)(cell(attack, epsilon)));
        (variation.name.to_owned(), AttackId::TABLE.map(asked).into())
    };
    Asked {
        heading: format!("One choice at a time: the {name} at ε = {epsilon}"),
        corner: "what is changed",
        columns: AttackId::TABLE.map(heading).into(),
        rows: VARIATIONS.iter().map(row).collect(),
        shown: TARGET,
    }
}

/// Ranks or distances as what the attacker minimises (`method.md` 7.6).
fn objectives(name: &str, sets: &[usize], cell: impl Fn(AttackId, f64) -> Cell) -> Asked {
    let row = |(targets, objective): (usize, ObjectiveKind)| {
        let of = |attack| Some(with(targeting(cell(attack, EPSILON), targets), |options| options.objective = objective));
        (format!("w = m = {targets}, {objective}"), PURE.map(of).into())
    };
    Asked {
        heading: format!("The objective: the {name} at ε = {EPSILON}"),
        corner: "targets, objective",
        columns: PURE.map(heading).into(),
        rows: sets.iter().flat_map(|&targets| ObjectiveKind::ALL.map(|objective| (targets, objective))).map(row).collect(),
        shown: TARGET,
    }
}

/// What the targets gain, and what the preserved items lose.
fn weights(name: &str, sets: &[usize], cell: impl Fn(AttackId, f64) -> Cell) -> Asked {
    let row = |(targets, xi): (usize, f64)| {
        let of = |attack| Some(with(targeting(cell(attack, EPSILON), targets), |options| options.xi = Some(xi)));
        (format!("m = {targets}, ξ = {xi}"), PRESERVING.map(of).into())
    };
    let columns = |attack| ["target", "preserved"].map(|of| format!("{}, {of}", heading(attack)));
    Asked {
        heading: format!("The weight of what shall stay in front: SP-QA on the {name} at ε = {EPSILON}"),
        corner: "targets, weight",
        columns: PRESERVING.map(columns).concat(),
        rows: sets.iter().flat_map(|&targets| XI.map(|xi| (targets, xi))).map(row).collect(),
        shown: TARGET_AND_PRESERVED,
    }
}

/// Three for each model. `file` says where the weights of a system are.
fn tables(scope: &Scope, file: impl Fn(&System) -> Result<String>) -> Result<Vec<Asked>> {
    let (setting, sets) = (scope.setting(), sets(scope));
    let of_place = |(name, system, epsilon): (&str, System, f64)| -> Result<_> {
        let file = file(&system)?;
        let cell = |attack, epsilon| system.cell("ablations", &file, attack, epsilon, &setting);
        Ok([variations(name, epsilon, cell), objectives(name, sets, cell), weights(name, sets, cell)])
    };
    Ok(places().into_iter().map(of_place).collect::<Result<Vec<_>>>()?.concat())
}

impl Experiment for Ablations {
    fn name(&self) -> &'static str {
        "ablations"
    }

    fn summary(&self) -> &'static str {
        "objective, weight ξ, targets, start, steps and protocol of the attacks on MNIST CT and CTD"
    }

    fn published(&self) -> Published {
        Published::None
    }

    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        let tables = tables(scope, |system| Ok(system.id())).expect("an id is a name");
        let of_system = |system: &System| {
            let cells = tables.iter().flat_map(Asked::cells).filter(|cell| cell.subject.weights == system.id());
            cells.map(cost).sum::<f64>().ceil() as usize
        };
        places().into_iter().map(|(_, system, _)| (system.clone(), of_system(&system))).collect()
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        let systems = places().map(|(_, system, _)| system);
        let models = session.weights(&systems)?;
        say(format_args!("{}: {scope}, into {}", self.name(), files::shown(&session.output)));
        let tables = tables(scope, |system| Ok(models.of(system)?.name.clone()))?;
        let plan: Vec<Cell> = tables.iter().flat_map(Asked::cells).cloned().collect();
        let records = session.sweep(&plan)?;
        let caveats = beyond::caveats(&models, &systems)?;
        let about =
            beyond::About { title: "What each choice of the attacks is worth, on MNIST", scope, note: NOTE, caveats: &caveats };
        let pictures = pictures::draw(session, &models, &pictures::of(systems, EPSILON))?;
        beyond::report(&session.output, &about, &ask::answered(&tables, &records), &pictures, &records)
    }
}

const NOTE: &str = "Mean normalised rank in percent, before → after. Plus attacks want it low, minus attacks high. In the tables of one \
                    choice there is one target, and everything but that choice is the paper's; strict changes targets, ranks, start, \
                    steps and what is kept together; CT is attacked at ε = 0.1, for at 0.3 little is left to gain. The tables of the \
                    objective and of the weight are the paper's own two ablations, at its ε; its other models (contrastive loss, \
                    Euclidean distance) are left out. With one target both objectives of CA are the same search: their slopes differ \
                    in size, not in sign. No numbers of these tables are public.";

/// In usual cells, whose searches have 24 steps on average.
fn cost(cell: &Cell) -> f64 {
    let Search { iterations, restarts, .. } = cell.spec.search;
    let searches = restarts.unwrap_or(1) as f64 * iterations.map_or(1.0, |iterations| iterations as f64 / 24.0);
    if cell.spec.protocol == Protocol::Strict { 8.0 } else { searches }
}

#[cfg(test)]
mod tests {
    use super::super::kept::Kept;
    use super::*;
    use std::collections::{BTreeSet, HashSet};

    fn whole() -> Vec<Asked> {
        tables(&Scope::default(), |system| Ok(system.id())).unwrap()
    }

    /// What is written otherwise in one plan than in another.
    fn changed(usual: &Cell, other: &Cell) -> Vec<String> {
        let [usual, other] = [usual, other].map(|planned| serde_json::to_value(planned).unwrap());
        let names = [&usual, &other].map(|planned| planned.as_object().unwrap().keys().cloned());
        let names: BTreeSet<String> = names.into_iter().flatten().collect();
        names.into_iter().filter(|name| usual.get(name) != other.get(name)).collect()
    }

    #[test]
    fn every_cell_is_another_one() {
        let (tables, quick) = (whole(), tables(&Scope::QUICK, |system| Ok(system.id())).unwrap());
        let plan: Vec<Cell> = tables.iter().flat_map(Asked::cells).cloned().collect();
        assert_eq!(plan.len(), 2 * (7 * 4 + 2 + 8 * 4 + 16 * 2));
        assert_eq!(quick.iter().flat_map(Asked::cells).count(), 2 * (7 * 4 + 2 + 4 * 4 + 8 * 2));
        let lines = Cell::to_lines(&plan).unwrap();
        // CA of CTD as in the paper stands in its table of choices and in that of the objective. SP-QA stands twice, too, but in
        // the table of the weight its weight is written down.
        assert_eq!(lines.lines().collect::<HashSet<_>>().len(), plan.len() - 2);
    }

    #[test]
    fn one_choice_is_changed_at_a_time() {
        for table in whole().iter().filter(|table| table.corner == "what is changed") {
            let usual: Vec<_> = table.rows[0].1.iter().flatten().collect();
            for (name, row) in &table.rows[1..] {
                for (usual, cell) in usual.iter().zip(row).filter_map(|(usual, cell)| Some((usual, cell.as_ref()?))) {
                    let one = ["target_band", "protocol", "random_start restarts", "iterations step"];
                    assert!(one.contains(&&*changed(usual, cell).join(" ")), "{name}: {:?}", changed(usual, cell));
                }
            }
        }
        let long = &whole()[0].rows[5];
        let cell = long.1[0].as_ref().unwrap();
        assert_eq!((long.0.as_str(), cell.spec.search.iterations, cell.spec.epsilon), ("steps: 50 of ε/10", Some(50), 0.1));
        assert!((cell.spec.search.step.unwrap() - 0.01).abs() < 1e-12);
    }

    #[test]
    fn the_papers_own_ablations_are_at_its_radius() {
        for table in whole().iter().filter(|table| table.corner != "what is changed") {
            let first = |attack| table.cells().find(|cell| cell.spec.attack == attack).unwrap();
            for cell in table.cells() {
                let names = changed(first(cell.spec.attack), cell);
                let own = names.iter().all(|name| ["objective", "targets", "xi"].contains(&name.as_str()));
                assert!(cell.spec.epsilon == 0.3 && own, "{names:?}");
            }
        }
        let rows: Vec<_> = whole()[1].rows.iter().map(|row| row.0.clone()).collect();
        assert_eq!((rows.len(), rows[0].as_str(), rows[7].as_str()), (8, "w = m = 1, ranking", "w = m = 10, distance"));
        assert_eq!(whole()[5].rows[15].0, "m = 10, ξ = 10000");
    }

    #[test]
    fn the_kept_report_is_made_of_the_kept_records() {
        let kept = Kept::of("ablations");
        let asked = |weights: &dyn Fn(&System) -> Result<String>| tables(&Scope::default(), weights);
        let records = kept.answer(|weights| Ok(asked(weights)?.iter().flat_map(Asked::cells).cloned().collect()));
        kept.assert_grids(&ask::answered(&whole(), &records));
    }
}
