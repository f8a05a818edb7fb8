//! Every item as a query against all others.

use rankle_core::dataset::check_indices;
use rankle_core::{Error, Gallery, Placing, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// How well items find those of their own class, one entry per query that has something to find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retrieval {
    /// The 0-based position of the nearest item of the same class.
    pub first_match: Vec<u32>,
    /// Average precision: the mean precision at the places of all `R` items of the class.
    pub average_precision: Vec<f64>,
    /// The same, where items behind the first `R` places count as not found: AP@R.
    pub average_precision_at_r: Vec<f64>,
    /// The same, where items behind the first 10 places count as not found, of always 10: AP@10. A class of
    /// fewer cannot reach 1; published tables call this "mAP@R" (`pitfalls.md` P-41).
    pub average_precision_at_10: Vec<f64>,
    /// The mean position of the items of the class, as a fraction of the list: about 0.5 by chance.
    pub normalized_rank: Vec<f64>,
    /// How many items are alone in their class and were skipped (`pitfalls.md` P-71).
    pub skipped: usize,
}

impl Retrieval {
    /// How many queries had something to find.
    pub fn queries(&self) -> usize {
        self.first_match.len()
    }
    /// The share of queries with an item of their class among the first `k` (R@k); NaN without queries.
    pub fn recall_at(&self, k: usize) -> f64 {
        let hits = self.first_match.iter().filter(|&&position| (position as usize) < k).count();
        hits as f64 / self.queries() as f64
    }
    /// The mean average precision over whole lists; NaN without queries.
    pub fn mean_average_precision(&self) -> f64 {
        mean(&self.average_precision)
    }
    /// mAP@R, with `R` the number of items to find; NaN without queries.
    pub fn mean_average_precision_at_r(&self) -> f64 {
        mean(&self.average_precision_at_r)
    }
    /// mAP@10; NaN without queries.
    pub fn mean_average_precision_at_10(&self) -> f64 {
        mean(&self.average_precision_at_10)
    }
    /// The mean normalized rank of the items to find; NaN without queries.
    pub fn mean_normalized_rank(&self) -> f64 {
        mean(&self.normalized_rank)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// How many lists are looked at between two reports of progress, and how many one thread holds at once.
const ROUND: usize = 2048;
const BLOCK: usize = 64;
/// Items of a class up to so many are placed by comparing every distance with each of theirs while it is in the cache; those of
/// larger classes by a binary search for each distance in a stored list.
const FEW: usize = 24;

/// Measures every item of the gallery as a query against all others: [`retrieve`] with all of them.
///
/// # Errors
/// As [`retrieve`].
pub fn leave_one_out(gallery: &Gallery, labels: &[u32], progress: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Result<Retrieval> {
    let everything: Vec<usize> = (0..gallery.len()).collect();
    retrieve(gallery, labels, &everything, progress)
}

/// Measures some items of the gallery as queries, each against all others. `labels` holds the class of every item of the
/// gallery. `progress` is told how many queries are done, and may break off.
///
/// # Errors
/// [`Error::Shape`] when there is not one label per item, [`Error::Index`] when a query is not in the gallery,
/// [`Error::Interrupted`] when `progress` breaks off.
///
/// # Source
/// R@k: Zhou et al., ECCV 2020, arXiv:2002.11293 (`method.md` 5). mAP@R: Musgrave et al., ECCV 2020, arXiv:2003.08505.
pub fn retrieve(
    gallery: &Gallery,
    labels: &[u32],
    queries: &[usize],
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Retrieval> {
    if labels.len() != gallery.len() {
        let expected = format!("({}), one per gallery item", gallery.len());
        return Err(Error::Shape { what: "the list of labels", actual: vec![labels.len()], expected });
    }
    check_indices("query", queries, gallery.len())?;
    let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    labels.iter().zip(0..).for_each(|(&label, item)| classes.entry(label).or_default().push(item));
    let mut retrieval = Retrieval::default();
    for (round, queries) in queries.chunks(ROUND).enumerate() {
        // Queries with as many items to find go together: the kernel wants sets of one size.
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, query) in queries.iter().enumerate() {
            groups.entry(classes[&labels[*query]].len()).or_default().push(place);
        }
        let found: Vec<Vec<(usize, Option<Found>)>> = groups
            .into_par_iter()
            .map(|(size, places)| {
                let own: Vec<usize> = places.iter().map(|&place| queries[place]).collect();
                let found =
                    if size <= FEW { by_counting(gallery, labels, &classes, &own) } else { by_lists(gallery, labels, &own) };
                Ok(places.into_iter().zip(found?).collect())
            })
            .collect::<Result<_>>()?;
        let mut found: Vec<(usize, Option<Found>)> = found.into_iter().flatten().collect();
        found.sort_unstable_by_key(|&(place, _)| place);
        found.into_iter().for_each(|(_, found)| retrieval.append(found));
        if progress(round * ROUND + queries.len()).is_break() {
            return Err(Error::Interrupted);
        }
    }
    let others = (gallery.len() - 1) as f64;
    retrieval.normalized_rank.iter_mut().for_each(|rank| *rank /= others);
    Ok(retrieval)
}

/// For queries whose classes are of one size.
fn by_counting(
    gallery: &Gallery,
    labels: &[u32],
    classes: &BTreeMap<u32, Vec<u32>>,
    queries: &[usize],
) -> Result<Vec<Option<Found>>> {
    let targets: Vec<u32> = queries.iter().flat_map(|&query| &classes[&labels[query]]).copied().collect();
    let size = targets.len() / queries.len();
    if size == 1 {
        return Ok(queries.iter().map(|_| None).collect()); // alone
    }
    let placings = gallery.placings_from(queries, &targets)?;
    let sets = targets.chunks_exact(size).zip(placings.chunks_exact(size));
    Ok(queries
        .iter()
        .zip(sets)
        .map(|(&query, (items, placings))| {
            // Places in the whole list, which the query is part of: what stands behind it moves up by one.
            let place = |placing: &Placing| placing.closer + placing.tied_before;
            let own = items.iter().zip(placings).find(|&(&item, _)| item as usize == query).map(|(_, own)| place(own));
            let mut places: Vec<u32> = placings.iter().map(place).filter(|&place| Some(place) != own).collect();
            places.iter_mut().for_each(|place| *place -= u32::from(own.is_some_and(|own| own < *place)));
            places.sort_unstable();
            Found::of(&places)
        })
        .collect())
}

fn by_lists(gallery: &Gallery, labels: &[u32], queries: &[usize]) -> Result<Vec<Option<Found>>> {
    let blocks: Vec<Vec<Option<Found>>> = queries
        .par_chunks(BLOCK)
        .map(|queries| {
            let distances = gallery.distances_from(queries)?;
            let lists = queries.iter().zip(distances.chunks_exact(gallery.len()));
            Ok(lists.map(|(&query, list)| Found::of(&places(list, labels, query))).collect())
        })
        .collect::<Result<_>>()?;
    Ok(blocks.into_iter().flatten().collect())
}

impl Retrieval {
    fn append(&mut self, found: Option<Found>) {
        let Some(found) = found else {
            self.skipped += 1;
            return;
        };
        self.first_match.push(found.first);
        self.average_precision.push(found.precision);
        self.average_precision_at_r.push(found.precision_at_r);
        self.average_precision_at_10.push(found.precision_at_10);
        self.normalized_rank.push(found.mean_place);
    }
}

/// The 0-based positions, ascending, of the items of the query's class in its list without itself.
///
/// Only these items are sorted. Each of the others then counts before the first of them that it precedes.
fn places(list: &[f32], labels: &[u32], query: usize) -> Vec<u32> {
    let before = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    let items = || list.iter().copied().zip(0..).filter(|&(_, item)| item != query);
    let mut found: Vec<(f32, usize)> = items().filter(|&(_, item)| labels[item] == labels[query]).collect();
    found.sort_unstable_by(before);
    let mut others = vec![0u32; found.len() + 1];
    for other in items().filter(|&(_, item)| labels[item] != labels[query]) {
        others[found.partition_point(|one| before(one, &other).is_lt())] += 1;
    }
    let mut passed = 0;
    (0..found.len())
        .map(|at| {
            passed += others[at];
            at as u32 + passed
        })
        .collect()
}

/// What one list says.
struct Found {
    first: u32,
    precision: f64,
    precision_at_r: f64,
    precision_at_10: f64,
    mean_place: f64,
}

impl Found {
    /// `None` when there is nothing to find.
    fn of(places: &[u32]) -> Option<Self> {
        let (&first, wanted) = (places.first()?, places.len());
        let within = |reach: usize, most: usize| {
            let places = places.iter().enumerate().take_while(|&(_, &place)| (place as usize) < reach);
            // Not `sum`, which is -0 where there is nothing to add.
            places.fold(0.0, |sum, (at, &place)| sum + (at + 1) as f64 / f64::from(place + 1)) / most as f64
        };
        Some(Self {
            first,
            precision: within(usize::MAX, wanted),
            precision_at_r: within(wanted, wanted),
            precision_at_10: within(10, 10),
            mean_place: places.iter().map(|&place| f64::from(place)).sum::<f64>() / wanted as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rankle_core::{Dataset, Distance, Embedder, toy};

    fn line(places: &[f32]) -> Gallery {
        let raw = Tensor::from_slice(places, (places.len(), 1), &Device::Cpu).unwrap();
        Gallery::new(&Distance::Euclidean.place(&raw).unwrap()).unwrap()
    }
    fn measure(gallery: &Gallery, labels: &[u32]) -> Retrieval {
        leave_one_out(gallery, labels, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn positions_by_hand() {
        //                distances                   labels            query  expected
        for (list, labels, query, expected) in [
            (&[0.0f32, 0.1, 0.2, 0.3, 0.4][..], &[1u32, 2, 1, 2, 1][..], 0, &[1u32, 3][..]),
            (&[0.5, 0.5, 0.5, 0.5],             &[1, 2, 2, 1],           0, &[2]),
            (&[0.5, 0.5, 0.5, 0.5],             &[1, 2, 2, 1],           3, &[0]),
            (&[0.3, 0.2, 0.1, 0.0],             &[1, 1, 1, 2],           1, &[1, 2]),
            (&[0.3, 0.2, 0.1, 0.0],             &[1, 1, 1, 2],           3, &[]),
        ] {
            assert_eq!(places(list, labels, query), expected);
        }
    }

    #[test]
    fn a_worked_line() {
        // Lists without the query: 0: 1 2 3 4, 1: 0 2 3 4, 2: 1 0 3 4, 3: 2 1 0 4, 4: 3 2 1 0.
        let retrieval = measure(&line(&[0.0, 1.0, 2.5, 6.0, 20.0]), &[7, 7, 8, 8, 9]);
        assert_eq!(retrieval.first_match, [0, 0, 2, 0]);
        assert_eq!(retrieval.skipped, 1);
        assert_eq!(retrieval.recall_at(1), 0.75);
        assert_eq!((retrieval.recall_at(2), retrieval.recall_at(3)), (0.75, 1.0));
        assert_eq!(retrieval.average_precision, [1.0, 1.0, 1.0 / 3.0, 1.0]);
        assert_eq!(retrieval.average_precision_at_r, [1.0, 1.0, 0.0, 1.0]);
        assert_eq!(retrieval.normalized_rank, [0.0, 0.0, 0.5, 0.0]);
    }

    #[test]
    fn precision_by_hand() {
        let found = Found::of(&[0, 2, 11]).unwrap();
        assert!((found.precision - (1.0 + 2.0 / 3.0 + 3.0 / 12.0) / 3.0).abs() < 1e-15);
        assert!((found.precision_at_r - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
        assert!((found.precision_at_10 - (1.0 + 2.0 / 3.0) / 10.0).abs() < 1e-15);
        assert!((found.mean_place - 13.0 / 3.0).abs() < 1e-15);
        // The worked vector of `robust-score.md`.
        let found = Found::of(&[0, 2, 3, 5]).unwrap();
        assert!((found.precision - 0.770_833).abs() < 1e-6 && (found.precision_at_10 - 0.308_333).abs() < 1e-6);
        // Twenty to find, the first ten places all of them: perfect at 10 and not at R.
        let found = Found::of(&(0..10).chain(50..60).collect::<Vec<_>>()).unwrap();
        assert_eq!((found.precision_at_10, found.precision_at_r), (1.0, 0.5));
        // Nothing in front is 0, not -0, in every format.
        assert_eq!(format!("{:?}", Found::of(&[70]).unwrap().precision_at_10), "0.0");
    }

    #[test]
    fn the_query_is_left_out_by_index_even_among_copies() {
        // All at one place: item 0 finds item 1 behind nobody, item 3 finds item 0 first, which is of another class.
        let retrieval = measure(&line(&[4.0; 4]), &[1, 1, 2, 2]);
        assert_eq!(retrieval.first_match, [0, 0, 2, 2]);
    }

    /// Both ways on one gallery with ties: a coarse grid of embeddings, copies included, in classes of every size.
    #[test]
    fn counting_and_lists_are_one_and_the_same() {
        let (items, sizes) = (300u32, [1, 2, 3, 6, 9, FEW as u32]);
        let labels: Vec<u32> = (0..items).map(|item| item / 50 * 50 + item % 50 / sizes[item as usize / 50]).collect();
        let coordinates: Vec<f32> = (0..items * 2).map(|at| (at * at % 11) as f32 - 5.0).collect();
        let raw = Tensor::from_vec(coordinates, (items as usize, 2), &Device::Cpu).unwrap();
        for distance in Distance::ALL {
            let gallery = Gallery::new(&distance.place(&raw).unwrap()).unwrap();
            let everything: Vec<usize> = (0..items as usize).collect();
            let counted = measure(&gallery, &labels);
            let mut listed = Retrieval::default();
            by_lists(&gallery, &labels, &everything).unwrap().into_iter().for_each(|found| listed.append(found));
            listed.normalized_rank.iter_mut().for_each(|rank| *rank /= f64::from(items - 1));
            assert!(counted == listed);
            assert!(counted.skipped > 0 && counted.queries() > 200 && counted.first_match.iter().any(|&place| place > 0));
            // A slice of the queries is a slice of the result.
            let slice = retrieve(&gallery, &labels, &everything[100..150], &mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!(slice.first_match, counted.first_match[100 - counted.skipped..][..50]);
        }
    }

    #[test]
    fn agrees_with_a_plain_sort_and_does_not_depend_on_threads() {
        let dataset = toy::dataset(3);
        let everything: Vec<usize> = (0..dataset.len()).collect();
        for distance in Distance::ALL {
            let embedder = toy::embedder(5, distance).unwrap();
            let raw = embedder.embed(&dataset.images(&everything).unwrap()).unwrap();
            let gallery = Gallery::new(&distance.place(&raw).unwrap()).unwrap();
            let retrieval = measure(&gallery, dataset.labels());
            for query in 0..dataset.len() {
                let list = gallery.distances_from(&[query]).unwrap();
                let mut order: Vec<usize> = everything.iter().copied().filter(|&item| item != query).collect();
                order.sort_by(|&a, &b| list[a].total_cmp(&list[b]));
                let first = order.iter().position(|&item| dataset.labels()[item] == dataset.labels()[query]);
                assert_eq!(retrieval.first_match[query] as usize, first.unwrap());
            }
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert!(pool.install(|| measure(&gallery, dataset.labels())) == retrieval);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_a_break_is_obeyed() {
        let gallery = line(&[1.0, 2.0]);
        let mut go = |_| ControlFlow::Continue(());
        assert!(matches!(leave_one_out(&gallery, &[1], &mut go), Err(Error::Shape { .. })));
        assert!(matches!(leave_one_out(&gallery, &[1, 1], &mut |_| ControlFlow::Break(())), Err(Error::Interrupted)));
        assert!(matches!(retrieve(&gallery, &[1, 1], &[2], &mut go), Err(Error::Index { .. })));
        // Nothing to find at all.
        let retrieval = measure(&gallery, &[1, 2]);
        assert_eq!((retrieval.queries(), retrieval.skipped), (0, 2));
        assert!(retrieval.recall_at(1).is_nan());
        assert_eq!(measure(&line(&[1.0]), &[1]).skipped, 1);
    }
}
