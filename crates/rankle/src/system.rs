//! Systems by name: a model, its weights and its images, and how they are opened.

use crate::data::{Data, data_inputs, open_data, open_sets, preprocessing};
use crate::files::Input;
use crate::network::{Loaded, Network};
use crate::progress::Bar;
use crate::stop::Stop;
use crate::{card, device::Device};
use anyhow::Result;
use indicatif::ProgressBar;
use rankle_core::{Dataset, Distance, Sets};
use rankle_data::{Source, Split};
use rankle_eval::{Identity, Model, Monitor, Subject};
use rankle_models::Isa;
use rankle_record::SearchKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// True after `--no-gradient-check`.
static UNCHECKED: AtomicBool = AtomicBool::new(false);

/// Sets whether every model is trusted without a gradient check from here on.
pub(crate) fn leave_gradients_unchecked(unchecked: bool) {
    UNCHECKED.store(unchecked, Ordering::Relaxed);
}

/// True after `--no-gradient-check`.
pub(crate) fn gradients_are_left_unchecked() -> bool {
    UNCHECKED.load(Ordering::Relaxed)
}

/// Names of everything that makes up a system. Equal keys mean the same system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) data: Data,
    pub(crate) model: Network,
    /// File of weights; an ONNX file, or the command of a program.
    pub(crate) weights: PathBuf,
    /// Prefix to remove from the tensor names, if all have it.
    pub(crate) prefix: Option<String>,
    pub(crate) distance: Distance,
    /// Loss of the training, if a card names it.
    pub(crate) loss: Option<String>,
    pub(crate) defense: Option<String>,
}

/// Test images of several models. Models with the same input and preprocessing share them, to open and warn about them once.
#[derive(Default)]
pub(crate) struct TestImages(Vec<(Key, Sets<Arc<dyn Dataset>>)>);

impl TestImages {
    fn of(&mut self, key: &Key) -> Result<Sets<Arc<dyn Dataset>>> {
        let about = |key: &Key| (key.data.clone(), key.model.input(), key.preprocessing().ok());
        if let Some((_, known)) = self.0.iter().find(|(known, _)| about(known) == about(key)) {
            return Ok(known.clone());
        }
        let images = open_sets(&key.data, &key.model)?;
        self.0.push((key.clone(), images.clone()));
        Ok(images)
    }
}

impl Key {
    /// Files and folders that opening the system reads.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let Data { dataset, queries, gallery, dir } = &self.data;
        let named = [("--dataset", Some(dataset)), ("--queries", queries.as_ref()), ("--gallery", gallery.as_ref())];
        let named = named.into_iter().filter_map(|(option, name)| Some((option, name?)));
        let mut inputs: Vec<Input> = named.flat_map(|(option, name)| data_inputs(option, name, dir.as_deref())).collect();
        if self.model.is_a_file() {
            inputs.push(Input::new("--weights", &self.weights));
        }
        inputs
    }

    /// Checks that images made for this model can be fed to the other one.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments when the input sizes or the preprocessing differ.
    pub(crate) fn check_beside(&self, other: &Self) -> Result<(), Stop> {
        let ((channels, height, width), (own_channels, own_height, own_width)) = (other.model.input(), self.model.input());
        if other.model.input() != self.model.input() {
            return Err(Stop::usage(format!(
                "{} takes images of {channels} x {height} x {width} numbers and {} of {own_channels} x {own_height} x {own_width}: what is made \
                 for one cannot be shown to the other; use the same size for both",
                other.model.name(),
                self.model.name()
            )));
        }
        let (its, own) = (other.preprocessing()?, self.preprocessing()?);
        if its != own {
            return Err(Stop::usage(format!(
                "{} is shown photographs by {} and {} by {}: images perturbed for one cannot be shown to the other; give resize, edge and \
                 filter in --dataset for both, as in folder,resize=shorter,edge=256,filter=bilinear:PATH",
                other.model.name(),
                its.unwrap_or_default(),
                self.model.name(),
                own.unwrap_or_default()
            )));
        }
        Ok(())
    }

    /// Checks that the model has the gradient that a search follows.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments for a black box.
    pub(crate) fn check_search(&self, search: SearchKind) -> Result<(), Stop> {
        match &self.model {
            Network::Foreign(foreign) if !foreign.has_gradient() && search != SearchKind::Square => Err(Stop::usage(format!(
                "{} answers no gradient, which the search {search} follows: --search square is the one that needs none",
                foreign.name()
            ))),
            _ => Ok(()),
        }
    }

    /// Preprocessing of photographs for the model, as records name it; `None` for other images.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments when the photographs cannot be prepared for the model, or when queries and
    /// gallery are prepared differently.
    pub(crate) fn preprocessing(&self) -> Result<Option<String>, Stop> {
        let of = |(name, _): (&Source, Split)| preprocessing(name, &self.model);
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
    /// Loads weights and test images for ranking. Warns if a card beside the weights names other settings. Every forward pass of
    /// the model advances `bar`.
    ///
    /// # Errors
    /// When the device cannot be used, when data or weights cannot be read, or when they do not fit; as [`open_sets`].
    pub(crate) fn open(self, device: Device, bar: &ProgressBar) -> Result<Subject> {
        Ok(self.open_beside(None, device, bar)?.0)
    }

    /// Loads one split of the dataset for embedding; otherwise as [`Key::open`].
    ///
    /// # Errors
    /// As [`Key::open`], except those of [`open_sets`].
    pub(crate) fn open_split(self, split: Split, device: Device, bar: &ProgressBar) -> Result<Subject> {
        let data = |key: &Self| {
            let Data { dataset, dir, .. } = &key.data;
            open_data(dataset, split, dir.as_deref(), &key.model).map(Sets::one)
        };
        let subject = self.open_with(None, device, Bar::monitor(bar), data)?;
        self.heed_card(&subject);
        Ok(subject)
    }

    /// Opens one of several models of test images. `sha256` is the hash that the weights must have, if they were read before.
    ///
    /// # Errors
    /// As [`Key::open`], and when the weights have another hash.
    pub(crate) fn open_among(
        &self,
        sha256: Option<&str>,
        images: &mut TestImages,
        device: Device,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Subject> {
        self.open_with(sha256, device, monitor, |key| images.of(key))
    }

    /// Opens two models on the same test images; only the first if `other` is `None`.
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

    /// Warns if a card beside the weights names another distance or another preprocessing.
    pub(crate) fn heed_card(&self, subject: &Subject) {
        if self.model.architecture().is_none() {
            return;
        }
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
        let place = device.place()?;
        let preprocessing = self.preprocessing()?;
        // Weights first: a wrong path to them is the more frequent mistake.
        let weights = (&*self.weights, self.prefix.as_deref());
        let loaded = self.model.load(weights, sha256, self.distance, &place)?;
        let Loaded { embedder, weights_sha256, probe_distances } = loaded;
        device.check(self.model.name(), &*embedder)?;
        let images = data(self)?;
        for set in images.iter() {
            tracing::debug!("{} images of {}, weights {weights_sha256}", set.len(), set.name());
        }
        let model = Model { embedder, unproven: self.model.is_unproven() };
        let identity = Identity {
            subject: self.subject(),
            shown: self.data.portable(),
            preprocessing,
            weights_sha256,
            probe_distances,
            device: device.to_string(),
            instruction_set: instruction_set(),
            code_version: CODE_VERSION.to_owned(),
        };
        Ok(Subject::new(model, images, identity, monitor)?)
    }

    /// The system in the form of plans, records and cards; loss and defense only if a card named them.
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

/// Instruction set of the kernels, as records name it.
pub(crate) fn instruction_set() -> String {
    Isa::best().to_string()
}

pub(crate) const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_core::Place;
    use rankle_eval::Unwatched;
    use rankle_models::Architecture;

    /// A record names the weights that were used, even if the file is replaced between two cells.
    #[test]
    fn weights_that_are_replaced_while_a_command_runs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        let write = |seed| {
            let model = Architecture::C2f2.initialize(Distance::Cosine, rankle_core::Seed(seed), &Place::Kernels).unwrap();
            rankle_models::weights::write(&weights, &model.parameters().unwrap()).unwrap();
        };
        let key = Key {
            data: Data::one("mnist".parse().unwrap(), None),
            model: Architecture::C2f2.into(),
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
