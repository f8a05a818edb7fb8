//! The attacks that a report shows as pictures: what happens to the lists of one image.

use super::Session;
use super::models::Models;
use anyhow::Result;
use rankle_report::{AttackId, System};

/// An attack that is drawn.
pub(super) struct Picture {
    system: System,
    attack: AttackId,
    epsilon: f64,
    file: String,
    caption: String,
}

/// One of CA+ and one of QA+ for each system.
pub(super) fn of(systems: impl IntoIterator<Item = System>, epsilon: f64) -> Vec<Picture> {
    let of = |system: System| {
        [AttackId::CA_PLUS, AttackId::QA_PLUS].map(|attack| Picture {
            file: format!("{}-{}.png", system.id(), attack.name()),
            caption: format!("{} on one image of {}, ε = {epsilon}", attack.name().to_uppercase(), system.id()),
            system: system.clone(),
            attack,
            epsilon,
        })
    };
    systems.into_iter().flat_map(of).collect()
}

impl Picture {
    /// The file and what is seen in it.
    pub(super) fn captioned(&self) -> (String, String) {
        (self.file.clone(), self.caption.clone())
    }
}

/// Draws them into the folder of the run; returns the files and what is seen in them.
///
/// # Errors
/// When the driver fails.
pub(super) fn draw(session: &Session<'_>, models: &Models, pictures: &[Picture]) -> Result<Vec<(String, String)>> {
    for Picture { system, attack, epsilon, file, .. } in pictures {
        session.picture(system, models.of(system)?, *attack, *epsilon, file)?;
    }
    Ok(pictures.iter().map(Picture::captioned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_and_a_query_of_each_system() {
        let systems = [System::plain("mnist", "c2f2", "cosine", "triplet"), System::plain("mnist", "lenet", "cosine", "triplet")];
        let pictures: Vec<_> = of(systems, 0.3).iter().map(Picture::captioned).collect();
        assert_eq!(pictures.len(), 4);
        let (file, caption) = &pictures[3];
        assert_eq!(file, "mnist-lenet-cosine-triplet-qa+.png");
        assert_eq!(caption, "QA+ on one image of mnist-lenet-cosine-triplet, ε = 0.3");
    }
}
