//! Photographs in every supported layout, as small files written here, and malformed lists.

use image::{Rgb, RgbImage};
use rankle_core::{Dataset, InputSpec, Seed};
use rankle_data::{Preparation, Published, Source, Split, Split::*, broken_images};
use rankle_synth::Products;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

/// Writes an image of one color, in the format of its extension.
fn photo(root: &Path, name: &str, color: [u8; 3]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(9, 5, Rgb(color)).save(path).unwrap();
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A model for photographs with `side` pixels a side and no other requirements.
fn input(side: usize) -> InputSpec {
    InputSpec::of_shape((3, side, side))
}

fn open(name: &str, root: &Path, split: Split) -> Result<Arc<dyn Dataset>, rankle_data::Error> {
    name.parse::<Source>()?.open(split, Some(root), &input(8))
}

fn fault(name: &str, root: &Path, split: Split) -> String {
    open(name, root, split).err().expect("it was accepted").to_string()
}

/// The red channel of an image of one color, as a byte.
fn red(dataset: &dyn Dataset, index: usize) -> u8 {
    let pixels = dataset.images(&[index]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (pixels[0] * 255.0).round() as u8
}

const HEADER: &str = "image_id class_id super_class_id path\n";

fn products(root: &Path, train: &str, test: &str) {
    for (list, lines) in [("Ebay_train.txt", train), ("Ebay_test.txt", test)] {
        fs::write(root.join(list), lines).unwrap();
    }
}

#[test]
fn products_as_published() {
    let root = folder();
    let inner = root.path().join("sop/Stanford_Online_Products");
    for (name, level) in [("mug_final/1_0.png", 10), ("mug_final/1_1.bmp", 20), ("sofa_final/2_0.webp", 30)] {
        photo(&inner, name, [level, 0, 0]);
    }
    let train = format!("{HEADER}1 1 1 mug_final/1_0.png\n2 1 1 mug_final/1_1.bmp\n");
    products(&inner, &train, &format!("{HEADER}59552 11319 1 sofa_final/2_0.webp")); // no line break at the end
    for dir in [root.path(), &root.path().join("sop"), &inner] {
        let train = open("sop", dir, Train).unwrap();
        assert_eq!((train.name(), train.shape(), train.labels()), ("sop", (3, 8, 8), &[1, 1][..]));
        assert_eq!((red(&*train, 0), red(&*train, 1)), (10, 20));
        let test = open("sop", dir, Test).unwrap();
        assert_eq!((test.labels(), red(&*test, 0)), (&[11_319][..], 30));
    }
    let published = Published::Sop.open(Test, Some(root.path()), Preparation::PAPER).unwrap();
    assert_eq!(published.shape(), (3, 224, 224));
    assert!(published.path(0).unwrap().ends_with("sofa_final/2_0.webp") && published.path(1).is_none());

    let says = Published::Sop.open(Test, None, Preparation::PAPER).unwrap_err().to_string();
    assert!(says.contains("name the folder Stanford_Online_Products with --dataset-dir"), "{says}");
    let says = fault("sop", &inner.join("mug_final"), Test);
    assert!(says.contains("mug_final does not hold sop: name the folder Stanford_Online_Products"), "{says}");
}

#[test]
fn lists_of_products_that_lie() {
    let root = folder();
    photo(root.path(), "a/1.png", [1; 3]);
    photo(root.path(), "a/2.png", [2; 3]);
    let first = format!("{HEADER}1 1 1 a/1.png\n");
    for (list, says) in [
        (String::new(), "has no photographs for this split"),
        (HEADER.to_owned(), "has no photographs for this split"),
        ("1 1 1 a/1.png\n".to_owned(), "Ebay_train.txt, line 1: '1 1 1 a/1.png' instead of 'image_id class_id"),
        (format!("{first}2 1 1\n"), "line 3: 3 of 4 columns: the list is truncated"),
        (format!("{first}2 1 1 a/2.p"), "line 3: 'a/2.p' names no photograph: the list is truncated"),
        (format!("{first}3 1 1 a/2.png"), "line 3: image id 3 does not follow"),
        (format!("{first}2 -1 1 a/2.png"), "line 3: '-1' is no number"),
        (format!("{first}2 99999999999 1 a/2.png"), "line 3: '99999999999' is no number"),
        (format!("{first}2 1 1 ../a/2.png"), "line 3: '../a/2.png' leads out of the folder"),
        (format!("{first}2 1 1 a/../../2.png"), "leads out of the folder"),
        (format!("{first}2 1 1 /etc/2.png"), "line 3: '/etc/2.png' leads out of the folder"),
        (format!("{first}2 1 1 a/1.png"), "a/1.png is listed twice"),
        (format!("{first}2 1 1 a/3.png"), "a/3.png is listed, but there is no such file"),
    ] {
        products(root.path(), &list, HEADER);
        let message = fault("sop", root.path(), Train);
        assert!(message.contains(says) && message.lines().count() == 1, "{message}\n{says}");
    }
    fs::write(root.path().join("Ebay_train.txt"), [0xFF, 0xFE, 0]).unwrap();
    let message = fault("sop", root.path(), Train);
    assert!(message.contains("Ebay_train.txt is no text in UTF-8, or in UTF-16 with a byte-order mark: save it"), "{message}");
    // A message quotes only a part of a line of megabytes.
    for line in ["a/1.png ".repeat(1 << 20), format!("{first}2 1 1 {}.png", "a/".repeat(1 << 20))] {
        products(root.path(), &line, HEADER);
        let message = fault("sop", root.path(), Train);
        assert!(message.lines().count() == 1 && message.chars().count() < 1000, "{} bytes", message.len());
    }
}

#[test]
fn birds_are_divided_by_species() {
    let root = folder();
    let (mut images, mut labels) = (String::new(), String::new());
    for (id, class) in [1, 100, 101, 200].into_iter().enumerate() {
        photo(root.path(), &format!("images/{class:03}.Bird/{id}.png"), [class as u8; 3]);
        images += &format!("{} {class:03}.Bird/{id}.png\n", id + 1);
        labels += &format!("{} {class}\n", id + 1);
    }
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    write("images.txt", &images);
    write("image_class_labels.txt", &labels);
    assert_eq!(open("cub", root.path(), Train).unwrap().labels(), [1, 100]);
    let test = open("cub", root.path(), Test).unwrap();
    assert_eq!((test.labels(), red(&*test, 0), red(&*test, 1)), (&[101, 200][..], 101, 200));
    assert_eq!((test.class_name(101).as_deref(), test.class_name(1)), (Some("101.Bird"), None));
    assert_eq!(test.image_name(1).as_deref(), Some("images/200.Bird/3.png"));

    for (wrong, says) in [
        (labels.replace("4 200\n", ""), "has 4 lines in images.txt but 3 in image_class_labels.txt"),
        (labels.replace("4 200", "5 200"), "line 4: image 5 where images.txt has 4"),
        (labels.replace("4 200", "4 201"), "line 4: class 201 of 200"),
        (labels.replace("4 200", "4"), "line 4: 1 of 2 columns"),
    ] {
        write("image_class_labels.txt", &wrong);
        let message = fault("cub", root.path(), Test);
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn cars_are_divided_by_model() {
    let root = folder();
    for model in 1..=196 {
        photo(root.path(), &format!("cars_train/Model {model:03}/a.png"), [model; 3]);
        photo(root.path(), &format!("cars_test/Model {model:03}/a.png"), [model; 3]);
    }
    let (train, test) = (open("cars", root.path(), Train).unwrap(), open("cars", root.path(), Test).unwrap());
    assert_eq!((train.len(), train.labels()[195], test.len(), test.labels()[0]), (196, 98, 196, 99));
    assert_eq!((red(&*train, 195), red(&*test, 0)), (98, 99));
    fs::remove_dir_all(root.path().join("cars_test/Model 007")).unwrap();
    assert!(fault("cars", root.path(), Test).contains("has 196 models in cars_train and 195 in cars_test: both should hold"));
}

/// The files of a split, each with the label and the name of its class.
fn classes_of_files(dataset: &dyn Dataset) -> BTreeMap<String, (u32, String)> {
    let class = |label: u32| (label, dataset.class_name(label).unwrap().into_owned());
    let labels = dataset.labels().iter().enumerate();
    labels.map(|(index, &label)| (dataset.image_name(index).unwrap().into_owned(), class(label))).collect()
}

#[test]
fn clothes_have_queries_and_a_gallery() {
    let root = folder();
    let inner = root.path().join("In-shop_Clothes_Retrieval_Benchmark");
    Products { count: 6, views: 3, seed: 0 }.write_inshop(&inner, || Ok::<_, io::Error>(())).unwrap();
    let ids =
        |range: std::ops::RangeInclusive<u32>| range.map(|item| (item, format!("id_0000000{item}"))).collect::<BTreeSet<_>>();
    for dir in [root.path(), &inner] {
        let [train, test, gallery] = Split::ALL.map(|split| open("inshop", dir, split).unwrap());
        assert_eq!((train.name(), train.shape(), train.len(), test.len(), gallery.len()), ("inshop", (3, 8, 8), 9, 3, 6));
        // Queries and gallery have the labels of the same items, and no image is in two of the three splits.
        let files = [&train, &test, &gallery].map(|dataset| classes_of_files(&**dataset));
        let items = files.each_ref().map(|files| files.values().cloned().collect::<BTreeSet<_>>());
        assert_eq!(items, [ids(1..=3), ids(4..=6), ids(4..=6)]);
        let names: BTreeSet<&String> = files.iter().flat_map(|files| files.keys()).collect();
        assert_eq!(names.len(), 18);
        assert!(names.iter().all(|name| name.starts_with("Img/img/DRAWN/")), "{names:?}");
        assert_eq!(test.images(&[0, 1, 2]).unwrap().dims(), [3, 3, 8, 8]);
    }
    // The layout on the drive of the makers.
    fs::rename(inner.join("Img/img"), inner.join("img")).unwrap();
    fs::rename(inner.join("Eval/list_eval_partition.txt"), inner.join("list_eval_partition.txt")).unwrap();
    let gallery = open("inshop", &inner, Gallery).unwrap();
    assert_eq!(gallery.labels(), [4, 4, 5, 5, 6, 6]);
    assert!(gallery.image_name(0).unwrap().starts_with("img/DRAWN/"));

    fs::rename(inner.join("img"), inner.join("images")).unwrap();
    let says = fault("inshop", &inner, Test);
    assert!(says.contains("has neither a folder Img/img nor img: unpack the photographs there"), "{says}");
    let says = fault("inshop", &inner.join("Eval"), Test);
    assert!(says.contains("Eval does not hold inshop: name the folder In-shop_Clothes_Retrieval_Benchmark with"), "{says}");
    assert!(says.contains("it holds Eval/list_eval_partition.txt or list_eval_partition.txt, and https://"), "{says}");
}

#[test]
fn lists_of_clothes_that_lie() {
    let root = folder();
    for image in 1..=3 {
        photo(root.path(), &format!("Img/img/a/{image}.png"), [image; 3]);
    }
    let list = |text: &str| {
        fs::create_dir_all(root.path().join("Eval")).unwrap();
        fs::write(root.path().join("Eval/list_eval_partition.txt"), text).unwrap();
    };
    let header = "image_name item_id evaluation_status\n";
    // A query without its item in the gallery is no error. Columns are separated by any number of blanks.
    let columns = "image_name  item_id\tevaluation_status\n";
    list(&format!("3\n{columns}img/a/1.png   id_9 query\nimg/a/2.png id_8\tgallery\nimg/a/3.png id_7 train\n"));
    for (split, label, level) in [(Train, 1, 3), (Gallery, 2, 2), (Test, 3, 1)] {
        let dataset = open("inshop", root.path(), split).unwrap();
        assert_eq!((dataset.labels(), red(&*dataset, 0)), (&[label][..], level));
    }
    let first = "img/a/1.png id_9 query\n";
    for (text, says) in [
        (String::new(), "has no photographs for this split"),
        (format!("0\n{header}"), "has no photographs for this split"),
        (format!("1\n{header}img/a/1.png id_9 gallery"), "has no photographs for this split"),
        (format!("{header}{first}"), "list_eval_partition.txt, line 1: 'image_name item_id evaluation_status' is no number"),
        (format!("-1\n{header}{first}"), "line 1: '-1' is no number"),
        (format!("1\n{first}"), "line 2: 'img/a/1.png id_9 query' instead of 'image_name item_id evaluation_status'"),
        (format!("3\n{header}{first}"), "line 1: 3 images are announced, and 1 are listed: the list is truncated"),
        (format!("0\n{header}{first}"), "line 1: 0 images are announced, and 1 are listed"),
        (format!("2\n{header}{first}img/a/2.png id_9"), "line 4: 2 of 3 columns: the list is truncated"),
        (format!("2\n{header}{first}img/a/2.png id_9 val"), "line 4: 'val' is none of train, query and gallery"),
        (format!("2\n{header}{first}img/a/2.png id_9 query 1"), "line 4: 'query 1' is none of train, query and gallery"),
        (format!("2\n{header}{first}img/../../2.png id_9 query"), "line 4: 'img/../../2.png' leads out of the folder"),
        (format!("2\n{header}{first}/img/2.png id_9 query"), "line 4: '/img/2.png' leads out of the folder"),
        (format!("2\n{header}{first}img/a/2.p id_9 query"), "line 4: 'img/a/2.p' names no photograph"),
        (format!("2\n{header}{first}img/a/./1.png id_9 gallery"), "line 4: 'img/a/1.png' is listed twice: remove one"),
        (format!("2\n{header}{first}img/a/2.png id_9 train"), "line 4: the item 'id_9' is both trained on and tested"),
        (format!("2\n{header}{first}img/a/4.png id_9 query"), "Img/img/a/4.png is listed, but there is no such file"),
    ] {
        list(&text);
        let message = fault("inshop", root.path(), Test);
        assert!(message.contains(says) && message.lines().count() == 1, "{message}\n{says}");
    }
    list(&"1".repeat(8 << 20));
    assert!(fault("inshop", root.path(), Test).chars().count() < 1000);
}

#[test]
fn without_a_gallery_of_its_own_the_test_images_are_the_gallery() {
    let root = folder();
    for place in ["ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png"] {
        photo(root.path(), place, [1; 3]);
    }
    products(root.path(), &format!("{HEADER}1 1 1 ant/1.png\n"), &format!("{HEADER}2 2 1 bee/1.png\n"));
    photo(root.path(), "splits/train/ant/1.png", [2; 3]);
    photo(root.path(), "splits/val/ant/1.png", [3; 3]);
    fs::write(root.path().join("list.txt"), "bee/2.png").unwrap();
    let names = ["sop", "folder:.", "folder,images=50%:.", "folder,list=list.txt:.", "folder,test=all:.", "folder:splits"];
    for name in names {
        let [test, gallery] = [Test, Gallery].map(|split| {
            let dataset = open(name, root.path(), split).unwrap();
            let names = (0..dataset.len()).map(|index| dataset.image_name(index).unwrap().into_owned());
            (names.collect::<Vec<_>>(), dataset.labels().to_vec())
        });
        assert_eq!(gallery, test, "{name}");
    }
    for name in Source::NAMES {
        assert_eq!(name.parse::<Source>().unwrap().has_gallery(), name == "inshop", "{name}");
    }
}

/// Writes four classes of ten images, identified by name and color.
fn animals(root: &Path) {
    for (class, name) in ["ant", "bee", "cat", "dog"].iter().enumerate() {
        for image in 0..10 {
            photo(root, &format!("{name}/{image}.png"), [10 * class as u8 + image; 3]);
        }
    }
    fs::write(root.join("ant/notes.txt"), "not an image").unwrap();
    fs::write(root.join("ant/.hidden.png"), "not an image").unwrap();
    fs::create_dir_all(root.join(".git/objects")).unwrap();
    fs::write(root.join("list.txt"), "bee/3.png\n\ndog/0.png\n").unwrap();
}

/// Number of images of each label.
fn counts(dataset: &dyn Dataset) -> Vec<(u32, usize)> {
    let mut counts = BTreeMap::new();
    dataset.labels().iter().for_each(|label| *counts.entry(*label).or_default() += 1);
    counts.into_iter().collect()
}

#[test]
fn folders_are_divided_in_every_way() {
    let root = folder();
    animals(root.path());
    let name = |how: &str| format!("folder{how}:{}", root.path().display());
    let both = |how: &str| {
        [Train, Test].map(|split| {
            let dataset = name(how).parse::<Source>().unwrap().open(split, None, &input(4)).unwrap();
            let reds: Vec<u8> = (0..dataset.len()).map(|index| red(&*dataset, index)).collect();
            (counts(&*dataset), reds)
        })
    };
    let whole: Vec<u8> = (0..40).collect();
    for (how, train, test) in [
        ("", vec![(0, 10), (1, 10)], vec![(2, 10), (3, 10)]),
        (",classes=25%", vec![(0, 10), (1, 10), (2, 10)], vec![(3, 10)]),
        (",classes=1%", vec![(0, 10), (1, 10), (2, 10)], vec![(3, 10)]),
        (",classes=99%", vec![(0, 10)], vec![(1, 10), (2, 10), (3, 10)]),
        (",images=20%", (0..4).map(|class| (class, 8)).collect(), (0..4).map(|class| (class, 2)).collect()),
        (",list=list.txt", vec![(0, 10), (1, 9), (2, 10), (3, 9)], vec![(1, 1), (3, 1)]),
    ] {
        let [(trained, mut reds), (tested, others)] = both(how);
        assert_eq!((trained, tested), (train, test), "{how}");
        // Every image is in one of the two splits, under the label of its class.
        reds.extend(others);
        reds.sort();
        assert_eq!(reds, whole, "{how}");
    }
    // The tested images of a class do not depend on other files.
    let tested = |root: &Path| -> Vec<u8> {
        let dataset = open("folder,images=20%:.", root, Test).unwrap();
        (0..dataset.len()).map(|index| red(&*dataset, index)).filter(|red| *red >= 30).collect()
    };
    let before = tested(root.path());
    fs::remove_dir_all(root.path().join("ant")).unwrap();
    assert_eq!(tested(root.path()), before);
}

#[test]
fn two_folders_are_the_two_splits() {
    let root = folder();
    for (place, level) in [("train/ant/a.png", 1), ("train/cat/a.png", 2), ("test/bee/a.png", 3), ("test/cat/b.jpg", 4)] {
        photo(root.path(), place, [level; 3]);
    }
    let (train, test) = (open("folder:.", root.path(), Train).unwrap(), open("folder:.", root.path(), Test).unwrap());
    assert_eq!((train.labels(), test.labels()), (&[0, 2][..], &[1, 2][..]));
    assert_eq!((red(&*train, 1), red(&*test, 0)), (2, 3));
}

#[test]
fn droppings_are_no_classes() {
    let root = folder();
    animals(root.path());
    for dropping in ["__MACOSX/ant/._0.png", "cat/@eaDir/0.png", "bee/__MACOSX/0.png", "cat/Thumbs.db", "DESKTOP.INI"] {
        let path = root.path().join(dropping);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "not an image").unwrap();
    }
    let test = open("folder,test=all:.", root.path(), Test).unwrap();
    assert_eq!(counts(&*test), [(0, 10), (1, 10), (2, 10), (3, 10)]);
    assert_eq!(open("folder:.", root.path(), Test).unwrap().class_name(3).as_deref(), Some("dog"));
}

/// Lists as written by `find`, Windows and spreadsheets, inside or outside of the folder.
#[test]
fn lists_of_every_kind() {
    let (root, elsewhere) = (folder(), folder());
    animals(root.path());
    let text = "./bee/3.png\r\n\r\ndog/./0.png\r\n";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| format!("\u{FEFF}{text}").encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    for bytes in [text.into(), format!("\u{FEFF}{text}").into(), utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
        let list = elsewhere.path().join("l.txt");
        fs::write(&list, &bytes).unwrap();
        fs::write(root.path().join("l.txt"), &bytes).unwrap();
        for name in ["folder,list=l.txt:.".to_owned(), format!("folder,list={}:.", list.display())] {
            let [train, test] = both(&name, root.path());
            assert_eq!(test, Ok(vec![13, 30]), "{name} {bytes:?}");
            assert_eq!(train.unwrap().len(), 38);
        }
    }
    // A list cannot name files outside of the folder, wherever the list itself is.
    fs::write(elsewhere.path().join("l.txt"), "../bee/3.png").unwrap();
    let message = fault(&format!("folder,list={}/l.txt:.", elsewhere.path().display()), root.path(), Test);
    assert!(message.contains("l.txt, line 1: '../bee/3.png' leads out of the folder of the dataset"), "{message}");
    let message = fault("folder,list=/nowhere/l.txt:.", root.path(), Test);
    assert!(message.contains("cannot read /nowhere/l.txt: "), "{message}");
}

/// Broken photographs are all reported, or left out, counted and logged.
#[test]
fn broken_photographs_are_found_or_left_out() {
    let root = folder();
    animals(root.path());
    let whole = fs::read(root.path().join("cat/0.png")).unwrap();
    let broken = [("cat/3.png", &b"<html>"[..]), ("cat/7.png", b""), ("dog/1.png", &whole[..whole.len() / 2])];
    for (file, bytes) in broken {
        fs::write(root.path().join(file), bytes).unwrap();
    }
    let test = open("folder:.", root.path(), Test).unwrap();
    let seen = AtomicUsize::new(0);
    let watch = |_, all| {
        assert_eq!((seen.fetch_add(1, Ordering::SeqCst) < all, all), (true, 20));
        ControlFlow::Continue(())
    };
    let found = broken_images(&*test, &watch).unwrap();
    let places: Vec<String> = found.iter().map(|image| test.image_name(image.index).unwrap().into_owned()).collect();
    assert_eq!((places, seen.into_inner()), (broken.map(|(file, _)| file.to_owned()).to_vec(), 20));
    assert!(found[0].reason.contains("cat/3.png does not begin like an image"), "{}", found[0].reason);
    let ended = broken_images(&*test, &|_, _| ControlFlow::Break(()));
    assert!(matches!(ended, Err(rankle_core::Error::Interrupted)));

    let skipping = open("folder,skip-broken:.", root.path(), Test).unwrap();
    let reds: Vec<u8> = (0..skipping.len()).map(|index| red(&*skipping, index)).collect();
    let expected: Vec<u8> = (20..40).filter(|red| ![23, 27, 31].contains(red)).collect();
    assert_eq!((reds, skipping.left_out()), (expected, 3));
    // Labels and names are those of the whole folder, and a split without broken photographs is unchanged.
    assert_eq!((counts(&*skipping), skipping.name()), (vec![(2, 8), (3, 9)], "folder,skip-broken:."));
    assert_eq!(skipping.class_name(3).as_deref(), Some("dog"));
    let train = open("folder,skip-broken:.", root.path(), Train).unwrap();
    assert_eq!((train.len(), train.left_out(), broken_images(&*train, &watch_nothing).unwrap()), (20, 0, Vec::new()));
    let watched = |name: &str| {
        let source = name.parse::<Source>().unwrap();
        source.open_watched(Test, Some(root.path()), &input(8), &|_, _| ControlFlow::Break(())).err()
    };
    assert!(matches!(watched("folder,skip-broken:."), Some(rankle_data::Error::Interrupted)) && watched("folder:.").is_none());

    for file in fs::read_dir(root.path().join("dog")).unwrap() {
        fs::write(file.unwrap().path(), "<html>").unwrap();
    }
    let message = fault("folder,classes=1%,skip-broken:.", root.path(), Test);
    assert!(message.contains("has 10 photographs for this split, and none can be decoded ("), "{message}");
}

fn watch_nothing(_done: usize, _of: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Missing photographs of a list are counted, and left out like broken ones.
#[test]
fn missing_photographs_are_counted() {
    let root = folder();
    photo(root.path(), "a/1.png", [7; 3]);
    let list = format!("{HEADER}1 1 1 a/1.png\n2 1 1 a/2.png\n3 2 1 a/3.png\n");
    products(root.path(), &list, HEADER);
    let message = fault("sop", root.path(), Train);
    assert!(message.contains("a/2.png is listed, but there is no such file, and 1 more are missing: get"), "{message}");
    let to_check = "sop".parse::<Source>().unwrap().open_to_check(Train, Some(root.path()), &input(8), &watch_nothing).unwrap();
    let found: Vec<usize> = broken_images(&*to_check, &watch_nothing).unwrap().into_iter().map(|image| image.index).collect();
    assert_eq!(found, [1, 2]);
    let kept = open("sop,skip-broken", root.path(), Train).unwrap();
    assert_eq!((kept.labels(), kept.left_out(), red(&*kept, 0)), (&[1][..], 2, 7));
}

/// A model of one channel receives the luma.
#[test]
fn photographs_serve_models_of_gray_images() {
    let root = folder();
    for (name, color) in [("a/1.png", [255, 0, 0]), ("b/1.png", [10, 200, 30])] {
        photo(root.path(), name, color);
    }
    let gray = InputSpec::of_shape((1, 8, 8));
    let dataset = "folder,test=all:.".parse::<Source>().unwrap().open(Test, Some(root.path()), &gray).unwrap();
    assert_eq!(dataset.shape(), (1, 8, 8));
    for images in [dataset.images(&[0, 1]).unwrap(), dataset.training_images(&[0, 1], Seed(0), 0).unwrap()] {
        assert_eq!(images.dims(), [2, 1, 8, 8]);
        let rows: Vec<Vec<f32>> = images.flatten_from(1).unwrap().to_vec2().unwrap();
        // 0.299 of red; 0.299 * 10 + 0.587 * 200 + 0.114 * 30 = 123.81
        for (row, expected) in rows.iter().zip([76, 124]) {
            assert!(row.iter().all(|&value| (value * 255.0).round() as u8 == expected), "{row:?}");
        }
    }
}

/// The reds of both splits, or the error message.
fn both(name: &str, root: &Path) -> [Result<Vec<u8>, String>; 2] {
    [Train, Test].map(|split| {
        let dataset = open(name, root, split).map_err(|error| error.to_string())?;
        Ok((0..dataset.len()).map(|index| red(&*dataset, index)).collect())
    })
}

#[test]
fn folders_that_are_called_like_splits_are_splits() {
    let reds = |reds: &[u8]| Ok(reds.to_vec());
    for (folders, train, test) in [
        (&["train", "val"][..], 0, 1),
        (&["TRAIN", "Valid"], 0, 1),
        (&["Validation", "train"], 1, 0),
        (&["train", "val", "test"], 0, 2),
        (&["Test", "Train", "valid"], 1, 0),
        // A folder beside a split for training and one for testing is no class.
        (&["train", "val", "labels"], 0, 1),
        (&["train", "test", "__MACOSX"], 0, 1),
    ] {
        let root = folder();
        for (place, part) in folders.iter().enumerate() {
            photo(root.path(), &format!("{part}/ant/1.png"), [10 * place as u8; 3]);
            photo(root.path(), &format!("{part}/bee/1.png"), [10 * place as u8 + 1; 3]);
        }
        fs::write(root.path().join("README"), "not a folder").unwrap();
        let expected = [train, test].map(|place| reds(&[10 * place, 10 * place + 1]));
        assert_eq!(both("folder:.", root.path()), expected, "{folders:?}");
    }
}

#[test]
fn a_class_has_one_number_in_all_splits_and_divisions_go_across_them() {
    let root = folder();
    let places = ["train/ant/a.png", "train/cat/a.png", "val/bee/a.png", "val/cat/a.png", "test/cat/a.png", "test/dog/a.png"];
    for (level, place) in (1..).zip(places) {
        photo(root.path(), place, [level; 3]);
    }
    let labels = |name: &str, split| open(name, root.path(), split).unwrap().labels().to_vec();
    assert_eq!((labels("folder:.", Train), labels("folder:.", Test)), (vec![0, 2], vec![2, 3]));
    assert_eq!(labels("folder,test=all:.", Test), [0, 1, 2, 2, 2, 3]);
    assert_eq!(labels("folder,classes=50%:.", Test), [2, 2, 2, 3]);
    assert_eq!(labels("folder,images=50%:.", Test).len(), 2);
    fs::write(root.path().join("list.txt"), "val/cat/a.png\ntrain/ant/a.png").unwrap();
    assert_eq!(labels("folder,list=list.txt:.", Test), [0, 2]);
}

/// Images and classes have the names used on command lines and in results: paths relative to the folder of the dataset.
#[test]
fn photographs_and_classes_have_names() {
    let names = |dataset: &dyn Dataset| -> Vec<(String, Option<String>)> {
        let class = |label: u32| dataset.class_name(label).map(|name| name.into_owned());
        (dataset.labels().iter().enumerate())
            .map(|(index, &label)| (dataset.image_name(index).unwrap().into_owned(), class(label)))
            .collect()
    };
    let pair = |image: &str, class: &str| (image.to_owned(), Some(class.to_owned()));
    let root = folder();
    for place in ["ant/1/b.png", "ant/a.png", "bee/c d.png"] {
        photo(root.path(), place, [1; 3]);
    }
    let all = open("folder,test=all:.", root.path(), Test).unwrap();
    assert_eq!(names(&*all), [pair("ant/1/b.png", "ant"), pair("ant/a.png", "ant"), pair("bee/c d.png", "bee")]);
    assert_eq!((all.image_name(3), all.class_name(2)), (None, None));

    let root = folder();
    for place in ["train/ant/a.png", "val/ant/a.png", "val/bee/a.png"] {
        photo(root.path(), place, [1; 3]);
    }
    let test = open("folder:.", root.path(), Test).unwrap();
    assert_eq!(names(&*test), [pair("val/ant/a.png", "ant"), pair("val/bee/a.png", "bee")]);

    // The folders of Stanford Online Products are no classes.
    let root = folder();
    photo(root.path(), "mug_final/1_0.png", [1; 3]);
    products(root.path(), &format!("{HEADER}1 1 1 mug_final/1_0.png\n"), HEADER);
    let train = open("sop", root.path(), Train).unwrap();
    assert_eq!(names(&*train), [("mug_final/1_0.png".to_owned(), None)]);
}

#[test]
fn splits_that_are_missing_or_there_twice() {
    for (folders, train, test) in [
        (
            &["train"][..],
            None,
            Some("has train/, but no folder test or val: add it, or divide what is there, as in folder,images"),
        ),
        (&["test"], Some("has test/, but no folder train: add it"), None),
        (&["val", "test"], Some("has val/ and test/, but no folder train"), None),
        (
            &["train", "val", "valid"],
            Some("val/ and valid/, which name the same split: remove or"),
            Some("holds val/ and valid/"),
        ),
        (&["Train", "train", "test"], Some("holds Train/ and train/, which"), Some("holds Train/ and train/")),
    ] {
        let root = folder();
        for part in folders {
            photo(root.path(), &format!("{part}/ant/1.png"), [1; 3]);
        }
        if fs::read_dir(root.path()).unwrap().count() < folders.len() {
            continue; // this file system does not distinguish upper from lower case
        }
        for (found, expected) in both("folder:.", root.path()).into_iter().zip([train, test]) {
            match (&found, expected) {
                (Ok(_), None) => {}
                (Err(message), Some(expected)) => assert!(message.contains(expected), "{folders:?}: {message}"),
                _ => panic!("{folders:?}: {found:?}"),
            }
        }
    }
    // Folders are classes if not all are named like splits and none is named `train`.
    let root = folder();
    for (level, class) in (1..).zip(["bus", "test", "val"]) {
        photo(root.path(), &format!("{class}/1.png"), [level; 3]);
    }
    assert_eq!(both("folder:.", root.path()), [Ok(vec![1]), Ok(vec![2, 3])]);
    // Photographs directly in the folder of a split belong to no class.
    let root = folder();
    photo(root.path(), "train/ant/1.png", [1; 3]);
    photo(root.path(), "test/1.png", [1; 3]);
    assert!(fault("folder:.", root.path(), Test).contains("test has no sub-folders: one per class is needed"));
}

#[test]
fn all_images_can_be_tested_and_then_none_are_trained_on() {
    let root = folder();
    animals(root.path());
    let [train, test] = both("folder,test=all:.", root.path());
    assert_eq!(test, Ok((0..40).collect()));
    let message = train.unwrap_err();
    assert!(message.starts_with("'folder,test=all:.' tests every image and leaves none to train on: say what"), "{message}");
}

/// A photograph that shows how it was resized: green on top, red in the middle, blue below.
fn flag(root: &Path, name: &str, (width, height): (u32, u32)) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let color = |y| {
        if 3 * y < height {
            [0, 255, 0]
        } else if 3 * y < 2 * height {
            [255, 0, 0]
        } else {
            [0, 0, 255]
        }
    };
    RgbImage::from_fn(width, height, |_, y| Rgb(color(y))).save(path).unwrap();
}

/// The name of a dataset decides how photographs are resized, and defaults differ between datasets.
#[test]
fn the_name_of_a_dataset_says_how_photographs_are_prepared() {
    let root = folder();
    flag(root.path(), "a/1.png", (14, 56));
    flag(root.path(), "b/1.png", (14, 56));
    products(root.path(), &format!("{HEADER}1 1 1 a/1.png\n"), &format!("{HEADER}1 1 1 b/1.png\n"));
    // With its aspect ratio kept, the middle of a needle is only red; squeezed to a square, it shows all three colors.
    let middle = |name: &str, root: &Path| {
        let dataset = name.parse::<Source>().unwrap().open(Test, Some(root), &input(14)).unwrap();
        let images = dataset.images(&[0]).unwrap();
        let pixels = images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        [0, 196, 392].map(|channel| pixels[channel..channel + 196].iter().any(|&value| value > 0.5))
    };
    for (name, expected) in [
        ("folder:.", [true, false, false]),
        ("folder,resize=square:.", [true; 3]),
        ("folder,resize=square,edge=14:.", [true; 3]),
        ("sop", [true; 3]),
        ("sop,resize=shorter", [true, false, false]),
        ("sop,filter=bicubic,resize=shorter,edge=20", [true, false, false]),
    ] {
        assert_eq!(middle(name, root.path()), expected, "{name}");
    }
    let message = open("folder,edge=7:.", root.path(), Test).err().unwrap();
    assert!(message.is_of_arguments() && message.to_string().contains("edge=7 does not fit a model that takes 8"), "{message}");

    // `resize=none` refuses other sizes; the message names the file and both sizes.
    let says = open("folder,resize=none:.", root.path(), Test).unwrap().images(&[0]).unwrap_err().to_string();
    assert!(says.contains("b/1.png is 14×56 pixels, and with resize=none the model takes 8×8 only: resize it, or"), "{says}");
    photo(root.path(), "c/1.png", [77; 3]);
    RgbImage::from_pixel(8, 8, Rgb([77; 3])).save(root.path().join("c/1.png")).unwrap();
    let dataset = open("folder,resize=none,classes=1%:.", root.path(), Test).unwrap();
    assert_eq!((red(&*dataset, 0), dataset.training_images(&[0], Seed(0), 0).unwrap().dims()), (77, &[1, 3, 8, 8][..]));
}

/// The successor's rules for birds: squares for training, the aspect ratio kept for testing.
#[test]
fn birds_are_squares_for_training_alone() {
    let root = folder();
    for (id, class) in [(1, 1), (2, 101)] {
        flag(root.path(), &format!("images/{class:03}.Bird/{id}.png"), (14, 56));
    }
    fs::write(root.path().join("images.txt"), "1 001.Bird/1.png\n2 101.Bird/2.png\n").unwrap();
    fs::write(root.path().join("image_class_labels.txt"), "1 1\n2 101\n").unwrap();
    let channels = |images: candle_core::Tensor| {
        let pixels = images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        [0, 64, 128].map(|channel| pixels[channel..channel + 64].iter().any(|&value| value > 0.5))
    };
    let of = |name: &str| {
        let (train, test) = (open(name, root.path(), Train).unwrap(), open(name, root.path(), Test).unwrap());
        (channels(train.training_images(&[0], Seed(0), 0).unwrap()), channels(test.images(&[0]).unwrap()))
    };
    assert_eq!(of("cub"), ([true; 3], [true, false, false]));
    assert_eq!(of("cub,resize=square").1, [true; 3]);
}

/// The classes are those of torchvision's `ImageFolder`.
#[test]
fn what_lies_deeper_is_of_the_class() {
    let root = folder();
    let places = ["ant/2.png", "ant/1/b.png", "ant/1/a/c.png", "bee/x.png", "ant/.thumbnails/2.png", "ant/1/.d.png"];
    for (level, place) in (1..).zip(places) {
        photo(root.path(), place, [level; 3]);
    }
    fs::write(root.path().join("ant/1/notes.txt"), "not an image").unwrap();
    fs::write(root.path().join("list.txt"), "\u{FEFF}ant/1/b.png\nbee/x.png\n").unwrap();
    let train = open("folder:.", root.path(), Train).unwrap();
    assert_eq!(train.labels(), [0; 3]);
    assert_eq!([0, 1, 2].map(|index| red(&*train, index)), [3, 2, 1]);
    let listed = open("folder,list=list.txt:.", root.path(), Test).unwrap();
    assert_eq!((listed.labels(), red(&*listed, 0)), (&[0, 1][..], 2));
}

#[cfg(unix)]
#[test]
fn links_lead_nowhere_they_should_not() {
    let (root, elsewhere) = (folder(), folder());
    photo(elsewhere.path(), "far.png", [9; 3]);
    for name in ["ant", "bee"] {
        photo(root.path(), &format!("{name}/1.png"), [1; 3]);
        // Links to: the parent (a circle), nothing, nothing (hidden), a photograph, a folder of photographs.
        let far = elsewhere.path().join("far.png");
        for (link, to) in [
            ("round", "..".as_ref()),
            ("gone.txt", "x".as_ref()),
            (".#lock", "x".as_ref()),
            ("2.png", &*far),
            ("f.png", far.parent().unwrap()),
        ] {
            std::os::unix::fs::symlink(to, root.path().join(name).join(link)).unwrap();
        }
    }
    std::os::unix::fs::symlink("nothing", root.path().join("readme")).unwrap();
    let test = open("folder:.", root.path(), Test).unwrap();
    assert_eq!((test.len(), red(&*test, 1)), (2, 9));
    // A link to nothing named like a photograph is a missing photograph.
    std::os::unix::fs::symlink("x", root.path().join("bee/3.png")).unwrap();
    let message = fault("folder:.", root.path(), Test);
    assert!(message.contains("bee/3.png is listed, but there is no such file"), "{message}");
}

#[test]
fn folders_that_cannot_be_divided() {
    let root = folder();
    assert!(fault("folder:none", root.path(), Test).contains("cannot read"));
    assert!(fault("folder:.", root.path(), Test).contains("has no sub-folders: one per class is needed"));
    photo(root.path(), "ant/1.png", [1; 3]);
    assert!(fault("folder:.", root.path(), Test).contains("has 1 sub-folder with photographs: to divide it by class"));
    assert!(fault("folder,images=20%:.", root.path(), Test).contains("has no photographs for this split"));
    fs::create_dir(root.path().join("bee")).unwrap();
    assert!(fault("folder:.", root.path(), Test).contains("bee has no photographs: every sub-folder is a class"));
    photo(root.path(), "bee/1.png", [1; 3]);
    for (list, says) in [
        ("bee/2.png", "line 1: there is no photograph 'bee/2.png' in the folder: write CLASS/IMAGE"),
        ("bee/1.png\nbee/1.png", "line 2: 'bee/1.png' is listed twice"),
        ("../bee/1.png", "line 1: '../bee/1.png' leads out"),
        ("", "has no photographs for this split"),
    ] {
        fs::write(root.path().join("list.txt"), list).unwrap();
        let message = fault("folder,list=list.txt:.", root.path(), Test);
        assert!(message.contains(says), "{message}");
    }
}

/// A broken file is reported when it is read, by name; of several, always the first.
#[test]
fn a_broken_photograph_is_named() {
    let root = folder();
    animals(root.path());
    for broken in ["cat/3.png", "cat/7.png"] {
        fs::write(root.path().join(broken), "<html>").unwrap();
    }
    let dataset = open("folder:.", root.path(), Test).unwrap();
    for _ in 0..5 {
        let says = dataset.images(&[0, 1, 3, 2, 7]).unwrap_err().to_string();
        assert!(says.contains("cat/3.png does not begin like an image: get it again"), "{says}");
    }
    assert!(dataset.images(&[20]).unwrap_err().to_string().contains("image index 20 is out of range"));
    assert_eq!(dataset.images(&[]).unwrap().dims(), [0, 3, 8, 8]);
    assert!(open("folder:.", root.path(), Test).is_ok());
    assert!("folder:.".parse::<Source>().unwrap().open(Test, Some(root.path()), &input(0)).is_err());
}

/// Training crops differ between epochs, and do not depend on the rest of the batch or the number of threads.
#[test]
fn training_images_are_keyed_by_seed_epoch_and_index() {
    let root = folder();
    for name in ["a/1.png", "a/2.png", "b/1.png"] {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(64, 48, |x, y| Rgb([4 * x as u8, 5 * y as u8, (x * y) as u8])).save(path).unwrap();
    }
    let dataset = "folder,classes=50%:.".parse::<Source>().unwrap().open(Train, Some(root.path()), &input(28)).unwrap();
    let pixels = |indices: &[usize], seed, epoch| -> Vec<Vec<f32>> {
        let images = dataset.training_images(indices, Seed(seed), epoch).unwrap().flatten_from(1).unwrap();
        images.to_vec2().unwrap()
    };
    let pair = pixels(&[0, 1], 0, 0);
    assert_ne!(pair[0], pair[1]); // the same photograph under two indices
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one.install(|| pixels(&[1, 0], 0, 0)), [pair[1].clone(), pair[0].clone()]);
    let others = [pixels(&[0], 0, 1), pixels(&[0], 0, 2), pixels(&[0], 1, 0)];
    assert!(others.iter().any(|other| other[0] != pair[0]));
    let middle: Vec<Vec<f32>> = dataset.images(&[0, 1]).unwrap().flatten_from(1).unwrap().to_vec2().unwrap();
    assert_eq!(middle[0], middle[1]);
}
