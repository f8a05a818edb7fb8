//! Header of a safetensors file: eight bytes for the length, then JSON of that length.

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// First name that occurs twice in the header; `None` if there is none, or if the header is not valid.
pub(super) fn twice(bytes: &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    serde_json::Deserializer::from_slice(header).deserialize_map(Twice).ok()?
}

struct Twice;

impl<'a> Visitor<'a> for Twice {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names of tensors")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        let (mut names, mut twice) = (HashSet::new(), None);
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if let Some(name) = names.replace(name) {
                twice = twice.or(Some(name));
            }
        }
        Ok(twice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_found() {
        let file = |json: &str| [&(json.len() as u64).to_le_bytes(), json.as_bytes(), &[0; 8]].concat();
        let info = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
        assert_eq!(twice(&file(&format!(r#"{{"a":{info},"b":{info},"\u0061":{info}}}"#))).as_deref(), Some("a"));
        for fine in [&*file(&format!(r#"{{"__metadata__":{{"a":"x"}},"a":{info}}}"#)), &file("[]"), &file("{"), b"", &[0xFF; 20]]
        {
            assert_eq!(twice(fine), None);
        }
    }
}
