//! Names of the training images, to find changes of a folder between parts of a run.

use rankle_core::Dataset;
use std::collections::HashSet;

/// Names of all images, in order; empty if they have no names.
pub(super) fn names(dataset: &dyn Dataset) -> Vec<String> {
    (0..dataset.len()).map_while(|index| dataset.image_name(index).map(|name| name.into_owned())).collect()
}

/// Difference between two lists of names, in words: the first name that is gone and the first that is new, or the first that has
/// moved. `None` if the lists are equal, or if there were no names before.
pub(super) fn difference(before: &[String], now: &[String]) -> Option<String> {
    if before.is_empty() || before == now {
        return None;
    }
    let lost = missing_in(now, before).map(|name| format!("{name}, which is gone now"));
    let new = missing_in(before, now).map(|name| format!("no {name}, which is new"));
    let moved = || before.iter().zip(now).find(|(a, b)| a != b).map(|(a, b)| format!("{a} in the place of {b}"));
    let parts: Vec<String> = [lost, new].into_iter().flatten().collect();
    if parts.is_empty() { moved() } else { Some(parts.join(", and ")) }
}

/// The first of `names` that is not in `list`.
fn missing_in<'a>(list: &[String], names: &'a [String]) -> Option<&'a String> {
    let list: HashSet<&String> = list.iter().collect();
    names.iter().find(|name| !list.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_named() {
        let list = |names: &str| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (before, now, expected) in [
            ("a b c", "a b c", None),
            ("", "a b", None),
            ("a b c d", "a c", Some("b, which is gone now")),
            ("a c", "a b c d", Some("no b, which is new")),
            ("a b", "a c", Some("b, which is gone now, and no c, which is new")),
            ("a b c", "a c b", Some("b in the place of c")),
        ] {
            assert_eq!(difference(&list(before), &list(now)).as_deref(), expected, "{before} {now}");
        }
    }
}
