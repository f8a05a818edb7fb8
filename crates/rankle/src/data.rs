//! Datasets by name: opening them, and checks against the model.

use crate::files::Input;
use crate::network::Network;
use crate::pass::Pass;
use crate::stop::Stop;
use anyhow::{Result, bail};
use rankle_core::{Dataset, Sets};
use rankle_data::{Credits, Source, Split, Watch, with_classes_of};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Queries and gallery of a system, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    /// Dataset whose test images are queries and gallery unless the fields below name others.
    pub(crate) dataset: Source,
    /// Dataset of the queries, if it is another one.
    pub(crate) queries: Option<Source>,
    /// Dataset of the gallery, if it is another one.
    pub(crate) gallery: Option<Source>,
    /// Folder with the files of the datasets; `None` for the default.
    pub(crate) dir: Option<PathBuf>,
}

impl Data {
    /// One dataset for queries and gallery.
    pub(crate) fn one(dataset: Source, dir: Option<PathBuf>) -> Self {
        Self { dataset, queries: None, gallery: None, dir }
    }

    /// The splits to open; one set if queries and gallery are the same images.
    pub(crate) fn sets(&self) -> Sets<(&Source, Split)> {
        let [queries, gallery] = [&self.queries, &self.gallery].map(|other| other.as_ref().unwrap_or(&self.dataset));
        let queries = (queries != gallery || gallery.has_gallery()).then_some((queries, Split::Test));
        Sets { gallery: (gallery, Split::Gallery), queries }
    }

    /// Name for messages and pictures, without paths of this machine.
    pub(crate) fn portable(&self) -> String {
        let name = |source: &Source| source.portable().to_string();
        let [queries, gallery] = [&self.queries, &self.gallery].map(|other| other.as_ref().map(name));
        rankle_record::data_in_words(&name(&self.dataset), queries.as_deref(), gallery.as_deref())
    }

    /// Lines of a picture that say whose the images are, where their folders state it.
    ///
    /// # Errors
    /// As [`Source::credits`].
    pub(crate) fn credit_lines(&self) -> Result<Vec<String>> {
        let Sets { gallery, queries } = self.sets();
        let mut lines: Vec<String> = Vec::new();
        for (source, _) in [gallery].into_iter().chain(queries) {
            if let Some(Credits { license, attribution }) = source.stated_credits(self.dir.as_deref())? {
                let said = folded(&format!("images: {attribution}; {license}"));
                if !lines.ends_with(&said) {
                    lines.extend(said);
                }
            }
        }
        Ok(lines)
    }
}

/// Most letters of a line that fits in a picture.
const LINE: usize = 100;

/// Most lines.
const LINES: usize = 5;

/// Words in lines. A longer word is cut, and what needs more lines ends with "…".
fn folded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let letters = |text: &str| text.chars().count();
    for word in text.split_whitespace() {
        let mut rest = word;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(LINE).map_or(rest.len(), |(end, _)| end);
            let (piece, behind) = rest.split_at(end);
            let full = lines.len() == LINES;
            match lines.last_mut() {
                Some(line) if letters(line) + 1 + letters(piece) <= LINE => *line = format!("{line} {piece}"),
                Some(line) if full => {
                    line.push('…');
                    return lines;
                }
                _ => lines.push(piece.to_owned()),
            }
            rest = behind;
        }
    }
    lines
}

/// Preprocessing of photographs for a model, as records name it; `None` for other images.
///
/// # Errors
/// [`Stop`] with the exit code for wrong arguments when the photographs cannot be prepared for the model.
pub(crate) fn preprocessing(dataset: &Source, model: &Network) -> Result<Option<String>, Stop> {
    let preparation = dataset.preparation(&model.input_spec()).map_err(|error| Stop::usage(error.to_string()))?;
    Ok(preparation.map(|preparation| preparation.to_string()))
}

/// Files and folders that opening a dataset reads, to keep outputs away from them.
pub(crate) fn data_inputs(option: &'static str, name: &Source, folder: Option<&Path>) -> Vec<Input> {
    let photographs = name.photographs(folder).map(|place| Input::photographs(option, place));
    photographs.into_iter().chain(name.list(folder).map(|list| Input::new(option, list))).collect()
}

/// Opens a dataset for a model; photographs are resized to its input.
///
/// # Errors
/// When the dataset cannot be read, its images have another shape than the input, or a classifier does not know its classes.
pub(crate) fn open_data(name: &Source, split: Split, folder: Option<&Path>, model: &Network) -> Result<Arc<dyn Dataset>> {
    let dataset = opened(|watch| name.open_watched(split, folder, &model.input_spec(), watch))?;
    check_fit(name, &*dataset, model)?;
    Ok(dataset)
}

/// Checks that a model takes the images of a dataset.
///
/// # Errors
/// When the images have another shape, or when a classifier does not know their classes.
pub(crate) fn check_fit(name: &Source, dataset: &dyn Dataset, model: &Network) -> Result<()> {
    if dataset.shape() != model.input() {
        let (model, input) = (model.name(), model.input());
        bail!("{model} takes images of {input:?} (channels, height, width), those of {name} are {:?}", dataset.shape());
    }
    check_labels(name, model, dataset.labels())
}

/// Calls `open` and shows a progress bar while it decodes photographs.
///
/// # Errors
/// When the dataset cannot be read.
pub(crate) fn opened(open: impl FnOnce(Watch<'_>) -> rankle_data::Result<Arc<dyn Dataset>>) -> Result<Arc<dyn Dataset>> {
    let pass = Pass::default();
    open(&|done, of| pass.show(done, of)).map_err(|error| match error {
        rankle_data::Error::Interrupted => rankle_core::Error::Interrupted.into(),
        error if error.is_of_arguments() => Stop::usage(error.to_string()).into(),
        error => anyhow::Error::new(error),
    })
}

/// Opens queries and gallery for a model that ranks, or images for a classifier. Queries get the labels of the gallery's classes.
///
/// # Errors
/// As [`open_data`]; for a model that ranks, as [`check_classes`]; when a photograph is in both sets; when only one of the two
/// sets has class names.
pub(crate) fn open_sets(data: &Data, model: &Network) -> Result<Sets<Arc<dyn Dataset>>> {
    let sets = data.sets();
    let images = sets.try_map(|(name, split)| open_data(name, split, data.dir.as_deref(), model))?;
    if model.classes().is_none() {
        check_classes(sets.gallery.0, images.gallery.labels())?;
    }
    let Some(queries) = images.queries else { return Ok(images) };
    if let Some((asks, _)) = sets.queries {
        check_apart((asks, &*queries), (sets.gallery.0, &*images.gallery), data.dir.as_deref())?;
        let label = images.gallery.labels().first();
        if asks != sets.gallery.0 && label.is_some_and(|&label| images.gallery.class_name(label).is_none()) {
            tracing::warn!("the classes of {asks} and {} have no names: equal labels are taken for one class", sets.gallery.0);
        }
    }
    Ok(Sets { queries: Some(with_classes_of(queries, &*images.gallery)?), gallery: images.gallery })
}

/// Checks that no photograph is in both sets, because such a query would find itself.
///
/// # Errors
/// When one is, however the folder is spelled.
fn check_apart(queries: (&Source, &dyn Dataset), gallery: (&Source, &dyn Dataset), dir: Option<&Path>) -> Result<()> {
    let files = |(name, images): (&Source, &dyn Dataset)| -> Vec<PathBuf> {
        let Some(root) = name.photographs(dir).and_then(|folder| folder.canonicalize().ok()) else { return Vec::new() };
        (0..images.len()).filter_map(|index| Some(root.join(&*images.image_name(index)?))).collect()
    };
    let known: HashSet<PathBuf> = files(gallery).into_iter().collect();
    let both: Vec<PathBuf> = files(queries).into_iter().filter(|file| known.contains(file)).collect();
    match both.first() {
        None => Ok(()),
        Some(first) => bail!(
            "{} images of the queries {} are in the gallery {}, too, the first {}: name one dataset for both, or images that are not in the \
             other",
            both.len(),
            queries.0,
            gallery.0,
            first.display()
        ),
    }
}

/// Checks that a classifier knows all classes.
///
/// # Errors
/// When a label has no logit.
fn check_labels(name: &Source, model: &Network, labels: &[u32]) -> Result<()> {
    let most = labels.iter().copied().max();
    if let Some((classes, label)) = model.classes().zip(most).filter(|&(classes, label)| label as usize >= classes) {
        bail!("{model} tells {classes} classes apart, counted from 0, and {name} has the label {label}: choose another --model");
    }
    Ok(())
}

/// Checks that the gallery has more than one class; with one class, every result is right.
///
/// # Errors
/// When all labels are equal.
fn check_classes(name: &Source, labels: &[u32]) -> Result<()> {
    if labels.len() > 1 && labels.iter().all(|label| *label == labels[0]) {
        bail!(
            "all test images of {name} are of one class, so recall is 100 % with any model: test several classes, as in \
             folder,images=50%:PATH or folder,test=all:PATH"
        );
    }
    Ok(())
}

/// Checks, before the work, that at least one query has another image of its class to find; otherwise recall is undefined.
///
/// # Errors
/// When no query has one.
pub(crate) fn check_pairs(shown: &str, labels: Sets<&[u32]>) -> Result<()> {
    let mut seen = HashSet::new();
    let none = match labels.queries {
        None => labels.gallery.iter().all(|label| seen.insert(label)),
        Some(queries) => {
            seen.extend(labels.gallery);
            !queries.iter().any(|label| seen.contains(label))
        }
    };
    match labels.queries {
        _ if !none => Ok(()),
        None => bail!(
            "no class of {} has two test images, so there is nothing to find: test more of each, as in folder,images=50%:PATH",
            shown
        ),
        Some(_) => bail!("no class of the queries is in the gallery, so there is nothing to find: {shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_models::Architecture;

    #[test]
    fn pictures_say_whose_the_images_are_where_their_folder_does() {
        let folder = tempfile::tempdir().unwrap();
        let source = |options: &str| -> Source { format!("folder{options}:{}", folder.path().display()).parse().unwrap() };
        let mut data = Data::one(source(""), None);
        assert_eq!(data.credit_lines().unwrap(), [""; 0]);
        let says = |attribution: &str| {
            let text = format!("license = \"CC0\"\nattribution = \"{attribution}\"\n");
            std::fs::write(folder.path().join(Credits::FILE), text).unwrap();
        };
        says("me");
        assert_eq!(data.credit_lines().unwrap(), ["images: me; CC0"]);
        (data.queries, data.gallery) = (Some(source(",images=20%")), Some(source(",test=all")));
        assert_eq!(data.credit_lines().unwrap(), ["images: me; CC0"], "once for both");
        says(&format!("me and you {}", "ö".repeat(120)));
        assert_eq!(data.credit_lines().unwrap(), ["images: me and you", &"ö".repeat(100), &("ö".repeat(20) + "; CC0")]);
        says(&"x".repeat(60_000));
        let lines = data.credit_lines().unwrap();
        assert!(lines.len() == LINES && lines[4].ends_with("x…") && lines[4].chars().count() == LINE + 1, "{lines:?}");
        std::fs::write(folder.path().join(Credits::FILE), "x").unwrap();
        assert!(data.credit_lines().unwrap_err().to_string().contains("credits.toml is not understood ("));
    }

    #[test]
    fn queries_and_gallery_are_one_set_where_they_are_the_same_images() {
        let source = |name: &str| -> Source { name.parse().unwrap() };
        let data = |dataset: &str, queries: Option<&str>, gallery: Option<&str>| Data {
            dataset: source(dataset),
            queries: queries.map(source),
            gallery: gallery.map(source),
            dir: None,
        };
        let named = |data: &Data| data.sets().map(|(name, split)| format!("{name} {split}"));
        let one = |data: &Data| (data.sets().is_one(), named(data).gallery);
        assert_eq!(one(&data("mnist", None, None)), (true, "mnist gallery".to_owned()));
        assert_eq!(one(&data("mnist", Some("mnist"), None)), (true, "mnist gallery".to_owned()));
        assert_eq!(one(&data("mnist", Some("folder:a"), Some("folder:a"))), (true, "folder:a gallery".to_owned()));
        let two = |data: &Data| (named(data).gallery, named(data).queries.unwrap());
        assert_eq!(two(&data("mnist", Some("idx:b"), None)), ("mnist gallery".to_owned(), "idx:b test".to_owned()));
        assert_eq!(two(&data("mnist", None, Some("idx:b"))), ("idx:b gallery".to_owned(), "mnist test".to_owned()));
        assert_eq!(two(&data("inshop", None, None)), ("inshop gallery".to_owned(), "inshop test".to_owned()));
        assert_eq!(data("mnist", Some("idx:b"), Some("folder:a")).portable(), "mnist, queries idx:b, gallery folder:a");
    }

    #[test]
    fn a_recall_of_nothing_is_no_number() {
        let name: Source = "folder,images=20%:shoes".parse().unwrap();
        let shown = Data::one(name.clone(), None).portable();
        assert!(check_pairs(&shown, Sets::one(&[0, 1, 0])).is_ok());
        for labels in [&[0, 1, 2][..], &[7]] {
            let message = check_pairs(&shown, Sets::one(labels)).unwrap_err().to_string();
            assert!(message.starts_with("no class of folder,images=20%:shoes has two test images"), "{message}");
        }
        // With two sets, one image in each is enough.
        assert!(check_pairs(&shown, Sets { gallery: &[0, 1, 2], queries: Some(&[3, 2]) }).is_ok());
        let message = check_pairs(&shown, Sets { gallery: &[0, 0], queries: Some(&[3, 3]) }).unwrap_err().to_string();
        assert!(message.starts_with("no class of the queries is in the gallery"), "{message}");
        assert!(
            check_labels(&name, &Architecture::C2f2.into(), &[77]).is_ok()
                && check_labels(&name, &Architecture::Softmax.into(), &[9]).is_ok()
        );
        let message = check_labels(&name, &Architecture::Softmax.into(), &[3, 26, 1]).unwrap_err().to_string();
        assert!(
            message.starts_with("softmax tells 10 classes apart, counted from 0, and folder,images=20%:shoes has the label 26")
        );
        assert!(check_classes(&name, &[0, 0, 1]).is_ok() && check_classes(&name, &[7]).is_ok());
        let message = check_classes(&name, &[3, 3]).unwrap_err().to_string();
        assert!(message.contains("are of one class, so recall is 100 % with any model: test several"), "{message}");
    }
}
