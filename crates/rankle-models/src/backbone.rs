//! Models of programs outside of this project, by name.

use crate::{Architecture, weights::Tensors};
use rankle_core::{Distance, Embedder, Error, InputSpec, Result, Seed, Trainable};
use std::hash::{Hash, Hasher};
use std::sync::RwLock;

/// A model that a program brings along: once registered it is an [`Architecture`] like any other, under its name.
#[derive(Clone, Copy, Debug)]
pub struct Backbone {
    /// What records, cards and command lines call it: letters, digits, `-`, `_` and points.
    pub name: &'static str,
    /// The images that it takes.
    pub input: InputSpec,
    /// How many numbers its embeddings have.
    pub embedding_size: usize,
    /// Makes a model of the tensors of a file of weights.
    pub load: fn(&Tensors, Distance) -> Result<Box<dyn Embedder>>,
    /// Makes a model with random weights, where it can be trained.
    pub initialise: Option<fn(Distance, Seed) -> Result<Box<dyn Trainable>>>,
}

/// Known by its name: no two have the same.
impl PartialEq for Backbone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Backbone {}

impl Hash for Backbone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

static REGISTERED: RwLock<Vec<&'static Backbone>> = RwLock::new(Vec::new());

impl Architecture {
    /// Makes a model known by its name, to the end of the process. The same one may be registered again.
    ///
    /// # Errors
    /// [`Error::Model`] for a name that another model has, or that cannot stand in a plan.
    pub fn register(backbone: Backbone) -> Result<Self> {
        let Backbone { name, input, embedding_size, .. } = backbone;
        let wrong = |what: &str| Err(Error::Model(format!("a model cannot be called '{name}': {what}")));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return wrong("letters, digits, -, _ and points are needed");
        }
        let mut registered = REGISTERED.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = registered.iter().find(|known| known.name == name) {
            return match (known.input, known.embedding_size) == (input, embedding_size) {
                true => Ok(Self::Own(known)),
                false => wrong("another one has that name"),
            };
        }
        if Self::ALL.into_iter().any(|model| model.is_called(name)) {
            return wrong("one of rankle's has that name");
        }
        let backbone: &'static Backbone = Box::leak(Box::new(backbone));
        registered.push(backbone);
        Ok(Self::Own(backbone))
    }

    /// The models that were registered, in that order.
    pub fn registered() -> Vec<Self> {
        let registered = REGISTERED.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        registered.iter().copied().map(Self::Own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backbone(name: &'static str, side: usize) -> Backbone {
        Backbone {
            name,
            input: InputSpec::of_shape((1, side, side)),
            embedding_size: 7,
            load: |_, _| Err(Error::Model("no weights fit".into())),
            initialise: None,
        }
    }

    #[test]
    fn a_registered_model_is_one_like_any_other() {
        let own = Architecture::register(backbone("of-a-test", 9)).unwrap();
        assert_eq!((own.to_string().as_str(), own.input(), own.embedding_size()), ("of-a-test", (1, 9, 9), 7));
        assert_eq!("of-a-test".parse::<Architecture>().unwrap(), own);
        assert!(!own.is_trainable() && !own.has_kernels() && own.is_in_this_build() && !own.is_classifier());
        assert!(Architecture::registered().contains(&own));
        assert_eq!(Architecture::register(backbone("of-a-test", 9)).unwrap(), own);
        let refused = |name, side| Architecture::register(backbone(name, side)).unwrap_err().to_string();
        assert!(refused("of-a-test", 8).ends_with("another one has that name"));
        for taken in ["lenet", "ResNet_18", "C2F2"] {
            assert!(refused(taken, 8).ends_with("one of rankle's has that name"), "{taken}");
        }
        for name in ["", "a,b", "a b", "ä", "folder:x"] {
            assert!(refused(name, 8).contains("are needed"), "{name}");
        }
        let message = own.initialise(Distance::Cosine, Seed(0)).err().unwrap().to_string();
        assert!(message.contains("of-a-test cannot be trained"), "{message}");
        assert!("of-a-test,size=3".parse::<Architecture>().unwrap_err().to_string().contains("takes no 'size=3'"));
    }
}
