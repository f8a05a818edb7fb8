//! A few records that stand for many.

use super::Ready;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

/// What took longer, in seconds, comes last in a sample.
const DEAR: f64 = 5.0;

/// How a record is like others: by each input that a plan names, and by its file.
type Traits = Vec<(String, String)>;

/// The places of at most `count` records, in their order: again and again the one whose inputs occur least often among those that
/// are chosen already, and of several the cheapest. What is quick and has an attack comes first, a radius of 0 last.
pub(super) fn spread(ready: &[Ready], count: usize) -> Vec<usize> {
    let traits = traits(ready);
    let mut seen: HashMap<&(String, String), usize> = HashMap::new();
    let mut rest: Vec<usize> = (0..ready.len()).collect();
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        let common = |at: usize| traits[at].iter().map(|one| seen.get(one).copied().unwrap_or_default()).sum::<usize>();
        let better = |&(_, &a): &(usize, &usize), &(_, &b): &(usize, &usize)| -> Ordering {
            let seconds = |at: usize| ready[at].committed.seconds();
            let by_rank = rank(&ready[a]).cmp(&rank(&ready[b]));
            by_rank.then(common(a).cmp(&common(b))).then(seconds(a).total_cmp(&seconds(b))).then(a.cmp(&b))
        };
        let Some((place, &best)) = rest.iter().enumerate().min_by(better) else { break };
        rest.swap_remove(place);
        traits[best].iter().for_each(|one| *seen.entry(one).or_default() += 1);
        chosen.insert(best);
    }
    chosen.into_iter().collect()
}

fn rank(ready: &Ready) -> u8 {
    match (ready.planned.epsilon == 0.0, ready.committed.seconds() > DEAR) {
        (false, false) => 0,
        (false, true) => 1,
        (true, _) => 2,
    }
}

/// Of each record; what is not named is one of its traits, too, so that what is named seldom is looked for.
fn traits(ready: &[Ready]) -> Vec<Traits> {
    let fields: Vec<Value> = ready.iter().map(|ready| serde_json::to_value(&ready.planned).unwrap_or_default()).collect();
    let names: BTreeSet<&String> = fields.iter().filter_map(Value::as_object).flat_map(|fields| fields.keys()).collect();
    let of = |(ready, fields): (&Ready, &Value)| {
        let inputs = names.iter().map(|&name| (name.clone(), fields.get(name).unwrap_or(&Value::Null).to_string()));
        inputs.chain([("file".to_owned(), ready.committed.file.clone())]).collect()
    };
    ready.iter().zip(&fields).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::ready;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_sample_is_quick_and_of_every_kind() {
        let (ready, _) = ready(|record| if record.cell.targets == 10 { 50.0 } else { record.cell.epsilon + 1.0 });
        let chosen = spread(&ready, 8);
        assert_eq!(chosen.len(), 8);
        assert_eq!(chosen, spread(&ready, 8), "the same each time");
        let of: Vec<_> = chosen.iter().map(|&at| &ready[at].planned).collect();
        assert!(of.iter().all(|planned| planned.epsilon > 0.0 && planned.targets < 10));
        let distinct = |value: fn(&&&rankle_report::Planned) -> String| {
            of.iter().map(|planned| value(&planned)).collect::<HashSet<_>>().len()
        };
        assert_eq!(distinct(|planned| planned.table.clone()), 2);
        assert_eq!(distinct(|planned| planned.attack.to_string()), 4);
        assert_eq!(distinct(|planned| planned.targets.to_string()), 3);
        assert_eq!(distinct(|planned| planned.epsilon.to_string()), 4);
    }

    #[test]
    fn what_is_dear_comes_after_and_what_is_idle_last() {
        let (ready, _) = ready(|record| if record.cell.targets == 10 { 50.0 } else { 1.0 });
        let count = |is: fn(&Ready) -> bool| ready.iter().filter(|ready| is(ready)).count();
        let (quick, idle) = (count(|ready| rank(ready) == 0), count(|ready| ready.planned.epsilon == 0.0));
        let ranks = |count| spread(&ready, count).into_iter().map(|at| rank(&ready[at])).collect::<HashSet<_>>();
        assert_eq!(ranks(quick), HashSet::from([0]));
        assert_eq!(ranks(quick + 1), HashSet::from([0, 1]));
        assert_eq!(ranks(ready.len() - idle), HashSet::from([0, 1]));
        assert_eq!(spread(&ready, 1000), (0..ready.len()).collect::<Vec<_>>());
        assert!(spread(&[], 3).is_empty() && spread(&ready, 0).is_empty());
    }
}
