//! A sample of records that represents all.

use super::Ready;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

/// Seconds above which a record comes late in a sample, except the quickest of each protocol: all those of `strict` take longer.
const DEAR: f64 = 5.0;

/// Traits of a record, by which others resemble it: each of its inputs, and its file.
type Traits = Vec<(String, String)>;

/// Indices of at most `count` records, in ascending order. Each step chooses the record whose inputs are rarest among the chosen
/// ones and, of several, the quickest. Quick attacks come first, a radius of 0 last.
pub fn spread<K>(ready: &[Ready<K>], count: usize) -> Vec<usize> {
    let traits = traits(ready);
    let ranks = ranks(ready);
    let mut seen: HashMap<&(String, String), usize> = HashMap::new();
    let mut rest: Vec<usize> = (0..ready.len()).collect();
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        let common = |at: usize| traits[at].iter().map(|one| seen.get(one).copied().unwrap_or_default()).sum::<usize>();
        let better = |&(_, &a): &(usize, &usize), &(_, &b): &(usize, &usize)| -> Ordering {
            let seconds = |at: usize| ready[at].recorded.seconds();
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

/// Priority of each record: 0 for quick attacks, 1 for slow ones, 2 for a radius of 0.
pub fn ranks<K>(ready: &[Ready<K>]) -> Vec<u8> {
    let attacks = || ready.iter().filter(|ready| ready.cell.spec.epsilon > 0.0);
    let is_quickest = |one: &Ready<K>| {
        let seconds = attacks().filter(|other| other.cell.spec.protocol == one.cell.spec.protocol);
        let least = seconds.map(|other| other.recorded.seconds()).min_by(f64::total_cmp);
        least == Some(one.recorded.seconds())
    };
    let rank = |one: &Ready<K>| match (one.cell.spec.epsilon == 0.0, one.recorded.seconds() > DEAR && !is_quickest(one)) {
        (false, false) => 0,
        (false, true) => 1,
        (true, _) => 2,
    };
    ready.iter().map(rank).collect()
}

/// The traits of each record. A field that is not written is a trait, too, so that records with a rare field are sought.
fn traits<K>(ready: &[Ready<K>]) -> Vec<Traits> {
    let fields: Vec<Value> = ready.iter().map(|ready| serde_json::to_value(&ready.cell).unwrap_or_default()).collect();
    let names: BTreeSet<&String> = fields.iter().filter_map(Value::as_object).flat_map(|fields| fields.keys()).collect();
    let of = |(ready, fields): (&Ready<K>, &Value)| {
        let inputs = names.iter().map(|&name| (name.clone(), fields.get(name).unwrap_or(&Value::Null).to_string()));
        inputs.chain([("file".to_owned(), ready.recorded.file.display().to_string())]).collect()
    };
    ready.iter().zip(&fields).map(of).collect()
}
