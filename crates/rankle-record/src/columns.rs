//! Columns of a line, without duplicates.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A JSON object without duplicate names: readers would differ in which of two values they take.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Columns, A::Error> {
                let mut columns = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if columns.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("duplicate column `{name}`")));
                    }
                    columns.insert(name, value);
                }
                Ok(Columns(columns))
            }
        }
        deserializer.deserialize_map(Once)
    }
}
