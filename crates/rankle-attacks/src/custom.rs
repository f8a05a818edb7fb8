//! Attacks of programs outside of this project, registered by name.

use crate::{AttackId, AttackOptions, RankingAttack};
use rankle_core::{Error, Result};
use rankle_record::Declaration;
use rankle_registry::{Named, Registry};

/// An attack that another program registers under a name of its own; it then has an [`AttackId`]. Records store only the name, so
/// an attack that computes something else than before needs a new name.
#[derive(Clone, Copy, Debug)]
pub struct CustomAttack {
    /// Name, description and direction.
    pub declaration: Declaration,
    /// Builds the attack for a number of targets per image.
    pub build: fn(usize, AttackOptions) -> Box<dyn RankingAttack>,
}

impl Named for CustomAttack {
    fn name(&self) -> &'static str {
        self.declaration.name
    }
}

static ATTACKS: Registry<CustomAttack> = Registry::new();

impl CustomAttack {
    /// Registers the attack under its name until the process ends.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name that one of rankle's attacks has or that a command line cannot take, and for an attack
    /// without a direction: [`AttackId::EmbeddingShift`] is the only attack without ranks.
    pub fn register(self) -> Result<AttackId> {
        let refused = |reason: String| Error::Refused(format!("an attack cannot be registered: {reason}"));
        if self.declaration.direction.is_none() {
            return Err(refused(format!("'{}' has no direction", self.declaration.name)));
        }
        let taken = |name: &str| AttackId::ALL.into_iter().any(|attack| attack.name() == name);
        let declared = ATTACKS.add(self, taken).map_err(refused)?.declaration;
        AttackId::register(declared).map_err(|error| refused(error.to_string()))
    }
}

/// Builds the attack of a declaration.
///
/// # Panics
/// When the declaration was not registered by [`CustomAttack::register`], so that no constructor is known.
pub(crate) fn build(declaration: &Declaration, targets: usize, options: AttackOptions) -> Box<dyn RankingAttack> {
    let own = ATTACKS.find(declaration.name).expect("an attack is registered together with its constructor");
    (own.build)(targets, options)
}
