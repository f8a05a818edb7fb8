//! Model cards: the `card.toml` that `rankle train` writes beside the weights.

use crate::files;
use crate::names::{self, Models};
use anyhow::{Context, Result, anyhow, bail, ensure};
use rankle_core::Distance;
use rankle_models::{Architecture, weights};
use serde::Deserialize;
use std::path::Path;

pub(crate) const CARD: &str = "card.toml";

/// The part of a card that says how its model ranks.
#[derive(Deserialize)]
pub(crate) struct Card {
    /// File name of the weights.
    weights: Option<String>,
    weights_sha256: String,
    training: Training,
}

/// Largest size of a card, in bytes.
pub(crate) const LONGEST: u64 = 1 << 20;

#[derive(Clone, Deserialize)]
struct Training {
    model: Option<String>,
    distance: Option<String>,
    preprocessing: Option<String>,
    loss: Option<String>,
    defense: Option<String>,
}

impl Card {
    /// Reads a card, written by `rankle train` or by hand.
    ///
    /// # Errors
    /// When the file cannot be read or is no card.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = rankle_files::read_text(path, LONGEST);
        let text =
            text.with_context(|| format!("{} cannot be read: a model's folder has a card beside its weights", path.display()))?;
        let card: toml::de::Error = match toml::from_str(&text) {
            Ok(card) => return Ok(card),
            Err(error) => error,
        };
        let line = card.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        bail!("{} line {line} is no card: {}; weights_sha256 and [training] are needed", path.display(), card.message())
    }

    /// File name of the weights beside the card.
    ///
    /// # Errors
    /// One line that names the card, when the name leads to another folder.
    pub(crate) fn weights(&self, path: &Path) -> Result<&str> {
        let name = self.weights.as_deref().unwrap_or("model.safetensors");
        let is_plain = Path::new(name).file_name().is_some_and(|plain| plain == name);
        ensure!(is_plain, "{} names the weights {name:?}: they have to lie beside it, under a plain name", path.display());
        Ok(name)
    }

    /// Checks that the weights have the hash that the card names.
    ///
    /// # Errors
    /// When the weights cannot be read, and one line that names both files when the hashes differ.
    pub(crate) fn check(&self, path: &Path, weights: &Path) -> Result<()> {
        let (said, found) = (&self.weights_sha256, files::hash(&weights::bytes(weights)?));
        ensure!(
            said.eq_ignore_ascii_case(&found),
            "{} is about other weights than {}: it says SHA-256 {said}, the file has {found}; add --override-card to use it anyway",
            path.display(),
            weights.display()
        );
        Ok(())
    }

    /// Loss and defense of the training; `None` where the card is silent.
    pub(crate) fn trained(&self) -> [Option<String>; 2] {
        let Training { loss, defense, .. } = self.training.clone();
        [loss, defense]
    }

    /// Architecture of the model.
    ///
    /// # Errors
    /// One line that names the card, when it names no architecture or an unknown one.
    pub(crate) fn architecture(&self, path: &Path, names: &Models) -> Result<Architecture> {
        let name = self.training.model.as_deref();
        let name = name.with_context(|| format!("{} names no model in [training]", path.display()))?;
        names.find(name).map_err(|line| anyhow!("{}: {line}", path.display()))
    }

    /// Distance of the model; `None` if the card names none, as for a classifier.
    ///
    /// # Errors
    /// One line that names the card, when the distance is unknown.
    pub(crate) fn distance(&self, path: &Path) -> Result<Option<Distance>> {
        let distance = self.training.distance.as_deref().map(|name| names::DISTANCES.find(name)).transpose();
        distance.map_err(|line| anyhow!("{}: {line}", path.display()))
    }

    /// Preprocessing of the test photographs; `None` for other images.
    pub(crate) fn preprocessing(&self) -> Option<&str> {
        self.training.preprocessing.as_deref()
    }
}

/// Warnings about `card.toml` beside the weights: the card describes other content of this very file, or the model was trained
/// for another distance or tested with another preprocessing than are `used`. Results with wrong settings look like valid
/// results. There are no warnings without a readable card, and none about the card of another file.
pub(crate) fn warnings(weights: &Path, weights_sha256: &str, used: (Distance, Option<&str>)) -> Vec<String> {
    let read = || -> Option<Card> {
        let text = rankle_files::read_text(&weights.with_file_name(CARD), LONGEST).ok()?;
        toml::from_str(&text).ok()
    };
    let Some(Card { weights: described, weights_sha256: said, training }) = read() else { return Vec::new() };
    if said != weights_sha256 {
        let other = described.is_some_and(|described| weights.file_name().is_some_and(|name| name == &*described));
        let warning = format!("{}: the card beside it is about another content of this file (SHA-256 {said})", weights.display());
        return if other { vec![warning] } else { Vec::new() };
    }
    let Training { distance, preprocessing, .. } = training;
    let ((ranked, shown), weights) = (used, weights.display());
    let distance = distance.filter(|trained| *trained != ranked.to_string());
    let distance = distance.map(|trained| format!("{weights}: trained for {trained} distances, ranked by {ranked} ones"));
    let photographs = preprocessing.zip(shown).filter(|(tested, shown)| tested != shown);
    let photographs =
        photographs.map(|(tested, shown)| format!("{weights}: tested after training with {tested}, used with {shown}"));
    distance.into_iter().chain(photographs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_distance_or_preprocessing_than_that_of_the_card_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        let said = |distance, preprocessing| warnings(&weights, "5f", (distance, preprocessing)).join("; ");
        assert_eq!(said(Distance::Cosine, None), "");
        let card = |text: &str| std::fs::write(folder.path().join("card.toml"), text).unwrap();
        card("weights_sha256 = \"5f\"\n[training]\ndistance = \"euclidean\"\nmodel = \"c2f2\"\n");
        assert_eq!(said(Distance::Euclidean, Some("resize=none")), "");
        assert!(said(Distance::Cosine, None).ends_with("trained for euclidean distances, ranked by cosine ones"));
        card("weights_sha256 = \"5f\"\n[training]\ndistance = \"cosine\"\npreprocessing = \"resize=square,edge=256\"\n");
        assert_eq!(said(Distance::Cosine, Some("resize=square,edge=256")), "");
        let message = said(Distance::Cosine, Some("resize=shorter,edge=256"));
        assert!(message.ends_with("with resize=square,edge=256, used with resize=shorter,edge=256"), "{message}");
        assert_eq!(said(Distance::Euclidean, Some("resize=none")).matches("; ").count(), 1);
        for other in
            ["weights_sha256 = \"6f\"\n[training]\ndistance = \"euclidean\"\n", "weights_sha256 = \"5f\"\n[training]\n", "?"]
        {
            card(other);
            assert_eq!(said(Distance::Cosine, Some("resize=none")), "", "{other}");
        }
        for (name, warned) in [("model.safetensors", true), ("other.safetensors", false)] {
            card(&format!("weights = \"{name}\"\nweights_sha256 = \"6f\"\n[training]\n"));
            assert_eq!(said(Distance::Cosine, None).ends_with("about another content of this file (SHA-256 6f)"), warned);
        }
    }
}
