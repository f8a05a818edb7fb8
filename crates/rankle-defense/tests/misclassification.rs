//! Adversarial training of classifiers on the toy data.

use candle_core::Tensor;
use rankle_attacks::{AnySearch, Misclassification, Objective, Pgd, Threat};
use rankle_core::{Dataset, Defense, Distance, Embedder, Error, Seed, toy};
use rankle_defense::MisclassificationDefense;

fn defense(labels: &[u32]) -> MisclassificationDefense {
    MisclassificationDefense::paper(Threat::linf(0.1).unwrap(), labels.to_vec())
}

#[test]
fn the_search_is_that_of_the_paper() {
    let pgd = Pgd::from_clean(Threat::linf(0.1).unwrap(), 0.1 / 5.0, 10);
    assert_eq!(defense(&[]).search, AnySearch::Pgd(pgd));
}

/// The 16 numbers of a toy embedding serve as logits.
#[test]
fn every_image_is_doubted_more_inside_the_ball_and_its_label_is_found_by_its_key() {
    let (dataset, classifier) = (toy::dataset(0), toy::embedder(1, Distance::Euclidean).unwrap());
    let (indices, defense) = ([4, 9, 17, 30], defense(dataset.labels()));
    let images = dataset.images(&indices).unwrap();
    let defended = defense.perturb(&classifier, &images, &indices.map(|index| index as u64), 3, Seed(5)).unwrap();
    let moved = (&defended - &images).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(moved <= 0.1 + 1e-6);
    let aim =
        Misclassification { labels: indices.map(|index| dataset.labels()[index]).to_vec(), place: rankle_core::Place::Kernels };
    let losses = |images: &Tensor| aim.evaluate(&classifier.embed(images).unwrap()).unwrap().losses().unwrap();
    assert!(losses(&defended).iter().zip(losses(&images)).all(|(after, before)| *after < before - 0.1));

    // The same image alone, in another epoch.
    let alone = defense.perturb(&classifier, &dataset.images(&[17]).unwrap(), &[17], 0, Seed(5)).unwrap();
    let numbers = |images: Tensor| images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(numbers(alone.get(0).unwrap()), numbers(defended.get(2).unwrap()));
}

#[test]
fn an_image_without_a_label_is_refused() {
    let (dataset, classifier) = (toy::dataset(0), toy::embedder(1, Distance::Euclidean).unwrap());
    let refused = defense(&[0, 1, 2]).perturb(&classifier, &dataset.images(&[3]).unwrap(), &[3], 0, Seed(0));
    assert!(matches!(refused, Err(Error::Index { what: "training image", index: 3, len: 3 })));
}
