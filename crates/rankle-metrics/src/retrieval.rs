//! Retrieval metrics: queries against the gallery, or within one set every item against all others.

use rankle_core::dataset::check_indices;
use rankle_core::rank::{Precision, Resolution, TieGroup};
use rankle_core::{Error, Gallery, Result, Role, Sets};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Retrieval metrics, one entry per query with at least one item to find.
///
/// Items at exactly one distance from a query are tied; every number is its expected value over all orders of the tied items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retrieval {
    /// Tie group of the nearest item of the same class.
    pub first_match: Vec<TieGroup>,
    /// Average precision: the mean precision at the positions of all `R` items of the class.
    pub average_precision: Vec<f64>,
    /// AP@R: average precision in which items behind position `R` count as not found.
    pub average_precision_at_r: Vec<f64>,
    /// AP@10: average precision in which items behind position 10 count as not found, divided by `min(10, R)`.
    pub average_precision_at_10: Vec<f64>,
    /// AP@10 divided by 10 always, so that a class of fewer items cannot reach 1; robrank's "mAP@R" (METHOD.md 5).
    pub robrank_average_precision: Vec<f64>,
    /// R-precision: the share of the first `R` positions that hold an item of the class.
    pub r_precision: Vec<f64>,
    /// Mean position of the items of the class, as a fraction of the length of the list: about 0.5 by chance.
    pub normalized_rank: Vec<f64>,
    /// Number of skipped queries, which have no other item of their class (METHOD.md 5).
    pub skipped: usize,
    /// Number of items in each list: the gallery, without the query if the query is a gallery item.
    pub list_len: usize,
    /// Number of (query, item to find) pairs.
    pub pairs: u64,
    /// Number of pairs whose item is tied with another item of the list.
    pub tied: u64,
    /// Counts of the comparisons of distances, and of those that f32 could not decide.
    pub resolution: Resolution,
}

impl Retrieval {
    /// Number of queries with at least one item to find.
    pub fn queries(&self) -> usize {
        self.first_match.len()
    }
    /// Recall at k (R@k): the share of queries with an item of their class among the first `k`; NaN without queries.
    pub fn recall_at(&self, k: usize) -> f64 {
        self.mean_of_first(|group| group.within(k))
    }
    /// Mean reciprocal rank (MRR) of the first item of the class; NaN without queries.
    pub fn mean_reciprocal_rank(&self) -> f64 {
        self.mean_of_first(TieGroup::reciprocal_rank)
    }
    /// The mean average precision over whole lists; NaN without queries.
    pub fn mean_average_precision(&self) -> f64 {
        mean(&self.average_precision)
    }
    /// mAP@R, with `R` the number of items to find; NaN without queries.
    pub fn mean_average_precision_at_r(&self) -> f64 {
        mean(&self.average_precision_at_r)
    }
    /// mAP@10, divided by `min(10, R)`; NaN without queries.
    pub fn mean_average_precision_at_10(&self) -> f64 {
        mean(&self.average_precision_at_10)
    }
    /// mAP@10, divided by 10 always, as in robrank; NaN without queries.
    pub fn robrank_mean_average_precision(&self) -> f64 {
        mean(&self.robrank_average_precision)
    }
    /// The mean R-precision; NaN without queries.
    pub fn mean_r_precision(&self) -> f64 {
        mean(&self.r_precision)
    }
    /// The mean normalized rank of the items to find; NaN without queries.
    pub fn mean_normalized_rank(&self) -> f64 {
        mean(&self.normalized_rank)
    }
    /// The share of (query, item to find) pairs that are tied with another item; 0 without queries.
    pub fn tie_share(&self) -> f64 {
        self.tied as f64 / self.pairs.max(1) as f64
    }

    fn mean_of_first(&self, of: impl Fn(TieGroup) -> f64) -> f64 {
        self.first_match.iter().map(|&group| of(group)).sum::<f64>() / self.queries() as f64
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Number of queries between two reports of progress.
const ROUND: usize = 2048;
/// A query with fewer items to find than this compares each distance with theirs while it is in the cache; with more, it stores
/// the list and finds each distance among theirs by bisection.
const FEW: usize = 24;

/// Measures every item of the gallery as a query against all others: [`retrieve`] with all items as queries.
///
/// # Errors
/// As [`retrieve`].
pub fn leave_one_out(gallery: &Gallery, labels: &[u32], progress: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Result<Retrieval> {
    let everything: Vec<usize> = (0..gallery.len()).collect();
    retrieve(Sets::one(gallery), Sets::one(labels), &everything, progress)
}

/// Measures the given queries against the gallery; a query that is a gallery item, against all others. `labels` holds the class
/// of every item of both sets. Distances that f32 cannot tell apart are compared in f64 ([`Precision::Resolved`]). `progress`
/// receives the number of queries done, and may stop the run.
///
/// # Errors
/// [`Error::Shape`] when there is not one label per item, [`Error::Index`] for a query out of range, [`Error::Interrupted`] when
/// `progress` breaks off.
///
/// # Source
/// R@k: Zhou et al., ECCV 2020, arXiv:2002.11293 (METHOD.md 5). mAP@R and R-precision: Musgrave et al., ECCV 2020,
/// arXiv:2003.08505. Expected values of tied lists: McSherry and Najork, ECIR 2008.
pub fn retrieve(
    sets: Sets<&Gallery>,
    labels: Sets<&[u32]>,
    queries: &[usize],
    progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Retrieval> {
    let search = Search::new(sets, labels)?;
    check_indices("query", queries, sets.queries().len())?;
    let gallery = sets.gallery;
    let list_len = gallery.len() - usize::from(sets.is_one());
    let mut retrieval = Retrieval { list_len, ..Retrieval::default() };
    for (round, queries) in queries.chunks(ROUND).enumerate() {
        // Queries with equally many items to find go together: the kernel takes the same number of targets for all.
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, query) in queries.iter().enumerate() {
            groups.entry(search.wanted(*query).count()).or_default().push(place);
        }
        let found: Vec<(Vec<Placed>, Resolution)> = groups
            .into_par_iter()
            .map(|(size, places)| {
                let own: Vec<usize> = places.iter().map(|&place| queries[place]).collect();
                let (found, resolution) = match size {
                    0 => (own.iter().map(|_| None).collect(), Resolution::default()),
                    size if size < FEW => search.by_counting(&own)?,
                    _ => search.by_lists(&own)?,
                };
                Ok((places.into_iter().zip(found).collect(), resolution))
            })
            .collect::<Result<_>>()?;
        retrieval.resolution = found.iter().fold(retrieval.resolution, |sum, (_, resolution)| sum.and(*resolution));
        let mut found: Vec<Placed> = found.into_iter().flat_map(|(found, _)| found).collect();
        found.sort_unstable_by_key(|&(place, _)| place);
        found.into_iter().for_each(|(_, found)| retrieval.append(found));
        if progress(round * ROUND + queries.len()).is_break() {
            return Err(Error::Interrupted);
        }
    }
    let others = retrieval.list_len as f64;
    retrieval.normalized_rank.iter_mut().for_each(|rank| *rank /= others);
    Ok(retrieval)
}

/// Position of a query in its round, and the measures of its list; `None` if the query has no item to find.
type Placed = (usize, Option<Found>);

/// Gallery, queries and labels of a retrieval.
struct Search<'a> {
    sets: Sets<&'a Gallery>,
    labels: Sets<&'a [u32]>,
    /// Gallery items by class.
    classes: BTreeMap<u32, Vec<u32>>,
}

impl<'a> Search<'a> {
    fn new(sets: Sets<&'a Gallery>, labels: Sets<&'a [u32]>) -> Result<Self> {
        for role in [Role::Candidate, Role::Query] {
            let (items, labels) = (sets.of(role).len(), labels.of(role).len());
            if items != labels {
                let expected = format!("({items}), one per item of the set");
                return Err(Error::Shape { what: "the list of labels", actual: vec![labels], expected });
            }
        }
        let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        labels.gallery.iter().zip(0..).for_each(|(&label, item)| classes.entry(label).or_default().push(item));
        Ok(Self { sets, labels, classes })
    }

    /// The items that a query is to find: those of its class, without the query itself.
    fn wanted(&self, query: usize) -> impl Iterator<Item = u32> {
        let class = self.classes.get(&self.labels.queries()[query]).map_or(&[][..], |class| class);
        let itself = self.sets.itself(query as u32);
        class.iter().copied().filter(move |&item| Some(item) != itself)
    }

    /// Measures queries by counting the items closer than each item to find. All must have equally many, at least one.
    fn by_counting(&self, queries: &[usize]) -> Result<(Vec<Option<Found>>, Resolution)> {
        let targets: Vec<u32> = queries.iter().flat_map(|&query| self.wanted(query)).collect();
        let itself: Option<Vec<u32>> = queries.iter().map(|&query| self.sets.itself(query as u32)).collect();
        let asking = (*self.sets.queries(), queries);
        let counted = self.sets.gallery.rank_counts_from(asking, &targets, itself.as_deref(), Precision::Resolved)?;
        let found = counted.counts.chunks_exact(targets.len() / queries.len()).map(|counts| {
            let mut counts = counts.to_vec();
            counts.sort_unstable_by_key(|count| count.closer);
            let groups = counts.chunk_by(|a, b| a.closer == b.closer).map(|group| {
                let wanted = group.len() as u32;
                TieGroup { closer: group[0].closer, tied: group[0].tied.max(wanted), wanted }
            });
            Found::of(&groups.collect::<Vec<_>>())
        });
        Ok((found.collect(), counted.resolution))
    }

    fn by_lists(&self, queries: &[usize]) -> Result<(Vec<Option<Found>>, Resolution)> {
        let (gallery, asking) = (self.sets.gallery, *self.sets.queries());
        let blocks: Vec<Vec<(Option<Found>, Resolution)>> = queries
            .par_chunks(gallery.lists_at_once())
            .map(|queries| {
                let distances = gallery.distances_from(asking, queries)?;
                let lists = queries.iter().zip(distances.chunks_exact(gallery.len()));
                lists
                    .map(|(&query, distances)| {
                        let list = gallery.list(asking.point(query), distances, Precision::Resolved)?;
                        let label = self.labels.queries()[query];
                        let wanted: Vec<u32> = self.wanted(query).collect();
                        let others = (0..gallery.len() as u32).filter(|&item| self.labels.gallery[item as usize] != label);
                        let (groups, resolution) = list.tie_groups(&wanted, others);
                        Ok((Found::of(&groups), resolution))
                    })
                    .collect()
            })
            .collect::<Result<_>>()?;
        let resolution = blocks.iter().flatten().fold(Resolution::default(), |sum, (_, resolution)| sum.and(*resolution));
        Ok((blocks.into_iter().flatten().map(|(found, _)| found).collect(), resolution))
    }
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
        self.robrank_average_precision.push(found.precision_of_10);
        self.r_precision.push(found.share_of_r);
        self.normalized_rank.push(found.mean_position);
        self.pairs += u64::from(found.wanted);
        self.tied += u64::from(found.tied);
    }
}

/// Measures of one list: expected values over all orders of tied items.
struct Found {
    first: TieGroup,
    wanted: u32,
    tied: u32,
    precision: f64,
    precision_at_r: f64,
    precision_at_10: f64,
    precision_of_10: f64,
    share_of_r: f64,
    mean_position: f64,
}

impl Found {
    /// The measures of a list, from the tie groups that hold items to find; `None` without any.
    fn of(groups: &[TieGroup]) -> Option<Self> {
        let (&first, wanted) = (groups.first()?, groups.iter().map(|group| group.wanted).sum::<u32>());
        let r = wanted as usize;
        let tied = groups.iter().filter(|group| group.tied > 1).map(|group| group.wanted).sum();
        let positions = groups
            .iter()
            .map(|&TieGroup { closer, tied, wanted }| f64::from(wanted) * (f64::from(closer) + f64::from(tied - 1) / 2.0));
        Some(Self {
            first,
            wanted,
            tied,
            precision: precisions(groups, usize::MAX) / f64::from(wanted),
            precision_at_r: precisions(groups, r) / f64::from(wanted),
            precision_at_10: precisions(groups, 10) / r.min(10) as f64,
            precision_of_10: precisions(groups, 10) / 10.0,
            share_of_r: found_within(groups, r) / f64::from(wanted),
            mean_position: positions.sum::<f64>() / f64::from(wanted),
        })
    }
}

/// The expected sum of the precision at every position below `reach` that holds a wanted item.
///
/// A position of a tie group holds a wanted item with probability `wanted / tied`. Given that it does, each position before it in
/// the group holds one of the `wanted - 1` others with probability `(wanted - 1) / (tied - 1)`.
fn precisions(groups: &[TieGroup], reach: usize) -> f64 {
    let (mut sum, mut passed) = (0.0, 0.0);
    for &TieGroup { closer, tied, wanted } in groups {
        let (share, before) = (f64::from(wanted) / f64::from(tied), f64::from(wanted - 1) / f64::from((tied - 1).max(1)));
        let places = reach.saturating_sub(closer as usize).min(tied as usize) as u32;
        for place in 0..places {
            sum += share * (passed + 1.0 + f64::from(place) * before) / f64::from(closer + place + 1);
        }
        if places < tied {
            break;
        }
        passed += f64::from(wanted);
    }
    sum
}

/// The expected number of wanted items at positions below `reach`.
fn found_within(groups: &[TieGroup], reach: usize) -> f64 {
    let found = groups.iter().map(|&TieGroup { closer, tied, wanted }| {
        let places = reach.saturating_sub(closer as usize).min(tied as usize);
        places as f64 * f64::from(wanted) / f64::from(tied)
    });
    found.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rankle_core::{Dataset, Distance, Embedder, toy};

    fn line(places: &[f32]) -> Gallery {
        let raw = Tensor::from_slice(places, (places.len(), 1), &Device::Cpu).unwrap();
        Gallery::new(&Distance::Euclidean.normalize(&raw).unwrap()).unwrap()
    }
    fn measure(gallery: &Gallery, labels: &[u32]) -> Retrieval {
        leave_one_out(gallery, labels, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    /// Groups of one item each.
    fn alone(positions: &[u32]) -> Vec<TieGroup> {
        positions.iter().map(|&closer| TieGroup { closer, tied: 1, wanted: 1 }).collect()
    }

    #[test]
    fn a_worked_line() {
        // Lists without the query: 0: 1 2 3 4, 1: 0 2 3 4, 2: 1 0 3 4, 3: 2 1 0 4, 4: 3 2 1 0.
        let retrieval = measure(&line(&[0.0, 1.0, 2.5, 6.0, 20.0]), &[7, 7, 8, 8, 9]);
        assert_eq!(retrieval.first_match, alone(&[0, 0, 2, 0]));
        assert_eq!((retrieval.skipped, retrieval.list_len, retrieval.tie_share()), (1, 4, 0.0));
        assert_eq!(retrieval.recall_at(1), 0.75);
        assert_eq!((retrieval.recall_at(2), retrieval.recall_at(3)), (0.75, 1.0));
        assert_eq!(retrieval.mean_reciprocal_rank(), (3.0 + 1.0 / 3.0) / 4.0);
        assert_eq!(retrieval.average_precision, [1.0, 1.0, 1.0 / 3.0, 1.0]);
        assert_eq!(retrieval.average_precision_at_r, [1.0, 1.0, 0.0, 1.0]);
        assert_eq!(retrieval.r_precision, [1.0, 1.0, 0.0, 1.0]);
        assert_eq!(retrieval.normalized_rank, [0.0, 0.0, 0.5, 0.0]);
    }

    #[test]
    fn precision_by_hand() {
        let found = Found::of(&alone(&[0, 2, 11])).unwrap();
        assert!((found.precision - (1.0 + 2.0 / 3.0 + 3.0 / 12.0) / 3.0).abs() < 1e-15);
        assert!((found.precision_at_r - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
        assert!((found.precision_at_10 - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
        assert!((found.precision_of_10 - (1.0 + 2.0 / 3.0) / 10.0).abs() < 1e-15);
        assert!((found.share_of_r - 2.0 / 3.0).abs() < 1e-15);
        assert!((found.mean_position - 13.0 / 3.0).abs() < 1e-15);
        // The precisions are 1, 2/3, 3/4 and 4/6.
        let found = Found::of(&alone(&[0, 2, 3, 5])).unwrap();
        assert!((found.precision - 0.770_833).abs() < 1e-6 && (found.precision_of_10 - 0.308_333).abs() < 1e-6);
        // Twenty to find, ten of them in the first ten positions: perfect at 10 and not at R.
        let found = Found::of(&alone(&(0..10).chain(50..60).collect::<Vec<_>>())).unwrap();
        assert_eq!((found.precision_at_10, found.precision_of_10, found.precision_at_r), (1.0, 1.0, 0.5));
        // A perfect list of four is 1 everywhere but in robrank's count.
        let found = Found::of(&alone(&[0, 1, 2, 3])).unwrap();
        assert_eq!((found.precision_at_10, found.precision_of_10, found.share_of_r), (1.0, 0.4, 1.0));
        // Without a wanted item in the first 10 positions the value is 0, not -0.
        assert_eq!(format!("{:?}", Found::of(&alone(&[70])).unwrap().precision_at_10), "0.0");
    }

    /// Enumerates all orders of a list with ties; each is measured as a list without ties.
    #[test]
    fn expected_values_are_those_of_all_orders() {
        // For each tie group, nearest group first: 1 for a wanted item, 0 for another.
        let lists: [&[&[u8]]; 4] = [
            &[&[1, 0, 1, 0, 0]],
            &[&[0], &[1, 0, 0], &[1, 1], &[0, 1]],
            &[&[0, 0], &[1, 1, 0], &[0], &[0, 1]],
            &[&[1, 1, 1, 0, 0, 0, 0]],
        ];
        for list in lists {
            let mut groups = Vec::new();
            let mut closer = 0;
            for group in list {
                let (tied, wanted) = (group.len() as u32, group.iter().map(|&item| u32::from(item)).sum());
                if wanted > 0 {
                    groups.push(TieGroup { closer, tied, wanted });
                }
                closer += tied;
            }
            let expected = Found::of(&groups).unwrap();
            let orders = list.iter().fold(vec![Vec::new()], |orders: Vec<Vec<u8>>, group| {
                let permuted = permutations(group);
                orders.iter().flat_map(|order| permuted.iter().map(|more| [&order[..], more].concat())).collect()
            });
            let found: Vec<Found> = orders
                .iter()
                .map(|order| {
                    let positions: Vec<u32> = (0u32..).zip(order).filter(|&(_, &item)| item == 1).map(|(at, _)| at).collect();
                    Found::of(&alone(&positions)).unwrap()
                })
                .collect();
            let check = |of: &dyn Fn(&Found) -> f64| {
                let mean = found.iter().map(of).sum::<f64>() / found.len() as f64;
                assert!((of(&expected) - mean).abs() < 1e-12, "{list:?}: {} {mean}", of(&expected));
            };
            check(&|found| found.precision);
            check(&|found| found.precision_at_r);
            check(&|found| found.precision_at_10);
            check(&|found| found.precision_of_10);
            check(&|found| found.share_of_r);
            check(&|found| found.mean_position);
            for k in 1..8 {
                check(&|found| found.first.within(k));
            }
            check(&|found| found.first.reciprocal_rank());
        }
    }

    fn permutations(items: &[u8]) -> Vec<Vec<u8>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let with_first = |at: usize| {
            let rest = [&items[..at], &items[at + 1..]].concat();
            permutations(&rest).into_iter().map(move |rest| [&[items[at]], &rest[..]].concat())
        };
        (0..items.len()).flat_map(with_first).collect()
    }

    /// 2 + 18 equal embeddings: with ties broken by position, R@1 was 10 % or 90 %, depending on the names of the folders.
    #[test]
    fn a_collapsed_model_has_the_recall_of_chance_however_its_classes_are_called() {
        for classes in [[0, 1], [1, 0]] {
            let labels: Vec<u32> = (0..20).map(|item| classes[usize::from(item >= 2)]).collect();
            let mut sorted = labels.clone();
            sorted.sort_unstable();
            for labels in [labels, sorted] {
                let retrieval = measure(&line(&[4.0; 20]), &labels);
                let chance = (2.0 / 19.0 + 18.0 * 17.0 / 19.0) / 20.0;
                assert!((retrieval.recall_at(1) - chance).abs() < 1e-12 && (100.0 * chance - 81.05f64).abs() < 0.01);
                assert_eq!((retrieval.tie_share(), retrieval.recall_at(19)), (1.0, 1.0));
                assert!((retrieval.mean_normalized_rank() - 9.0 / 19.0).abs() < 1e-12);
            }
        }
    }

    /// Embeddings within 1e-4 of one direction, in eight clusters. In f32, `1 - a·b` takes only a few values over all of them.
    #[test]
    fn what_f32_cannot_tell_apart_is_compared_in_f64() {
        let (items, dim) = (400, 64);
        let noise = |at: usize| ((at * 2_654_435_761) % 1_000_003) as f32 / 1_000_003.0 - 0.5;
        let coordinates: Vec<f32> = (0..items * dim)
            .map(|at| {
                let (item, coordinate) = (at / dim, at % dim);
                let center = if coordinate % 8 == item % 8 { 4e-5 } else { 0.0 };
                1.0 + noise(coordinate) + center + 1e-4 * noise(at + 17)
            })
            .collect();
        let raw = Tensor::from_vec(coordinates, (items, dim), &Device::Cpu).unwrap();
        // Classes of 50 are measured by lists, classes of 10 by counting.
        for size in [50, 10] {
            let labels: Vec<u32> = (0..items).map(|item| (item % 8 * 100 + item / 8 / size) as u32).collect();
            let gallery = Gallery::new(&Distance::Cosine.normalize(&raw).unwrap()).unwrap();
            let retrieval = measure(&gallery, &labels);
            let of = |query: usize| {
                let mut list: Vec<(f64, usize)> = (0..items)
                    .filter(|&item| item != query)
                    .map(|item| (Distance::Cosine.exact(gallery.point(query), gallery.point(item)), item))
                    .collect();
                list.sort_by(|a, b| a.0.total_cmp(&b.0));
                list.iter().position(|&(_, item)| labels[item] == labels[query]).unwrap() as u32
            };
            let exact: Vec<u32> = (0..items).map(of).collect();
            assert_eq!(retrieval.first_match.iter().map(|group| group.closer).collect::<Vec<_>>(), exact, "{size}");
            assert!(retrieval.resolution.near > retrieval.resolution.comparisons / 2, "{:?}", retrieval.resolution);
            assert_eq!(retrieval.resolution.undecided, 0);
            let single = (0..items).filter(|&query| {
                let list = gallery.distances_from(&gallery, &[query]).unwrap();
                let others = (0..items).filter(|&item| item != query);
                let nearest = others.min_by(|&a, &b| list[a].total_cmp(&list[b])).unwrap();
                labels[nearest] == labels[query]
            });
            // f32 alone gives another recall.
            assert!(retrieval.recall_at(1) > single.count() as f64 / items as f64 + 0.1, "{size} {}", retrieval.recall_at(1));
        }
    }

    #[test]
    fn the_query_is_left_out_by_index_even_among_copies() {
        // All embeddings are equal: three others, one of them of the query's class.
        let retrieval = measure(&line(&[4.0; 4]), &[1, 1, 2, 2]);
        assert_eq!(retrieval.first_match, [TieGroup { closer: 0, tied: 3, wanted: 1 }; 4]);
    }

    /// Counting and lists agree on a gallery with ties: a coarse grid of embeddings, copies included, in classes of every size.
    #[test]
    fn counting_and_lists_are_one_and_the_same() {
        let (items, sizes) = (300u32, [1, 2, 3, 6, 9, FEW as u32]);
        let labels: Vec<u32> = (0..items).map(|item| item / 50 * 50 + item % 50 / sizes[item as usize / 50]).collect();
        let coordinates: Vec<f32> = (0..items * 2).map(|at| (at * at % 11) as f32 - 5.0).collect();
        let raw = Tensor::from_vec(coordinates, (items as usize, 2), &Device::Cpu).unwrap().affine(1.0, 0.25).unwrap();
        for distance in Distance::ALL {
            let gallery = Gallery::new(&distance.normalize(&raw).unwrap()).unwrap();
            let everything: Vec<usize> = (0..items as usize).collect();
            let counted = measure(&gallery, &labels);
            let mut listed = Retrieval { list_len: items as usize - 1, ..Retrieval::default() };
            let search = Search::new(Sets::one(&gallery), Sets::one(&labels)).unwrap();
            let (found, _) = search.by_lists(&everything).unwrap();
            found.into_iter().for_each(|found| listed.append(found));
            listed.normalized_rank.iter_mut().for_each(|rank| *rank /= f64::from(items - 1));
            // Counting also compares the wanted items with one another.
            listed.resolution = counted.resolution;
            assert!(counted == listed, "{distance}");
            assert!(counted.skipped > 0 && counted.queries() > 200 && counted.first_match.iter().any(|group| group.closer > 0));
            assert!(counted.tie_share() > 0.5);
            // A slice of the queries is a slice of the result.
            let slice =
                retrieve(Sets::one(&gallery), Sets::one(&labels), &everything[100..150], &mut |_| ControlFlow::Continue(()))
                    .unwrap();
            assert_eq!(slice.first_match, counted.first_match[100 - counted.skipped..][..50]);
        }
    }

    /// Queries of another set: every number equals that of a sort, by counting and by lists, and no item is left out.
    #[test]
    fn queries_of_another_set_are_measured_as_by_a_sort() {
        let points = |n: usize, at: u32| -> Tensor {
            let numbers = (0..n as u32 * 3).map(|i| ((i * 7919 + at).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32);
            Tensor::from_iter(numbers.map(|x| x - 0.4), &Device::Cpu).unwrap().reshape((n, 3)).unwrap()
        };
        let (items, asking) = (120, 40);
        for distance in Distance::ALL {
            let set = |n, at| Gallery::new(&distance.normalize(&points(n, at)).unwrap()).unwrap();
            let (gallery, queries) = (set(items, 1), set(asking, 77));
            // Classes of 3 are counted, that of 60 is listed, and 99 is not in the gallery.
            let labels: Vec<u32> = (0..items as u32).map(|item| if item < 60 { 50 } else { item / 3 }).collect();
            let own: Vec<u32> = (0..asking as u32).map(|query| [50, 20 + query % 20, 99][query as usize % 3]).collect();
            let sets = Sets { gallery: &gallery, queries: Some(&queries) };
            let everything: Vec<usize> = (0..asking).collect();
            let labeled = Sets { gallery: &labels[..], queries: Some(&own[..]) };
            let found = retrieve(sets, labeled, &everything, &mut |_| ControlFlow::Continue(())).unwrap();
            let mut expected = Retrieval { list_len: items, ..Retrieval::default() };
            for (query, label) in own.iter().enumerate() {
                let exact = |item: &usize| distance.exact(queries.point(query), gallery.point(*item));
                let mut order: Vec<usize> = (0..items).collect();
                order.sort_by(|a, b| exact(a).total_cmp(&exact(b)));
                let positions = (0u32..).zip(order).filter(|&(_, item)| labels[item] == *label).map(|(at, _)| at);
                expected.append(Found::of(&alone(&positions.collect::<Vec<_>>())));
            }
            expected.normalized_rank.iter_mut().for_each(|rank| *rank /= items as f64);
            expected.resolution = found.resolution;
            assert!(found == expected, "{distance}");
            assert_eq!((found.skipped, found.queries()), (13, 27));
        }
    }

    #[test]
    fn agrees_with_a_plain_sort_and_does_not_depend_on_threads() {
        let dataset = toy::dataset(3);
        let everything: Vec<usize> = (0..dataset.len()).collect();
        for distance in Distance::ALL {
            let embedder = toy::embedder(5, distance).unwrap();
            let raw = embedder.embed(&dataset.images(&everything).unwrap()).unwrap();
            let gallery = Gallery::new(&distance.normalize(&raw).unwrap()).unwrap();
            let retrieval = measure(&gallery, dataset.labels());
            for query in 0..dataset.len() {
                let list = gallery.distances_from(&gallery, &[query]).unwrap();
                let mut order: Vec<usize> = everything.iter().copied().filter(|&item| item != query).collect();
                order.sort_by(|&a, &b| list[a].total_cmp(&list[b]));
                let first = order.iter().position(|&item| dataset.labels()[item] == dataset.labels()[query]);
                assert_eq!(retrieval.first_match[query].closer as usize, first.unwrap());
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
        assert!(matches!(retrieve(Sets::one(&gallery), Sets::one(&[1, 1]), &[2], &mut go), Err(Error::Index { .. })));
        // No query has an item to find.
        let retrieval = measure(&gallery, &[1, 2]);
        assert_eq!((retrieval.queries(), retrieval.skipped), (0, 2));
        assert!(retrieval.recall_at(1).is_nan());
        assert_eq!(measure(&line(&[1.0]), &[1]).skipped, 1);
    }
}
