//! Draws that are prefixes of one another, and the lists they are drawn from.

use rand::Rng;
use rankle_core::dataset::check_indices;
use rankle_core::seed::{Purpose, Seed};
use rankle_core::{Error, Gallery, Result};
use rayon::prelude::*;
use std::collections::HashMap;

/// The gallery indices of the images to attack: a uniform sample without replacement, keyed by the seed alone, in the order
/// of the draw. The sample of 1,000 is the beginning of the sample of 10,000; a gallery of fewer than `count` images gives
/// all of them.
pub fn sample_images(seed: Seed, gallery_len: usize, count: usize) -> Vec<usize> {
    let mut rng = seed.stream(Purpose::Images, [0, 0]);
    distinct(&mut rng, gallery_len, count.min(gallery_len)).into_iter().map(|index| index as usize).collect()
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

/// Refuses sets of no targets, and of more than there are.
pub(crate) fn check_set(wanted: usize, available: usize) -> Result<()> {
    match wanted {
        0 => Err(Error::Empty("targets")),
        _ if wanted > available => Err(Error::TooFewTargets { wanted, available }),
        _ => Ok(()),
    }
}

/// How many items are "the top 1 %" of a list: at least one, in integers (`pitfalls.md` P-3, P-35).
pub(crate) fn top_percent(gallery: &Gallery) -> usize {
    (gallery.len() / 100).max(1)
}

/// The `count` items nearest to each image, nearest first, the image itself left out by its index; of equal distances the
/// lower index comes first.
pub(crate) fn neighbours(gallery: &Gallery, images: &[usize], count: usize) -> Result<Vec<Vec<u32>>> {
    check_indices("image", images, gallery.len())?;
    if count > gallery.len() - 1 {
        return Err(Error::TooFewTargets { wanted: count, available: gallery.len() - 1 });
    }
    if count == 0 {
        return Ok(vec![Vec::new(); images.len()]);
    }
    blocks(gallery, images, |image, distances| top(distances, image, count))
}

/// For each image the items, in ascending order, that have it among the `count` nearest of their own list.
pub(crate) fn admirers(gallery: &Gallery, images: &[usize], count: usize) -> Result<Vec<Vec<u32>>> {
    let everyone: Vec<usize> = (0..gallery.len()).collect();
    let mut slots: HashMap<u32, Vec<usize>> = HashMap::new();
    for (slot, &image) in images.iter().enumerate() {
        slots.entry(image as u32).or_default().push(slot);
    }
    let admired = blocks(gallery, &everyone, |item, distances| {
        let mut top = top(distances, item, count);
        top.retain(|image| slots.contains_key(image));
        top
    })?;
    let mut lists = vec![Vec::new(); images.len()];
    for (item, admired) in admired.iter().enumerate() {
        for &slot in admired.iter().flat_map(|image| &slots[image]) {
            lists[slot].push(item as u32);
        }
    }
    Ok(lists)
}

/// Runs `f` on the distances from each item to the whole gallery, a few rows at a time.
fn blocks<T: Send>(gallery: &Gallery, from: &[usize], f: impl Fn(usize, &[f32]) -> T + Sync) -> Result<Vec<T>> {
    let blocks: Vec<Vec<T>> = from
        .par_chunks(64)
        .map(|items| {
            let distances = gallery.distances_from(items)?;
            Ok(items.iter().zip(distances.chunks_exact(gallery.len())).map(|(&item, row)| f(item, row)).collect())
        })
        .collect::<Result<_>>()?;
    Ok(blocks.into_iter().flatten().collect())
}

fn top(distances: &[f32], itself: usize, count: usize) -> Vec<u32> {
    let nearer = |a: &u32, b: &u32| distances[*a as usize].total_cmp(&distances[*b as usize]).then(a.cmp(b));
    let mut items: Vec<u32> = (0..distances.len() as u32).filter(|&item| item as usize != itself).collect();
    if count < items.len() {
        items.select_nth_unstable_by(count, nearer);
        items.truncate(count);
    }
    items.sort_unstable_by(nearer);
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rankle_core::Distance;

    fn line(places: &[f32]) -> Gallery {
        let raw = Tensor::from_slice(places, (places.len(), 1), &Device::Cpu).unwrap();
        Gallery::new(&Distance::Euclidean.place(&raw).unwrap()).unwrap()
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

    #[test]
    fn an_image_is_never_its_own_neighbour_even_among_copies() {
        let gallery = line(&[1.0, 1.0, 1.0, 2.0, 9.0]);
        assert_eq!(neighbours(&gallery, &[1, 4], 3).unwrap(), [[0, 2, 3], [3, 0, 1]]);
        assert!(matches!(neighbours(&gallery, &[0], 5), Err(Error::TooFewTargets { wanted: 5, available: 4 })));
        assert!(matches!(neighbours(&gallery, &[5], 1), Err(Error::Index { .. })));
    }

    #[test]
    fn admiration_is_not_mutual() {
        // Everybody's nearest: 0 -> 1, 1 -> 0, 2 -> 1, 3 -> 2.
        let gallery = line(&[0.0, 1.0, 2.5, 7.0]);
        assert_eq!(admirers(&gallery, &[1, 3, 2, 1], 1).unwrap(), [vec![0, 2], vec![], vec![3], vec![0, 2]]);
    }
}
