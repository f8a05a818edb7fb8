//! The list of experiments.

use super::cost::core_hours;
use super::models::{Availability, Places};
use super::{Experiment, Published, Scope};
use rankle_report::System;

/// All experiments in the order that their plans state: cost, needs, and the extent of published numbers.
pub(crate) fn list(mut experiments: Vec<Experiment>, places: &Places) -> String {
    experiments.sort_by_key(Experiment::place);
    let line = |[name, published, quick, usual, full, needs]: [&str; 6]| {
        format!("{name:<22} {published:<9} {quick:>7} {usual:>7} {full:>7} {needs}").trim_end().to_owned() + "\n"
    };
    let mut out =
        "Sizes are core-hours, trainings of models that are not here included. Published: similar is of another system.\n\n"
            .to_owned();
    out += &line(["name", "published", "--quick", "default", "--full", "needs"]);
    for Experiment { name, study, weights, .. } in &experiments {
        let place = |system: &System| match weights.iter().any(|(known, _)| known == system) {
            true => Availability::Named,
            false => places.place(system),
        };
        let hours = |scope| core_hours(&**study, &scope, &place).map_or_else(|| "?".to_owned(), shown);
        let (quick, usual, full) = (hours(Scope::QUICK), hours(Scope::default()), hours(Scope::FULL));
        let published = match study.published() {
            Published::All => "yes",
            Published::Some => "partly",
            Published::Similar => "similar",
            Published::None => "no",
        };
        let systems: Vec<System> = study.work(&Scope::default()).into_iter().map(|(system, _)| system).collect();
        for (n, need) in needs(&systems, &place).iter().enumerate() {
            let row = if n == 0 { [name, published, &quick, &usual, &full, need] } else { ["", "", "", "", "", need] };
            out += &line(row);
        }
    }
    out += "\n";
    for Experiment { name, summary, .. } in &experiments {
        out += &format!("{name}: {summary}\n");
    }
    out
}

/// Hours with about two significant digits.
fn shown(hours: f64) -> String {
    let digits = if hours < 0.1 {
        3
    } else if hours < 1.0 {
        2
    } else {
        1
    };
    format!("{hours:.digits$}")
}

/// Datasets, then models, each with its location.
fn needs(systems: &[System], place: &dyn Fn(&System) -> Availability) -> Vec<String> {
    let mut datasets: Vec<&str> = systems.iter().map(|system| system.dataset.as_str()).collect();
    datasets.dedup();
    let data = datasets.iter().map(|name| match *name {
        "mnist" => "mnist (shipped)".to_owned(),
        other => format!("{other} (cargo xtask fetch {other})"),
    });
    let models = systems.iter().map(|system| {
        let place = match place(system) {
            Availability::Named => "weights of the plan",
            Availability::Shipped => "shipped",
            Availability::Trained => "trained here",
            Availability::Missing => "to be trained",
        };
        format!("{} ({place})", system.id())
    });
    data.chain(models).collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::all;
    use super::*;

    #[test]
    fn the_list_says_of_each_what_it_needs_and_how_long_it_takes() {
        let text = list(all(), &Places::of_the_repository());
        for Experiment { name, summary, .. } in all() {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name:<22} "))), "{text}");
            assert!(text.contains(&format!("\n{name}: {summary}\n")));
        }
        let mnist = text.lines().position(|line| line.starts_with("mnist ")).unwrap();
        let rows: Vec<&str> = text.lines().skip(mnist).take(3).collect();
        assert_eq!(rows[0], "mnist                  yes         0.007    0.22     2.2 mnist (shipped)");
        assert_eq!(rows[1].trim_start(), "mnist-c2f2-cosine-triplet (shipped)");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        let order =
            ["mnist", "curves", "fashion", "losses", "backbones", "transfer", "self-transfer", "universal", "classification"];
        let others =
            ["classification-fashion", "ablations", "sanity", "sanity-fashion", "products", "strength", "strength-fashion"];
        let order = [&order[..], &others, &["ctd-apgd", "lenet-euclidean"]];
        assert_eq!(all().iter().map(|experiment| experiment.name.as_str()).collect::<Vec<_>>(), order.concat());
    }

    #[test]
    fn weights_of_a_plan_and_an_unknown_cost_are_told() {
        let mut mnist = super::super::plan::tests::named("mnist");
        mnist.weights = vec![(System::plain("mnist", "c2f2", "cosine", "triplet"), "mine.safetensors".to_owned())];
        let text = list(vec![mnist], &Places::of_the_repository());
        assert!(text.contains("mnist-c2f2-cosine-triplet (weights of the plan)\n"), "{text}");
    }
}
