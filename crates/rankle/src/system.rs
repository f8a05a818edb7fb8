//! An image search by name: what opens a subject.

use crate::data::{Data, data_inputs, open_data, open_sets, preprocessing};
use crate::files::Input;
use crate::progress::Bar;
use crate::stop::Stop;
use crate::weights::Weights;
use crate::{card, device::Device};
use anyhow::Result;
use indicatif::ProgressBar;
use rankle_core::{Dataset, Distance, Place, Sets};
use rankle_data::{Source, Split};
use rankle_eval::{Identity, Model, Monitor, Subject};
use rankle_models::{Architecture, Isa};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What `--no-gradient-check` says.
static UNCHECKED: AtomicBool = AtomicBool::new(false);

/// Whether every model is taken for proven from here on.
pub(crate) fn leave_gradients_unchecked(unchecked: bool) {
    UNCHECKED.store(unchecked, Ordering::Relaxed);
}

/// Whether the gradient of a model is to be compared with differences before it is followed: kernels of our own are tested.
pub(crate) fn is_unproven(model: Architecture) -> bool {
    !model.has_kernels() && !UNCHECKED.load(Ordering::Relaxed)
}

/// What names a system. Two equal keys are one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) data: Data,
    pub(crate) model: Architecture,
    pub(crate) weights: PathBuf,
    /// In front of the names of the tensors, where all have it.
    pub(crate) prefix: Option<String>,
    pub(crate) distance: Distance,
    /// How it was trained, where a card said so.
    pub(crate) loss: Option<String>,
    pub(crate) defense: Option<String>,
}

/// The test images of several models: those that take the same ones share them, so that they are opened, and complained of, once.
#[derive(Default)]
pub(crate) struct TestImages(Vec<(Key, Sets<Arc<dyn Dataset>>)>);

impl TestImages {
    fn of(&mut self, key: &Key) -> Result<Sets<Arc<dyn Dataset>>> {
        let about = |key: &Key| (key.data.clone(), key.model.input(), key.preprocessing().ok());
        if let Some((_, known)) = self.0.iter().find(|(known, _)| about(known) == about(key)) {
            return Ok(known.clone());
        }
        let images = open_sets(&key.data, key.model)?;
        self.0.push((key.clone(), images.clone()));
        Ok(images)
    }
}

impl Key {
    /// What opening the system reads.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let Data { dataset, queries, gallery, dir } = &self.data;
        let named = [("--dataset", Some(dataset)), ("--queries", queries.as_ref()), ("--gallery", gallery.as_ref())];
        let named = named.into_iter().filter_map(|(option, name)| Some((option, name?)));
        let mut inputs: Vec<Input> = named.flat_map(|(option, name)| data_inputs(option, name, dir.as_deref())).collect();
        inputs.push(Input::new("--weights", &self.weights));
        inputs
    }

    /// Whether another model can be shown the images that are made against this one.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments where it takes other images.
    pub(crate) fn check_beside(&self, other: &Self) -> Result<(), Stop> {
        let ((channels, height, width), (own_channels, own_height, own_width)) = (other.model.input(), self.model.input());
        if other.model.input() != self.model.input() {
            return Err(Stop::usage(format!(
                "{} takes images of {channels} x {height} x {width} numbers and {} of {own_channels} x {own_height} x {own_width}: what is made \
                 for one cannot be shown to the other; use the same size for both",
                other.model, self.model
            )));
        }
        let (its, own) = (other.preprocessing()?, self.preprocessing()?);
        if its != own {
            return Err(Stop::usage(format!(
                "{} is shown photographs by {} and {} by {}: what is made for one cannot be shown to the other; say resize, edge and \
                 filter in --dataset for both, as in folder,resize=shorter,edge=256,filter=bilinear:PATH",
                other.model,
                its.unwrap_or_default(),
                self.model,
                own.unwrap_or_default()
            )));
        }
        Ok(())
    }

    /// How photographs become the model's images, as records name it; none of other images.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments where they cannot, or where queries and gallery are not prepared alike.
    pub(crate) fn preprocessing(&self) -> Result<Option<String>, Stop> {
        let of = |(name, _): (&Source, Split)| preprocessing(name, self.model);
        let sets = self.data.sets();
        let (gallery, queries) = (of(sets.gallery)?, of(*sets.queries())?);
        if gallery != queries {
            let words = |said: Option<String>| said.unwrap_or_else(|| "are no photographs".to_owned());
            return Err(Stop::usage(format!(
                "the gallery and the queries are not prepared alike: {} and {}; say resize, edge and filter in both names",
                words(gallery),
                words(queries)
            )));
        }
        Ok(gallery)
    }
}

impl Key {
    /// Loads the test images, to rank them, and the weights; warns where a card beside these says other things. Every pass of the model
    /// counts into `bar`.
    ///
    /// # Errors
    /// When the device cannot be used, when data or weights cannot be read, or when they do not fit; as [`open_sets`].
    pub(crate) fn open(self, device: Device, bar: &ProgressBar) -> Result<Subject> {
        Ok(self.open_beside(None, device, bar)?.0)
    }

    /// Loads one split of the data, to embed it; else as [`Key::open`].
    ///
    /// # Errors
    /// As [`Key::open`], but for the last.
    pub(crate) fn open_split(self, split: Split, device: Device, bar: &ProgressBar) -> Result<Subject> {
        let data = |key: &Self| {
            let Data { dataset, dir, .. } = &key.data;
            open_data(dataset, split, dir.as_deref(), key.model).map(Sets::one)
        };
        let subject = self.open_with(None, device, Bar::monitor(bar), data)?;
        self.heed_card(&subject);
        Ok(subject)
    }

    /// One of several models of test images. Of a subject that is opened again, the weights must have the hash that they had.
    ///
    /// # Errors
    /// As [`Key::open`], and when the file holds other weights than these.
    pub(crate) fn open_among(
        &self,
        sha256: Option<&str>,
        images: &mut TestImages,
        device: Device,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Subject> {
        self.open_with(sha256, device, monitor, |key| images.of(key))
    }

    /// Two models of the same test images; only the first where no other is named.
    ///
    /// # Errors
    /// As [`Key::check_beside`] and [`Key::open`].
    pub(crate) fn open_beside(
        self,
        other: Option<Self>,
        device: Device,
        bar: &ProgressBar,
    ) -> Result<(Subject, Option<Subject>)> {
        other.as_ref().map_or(Ok(()), |other| self.check_beside(other))?;
        let mut images = TestImages::default();
        let mut open = |key: &Self| {
            let subject = key.open_among(None, &mut images, device, Bar::monitor(bar))?;
            key.heed_card(&subject);
            anyhow::Ok(subject)
        };
        Ok((open(&self)?, other.as_ref().map(open).transpose()?))
    }

    /// Warns where a card beside the weights says that they are for another distance, or other photographs.
    pub(crate) fn heed_card(&self, subject: &Subject) {
        let Identity { preprocessing, weights_sha256, .. } = &subject.identity;
        for warning in card::warnings(&self.weights, weights_sha256, (self.distance, preprocessing.as_deref())) {
            tracing::warn!("{warning}");
        }
    }

    fn open_with(
        &self,
        sha256: Option<&str>,
        device: Device,
        monitor: Arc<dyn Monitor>,
        data: impl FnOnce(&Self) -> Result<Sets<Arc<dyn Dataset>>>,
    ) -> Result<Subject> {
        device.check()?;
        let preprocessing = self.preprocessing()?;
        // The weights first: a wrong path is the more frequent mistake.
        let (embedder, weights_sha256) = {
            let Weights { path, tensors, sha256 } = Weights::read(&self.weights, self.prefix.as_deref())?.checked(sha256)?;
            (self.model.with_weights(&path, &tensors, self.distance)?, sha256)
        };
        let images = data(self)?;
        for set in images.iter() {
            tracing::debug!("{} images of {}, weights {weights_sha256}", set.len(), set.name());
        }
        let model = Model { embedder, unproven: is_unproven(self.model), place: Place::Kernels };
        let identity = Identity {
            subject: self.subject(),
            shown: self.data.portable(),
            preprocessing,
            weights_sha256,
            device: device.to_string(),
            instruction_set: instruction_set(),
            code_version: CODE_VERSION.to_owned(),
        };
        Ok(Subject::new(model, images, identity, monitor)?)
    }

    /// As a plan, a record and a card describe it; how it was trained only where a card said so.
    fn subject(&self) -> rankle_record::Subject {
        let Self { data: Data { dataset, queries, gallery, .. }, model, weights, distance, loss, defense, .. } = self;
        let other = |other: &Option<Source>| other.as_ref().filter(|other| *other != dataset).map(Source::to_string);
        rankle_record::Subject {
            dataset: dataset.to_string(),
            query_dataset: other(queries),
            gallery_dataset: other(gallery),
            model: model.to_string(),
            weights: weights.display().to_string(),
            distance: distance.to_string(),
            loss: loss.clone(),
            defense: defense.clone(),
        }
    }
}

/// The instruction set of the kernels, as records name it.
pub(crate) fn instruction_set() -> String {
    Isa::best().to_string()
}

/// The version of the code, as records name it.
pub(crate) const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_eval::Unwatched;

    /// What a record says of the weights is true of those that are used, whatever happens to the file between two cells.
    #[test]
    fn weights_that_are_replaced_while_a_command_runs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        let write = |seed| {
            let model = Architecture::C2f2.initialize(Distance::Cosine, rankle_core::Seed(seed)).unwrap();
            rankle_models::weights::write(&weights, &model.parameters().unwrap()).unwrap();
        };
        let key = Key {
            data: Data::one("mnist".parse().unwrap(), None),
            model: Architecture::C2f2,
            weights: weights.clone(),
            prefix: None,
            distance: Distance::Cosine,
            loss: None,
            defense: None,
        };
        let mut images = TestImages::default();
        let mut open = |sha256: Option<&str>| key.open_among(sha256, &mut images, Device::Cpu, Arc::new(Unwatched));
        write(1);
        let first = open(None).unwrap().identity.weights_sha256;
        assert_eq!(first, crate::files::hash(&std::fs::read(&weights).unwrap()));
        let mut again = || open(Some(&first));
        assert_eq!(again().unwrap().identity.weights_sha256, first);
        write(2);
        let message = again().err().unwrap().to_string();
        assert!(message.starts_with(weights.to_str().unwrap()) && message.contains(&first), "{message}");
        assert!(message.contains(" has changed while this command ran: ") && message.lines().count() == 1, "{message}");
        std::fs::write(&weights, "no weights").unwrap();
        assert!(again().err().unwrap().to_string().contains("is not a readable safetensors file"));
    }
}
