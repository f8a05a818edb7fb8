//! The line of a plan that asks for a record again.

use rankle_report::{Attack, Cell, Planned, Setting, Source, System};

/// What a protocol prescribes of a search.
#[derive(Debug, PartialEq)]
struct Schedule {
    step: f64,
    iterations: usize,
    random_start: bool,
    restarts: usize,
}

/// The plan line, with weights at these places; none for a record that no sweep makes.
///
/// What the protocol prescribes is left to the driver: were it named, a change of the driver's own schedule would not be seen.
pub(super) fn plan(cell: &Cell, weights: &str, from: Option<&str>) -> Option<Planned> {
    let (table, loss, defense) = (cell.table.as_ref()?, cell.loss.clone()?, cell.defense.clone()?);
    if cell.chosen.is_some() {
        return None;
    }
    let Cell { dataset, model, distance, .. } = cell.clone();
    let system = System { dataset, model, distance, loss, defense, seed: 0 };
    let source = |(source, weights): (&Source, &str)| Source {
        weights: weights.to_owned(),
        weights_sha256: String::new(),
        ..source.clone()
    };
    let planned = Planned {
        targets: cell.targets,
        objective: cell.objective.clone(),
        target_band: cell.target_band.clone(),
        xi: cell.xi.filter(|&xi| Some(xi) != weight(cell.attack)),
        from: cell.from.as_ref().zip(from).map(source),
        universal: cell.universal,
        ..Planned::of_system(table, &system, weights, cell.attack, cell.epsilon, &Setting::of(cell))
    };
    // A plan cannot change the search of a universal perturbation.
    if cell.universal.is_some() {
        return Some(planned);
    }
    let usual = Schedule::prescribed(&cell.protocol, cell.epsilon);
    Some(Planned {
        step: unusual(cell.step, usual.step),
        iterations: unusual(cell.iterations, usual.iterations),
        random_start: unusual(cell.random_start, usual.random_start),
        restarts: unusual(cell.restarts, usual.restarts),
        ..planned
    })
}

fn unusual<T: PartialEq>(value: T, usual: T) -> Option<T> {
    (value != usual).then_some(value)
}

/// The weight ξ of the items that stay in front.
fn weight(attack: Attack) -> Option<f64> {
    match attack {
        Attack::PreservingQueryRaise => Some(1.0),
        Attack::PreservingQueryLower => Some(100.0),
        _ => None,
    }
}

impl Schedule {
    /// As `Pgd::paper` and `Pgd::strict` have it, said once more: xtask links no attack, and a record that disagrees with this is
    /// one whose plan named its search.
    fn prescribed(protocol: &str, epsilon: f64) -> Self {
        const LEVEL: f64 = 1.0 / 255.0;
        let paper = Self { step: epsilon, iterations: 1, random_start: false, restarts: 1 };
        match protocol {
            "strict" => Self { step: (epsilon / 10.0).max(LEVEL), iterations: 50, random_start: true, restarts: 3 },
            _ if epsilon < LEVEL => paper,
            _ => {
                let step = (epsilon / 10.0).clamp(LEVEL, 0.01);
                Self { step, iterations: (2.0 * epsilon / step).clamp(10.0, 30.0).floor() as usize, ..paper }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::committed::{Input, read, shipped};
    use super::*;
    use crate::files;
    use serde_json::json;
    use std::collections::HashMap;

    fn again(cell: &Cell) -> Planned {
        plan(cell, &cell.weights, cell.from.as_ref().map(|from| &*from.weights)).unwrap()
    }

    /// What a plan names besides what each must.
    fn named(planned: &Planned) -> String {
        let fields = serde_json::to_value(planned).unwrap();
        let optional = ["from", "iterations", "objective", "random_start", "restarts", "step", "target_band", "universal", "xi"];
        optional.into_iter().filter(|name| fields.get(name).is_some()).collect::<Vec<_>>().join(" ")
    }

    /// Each committed record is asked for by its own plan, and only ablations name their search.
    #[test]
    fn every_committed_record_can_be_asked_for_again() {
        let mut seen: HashMap<(String, String), usize> = HashMap::new();
        for Input { file, .. } in shipped(&files::root()).unwrap() {
            for committed in read(&file).unwrap().iter().filter(|committed| committed.is_of_a_ranking()) {
                let cell = committed.cell().unwrap();
                let planned = again(&cell);
                assert!(planned.asks_for(&cell), "{planned:?}");
                *seen.entry((cell.table.clone().unwrap(), named(&planned))).or_default() += 1;
            }
        }
        let count = |table: &str, named: &str| seen.get(&(table.to_owned(), named.to_owned())).copied().unwrap_or_default();
        assert_eq!((count("mnist-ct-curves", ""), count("mnist-ctd-curves", "")), (155, 155));
        assert_eq!((count("transfer", "from"), count("self-transfer", "from")), (100, 100));
        assert_eq!((count("universal", "universal"), count("universal", "from universal")), (12, 4));
        for names in ["", "target_band", "random_start", "random_start restarts", "iterations step", "objective", "xi"] {
            assert!(count("ablations", names) > 0, "{names}");
        }
        for (table, names) in seen.keys() {
            assert!(
                ["ablations", "transfer", "self-transfer", "universal"].contains(&&**table) || names.is_empty(),
                "{table} {names}"
            );
        }
    }

    #[test]
    fn strict_and_ablations_come_back() {
        let (_, records) = crate::sample::answered();
        let cell = records.into_iter().map(|record| record.cell).find(|cell| cell.epsilon == 0.3).unwrap();
        let strict =
            Cell { protocol: "strict".into(), step: 0.03, iterations: 50, random_start: true, restarts: 3, ..cell.clone() };
        assert_eq!(named(&again(&strict)), "");
        let shorter = Cell { iterations: 5, random_start: false, restarts: 1, ..strict };
        assert_eq!(named(&again(&shorter)), "iterations random_start restarts");
        assert!(again(&shorter).asks_for(&shorter) && !again(&shorter).asks_for(&cell));
        let preserving = Cell { attack: Attack::PreservingQueryLower, xi: Some(1.0), ..cell.clone() };
        assert_eq!(again(&preserving).xi, Some(1.0));
        assert_eq!(again(&Cell { xi: Some(100.0), ..preserving }).xi, None);
        for no_sweep in [json!({"chosen": "by hand"}), json!({"table": null}), json!({"loss": null})] {
            let mut fields = serde_json::to_value(&cell).unwrap();
            no_sweep.as_object().unwrap().iter().for_each(|(name, value)| fields[name] = value.clone());
            assert_eq!(plan(&serde_json::from_value(fields).unwrap(), "w", None), None, "{no_sweep}");
        }
    }

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn the_schedules_are_those_of_the_method() {
        let paper = |epsilon| { let usual = Schedule::prescribed("paper", epsilon); (usual.step, usual.iterations) };
        for (epsilon, step, iterations) in [
            (0.0,         0.0,         1),
            (0.003,       0.003,       1),
            (1.0 / 255.0, 1.0 / 255.0, 10),
            (0.03,        1.0 / 255.0, 15),
            (0.06,        0.006,       20),
            (0.3,         0.01,        30),
        ] {
            assert_eq!(paper(epsilon), (step, iterations), "{epsilon}");
        }
    }
}
