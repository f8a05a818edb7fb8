//! `cargo xtask reproduce --list`.

use super::Scope;
use super::cost::core_hours;
use super::models::Place;
use crate::experiments::{self, Experiment, Published};
use anyhow::Result;
use rankle_report::System;

/// Every experiment: what it needs, how long it takes, whether anything is published.
///
/// # Errors
/// When the costs of an architecture are not known.
pub(super) fn list() -> Result<String> {
    let line = |[name, published, quick, usual, full, needs]: [&str; 6]| {
        format!("{name:<22} {published:<9} {quick:>7} {usual:>7} {full:>7} {needs}").trim_end().to_owned() + "\n"
    };
    let mut out =
        "Sizes are core-hours, trainings of models that are not here included. Published: similar is of another system.\n\n"
            .to_owned();
    out += &line(["name", "published", "--quick", "default", "--full", "needs"]);
    for experiment in experiments::all() {
        let hours = |scope: Scope| core_hours(experiment, &scope).map(shown);
        let (quick, usual, full) = (hours(Scope::QUICK)?, hours(Scope::default())?, hours(Scope::FULL)?);
        let published = match experiment.published() {
            Published::All => "yes",
            Published::Some => "partly",
            Published::Similar => "similar",
            Published::None => "no",
        };
        let needs = needs(experiment);
        for (n, need) in needs.iter().enumerate() {
            let row =
                if n == 0 { [experiment.name(), published, &quick, &usual, &full, need] } else { ["", "", "", "", "", need] };
            out += &line(row);
        }
    }
    out += "\n";
    for experiment in experiments::all() {
        out += &format!("{}: {}\n", experiment.name(), experiment.summary());
    }
    Ok(out)
}

/// Two digits that count.
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

/// The datasets, then the models, each with where it is.
fn needs(experiment: &dyn Experiment) -> Vec<String> {
    let systems: Vec<System> = experiment.work(&Scope::default()).into_iter().map(|(system, _)| system).collect();
    let mut datasets: Vec<&str> = systems.iter().map(|system| system.dataset.as_str()).collect();
    datasets.dedup();
    let data = datasets.iter().map(|name| match *name {
        "mnist" => "mnist (shipped)".to_owned(),
        other => format!("{other} (cargo xtask fetch {other})"),
    });
    let models = systems.iter().map(|system| {
        let place = match Place::of(system) {
            Place::Shipped => "shipped",
            Place::Trained => "trained before",
            Place::Missing => "to be trained",
        };
        format!("{} ({place})", system.id())
    });
    data.chain(models).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_of_each_what_it_needs_and_how_long_it_takes() {
        let text = list().unwrap();
        for experiment in experiments::all() {
            assert!(text.lines().any(|line| line.starts_with(&format!("{:<22} ", experiment.name()))), "{text}");
            assert!(text.contains(&format!("\n{}: {}\n", experiment.name(), experiment.summary())));
        }
        let mnist = text.lines().position(|line| line.starts_with("mnist ")).unwrap();
        let rows: Vec<&str> = text.lines().skip(mnist).take(3).collect();
        assert_eq!(rows[0], "mnist                  yes         0.007    0.22     2.2 mnist (shipped)");
        assert_eq!(rows[1].trim_start(), "mnist-c2f2-cosine-triplet (shipped)");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
}
