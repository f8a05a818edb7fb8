//! Perturbations that many images share: on the ordinary and the defended MNIST model, and from the one to the other.

use super::grid::Grid;
use super::{Experiment, Outcome, Published, beyond};
use crate::files;
use crate::reproduce::{Scope, Session};
use anyhow::{Result, bail};
use rankle_cli::say;
use rankle_report::{AttackId, Cell, Protocol, Record, Setting, SharedBy, Source, System};

/// I-CA± and I-QA±.
pub(super) struct Universal;

const EPSILON: f64 = 0.3;
const ATTACKS: [AttackId; 4] = [AttackId::CA_PLUS, AttackId::CA_MINUS, AttackId::QA_PLUS, AttackId::QA_MINUS];
/// The images of a batch, half of which are seen (`method.md` 10).
const BATCH: usize = 1000;

/// How much work a perturbation for a batch is, in cells of 1,000 images: 100 steps on every other image, where a cell has about
/// 25 steps on each.
const CELLS_PER_PERTURBATION: usize = 2;

fn ordinary() -> System {
    System::plain("mnist", "c2f2", "cosine", "triplet")
}

/// Two rows of the table.
struct Row {
    name: &'static str,
    /// The model that is attacked.
    from: System,
    /// The model that is measured.
    to: System,
    protocol: Protocol,
}

fn rows() -> [Row; 4] {
    let (plain, hardened) = (ordinary(), ordinary().hardened());
    let row = |name, from: &System, to: &System, protocol| Row { name, from: from.clone(), to: to.clone(), protocol };
    [
        row("CT", &plain, &plain, Protocol::Paper),
        row("CT, strict", &plain, &plain, Protocol::Strict),
        row("CTD", &hardened, &hardened, Protocol::Paper),
        row("CT, measured on CTD", &plain, &hardened, Protocol::Paper),
    ]
}

/// How many images are used, and how they are split: one batch with ten targets, or all with the paper's hundred.
fn sizes(scope: &Scope) -> (usize, SharedBy) {
    let (batch, batches) = (scope.images.min(BATCH), (scope.images / BATCH).max(1));
    let perturbations = if scope.quick {
        3
    } else if scope.images == Scope::FULL.images {
        BATCH / 10
    } else {
        10
    };
    (batch * batches, SharedBy { batches, perturbations })
}

/// Row by row, attack by attack. `weights` says where the weights of a system are.
fn plan(scope: &Scope, weights: impl Fn(&System) -> Result<String>) -> Result<Vec<Cell>> {
    let (images, shared) = sizes(scope);
    let mut plan = Vec::new();
    for Row { from, to, protocol, .. } in rows() {
        let source = Source::planned(&from.subject(&weights(&from)?));
        let setting = Setting { protocol, images, ..scope.setting() };
        for attack in ATTACKS {
            let mut cell = to.cell("universal", &weights(&to)?, attack, EPSILON, &setting);
            cell.spec.universal = Some(shared);
            cell.from = (from != to).then(|| source.clone());
            plan.push(cell);
        }
    }
    Ok(plan)
}

/// Two rows for each of [`rows`]: the seen and the unseen half.
fn table(records: &[Record]) -> Grid {
    let halves = |(name, records): (&str, &[Record])| {
        let with_error = |before, after, error: Option<f64>| {
            let error = error.map_or_else(String::new, |error| format!(" ± {error:.2}"));
            beyond::before_after(before, after) + &error
        };
        let seen = records.iter().map(|record| with_error(record.rank_before, record.rank_after, record.rank_after_stderr));
        let unseen = records.iter().map(|record| {
            let unseen = record.unseen.as_ref();
            let (before, after) = (unseen.map(|unseen| unseen.rank_before), unseen.map(|unseen| unseen.rank_after));
            with_error(before, after, unseen.and_then(|unseen| unseen.rank_after_stderr))
        });
        [(format!("{name}, seen"), seen.collect()), (format!("{name}, unseen"), unseen.collect())]
    };
    Grid {
        corner: "model, images".to_owned(),
        columns: ATTACKS.map(|attack| format!("I-{}", attack.name().to_uppercase())).into(),
        rows: rows().iter().map(|row| row.name).zip(records.chunks(ATTACKS.len())).flat_map(halves).collect(),
    }
}

impl Experiment for Universal {
    fn name(&self) -> &'static str {
        "universal"
    }

    fn summary(&self) -> &'static str {
        "one perturbation for many images (I-CA, I-QA) on MNIST CT and CTD, seen and unseen images"
    }

    fn published(&self) -> Published {
        Published::None
    }

    /// In cells of as many images.
    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        let cells = ATTACKS.len() * sizes(scope).1.perturbations * CELLS_PER_PERTURBATION;
        vec![(ordinary(), 3 * cells), (ordinary().hardened(), cells)]
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        if scope.images < 2 {
            bail!("--images {}: a universal perturbation is for two images at least", scope.images);
        }
        let systems = [ordinary(), ordinary().hardened()];
        let weights = session.weights(&systems)?;
        let (images, SharedBy { batches, perturbations }) = sizes(scope);
        let size = format!("{images} images in batches of {}, {perturbations} perturbations each", images / batches);
        say(format_args!("{}: {size}, into {}", self.name(), files::shown(&session.output)));
        let records = session.sweep(&plan(scope, |system| Ok(weights.of(system)?.name.clone()))?)?;
        let mut pictures = Vec::new();
        for attack in ATTACKS {
            let file = format!("universal-{}.png", attack.name());
            session.universal(&ordinary(), weights.of(&ordinary())?, attack, EPSILON, images / batches, &file)?;
            pictures.push((
                file,
                format!("The first perturbation of I-{} on CT, under the definitions of the paper", attack.name().to_uppercase()),
            ));
        }
        let note = format!(
            "Mean normalised rank in percent, before → after ± its standard error over the perturbations: {size}. Seen images are those \
             that a perturbation was computed on. In the paper's search every image of the batch has a say in how the perturbation is \
             clipped, so that the unseen half is not quite unseen; strict leaves that half out, keeps images inside [0, 1] all the \
             while, and draws targets from outside of the batch. \
             Of minus attacks only the images nearest to the target count, 1 % of each half ({} of {}). No numbers of this table are \
             public.",
            (images / batches / 200).max(1),
            images / batches / 2
        );
        let caveats = beyond::caveats(&weights, &systems)?;
        let about = beyond::About { title: "Universal perturbations on MNIST, ε = 0.3", scope, note: &note, caveats: &caveats };
        beyond::report(&session.output, &about, &[(String::new(), table(&records))], &pictures, &records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::Kept;
    use super::*;
    use crate::reproduce::sample;
    use rankle_report::Unseen;

    #[test]
    fn the_size_is_one_batch_or_the_papers() {
        let shared = |batches, perturbations| SharedBy { batches, perturbations };
        assert_eq!(sizes(&Scope::default()), (1000, shared(1, 10)));
        assert_eq!(sizes(&Scope::FULL), (10_000, shared(10, 100)));
        assert_eq!(sizes(&Scope::QUICK), (100, shared(1, 3)));
        assert_eq!(sizes(&Scope { images: 2500, ..Scope::default() }), (2000, shared(2, 10)));
    }

    #[test]
    fn four_cells_are_strict_and_four_are_measured_elsewhere() {
        let plan = plan(&Scope::default(), |system| Ok(system.id())).unwrap();
        assert_eq!(plan.len(), 16);
        assert_eq!(plan.iter().filter(|planned| planned.spec.protocol == Protocol::Strict).count(), 4);
        assert_eq!(plan.iter().filter(|planned| planned.from.is_some()).count(), 4);
        let last = plan.last().unwrap();
        assert_eq!((last.spec.attack.name(), last.subject.weights.as_str()), ("qa-", "mnist-c2f2-cosine-triplet-est"));
        assert_eq!(last.from.as_ref().unwrap().weights, "mnist-c2f2-cosine-triplet");
    }

    #[test]
    fn the_kept_report_is_made_of_the_kept_records() {
        let kept = Kept::of("universal");
        let records = &kept.answer(|weights| plan(&Scope::default(), weights));
        kept.assert_tables(&table(records).markdown());
    }

    #[test]
    fn each_record_fills_two_rows() {
        let mut records = vec![sample::answered().1.swap_remove(0); 16];
        for (n, record) in records.iter_mut().enumerate() {
            (record.rank_before, record.rank_after) = (Some(50.0), Some(n as f64));
            record.unseen = Some(Unseen { rank_before: 49.0, rank_after: n as f64 + 0.5, rank_after_stderr: Some(0.25) });
            record.rank_after_stderr = None;
        }
        let grid = table(&records);
        assert_eq!(grid.rows.len(), 8);
        assert_eq!((grid.rows[4].0.as_str(), grid.rows[4].1[1].as_str()), ("CTD, seen", "50.00 → 9.00"));
        assert_eq!(
            (grid.rows[7].0.as_str(), grid.rows[7].1[3].as_str()),
            ("CT, measured on CTD, unseen", "49.00 → 15.50 ± 0.25")
        );
    }
}
