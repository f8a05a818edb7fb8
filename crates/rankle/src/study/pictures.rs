//! Pictures of single attacks for a report: the ranked lists of one image.

use super::Session;
use super::models::Models;
use crate::threat_arguments::with_norm;
use anyhow::Result;
use rankle_report::{AttackId, Epsilon, Norm, System};

pub(super) struct Picture {
    system: System,
    attack: AttackId,
    radius: (Norm, f64),
    file: String,
    caption: String,
}

/// Pictures of CA+ and QA+ for each system, all at one radius.
pub(super) fn of(systems: impl IntoIterator<Item = System>, epsilon: f64) -> Vec<Picture> {
    at(systems.into_iter().map(|system| (system, (Norm::Linf, epsilon))))
}

/// Pictures of CA+ and QA+ for each system, at a radius per system.
pub(super) fn at(systems: impl IntoIterator<Item = (System, (Norm, f64))>) -> Vec<Picture> {
    let of = |(system, (norm, epsilon)): (System, (Norm, f64))| {
        [AttackId::CA_PLUS, AttackId::QA_PLUS].map(|attack| Picture {
            file: format!("{}-{}.png", system.id(), attack.name()),
            caption: format!(
                "{} on one image of {}, ε = {}",
                attack.name().to_uppercase(),
                system.id(),
                with_norm(Epsilon(epsilon), norm)
            ),
            system: system.clone(),
            attack,
            radius: (norm, epsilon),
        })
    };
    systems.into_iter().flat_map(of).collect()
}

impl Picture {
    /// File name and caption.
    pub(super) fn captioned(&self) -> (String, String) {
        (self.file.clone(), self.caption.clone())
    }
}

/// Draws pictures into the folder of the run; returns file names and captions.
///
/// # Errors
/// When `rankle picture` fails.
pub(super) fn draw(session: &Session<'_>, models: &Models, pictures: &[Picture]) -> Result<Vec<(String, String)>> {
    for Picture { system, attack, radius, file, .. } in pictures {
        session.picture(system, models.of(system)?, *attack, *radius, file)?;
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
        let [round, _] = at([(System::plain("mnist", "c2f2", "cosine", "triplet"), (Norm::L2, 2.0))]).try_into().ok().unwrap();
        assert!(round.caption.ends_with(", ε = 2 (L2)"), "{}", round.caption);
    }
}
