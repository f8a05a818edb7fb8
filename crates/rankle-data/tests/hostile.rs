//! Malformed files: each is refused with one line that names the file, the value found, the value expected and what to do.

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use rankle_core::{Dataset, InputSpec};
use rankle_data::{ImageSet, Name, Source, Split, idx, open};
use std::io::Write;
use std::path::Path;

const LIMIT: u64 = 1 << 20;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn encode(numbers: &[u32], items: &[u8]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).chain(items.iter().copied()).collect()
}

/// `n` images of 2×3.
fn images(n: u32) -> Vec<u8> {
    encode(&[2051, n, 2, 3], &vec![9; 6 * n as usize])
}

fn labels(items: &[u8]) -> Vec<u8> {
    encode(&[2049, items.len() as u32], items)
}

fn images_fault(bytes: &[u8]) -> String {
    idx::images(Path::new("FILE"), bytes, LIMIT).err().expect("the file was accepted").to_string()
}

fn labels_fault(bytes: &[u8]) -> String {
    idx::labels(Path::new("FILE"), bytes, 10, LIMIT).err().expect("the file was accepted").to_string()
}

#[test]
#[rustfmt::skip] // the columns are the point
fn faults_of_images() {
    let most = u32::MAX;
    for (bytes, expected) in [
        (vec![],                                   "FILE ends after 0 bytes (decompressed), expected 16: it is truncated, get it again"),
        (vec![0, 0, 8],                            "FILE ends after 3 bytes (decompressed), expected 16: it is truncated, get it again"),
        (images(2)[..11].to_vec(),                 "FILE ends after 11 bytes (decompressed), expected 16: it is truncated, get it again"),
        (images(2)[..27].to_vec(),                 "FILE ends after 27 bytes (decompressed), expected 28: it is truncated, get it again"),
        ([images(2), vec![0]].concat(),            "FILE goes on after the 28 bytes (decompressed) that its header promises: it is damaged, get it again"),
        (labels(&[1, 2]),                          "FILE starts with the magic number 2049, expected 2051 for IDX images: these are labels, pass the file of images"),
        (b"hello".to_vec(),                        "FILE starts with the magic number 1751477356, expected 2051 for IDX images: it is no IDX file of bytes, get it again"),
        (encode(&[0x0d03, 1, 2, 3], &[0; 24]),     "FILE starts with the magic number 3331, expected 2051 for IDX images: it is no IDX file of bytes, get it again"),
        (encode(&[2051, 0, 28, 28], &[]),          "FILE has 0 images in its header, expected at least 1: it is damaged, get it again"),
        (encode(&[2051, 1, 0, 28], &[]),           "FILE has 0 rows in its header, expected at least 1: it is damaged, get it again"),
        (encode(&[2051, 1, 28, 0], &[]),           "FILE has 0 columns in its header, expected at least 1: it is damaged, get it again"),
        (encode(&[2051, 1000, 2, 3], &[9; 12]),    "FILE ends after 28 bytes (decompressed), expected 6016: it is truncated, get it again"),
        (encode(&[2051, most, 28, 28], &[9; 12]),  "FILE promises 3367254359296 bytes in its header, expected at most 1048576: it is damaged or another file, get it again"),
        (encode(&[2051, most, most, most], &[]),   "FILE promises 79228162458924105385300197391 bytes in its header, expected at most 1048576: it is damaged or another file, get it again"),
    ] {
        assert_eq!(images_fault(&bytes), expected);
        assert_eq!(images_fault(&gz(&bytes)), expected, "gzipped");
    }
}

#[test]
#[rustfmt::skip] // the columns are the point
fn faults_of_labels() {
    for (bytes, expected) in [
        (images(1),                                "FILE starts with the magic number 2051, expected 2049 for IDX labels: these are images, pass the file of labels"),
        (labels(&[]),                              "FILE has 0 labels in its header, expected at least 1: it is damaged, get it again"),
        (labels(&[0, 9, 10]),                      "FILE has label 10 at index 2, expected one below 10: it belongs to another dataset or is damaged"),
        (encode(&[2049, u32::MAX], &[1]),          "FILE promises 4294967303 bytes in its header, expected at most 1048576: it is damaged or another file, get it again"),
        (encode(&[2049, 3], &[1]),                 "FILE ends after 9 bytes (decompressed), expected 11: it is truncated, get it again"),
        (encode(&[2049, 1], &[1, 1]),              "FILE goes on after the 9 bytes (decompressed) that its header promises: it is damaged, get it again"),
    ] {
        assert_eq!(labels_fault(&bytes), expected);
        assert_eq!(labels_fault(&gz(&bytes)), expected, "gzipped");
    }
    let none = idx::labels(Path::new("FILE"), &labels(&[0])[..], 0, LIMIT).err().expect("accepted").to_string();
    assert!(none.starts_with("FILE has label 0 at index 0, expected one below 0: "), "{none}");
}

#[test]
fn faults_of_gzip() {
    let whole = gz(&images(2));
    let broken = |bytes: &[u8]| {
        let says = images_fault(bytes);
        assert!(says.starts_with("FILE is not a whole gzip file (") && says.ends_with("get it again"), "{says}");
    };
    // Every truncation is found, in the header, the data or the checksum.
    for end in 2..whole.len() {
        broken(&whole[..end]);
    }
    let mut checksum = whole.clone();
    checksum[whole.len() - 8] ^= 1;
    broken(&checksum);
    broken(&[&whole[..], b"rubbish"].concat());
    // A second gzip member with contents continues the same file.
    assert!(images_fault(&[whole, gz(b"more")].concat()).contains("goes on after the 28 bytes"));
}

#[test]
fn gzip_bombs_are_not_unpacked() {
    let zeros = vec![0; 64 << 20];
    let behind = gz(&[images(1), zeros.clone()].concat());
    assert!(behind.len() < 100_000);
    assert!(images_fault(&behind).contains("goes on after the 22 bytes"));
    let inside = gz(&encode(&[2051, 64, 1 << 10, 1 << 10], &zeros));
    assert!(images_fault(&inside).contains("promises 67108880 bytes in its header, expected at most 1048576"));
}

#[test]
fn faults_of_pairs_and_paths() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (two, three) = (file("two", &gz(&images(2))), file("three", &labels(&[1, 2, 3])));
    let says = |images: &Path, labels: &Path| ImageSet::read_idx("own", images, labels, 10).unwrap_err().to_string();
    let [at, t2, t3] = [folder.path(), &two, &three].map(|path| path.display().to_string());

    assert_eq!(
        says(&two, &three),
        format!("{t2} holds 2 images but {t3} holds 3 labels, expected as many: use two files of one split")
    );
    assert_eq!(says(folder.path(), &three), format!("{at} is a folder, expected a file: remove it or name the file"));
    let missing = says(&two, &folder.path().join("nowhere"));
    assert!(missing.starts_with(&format!("cannot read {at}/nowhere: ")) && missing.contains("check the path"), "{missing}");

    #[cfg(unix)]
    {
        assert!(says(Path::new("/dev/zero"), &three).contains("cannot read /dev/zero: it is not a regular file; check"));
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(says(&two, &pipe).contains("pipe: it is not a regular file"));
    }

    // One gzipped, one plain: the names do not matter.
    let set = ImageSet::read_idx("own", &two, &file("labels.gz", &labels(&[8, 9])), 10).unwrap();
    assert_eq!((set.name(), set.shape(), set.labels()), ("own", (1, 2, 3), &[8, 9][..]));
}

#[test]
fn faults_of_folders_and_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let says = |dir: &Path| open(Name::FashionMnist, Split::Test, Some(dir)).err().expect("accepted").to_string();
    let at = folder.path().display();

    assert_eq!(
        says(&folder.path().join("x")),
        format!("{at}/x is not a folder: name the folder that holds t10k-images-idx3-ubyte.gz")
    );
    let missing = says(folder.path());
    let start = format!("{at} holds neither t10k-images-idx3-ubyte.gz nor t10k-images-idx3-ubyte of fashion-mnist: ");
    assert!(missing.starts_with(&start) && missing.contains("`cargo xtask fetch fashion-mnist`"), "{missing}");

    // Well formed and of the right size, but without the published pixels; found in the sub-folder of the dataset's name.
    let inner = folder.path().join("fashion-mnist");
    std::fs::create_dir(&inner).unwrap();
    let fake = encode(&[2051, 10_000, 28, 28], &vec![7; 7_840_000]);
    std::fs::write(inner.join("t10k-images-idx3-ubyte"), &fake).unwrap();
    let wrong = says(folder.path());
    assert!(wrong.starts_with(&format!("{at}/fashion-mnist/t10k-images-idx3-ubyte has SHA-256 ")), "{wrong}");
    assert!(
        wrong.contains("expected 5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b: it is not the published file")
    );

    std::fs::create_dir(folder.path().join("t10k-images-idx3-ubyte.gz")).unwrap();
    assert_eq!(
        says(folder.path()),
        format!("{at}/t10k-images-idx3-ubyte.gz is a folder, expected a file: remove it or name the file")
    );
}

/// An endless stream of empty gzip members is refused, although it never decompresses to anything.
#[test]
fn endless_streams_end() {
    struct Endless(Vec<u8>, usize);
    impl std::io::Read for Endless {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            to.iter_mut().for_each(|byte| {
                *byte = self.0[self.1 % self.0.len()];
                self.1 += 1;
            });
            Ok(to.len())
        }
    }
    for part in [gz(&[]), vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]] {
        let error = idx::images(Path::new("FILE"), Endless(part, 0), LIMIT).err().expect("accepted").to_string();
        assert!(error.starts_with("FILE ") && error.lines().count() == 1, "{error}");
    }
}

/// EMNIST and KMNIST as published: with prefixes, several datasets in one folder, and no hash.
#[test]
fn folders_of_idx_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let open = |name: &str, split| {
        let source = name.parse::<Source>().unwrap();
        source.open(split, Some(folder.path()), &InputSpec::of_shape((1, 2, 3))).map_err(|error| error.to_string())
    };
    let fault = |name: &str, split| open(name, split).err().expect("accepted");
    assert!(fault("idx:none", Split::Test).contains("cannot read"));
    assert!(fault("idx:.", Split::Test).contains("holds no IDX files with a name: files are needed that are called like train-"));
    let mut at = 0;
    for (name, file) in [("", "t10k"), ("", "train"), ("letters-", "test"), ("letters-", "train"), ("digits-", "test")] {
        at += 1;
        write(&format!("{name}{file}-images-idx3-ubyte.gz"), &gz(&images(at)));
        write(&format!("{name}{file}-labels-idx1-ubyte"), &labels(&vec![200 + at as u8; at as usize]));
    }
    let labels_of = |name: &str, split| open(name, split).unwrap().labels().to_vec();
    assert_eq!((labels_of("idx:.", Split::Test), labels_of("idx:.", Split::Train)), (vec![201], vec![202; 2]));
    assert_eq!(labels_of("idx:.", Split::Gallery), [201]);
    let letters = open("idx,name=letters:.", Split::Train).unwrap();
    assert_eq!((letters.name(), letters.shape(), letters.labels()), ("idx,name=letters:.", (1, 2, 3), &[204; 4][..]));
    assert_eq!(labels_of("idx,name=letters:.", Split::Test), [203; 3]);
    let missing = fault("idx,name=digits:.", Split::Train);
    assert!(missing.contains("has no train images: it needs a file called digits-train-images-idx3-ubyte or dig"), "{missing}");
    let unknown = fault("idx,name=byclass:.", Split::Test);
    assert!(unknown.contains("holds no IDX files of byclass: it has those of digits, letters"), "{unknown}");

    // If every dataset has a prefix, the user must choose.
    for split in ["t10k", "train"] {
        std::fs::remove_file(folder.path().join(format!("{split}-images-idx3-ubyte.gz"))).unwrap();
        std::fs::remove_file(folder.path().join(format!("{split}-labels-idx1-ubyte"))).unwrap();
    }
    let several = fault("idx:.", Split::Test);
    assert!(several.contains("holds IDX files of digits, letters: say which, as in idx,name=digits:PATH"), "{several}");
    for file in ["digits-test-images-idx3-ubyte.gz", "digits-test-labels-idx1-ubyte"] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    assert_eq!(labels_of("idx:.", Split::Test), [203; 3]);
    // A gzipped file and its plain form count as one file; a name with a dot for the hyphen is another one.
    write("letters-test-images-idx3-ubyte", b"not looked at");
    assert_eq!(labels_of("idx:.", Split::Test), [203; 3]);
    write("letters-test-labels.idx1-ubyte", &labels(&[1]));
    let twice = fault("idx:.", Split::Test);
    assert!(twice.contains("holds letters-test-labels-idx1-ubyte and letters-test-labels.idx1-ubyte, which are the"), "{twice}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0usize..4) {
        let head: [&[u8]; 4] = [&[], &[0x1f, 0x8b, 8, 0], &[0, 0, 8, 3], &[0, 0, 8, 1]];
        let bytes = [head[start], &bytes].concat();
        for bytes in [&bytes, &gz(&bytes)] {
            if let Ok(images) = idx::images(Path::new("FILE"), &bytes[..], LIMIT) {
                prop_assert_eq!(images.pixels.len(), images.count * images.rows * images.columns);
            }
            if let Ok(labels) = idx::labels(Path::new("FILE"), &bytes[..], 10, LIMIT) {
                prop_assert!(labels.labels.iter().all(|&label| label < 10));
            }
        }
    }

    #[test]
    fn what_was_written_is_read(n in 1u32..5, rows in 1u32..5, columns in 1u32..5, seed in any::<u8>()) {
        let pixels: Vec<u8> = (0..(n * rows * columns) as u8).map(|place| place.wrapping_mul(37) ^ seed).collect();
        let file = encode(&[2051, n, rows, columns], &pixels);
        let plain = idx::images(Path::new("FILE"), &file[..], LIMIT).unwrap();
        let zipped = idx::images(Path::new("FILE"), &gz(&file)[..], LIMIT).unwrap();
        let sizes = [plain.count, plain.rows, plain.columns].map(|size| size as u32);
        prop_assert_eq!(sizes, [n, rows, columns]);
        prop_assert_eq!(&plain.pixels, &pixels);
        prop_assert!(plain == zipped, "gzip changes neither content nor hash");
    }
}
