//! Registry of models that other programs add.

use crate::{Architecture, weights::Tensors};
use rankle_core::{Distance, Embedder, Error, InputSpec, Place, Result, Seed, Trainable};
use rankle_registry::{Named, Registry};

/// A model of another program. Once registered, it is an [`Architecture`] under its name.
#[derive(Clone, Copy, Debug)]
pub struct Backbone {
    /// Name in records, cards and command lines.
    pub name: &'static str,
    /// Images that the model takes.
    pub input: InputSpec,
    /// Dimension of the embeddings.
    pub embedding_size: usize,
    /// Builds a model from the tensors of a file of weights, for a compute backend: [`TensorModel::new`](crate::TensorModel::new)
    /// takes any. A model for one alone refuses the others with [`Error::Refused`].
    pub load: fn(&Tensors, Distance, &Place) -> Result<Box<dyn Embedder>>,
    /// Builds a model with random weights; `None` if the model cannot be trained.
    pub initialize: Option<Initialize>,
}

/// Builds a model with random weights, keyed by the seed, for a distance and a compute backend.
pub type Initialize = fn(Distance, Seed, &Place) -> Result<Box<dyn Trainable>>;

impl Named for Backbone {
    fn name(&self) -> &'static str {
        self.name
    }
}

static BACKBONES: Registry<Backbone> = Registry::new();

impl Architecture {
    /// Registers a model under its name, until the process ends. A model registered earlier under the same name stays.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name of rankle's own, for another spelling of a known name, and for a name that cannot be written
    /// on a command line.
    pub fn register(backbone: Backbone) -> Result<Self> {
        let taken = |name: &str| Self::named(name).is_some_and(|known| known.to_string() != name || Self::ALL.contains(&known));
        BACKBONES
            .add(backbone, taken)
            .map(Self::Custom)
            .map_err(|reason| Error::Refused(format!("a model cannot be registered: {reason}")))
    }

    /// All registered models, in the order of registration.
    pub fn registered() -> Vec<Self> {
        BACKBONES.all().into_iter().map(Self::Custom).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backbone(name: &'static str) -> Backbone {
        Backbone {
            name,
            input: InputSpec::of_shape((1, 9, 9)),
            embedding_size: 7,
            load: |_, _, _| Err(Error::Refused("no weights fit".into())),
            initialize: None,
        }
    }

    #[test]
    fn a_registered_model_is_one_like_any_other() {
        let own = Architecture::register(backbone("of-a-test")).unwrap();
        assert_eq!((own.to_string().as_str(), own.input(), own.embedding_size()), ("of-a-test", (1, 9, 9), 7));
        assert_eq!("of-a-test".parse::<Architecture>().unwrap(), own);
        assert!(!own.is_trainable() && !own.is_proven() && !own.is_classifier());
        assert!(Architecture::registered().contains(&own));
        for taken in ["lenet", "ResNet_18", "C2F2"] {
            let message = Architecture::register(backbone(taken)).unwrap_err().to_string();
            assert!(message.contains("is rankle's own"), "{message}");
        }
        // Another spelling of a registered name is refused, because names are understood in any spelling.
        let message = Architecture::register(backbone("Of_A_Test")).unwrap_err().to_string();
        assert!(message.ends_with("is rankle's own, or another spelling of one that is there"), "{message}");
        let message = own.initialize(Distance::Cosine, Seed(0), &Place::Kernels).err().unwrap().to_string();
        assert!(message.contains("of-a-test cannot be trained"), "{message}");
        assert!("of-a-test,size=3".parse::<Architecture>().unwrap_err().to_string().contains("takes no 'size=3'"));
    }
}
