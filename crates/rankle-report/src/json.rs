//! JSON arrays as text.

/// Joins several pretty-printed arrays to one; the elements keep their text.
pub fn joined(arrays: &[impl AsRef<str>]) -> String {
    let inner = |array: &_| AsRef::<str>::as_ref(array).trim_end().strip_prefix("[\n")?.strip_suffix("\n]").map(str::to_owned);
    let elements: Vec<String> = arrays.iter().filter_map(inner).collect();
    if elements.is_empty() { "[]".to_owned() } else { format!("[\n{}\n]", elements.join(",\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_joined_element_by_element() {
        let arrays = ["[\n  1,\n  2\n]", "[]", "[\n  3\n]\n"];
        assert_eq!(joined(&arrays), "[\n  1,\n  2,\n  3\n]");
        assert_eq!((joined(&arrays[1..2]), joined(&arrays[..0])), ("[]".to_owned(), "[]".to_owned()));
    }
}
