//! Models of programs outside of this project, by name.

use crate::{Architecture, weights::Tensors};
use rankle_core::{Distance, Embedder, Error, InputSpec, Result, Seed, Trainable};
use rankle_registry::{Named, Registry};

/// A model that a program brings along: once registered it is an [`Architecture`] like any other, under its name.
#[derive(Clone, Copy, Debug)]
pub struct Backbone {
    /// What records, cards and command lines call it.
    pub name: &'static str,
    /// The images that it takes.
    pub input: InputSpec,
    /// How many numbers its embeddings have.
    pub embedding_size: usize,
    /// Makes a model of the tensors of a file of weights.
    pub load: fn(&Tensors, Distance) -> Result<Box<dyn Embedder>>,
    /// Makes a model with random weights, where it can be trained.
    pub initialize: Option<Initialize>,
}

/// Makes a model with random weights for a distance, keyed by the seed.
pub type Initialize = fn(Distance, Seed) -> Result<Box<dyn Trainable>>;

impl Named for Backbone {
    fn name(&self) -> &'static str {
        self.name
    }
}

static BACKBONES: Registry<Backbone> = Registry::new();

impl Architecture {
    /// Makes a model known by its name, to the end of the process.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name that one of rankle's models has, or that cannot stand on a command line.
    pub fn register(backbone: Backbone) -> Result<Self> {
        let taken = |name: &str| Self::named(name).is_some_and(|known| known.to_string() != name || Self::ALL.contains(&known));
        BACKBONES
            .add(backbone, taken)
            .map(Self::Custom)
            .map_err(|reason| Error::Refused(format!("a model cannot be registered: {reason}")))
    }

    /// The models that were registered, in that order.
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
            load: |_, _| Err(Error::Refused("no weights fit".into())),
            initialize: None,
        }
    }

    #[test]
    fn a_registered_model_is_one_like_any_other() {
        let own = Architecture::register(backbone("of-a-test")).unwrap();
        assert_eq!((own.to_string().as_str(), own.input(), own.embedding_size()), ("of-a-test", (1, 9, 9), 7));
        assert_eq!("of-a-test".parse::<Architecture>().unwrap(), own);
        assert!(!own.is_trainable() && !own.has_kernels() && own.is_in_this_build() && !own.is_classifier());
        assert!(Architecture::registered().contains(&own));
        for taken in ["lenet", "ResNet_18", "C2F2"] {
            let message = Architecture::register(backbone(taken)).unwrap_err().to_string();
            assert!(message.contains("is rankle's own"), "{message}");
        }
        // Names are understood in other spellings, and one name is one model.
        let message = Architecture::register(backbone("Of_A_Test")).unwrap_err().to_string();
        assert!(message.ends_with("is rankle's own, or another spelling of one that is there"), "{message}");
        let message = own.initialize(Distance::Cosine, Seed(0)).err().unwrap().to_string();
        assert!(message.contains("of-a-test cannot be trained"), "{message}");
        assert!("of-a-test,size=3".parse::<Architecture>().unwrap_err().to_string().contains("takes no 'size=3'"));
    }
}
