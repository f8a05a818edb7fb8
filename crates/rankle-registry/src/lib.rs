//! Registries of the models, losses and attacks that a program adds to rankle, found by name until the process ends.
//! The registered types are left to the crates that use them.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_models`](../rankle_models/index.html),
//! [`rankle_train`](../rankle_train/index.html), [`rankle_attacks`](../rankle_attacks/index.html),
//! [`rankle_record`](../rankle_record/index.html), [`rankle_core`](../rankle_core/index.html).
//!
//! ```
//! use rankle_registry::{Named, Registry};
//!
//! struct Color(&'static str);
//! impl Named for Color {
//!     fn name(&self) -> &'static str {
//!         self.0
//!     }
//! }
//! static COLORS: Registry<Color> = Registry::new();
//!
//! COLORS.add(Color("teal"), |name| name == "red").unwrap();
//! assert_eq!(COLORS.find("teal").map(|color| color.name()), Some("teal"));
//! assert!(COLORS.add(Color("red"), |name| name == "red").is_err_and(|reason| reason.contains("'red' is rankle's own")));
//! ```

use std::fmt::Display;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::RwLock;

/// A value that can be registered.
pub trait Named {
    /// The name on command lines and in plans, records and cards.
    fn name(&self) -> &'static str;
}

/// A reference to a value in a [`Registry`]. Two references are equal if their names are.
#[derive(Debug)]
pub struct Registered<T: 'static>(&'static T);

impl<T> Registered<T> {
    /// The registered value.
    pub fn get(self) -> &'static T {
        self.0
    }
}

impl<T> Clone for Registered<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Registered<T> {}

impl<T> Deref for Registered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

impl<T: Named> PartialEq for Registered<T> {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl<T: Named> Eq for Registered<T> {}

impl<T: Named> Hash for Registered<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// Registered values of one type, in the order in which they were added.
pub struct Registry<T: 'static>(RwLock<Vec<&'static T>>);

impl<T: Named + Sync + 'static> Registry<T> {
    /// An empty registry.
    #[allow(clippy::new_without_default)] // used in statics
    pub const fn new() -> Self {
        Self(RwLock::new(Vec::new()))
    }

    /// All registered values.
    pub fn all(&self) -> Vec<Registered<T>> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).iter().copied().map(Registered).collect()
    }

    /// The value with this name; `None` if there is none.
    pub fn find(&self, name: &str) -> Option<Registered<T>> {
        self.all().into_iter().find(|one| one.name() == name)
    }

    /// Adds a value, or returns the one added before with the same name: a process may register the same value several times.
    ///
    /// # Errors
    /// One line for a name that is `taken` by rankle itself, and for a name that cannot be used on a command line.
    pub fn add(&self, one: T, taken: impl FnOnce(&str) -> bool) -> Result<Registered<T>, String> {
        let name = one.name();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-+_.".contains(&byte);
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.bytes().all(fits) {
            return Err(format!(
                "the name '{name}' must consist of letters, digits, -, +, _ and points, and begin with a letter or a digit"
            ));
        }
        if taken(name) {
            return Err(format!("the name '{name}' is rankle's own, or another spelling of one that is there"));
        }
        let mut all = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(Registered(match all.iter().find(|known| known.name() == name) {
            Some(known) => known,
            None => {
                let one: &'static T = Box::leak(Box::new(one));
                all.push(one);
                one
            }
        }))
    }
}

/// The item of `all` that displays as `name`.
///
/// # Errors
/// The names of all items, separated by commas, if none has that name.
pub fn named<T: Display>(name: &str, all: impl Iterator<Item = T> + Clone) -> Result<T, String> {
    let known = || all.clone().map(|one| one.to_string()).collect::<Vec<_>>().join(", ");
    all.clone().find(|one| one.to_string() == name).ok_or_else(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str, u32);

    impl Named for One {
        fn name(&self) -> &'static str {
            self.0
        }
    }

    #[test]
    fn the_first_of_a_name_stays_and_wrong_names_are_told() {
        let registry = Registry::new();
        let add = |name, number| registry.add(One(name, number), |name| name == "mine").map(|one| one.1);
        assert_eq!((add("a", 1), add("b+", 2), add("a", 3)), (Ok(1), Ok(2), Ok(1)));
        assert_eq!(registry.all().iter().map(|one| one.1).collect::<Vec<_>>(), [1, 2]);
        assert!(registry.find("c").is_none());
        assert!(add("mine", 4).unwrap_err().contains("rankle's own"));
        for name in ["", "a b", "a,b", "a:b", "ä", "@a", "-a"] {
            assert!(add(name, 5).unwrap_err().contains("letters"), "{name}");
        }
    }

    #[test]
    fn a_name_is_found_or_answered_with_all() {
        assert_eq!(named("2", [1, 2].into_iter()), Ok(2));
        assert_eq!(named("3", [1, 2].into_iter()), Err("1, 2".to_owned()));
    }
}
