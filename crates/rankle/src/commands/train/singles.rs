//! Check for classes with one training image, which have no pair for a ranking loss.

use anyhow::{Result, bail};
use rankle_data::Source;
use std::collections::HashMap;

/// Refuses training images if no class has two of them; warns if some classes have one. `first` is true if `labels` are those of
/// the first images only.
///
/// # Errors
/// Labels without two of any class.
pub(crate) fn check(name: &Source, labels: &[u32], first: bool) -> Result<()> {
    let mut classes: HashMap<u32, usize> = HashMap::new();
    labels.iter().for_each(|&label| *classes.entry(label).or_default() += 1);
    let singles = classes.values().filter(|&&images| images == 1).count();
    if singles == classes.len() {
        let help = if first { "take more images with --images" } else { "put more images into its classes" };
        bail!(
            "no class of {name} has two of the {} training images, so a ranking loss has no pair to learn from: {help}",
            labels.len()
        );
    }
    if singles > 0 {
        tracing::warn!(
            "{singles} of {} classes of {name} have one training image: there is no other for it to be near",
            classes.len()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_pair_is_refused_by_name() {
        let name = "folder:shoes".parse().unwrap();
        assert!(check(&name, &[0, 1, 0], false).is_ok());
        for (labels, first, help) in [(&[0, 1, 2][..], false, "into its classes"), (&[7], true, "--images")] {
            let message = check(&name, labels, first).unwrap_err().to_string();
            let begins = format!("no class of folder:shoes has two of the {} training images", labels.len());
            assert!(message.starts_with(&begins) && message.ends_with(help), "{message}");
        }
    }
}
