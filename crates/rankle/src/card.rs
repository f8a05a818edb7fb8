//! What the card beside the weights says of them, where `rankle train` left one.

use rankle_core::Distance;
use serde::Deserialize;
use std::path::Path;

/// The part of a card that tells how its model ranks.
#[derive(Deserialize)]
struct Card {
    weights_sha256: String,
    training: Training,
}

#[derive(Deserialize)]
struct Training {
    distance: Option<String>,
}

/// What has to be said where `card.toml` beside the weights is about them, and about another distance. Numbers by the wrong
/// distance look like numbers. What is no such card says nothing.
pub(crate) fn warning(weights: &Path, weights_sha256: &str, distance: Distance) -> Option<String> {
    let path = weights.with_file_name("card.toml");
    let card: Card = toml::from_str(&std::fs::read_to_string(&path).ok()?).ok()?;
    let trained = card.training.distance.filter(|_| card.weights_sha256 == weights_sha256)?;
    let other = trained != distance.to_string();
    other.then(|| format!("{}: trained for {trained} distances, ranked by {distance} ones", weights.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_distance_than_that_of_the_card_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        let said = |distance| warning(&weights, "5f", distance);
        assert_eq!(said(Distance::Cosine), None);
        let card = |text: &str| std::fs::write(folder.path().join("card.toml"), text).unwrap();
        card("weights_sha256 = \"5f\"\n[training]\ndistance = \"euclidean\"\nmodel = \"c2f2\"\n");
        assert_eq!(said(Distance::Euclidean), None);
        assert!(said(Distance::Cosine).unwrap().ends_with("trained for euclidean distances, ranked by cosine ones"));
        for other in
            ["weights_sha256 = \"6f\"\n[training]\ndistance = \"euclidean\"\n", "weights_sha256 = \"5f\"\n[training]\n", "?"]
        {
            card(other);
            assert_eq!(said(Distance::Cosine), None, "{other}");
        }
    }
}
