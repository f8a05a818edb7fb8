//! A few records that stand for many.

use super::Ready;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

/// What took longer, in seconds, comes last in a sample, but for the quickest record of each protocol: those of strict all do.
const DEAR: f64 = 5.0;

/// How a record is like others: by each input that a plan names, and by its file.
type Traits = Vec<(String, String)>;

/// The places of at most `count` records, in their order: again and again the one whose inputs occur least often among those that
/// are chosen already, and of several the cheapest. What is quick and has an attack comes first, a radius of 0 last.
pub(super) fn spread(ready: &[Ready], count: usize) -> Vec<usize> {
    let traits = traits(ready);
    let ranks = ranks(ready);
    let mut seen: HashMap<&(String, String), usize> = HashMap::new();
    let mut rest: Vec<usize> = (0..ready.len()).collect();
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        let common = |at: usize| traits[at].iter().map(|one| seen.get(one).copied().unwrap_or_default()).sum::<usize>();
        let better = |&(_, &a): &(usize, &usize), &(_, &b): &(usize, &usize)| -> Ordering {
            let seconds = |at: usize| ready[at].committed.seconds();
            let by_rank = ranks[a].cmp(&ranks[b]);
            by_rank.then(common(a).cmp(&common(b))).then(seconds(a).total_cmp(&seconds(b))).then(a.cmp(&b))
        };
        let Some((place, &best)) = rest.iter().enumerate().min_by(better) else { break };
        rest.swap_remove(place);
        traits[best].iter().for_each(|one| *seen.entry(one).or_default() += 1);
        chosen.insert(best);
    }
    chosen.into_iter().collect()
}

fn ranks(ready: &[Ready]) -> Vec<u8> {
    let attacks = || ready.iter().filter(|ready| ready.planned.spec.epsilon > 0.0);
    let is_quickest = |one: &Ready| {
        let seconds = attacks().filter(|other| other.planned.spec.protocol == one.planned.spec.protocol);
        let least = seconds.map(|other| other.committed.seconds()).min_by(f64::total_cmp);
        least == Some(one.committed.seconds())
    };
    let rank = |one: &Ready| match (one.planned.spec.epsilon == 0.0, one.committed.seconds() > DEAR && !is_quickest(one)) {
        (false, false) => 0,
        (false, true) => 1,
        (true, _) => 2,
    };
    ready.iter().map(rank).collect()
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
        let (ready, _) = ready(|record| if record.cell.spec.targets == 10 { 50.0 } else { record.cell.spec.epsilon + 1.0 });
        let chosen = spread(&ready, 8);
        assert_eq!(chosen.len(), 8);
        assert_eq!(chosen, spread(&ready, 8), "the same each time");
        let of: Vec<_> = chosen.iter().map(|&at| &ready[at].planned).collect();
        assert!(of.iter().all(|planned| planned.spec.epsilon > 0.0 && planned.spec.targets < 10));
        let distinct =
            |value: fn(&&&rankle_report::Cell) -> String| of.iter().map(|planned| value(&planned)).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|planned| planned.table.clone().unwrap()), 2);
        assert_eq!(distinct(|planned| planned.spec.attack.to_string()), 4);
        assert_eq!(distinct(|planned| planned.spec.targets.to_string()), 3);
        assert_eq!(distinct(|planned| planned.spec.epsilon.to_string()), 4);
    }

    #[test]
    fn of_a_protocol_that_is_always_dear_the_quickest_is_taken() {
        let (mut ready, _) = ready(|record| 20.0 + record.cell.spec.epsilon);
        ready.iter_mut().skip(1).step_by(2).for_each(|ready| ready.planned.spec.protocol = rankle_report::Protocol::Strict);
        let quick: Vec<usize> = ranks(&ready).iter().enumerate().filter(|(_, rank)| **rank == 0).map(|(at, _)| at).collect();
        let protocols: HashSet<_> = quick.iter().map(|&at| ready[at].planned.spec.protocol).collect();
        assert!(protocols.len() == 2 && quick.len() < ready.len() / 2, "{quick:?}");
    }

    #[test]
    fn what_is_dear_comes_after_and_what_is_idle_last() {
        let (ready, _) = ready(|record| if record.cell.spec.targets == 10 { 50.0 } else { 1.0 });
        let all = ranks(&ready);
        let (quick, idle) = (all.iter().filter(|&&rank| rank == 0).count(), all.iter().filter(|&&rank| rank == 2).count());
        let ranks = |count| spread(&ready, count).into_iter().map(|at| all[at]).collect::<HashSet<_>>();
        assert_eq!(ranks(quick), HashSet::from([0]));
        assert_eq!(ranks(quick + 1), HashSet::from([0, 1]));
        assert_eq!(ranks(ready.len() - idle), HashSet::from([0, 1]));
        assert_eq!(spread(&ready, 1000), (0..ready.len()).collect::<Vec<_>>());
        assert!(spread(&[], 3).is_empty() && spread(&ready, 0).is_empty());
    }
}
