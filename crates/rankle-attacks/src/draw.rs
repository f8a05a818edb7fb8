//! Random draws in which a smaller one is a prefix of a larger one, and the neighbor lists to draw from.

use crate::scene::Choice;
use rand::Rng;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Error, Gallery, Result};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Indices of the images to attack among the `len` of their set: a uniform sample without replacement, keyed by the seed alone,
/// in the order of the draw. The sample of 1,000 is the beginning of the sample of 10,000. A set of fewer than `count` images
/// gives all of them.
pub fn sample_images(seed: Seed, len: usize, count: usize) -> Vec<usize> {
    let mut rng = seed.stream(Purpose::Images, [0, 0]);
    distinct(&mut rng, len, count.min(len)).into_iter().map(|index| index as usize).collect()
}

/// The first `count` numbers of a random permutation of `0..pool`, without drawing the rest of it.
pub(crate) fn distinct(rng: &mut impl Rng, pool: usize, count: usize) -> Vec<u32> {
    let pool = pool as u32;
    let mut displaced = HashMap::new();
    (0..count as u32)
        .map(|at| {
            let from = rng.random_range(at..pool);
            let here = displaced.get(&at).copied().unwrap_or(at);
            displaced.insert(from, here).unwrap_or(from)
        })
        .collect()
}

/// Passes to `f` each image with its `count` nearest targets, nearest first. The image itself is left out by its index; of equal
/// distances the lower index comes first.
pub(crate) fn neighbors<T: Send>(
    choice: Choice<'_>,
    images: &[usize],
    count: usize,
    f: impl Fn(usize, Vec<u32>) -> T + Sync,
) -> Result<Vec<T>> {
    choice.check(images)?;
    if count > choice.available() {
        return Err(Error::TooFewTargets { wanted: count, available: choice.available() });
    }
    if count == 0 {
        return Ok(images.iter().map(|&image| f(image, Vec::new())).collect());
    }
    let nearest = |image: usize, distances: &[f32]| f(image, top(distances, choice.itself(image), count));
    blocks(choice.targets, choice.images, images, nearest)
}

/// Targets that have each image among the `count` nearest items of their own list, in ascending order.
pub(crate) fn reverse_neighbors(choice: Choice<'_>, images: &[usize], count: usize) -> Result<Vec<Vec<u32>>> {
    choice.check(images)?;
    let mut lists = vec![Vec::new(); images.len()];
    if count == 0 {
        return Ok(lists);
    }
    let everyone: Vec<usize> = (0..choice.targets.len()).collect();
    let having = blocks(choice.images, choice.targets, &everyone, |target, distances| -> Vec<u32> {
        let itself = choice.itself(target);
        let top = unordered_top(distances, itself, count);
        let Some(last) = top.into_iter().max_by(|a, b| nearer(distances, a, b)) else { return Vec::new() };
        let is_near = |&image: &usize| Some(image) != itself && nearer(distances, &(image as u32), &last).is_le();
        (0u32..).zip(images).filter(|(_, image)| is_near(image)).map(|(place, _)| place).collect()
    })?;
    for (target, places) in (0u32..).zip(having) {
        places.into_iter().for_each(|place| lists[place as usize].push(target));
    }
    Ok(lists)
}

/// Runs `f` on the distances from items of `set` to all of `list`, a few rows at a time.
fn blocks<T: Send>(list: &Gallery, set: &Gallery, items: &[usize], f: impl Fn(usize, &[f32]) -> T + Sync) -> Result<Vec<T>> {
    let blocks: Vec<Vec<T>> = items
        .par_chunks(list.lists_at_once())
        .map(|items| {
            let distances = list.distances_from(set, items)?;
            Ok(items.iter().zip(distances.chunks_exact(list.len())).map(|(&item, row)| f(item, row)).collect())
        })
        .collect::<Result<_>>()?;
    Ok(blocks.into_iter().flatten().collect())
}

fn nearer(distances: &[f32], a: &u32, b: &u32) -> Ordering {
    distances[*a as usize].total_cmp(&distances[*b as usize]).then(a.cmp(b))
}

/// The `count` nearest items, in no order.
fn unordered_top(distances: &[f32], itself: Option<usize>, count: usize) -> Vec<u32> {
    let mut items: Vec<u32> = (0..distances.len() as u32).filter(|&item| Some(item as usize) != itself).collect();
    if count < items.len() {
        items.select_nth_unstable_by(count, |a, b| nearer(distances, a, b));
        items.truncate(count);
    }
    items
}

fn top(distances: &[f32], itself: Option<usize>, count: usize) -> Vec<u32> {
    let mut items = unordered_top(distances, itself, count);
    items.sort_unstable_by(|a, b| nearer(distances, a, b));
    // The vector still has room for the whole list, and one is held for every image.
    items.shrink_to_fit();
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;
    use candle_core::{Device, Tensor};
    use rankle_core::Distance;

    fn line(places: &[f32]) -> Gallery {
        let raw = Tensor::from_slice(places, (places.len(), 1), &Device::Cpu).unwrap();
        Gallery::new(&Distance::Euclidean.normalize(&raw).unwrap()).unwrap()
    }

    #[test]
    fn a_smaller_sample_is_the_beginning_of_a_larger_one() {
        let all = sample_images(Seed(3), 200, 200);
        assert_eq!(sample_images(Seed(3), 200, 30), all[..30]);
        assert_eq!(sample_images(Seed(3), 200, 1000), all);
        assert_ne!(sample_images(Seed(4), 200, 200), all);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..200));
    }

    #[test]
    fn every_place_of_a_permutation_is_uniform() {
        let mut counts = [[0; 4]; 4];
        for draw in 0..4000 {
            let mut rng = Seed(draw).stream(Purpose::Toy, [9, 9]);
            for (place, number) in distinct(&mut rng, 4, 4).into_iter().enumerate() {
                counts[place][number as usize] += 1;
            }
        }
        // 1000 expected, standard deviation 27.
        assert!(counts.as_flattened().iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    fn choice<'a>(images: &'a Gallery, targets: &'a Gallery, is_one: bool) -> Choice<'a> {
        Choice { images, targets, is_one, protocol: Protocol::Strict, seed: Seed(0) }
    }

    #[test]
    fn an_image_is_never_its_own_neighbor_even_among_copies() {
        let gallery = line(&[1.0, 1.0, 1.0, 2.0, 9.0]);
        let nearest = |images: &[usize], count| neighbors(choice(&gallery, &gallery, true), images, count, |_, list| list);
        assert_eq!(nearest(&[1, 4], 3).unwrap(), [[0, 2, 3], [3, 0, 1]]);
        assert!(matches!(nearest(&[0], 5), Err(Error::TooFewTargets { wanted: 5, available: 4 })));
        assert!(matches!(nearest(&[5], 1), Err(Error::Index { .. })));
        // In another set the item with the same index is not the image.
        let others = line(&[1.0, 3.0]);
        let nearest = |images: &[usize], count| neighbors(choice(&others, &gallery, false), images, count, |_, list| list);
        assert_eq!(nearest(&[0, 1], 5).unwrap(), [[0, 1, 2, 3, 4], [3, 0, 1, 2, 4]]);
        assert!(matches!(nearest(&[2], 1), Err(Error::Index { .. })));
    }

    #[test]
    fn a_reverse_neighbor_need_not_be_a_neighbor() {
        // Nearest neighbors: 0 -> 1, 1 -> 0, 2 -> 1, 3 -> 2.
        let gallery = line(&[0.0, 1.0, 2.5, 7.0]);
        let reverse = reverse_neighbors(choice(&gallery, &gallery, true), &[1, 3, 2, 1], 1).unwrap();
        assert_eq!(reverse, [vec![0, 2], vec![], vec![3], vec![0, 2]]);
        // Queries at 0.9, 2.4 and 2.6: the nearest of the first is item 1, that of the others item 2.
        let queries = line(&[0.9, 2.4, 2.6]);
        let reverse = reverse_neighbors(choice(&gallery, &queries, false), &[0, 1, 2], 1).unwrap();
        assert_eq!(reverse, [vec![], vec![0], vec![1, 2]]);
    }
}
