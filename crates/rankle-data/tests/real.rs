//! Tests on the published files. The constants were computed with Python's gzip, struct and hashlib, not with this crate.

use rankle_core::Dataset;
use rankle_data::{Name, Split, open};
use std::path::Path;

struct Facts {
    /// Number of images with the labels 0, 1 … 9.
    histogram: [usize; 10],
    first_labels: [u32; 10],
    /// Sums of the bytes of all images, of the first image and of the last one.
    sums: [u64; 3],
}

fn check(set: &dyn Dataset, facts: &Facts) {
    assert_eq!(set.shape(), (1, 28, 28));
    let mut histogram = [0; 10];
    set.labels().iter().for_each(|&label| histogram[label as usize] += 1);
    assert_eq!(histogram, facts.histogram);
    assert_eq!(set.labels()[..10], facts.first_labels);

    let sum = |indices: &[usize]| -> u64 {
        let pixels = set.images(indices).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        pixels.iter().map(|pixel| (pixel * 255.0).round() as u64).sum()
    };
    let all: Vec<usize> = (0..set.len()).collect();
    assert_eq!([all.chunks(1000).map(sum).sum(), sum(&[0]), sum(&[set.len() - 1])], facts.sums);
}

const MNIST_TRAIN: Facts = Facts {
    histogram: [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    first_labels: [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
    sums: [1_567_298_545, 27_525, 20_920],
};
const MNIST_TEST: Facts = Facts {
    histogram: [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    first_labels: [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
    sums: [264_923_200, 18_454, 41_833],
};
#[cfg(feature = "slow-tests")]
const FASHION_TRAIN: Facts =
    Facts { histogram: [6000; 10], first_labels: [9, 0, 0, 3, 0, 2, 7, 2, 5, 5], sums: [3_431_114_169, 76_247, 16_684] };
#[cfg(feature = "slow-tests")]
const FASHION_TEST: Facts =
    Facts { histogram: [1000; 10], first_labels: [9, 2, 1, 1, 6, 1, 4, 6, 5, 7], sums: [573_469_082, 33_456, 24_390] };

#[test]
fn mnist_from_its_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    let train = open(Name::Mnist, Split::Train, Some(&folder.join("mnist"))).unwrap();
    assert_eq!((train.name(), train.len()), ("mnist", 60_000));
    check(&*train, &MNIST_TRAIN);
    // The folder above is accepted, too.
    let test = open(Name::Mnist, Split::Test, Some(&folder)).unwrap();
    assert_eq!((test.name(), test.len()), ("mnist", 10_000));
    check(&*test, &MNIST_TEST);
}

#[test]
#[cfg(feature = "embedded-mnist")]
fn mnist_from_the_binary() {
    check(&*open(Name::Mnist, Split::Train, None).unwrap(), &MNIST_TRAIN);
    check(&*open(Name::Mnist, Split::Test, None).unwrap(), &MNIST_TEST);
    // A given folder is used even if it is empty: the compiled-in files do not hide its faults.
    let empty = tempfile::tempdir().unwrap();
    assert!(open(Name::Mnist, Split::Test, Some(empty.path())).is_err());
}

#[test]
#[cfg(not(feature = "embedded-mnist"))]
fn mnist_that_is_not_compiled_in_says_where_it_is() {
    let says = open(Name::Mnist, Split::Test, None).err().expect("found").to_string();
    assert!(says.starts_with("mnist is not installed and no folder was given: "), "{says}");
    assert!(says.contains("`--dataset-dir datasets/mnist`") && says.contains("`--features embedded-mnist`"), "{says}");
}

/// Needs Debian's package dataset-fashion-mnist.
#[cfg(feature = "slow-tests")]
#[test]
fn fashion_mnist_from_the_package() {
    let train = open(Name::FashionMnist, Split::Train, None).unwrap();
    assert_eq!((train.name(), train.len()), ("fashion-mnist", 60_000));
    check(&*train, &FASHION_TRAIN);
    check(&*open(Name::FashionMnist, Split::Test, None).unwrap(), &FASHION_TEST);
}
