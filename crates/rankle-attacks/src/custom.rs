//! Attacks of programs outside of this project, by name.

use crate::{AttackId, AttackOptions, RankingAttack};
use rankle_core::{Error, Result};
use rankle_record::Declaration;
use rankle_registry::{Named, Registry};

/// An attack that a program brings along: once registered it has an [`AttackId`] like any other, under its name. Records know it by
/// that name alone: an attack that computes something else than before needs another one.
#[derive(Clone, Copy, Debug)]
pub struct CustomAttack {
    /// Its name, what moves, and which way.
    pub declaration: Declaration,
    /// Makes it for so many targets per image.
    pub build: fn(usize, AttackOptions) -> Box<dyn RankingAttack>,
}

impl Named for CustomAttack {
    fn name(&self) -> &'static str {
        self.declaration.name
    }
}

static ATTACKS: Registry<CustomAttack> = Registry::new();

impl CustomAttack {
    /// Makes it known by its name, to the end of the process.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name that one of rankle's attacks has, or that cannot stand on a command line, and for an attack without a
    /// direction: what has no ranks is [`AttackId::EmbeddingShift`] alone.
    pub fn register(self) -> Result<AttackId> {
        let refused = |reason: String| Error::Refused(format!("an attack cannot be registered: {reason}"));
        if self.declaration.direction.is_none() {
            return Err(refused(format!("'{}' raises nothing and lowers nothing", self.declaration.name)));
        }
        let taken = |name: &str| AttackId::ALL.into_iter().any(|attack| attack.name() == name);
        let declared = ATTACKS.add(self, taken).map_err(refused)?.declaration;
        AttackId::register(declared).map_err(|error| refused(error.to_string()))
    }
}

/// The attack of that declaration.
///
/// # Panics
/// When it was declared elsewhere than by [`CustomAttack::register`]: nothing can make it then.
pub(crate) fn build(declaration: &Declaration, targets: usize, options: AttackOptions) -> Box<dyn RankingAttack> {
    let own = ATTACKS.find(declaration.name).expect("attacks are registered together with what makes them");
    (own.build)(targets, options)
}
