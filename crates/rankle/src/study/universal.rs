//! Universal perturbations: on several models, and transferred between them.

use super::plan::Plan;
use super::{Outcome, Scope, Session, Study, Weights, beyond};
use anyhow::{Result, bail};
use rankle_report::{AttackId, Cell, Grid, Protocol, Record, RunSetting, SharedBy, Source, System};
use serde::Deserialize;
use toml::Spanned;

/// Section `[universal]` of a plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    attacks: Vec<AttackId>,
    epsilon: f64,
    /// Subject whose perturbations are drawn.
    pictured: Spanned<String>,
    #[serde(rename = "row")]
    rows: Vec<RowData>,
}

/// Two rows of the table: the seen and the unseen half.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowData {
    name: String,
    attacked: Spanned<String>,
    /// Measured subject; the attacked one if `None`.
    measured: Option<Spanned<String>>,
    protocol: Option<Protocol>,
}

/// A table of I-CA± and I-QA±.
pub(super) struct UniversalStudy {
    name: String,
    title: String,
    note: String,
    attacks: Vec<AttackId>,
    epsilon: f64,
    /// Model whose perturbations are drawn, with its name.
    pictured: (String, System),
    rows: Vec<Row>,
}

/// Images per batch, half of which are seen (METHOD.md 10).
const BATCH: usize = 1000;

/// Cost of a perturbation for a batch, in cells of 1,000 images: 100 steps on every other image, against about 25 steps on each
/// image of a cell.
const CELLS_PER_PERTURBATION: usize = 2;

/// Two rows of the table.
struct Row {
    name: String,
    /// Attacked model.
    from: System,
    /// Measured model.
    to: System,
    protocol: Protocol,
}

/// Number of images, and their split: one batch with ten perturbations, or the paper's size with a hundred per batch.
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

impl UniversalStudy {
    /// Reads the section of a plan; an unknown subject or a section without cells is an error of one line.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let Data { attacks, epsilon, pictured, rows } = plan.section("universal", &plan.file.universal)?;
        if rows.is_empty() || attacks.is_empty() {
            return Err(plan.lacks("[universal] needs a row and an attack at least"));
        }
        plan.check_epsilon(*epsilon)?;
        let row = |row: &RowData| -> Result<Row> {
            let from = plan.subject(&row.attacked)?.clone();
            let to = row.measured.as_ref().map_or(Ok(&from), |measured| plan.subject(measured))?.clone();
            let protocol = row.protocol.unwrap_or(Protocol::Paper);
            Ok(Row { name: row.name.clone(), from, to, protocol })
        };
        Ok(Self {
            name: plan.name.clone(),
            title: plan.file.title.clone(),
            note: plan.file.note.clone(),
            attacks: attacks.clone(),
            epsilon: *epsilon,
            pictured: (pictured.get_ref().clone(), plan.subject(pictured)?.clone()),
            rows: rows.iter().map(row).collect::<Result<_>>()?,
        })
    }

    /// Models, each once, in the order of the rows.
    fn systems(&self) -> Vec<System> {
        let mut systems: Vec<System> = Vec::new();
        for system in self.rows.iter().flat_map(|row| [&row.from, &row.to]).chain([&self.pictured.1]) {
            if !systems.contains(system) {
                systems.push(system.clone());
            }
        }
        systems
    }

    /// Table with two rows per row of the plan: the seen and the unseen half.
    fn table(&self, records: &[Record]) -> Grid {
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
            columns: self.attacks.iter().map(|attack| format!("I-{}", attack.name().to_uppercase())).collect(),
            rows: self
                .rows
                .iter()
                .map(|row| row.name.as_str())
                .zip(records.chunks(self.attacks.len()))
                .flat_map(halves)
                .collect(),
        }
    }

    /// Meaning of the cells, with the numbers of this run.
    fn note(&self, size: &str, half: usize, counted: usize) -> String {
        let numbers = [("{size}", size.to_owned()), ("{counted}", counted.to_string()), ("{half}", half.to_string())];
        numbers.iter().fold(self.note.clone(), |note, (place, number)| note.replace(place, number))
    }
}

impl Study for UniversalStudy {
    /// Work in cells of `scope.images` images.
    fn work(&self, scope: &Scope) -> Vec<(System, usize)> {
        let cells = self.attacks.len() * sizes(scope).1.perturbations * CELLS_PER_PERTURBATION;
        let rows = |system: &System| self.rows.iter().filter(|row| row.from == *system).count();
        self.systems().into_iter().map(|system| (system.clone(), rows(&system) * cells)).collect()
    }

    /// Cells row by row, attack by attack.
    fn plan(&self, scope: &Scope, weights: Weights<'_>) -> Result<Vec<Cell>> {
        let (images, shared) = sizes(scope);
        let mut plan = Vec::new();
        for Row { from, to, protocol, .. } in &self.rows {
            let source = Source::planned(&from.subject(&weights(from)?));
            let setting = RunSetting { protocol: *protocol, images, ..scope.setting() };
            for &attack in &self.attacks {
                let mut cell = to.cell(&self.name, &weights(to)?, attack, self.epsilon, &setting);
                cell.spec.universal = Some(shared);
                cell.from = (from != to).then(|| source.clone());
                plan.push(cell);
            }
        }
        Ok(plan)
    }

    fn run(&self, session: &Session<'_>) -> Result<Outcome> {
        let scope = &session.scope;
        if scope.images < 2 {
            bail!("--images {}: a universal perturbation is for two images at least", scope.images);
        }
        let systems = self.systems();
        let (images, SharedBy { batches, perturbations }) = sizes(scope);
        let batch = images / batches;
        let size = format!("{images} images in batches of {batch}, {perturbations} perturbations each");
        let (models, records) = session.answers(&systems, &size, |weights| self.plan(scope, weights))?;
        let mut pictures = Vec::new();
        let (name, system) = &self.pictured;
        for &attack in &self.attacks {
            let file = format!("universal-{}.png", attack.name());
            session.universal(system, models.of(system)?, attack, self.epsilon, batch, &file)?;
            let upper = attack.name().to_uppercase();
            pictures.push((file, format!("The first perturbation of I-{upper} on {name}, under the definitions of the paper")));
        }
        let note = self.note(&size, batch / 2, (batch / 200).max(1));
        let caveats = beyond::caveats(&models, &systems)?;
        let about = beyond::About { title: &self.title, scope, note: &note, caveats: &caveats };
        beyond::report(session.output, &about, &[(String::new(), self.table(&records))], &pictures, &records)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::CommittedResults;
    use super::super::plan::tests::plan;
    use super::super::sample;
    use super::*;
    use rankle_report::Unseen;

    fn universal() -> UniversalStudy {
        UniversalStudy::of(&plan("universal")).unwrap()
    }

    #[test]
    fn the_size_is_one_batch_or_the_papers() {
        let shared = |batches, perturbations| SharedBy { batches, perturbations };
        assert_eq!(sizes(&Scope::default()), (1000, shared(1, 10)));
        assert_eq!(sizes(&Scope::FULL), (10_000, shared(10, 100)));
        assert_eq!(sizes(&Scope::QUICK), (100, shared(1, 3)));
        assert_eq!(sizes(&Scope { images: 2500, ..Scope::default() }), (2000, shared(2, 10)));
    }

    #[test]
    fn eight_cells_are_strict_and_four_are_measured_elsewhere() {
        let plan = universal().plan(&Scope::default(), &|system| Ok(system.id())).unwrap();
        let work = |scope| universal().work(&scope).into_iter().map(|(_, cells)| cells).collect::<Vec<_>>();
        assert_eq!((work(Scope::default()), work(Scope::QUICK)), (vec![240, 160], vec![72, 48]));
        assert_eq!(plan.len(), 20);
        assert_eq!(plan.iter().filter(|planned| planned.spec.protocol == Protocol::Strict).count(), 8);
        assert_eq!(plan.iter().filter(|planned| planned.from.is_some()).count(), 4);
        let last = plan.last().unwrap();
        assert_eq!((last.spec.attack.name(), last.subject.weights.as_str()), ("qa-", "mnist-c2f2-cosine-triplet-est"));
        assert_eq!(last.from.as_ref().unwrap().weights, "mnist-c2f2-cosine-triplet");
    }

    #[test]
    fn the_kept_report_is_made_of_the_kept_records() {
        let kept = CommittedResults::of("universal");
        let universal = universal();
        let records = &kept.answer(&|weights| universal.plan(&Scope::default(), weights));
        kept.assert_tables(&universal.table(records).markdown());
        let note = universal.note("1000 images in batches of 1000, 10 perturbations each", 500, 5);
        kept.assert_note(&universal.title, &note);
    }

    #[test]
    fn each_record_fills_two_rows() {
        let mut records = vec![sample::answered().1.swap_remove(0); 20];
        for (n, record) in records.iter_mut().enumerate() {
            (record.rank_before, record.rank_after) = (Some(50.0), Some(n as f64));
            record.unseen = Some(Unseen { rank_before: 49.0, rank_after: n as f64 + 0.5, rank_after_stderr: Some(0.25) });
            record.rank_after_stderr = None;
        }
        let grid = universal().table(&records);
        assert_eq!(grid.rows.len(), 10);
        assert_eq!((grid.rows[4].0.as_str(), grid.rows[4].1[1].as_str()), ("CTD, seen", "50.00 → 9.00"));
        assert_eq!(
            (grid.rows[9].0.as_str(), grid.rows[9].1[3].as_str()),
            ("CT, measured on CTD, unseen", "49.00 → 19.50 ± 0.25")
        );
    }
}
