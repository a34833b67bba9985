//! Values of any kind, whose numbers keep the digits that the file has.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A value as JSON has it.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Json {
    Null,
    Bool(bool),
    Number(Box<RawValue>),
    Text(String),
    List(Vec<Json>),
    Map(JsonMap),
}

/// Fields, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct JsonMap(pub Vec<(String, Json)>);

impl Json {
    /// A number as it is written, or text where JSON has no such number: `0755`, `.5`, `0x1F`.
    pub fn number(text: &str) -> Self {
        match RawValue::from_string(text.to_owned()) {
            Ok(number) => Self::Number(number),
            Err(_) => Self::Text(text.to_owned()),
        }
    }

    /// What serializes as JSON, with all digits of its numbers.
    pub fn of(value: &impl Serialize) -> Self {
        serde_json::to_string(value)
            .and_then(|text| serde_json::from_str(&text))
            .unwrap_or(Self::Null)
    }

    /// Whether it says nothing, as an empty list.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::List(items) => items.is_empty(),
            Self::Map(fields) => fields.is_empty(),
            _ => false,
        }
    }
}

/// As text, without line ends.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl JsonMap {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Serialize for JsonMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// From JSON text only: no other format says how a number was written.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let parsed = match text.bytes().next() {
            Some(b'n') => Ok(Self::Null),
            Some(b't' | b'f') => serde_json::from_str(text).map(Self::Bool),
            Some(b'"') => serde_json::from_str(text).map(Self::Text),
            Some(b'[') => serde_json::from_str(text).map(Self::List),
            Some(b'{') => serde_json::from_str(text).map(Self::Map),
            _ => Ok(Self::Number(raw)),
        };
        parsed.map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for JsonMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = JsonMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonMap, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(JsonMap(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        serde_json::Value::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        serde_json::Value::json_schema(generator)
    }
}

impl JsonSchema for JsonMap {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        serde_json::Map::<String, serde_json::Value>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        serde_json::Map::<String, serde_json::Value>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stay() {
        let text = r#"{"b":[1.10,12345678901234567890,-0,1e3],"a":{"x":"0755"}}"#;
        let value: Json = serde_json::from_str(text).unwrap();
        assert_eq!(value.to_string(), text);
        assert_eq!(Json::of(&value).to_string(), text);
        assert_eq!(Json::number("1.10").to_string(), "1.10");
        assert_eq!(Json::number("0755").to_string(), "\"0755\"");
        assert_eq!(Json::number("0x1F").to_string(), "\"0x1F\"");
    }
}
