use super::file::Values;
use super::*;
use crate::sample;
use std::collections::HashSet;
use std::fs;
use tempfile::TempDir;

fn changed(record: &Record, change: fn(&mut Record)) -> Record {
    let mut record = record.clone();
    change(&mut record);
    record
}

/// A folder with four records on 20 images, one of them of `es`, and their ranks.
struct Place {
    folder: TempDir,
    records: Vec<(Record, Vec<f32>)>,
}

fn percent(images: usize, factor: f32) -> Vec<f32> {
    (0..images).map(|image| 100.0 * ((image as f32 + 0.5) * factor).fract()).collect()
}

impl Place {
    fn new() -> Self {
        let of = |(at, attack): (usize, AttackId)| {
            let ranks = percent(20, 0.618 + at as f32 / 10.0);
            let mean = Estimate::of(&ranks.iter().copied().map(f64::from).collect::<Vec<_>>()).unwrap().mean;
            let mut record = sample::record("mnist-ct", sample::subject(), attack, 1, 0.3, mean);
            record.cell.images = 20;
            if attack == AttackId::EmbeddingShift {
                (record.embedding_shift, record.rank_after) = (mean, None);
            }
            (record, ranks)
        };
        let attacks = [AttackId::CA_PLUS, AttackId::CA_MINUS, AttackId::QA_PLUS, AttackId::EmbeddingShift];
        Self { folder: tempfile::tempdir().unwrap(), records: attacks.into_iter().enumerate().map(of).collect() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("records.jsonl")
    }

    /// Stores the ranks first, then the record, as a sweep does.
    fn add(&self, keeper: &RankKeeper, at: usize) {
        let (record, ranks) = &self.records[at];
        keeper.keep(&record.key().unwrap(), ranks).unwrap();
        Journal::at(self.path()).append(record).unwrap();
    }

    fn merge(&self, keeper: &mut RankKeeper, recorded: std::ops::Range<usize>) {
        let keys: HashSet<String> = self.records[recorded].iter().map(|(record, _)| record.key().unwrap()).collect();
        keeper.merge(&keys).unwrap();
    }

    fn key(&self, at: usize) -> String {
        self.records[at].0.key().unwrap()
    }

    fn finished() -> Self {
        let place = Self::new();
        let mut keeper = RankKeeper::beside(&place.path()).unwrap();
        (0..4).for_each(|at| place.add(&keeper, at));
        place.merge(&mut keeper, 0..4);
        place
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn refused(&self) -> String {
        let message = ImageRanks::read(&self.path()).unwrap_err().to_string();
        assert!(message.lines().count() == 1, "{message}");
        message
    }
}

#[test]
fn ranks_come_back_and_means_are_theirs() {
    let place = Place::finished();
    assert_eq!(place.names(), ["records.jsonl", "records.ranks.safetensors"]);
    let ranks = ImageRanks::read(&place.path()).unwrap();
    for (record, values) in &place.records {
        assert_eq!(ranks.of(record).unwrap(), Some(&values[..]));
        let mean = record.rank_after.unwrap_or(record.embedding_shift);
        assert_eq!(ranks.estimate(record).unwrap().mean, mean);
    }
    let unknown = changed(&place.records[0].0, |record| record.cell.spec.seed = 9);
    assert_eq!(ranks.of(&unknown).unwrap(), None);
    assert!(ranks.estimate(&unknown).unwrap_err().to_string().contains("has no ranks of mnist-ct ca+"));
}

#[test]
fn pairs_of_one_image_are_compared() {
    let place = Place::finished();
    let ranks = ImageRanks::read(&place.path()).unwrap();
    let [(one, _), (other, _), _, (shifts, _)] = &place.records[..] else { panic!("four records") };
    let difference = ranks.difference(one, other).unwrap();
    let pairs = place.records[0].1.iter().zip(&place.records[1].1);
    let by_hand: Vec<f64> = pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
    assert_eq!(Some(difference), Estimate::of(&by_hand));
    assert!((difference.mean - (one.rank_after.unwrap() - other.rank_after.unwrap())).abs() < 1e-5);
    assert_eq!(ranks.difference(one, one).unwrap().standard_error, Some(0.0));
    // With separate queries and gallery, a candidate attack perturbs other images than a query attack.
    let apart = changed(one, |record| record.facts.queries = Some(12));
    let asking = changed(&apart, |record| record.cell.spec.attack = AttackId::QA_PLUS);
    assert!(ranks.difference(&apart, &asking).unwrap_err().to_string().contains("their images are others"));
    for (base, why) in [
        (changed(one, |record| record.cell.spec.seed = 1), "their images are others"),
        (changed(one, |record| record.cell.subject.query_dataset = Some("idx:b".into())), "their images are others"),
        (apart, "their images are others"),
        (changed(one, |record| record.facts.gallery = 9), "their images are others"),
        (changed(one, |record| record.facts.chosen = Some("images 1".into())), "chosen by hand"),
        (shifts.clone(), "es has embedding shifts"),
    ] {
        let message = ranks.difference(one, &base).unwrap_err().to_string();
        assert!(
            message.contains("records.ranks.safetensors cannot pair the images of mnist-ct ca+") && message.contains(why),
            "{message}"
        );
    }
}

/// Every record has its ranks exactly once, wherever a sweep dies.
#[test]
fn a_record_never_lacks_its_ranks() {
    let place = Place::new();
    let mut keeper = RankKeeper::beside(&place.path()).unwrap();
    place.add(&keeper, 0);
    place.add(&keeper, 1);
    // The sweep dies before the third record is written.
    keeper.keep(&place.key(2), &place.records[2].1).unwrap();
    assert_eq!(place.names(), [".records.jsonl.ranks", "records.jsonl"]);
    let of = |at: usize| ImageRanks::read(&place.path()).unwrap().of(&place.records[at].0).unwrap().is_some();
    assert_eq!([0, 1, 2].map(of), [true, true, false]);

    place.merge(&mut keeper, 0..2);
    assert_eq!(place.names(), [".records.jsonl.ranks", "records.jsonl", "records.ranks.safetensors"]);
    assert_eq!([0, 1, 2].map(of), [true, true, false]);
    // The sweep dies again, with ranks both staged and merged: they count once.
    keeper.keep(&place.key(1), &place.records[1].1).unwrap();
    assert_eq!([0, 1, 2].map(of), [true, true, false]);

    let mut next = RankKeeper::beside(&place.path()).unwrap();
    let holds = |next: &mut RankKeeper| (0..4).map(|at| next.holds(&place.key(at)).unwrap()).collect::<Vec<_>>();
    assert_eq!(holds(&mut next), [true, true, true, false]);
    (2..4).for_each(|at| place.add(&next, at));
    place.merge(&mut next, 0..4);
    assert_eq!(place.names(), ["records.jsonl", "records.ranks.safetensors"]);
    let values = file::read(&ImageRanks::path(&place.path())).unwrap();
    assert_eq!((values.len(), ImageRanks::read(&place.path()).unwrap().values), (4, values));
    // The first keeper sees the ranks that the second one merged.
    assert_eq!(holds(&mut keeper), [true; 4]);
    // The same ranks are the same bytes.
    let bytes = |place: &Place| fs::read(ImageRanks::path(&place.path())).unwrap();
    assert_eq!(bytes(&place), bytes(&Place::finished()));
}

#[test]
fn several_processes_keep_all() {
    let place = Place::new();
    let path = place.path();
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (place, path) = (&place, &path);
            scope.spawn(move || {
                let mut keeper = RankKeeper::beside(path).unwrap();
                place.add(&keeper, at);
                place.merge(&mut keeper, at..at + 1);
            });
        }
    });
    assert_eq!(ImageRanks::read(&path).unwrap().values.len(), 4);
    assert_eq!(place.names(), ["records.jsonl", "records.ranks.safetensors"]);
}

#[test]
fn ranks_that_do_not_fit_their_records_are_named() {
    let place = Place::finished();
    let path = ImageRanks::path(&place.path());
    let whole = file::read(&path).unwrap();
    let key = place.key(0);
    let with = |change: &dyn Fn(&mut Values)| {
        let mut values = whole.clone();
        change(&mut values);
        file::write(&path, &values).unwrap();
        place.refused()
    };
    let own = |values: &mut Values, change: fn(&mut Vec<f32>)| change(values.get_mut(&key).unwrap());
    let cell = "mnist-ct ca+ w=1 ε=0.3";
    for (message, part) in [
        (
            with(&|values| own(values, |ranks| ranks[7] = f32::NAN)),
            format!("the invalid rank NaN for image 7 of the sample of {cell}"),
        ),
        (
            with(&|values| own(values, |ranks| ranks[7] = 100.1)),
            format!("the invalid rank 100.1 for image 7 of the sample of {cell}"),
        ),
        (with(&|values| own(values, |ranks| ranks.truncate(19))), format!("has 19 ranks of {cell}, and its record 20 images")),
        (with(&|values| own(values, |ranks| ranks[7] += 0.001)), format!("has ranks of {cell} whose mean is ")),
        (with(&|values| drop(values.remove(&key))), format!("has no ranks of {cell}; `rankle sweep --image-ranks`")),
        (with(&|values| drop(values.insert("ab".into(), vec![1.0]))), "has ranks ab without a record in ".to_owned()),
    ] {
        assert!(message.starts_with(path.to_str().unwrap()) && message.contains(&part), "{message}");
    }
}

#[test]
fn what_is_no_file_of_ranks_is_named() {
    let place = Place::finished();
    let path = ImageRanks::path(&place.path());
    let whole = fs::read(&path).unwrap();
    let header = String::from_utf8_lossy(&whole[8..]).into_owned();
    let replaced = |from: &str, to: &str| {
        assert!(header.contains(from), "{from} in {header}");
        let at = 8 + header.find(from).unwrap();
        [&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat()
    };
    for (bytes, part) in [
        (whole[..whole.len() / 2].to_vec(), "is no readable safetensors file"),
        (whole[..whole.len() - 4].to_vec(), "is no readable safetensors file"),
        (Vec::new(), "is no readable safetensors file"),
        (b"no tensors at all, but text".to_vec(), "is no readable safetensors file"),
        ([&u64::MAX.to_le_bytes()[..], &whole[8..]].concat(), "is no readable safetensors file"),
        (replaced("\"format\":\"1\"", "\"format\":\"7\""), "has ranks in format 7, and this version reads 1"),
        (replaced("\"format\":\"1\"", "\"former\":\"1\""), "holds other tensors than ranks"),
        (replaced("\"F32\"", "\"I32\""), "no list of f32 but I32 of shape [20]"),
        (replaced("\"shape\":[20]", "\"shape\":[21]"), "is no readable safetensors file"),
    ] {
        fs::write(&path, bytes).unwrap();
        let message = place.refused();
        assert!(message.starts_with(path.to_str().unwrap()) && message.contains(part), "{message}");
        // The keeper refuses the file, too.
        assert!(RankKeeper::beside(&place.path()).is_err());
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(place.refused().ends_with("it is not a regular file"));
    fs::remove_file(place.path()).unwrap();
    assert!(place.refused().starts_with("cannot read "));
}

#[test]
fn a_file_where_ranks_wait_is_told_before_anything_is_computed() {
    let place = Place::new();
    fs::write(place.folder.path().join(".records.jsonl.ranks"), "mine").unwrap();
    let message = RankKeeper::beside(&place.path()).unwrap_err().to_string();
    assert!(message.contains("cannot write") && message.contains(".records.jsonl.ranks"), "{message}");
}
