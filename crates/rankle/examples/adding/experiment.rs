//! An experiment: attacks at several radii, and a table of the ranks. In the workspace an experiment is a plan for `rankle run`
//! (`xtask/plans/examples/lenet-euclidean.toml`), with records, resuming and reports.

use rankle_attacks::{Estimate, Pgd, RankingAttack, Setting, Threat, run};
use rankle_core::{Differentiable, Result};

const EPSILONS: [f64; 4] = [0.0, 0.01, 0.03, 0.1];

/// A radius, and the mean rank after each attack.
pub(crate) type Row = (f64, Vec<f64>);

/// Runs every attack at every radius.
pub(crate) fn run_all<M: Differentiable + ?Sized>(
    setting: &Setting<'_, M>,
    images: &[usize],
    attacks: &[(&str, &dyn RankingAttack)],
) -> Result<Vec<Row>> {
    let rank = |attack: &dyn RankingAttack, epsilon: f64| -> Result<f64> {
        let targets = attack.choose(images, &setting.scene)?;
        let search = Pgd::paper(Threat::linf(epsilon)?);
        let outcome = run(attack, &search, setting, images, &targets)?;
        Ok(Estimate::of(&outcome.after.rank).map_or(f64::NAN, |estimate| estimate.mean))
    };
    EPSILONS
        .iter()
        .map(|&epsilon| Ok((epsilon, attacks.iter().map(|(_, attack)| rank(*attack, epsilon)).collect::<Result<_>>()?)))
        .collect()
}

/// Table in Markdown, ranks in percent.
pub(crate) fn table(attacks: &[(&str, &dyn RankingAttack)], rows: &[Row]) -> String {
    let head: String = attacks.iter().map(|(name, _)| format!(" {name} |")).collect();
    let line = |(epsilon, ranks): &Row| {
        let cells: String = ranks.iter().map(|rank| format!(" {:.2} |", 100.0 * rank)).collect();
        format!("| {epsilon} |{cells}\n")
    };
    format!("| ε |{head}\n|---:|{}\n{}", "---:|".repeat(attacks.len()), rows.iter().map(line).collect::<String>())
}
