//! Values of a request, as what they have to be.

use serde_json::{Map, Value};

use crate::error::ResourceError;

/// The fields of `source`, `params` or `version`.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    /// What it is called in an error.
    place: &'static str,
    fields: Option<&'a Map<String, Value>>,
}

impl<'a> Object<'a> {
    pub fn new(place: &'static str, value: &'a Value) -> Result<Self, ResourceError> {
        let fields = match value {
            Value::Null => None,
            Value::Object(fields) => Some(fields),
            _ => return Err(ResourceError::failed(format!("`{place}` is no mapping"))),
        };
        Ok(Self { place, fields })
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_none_or(Map::is_empty)
    }

    /// `null` counts as missing.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.fields?.get(name).filter(|value| !value.is_null())
    }

    /// Empty text counts as missing. Numbers and flags are text as well, as YAML reads `branch: 1` as a number.
    pub fn text(&self, name: &str) -> Result<Option<String>, ResourceError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let text = scalar(value).ok_or_else(|| self.wrong(name, "text"))?;
        Ok((!text.is_empty()).then_some(text))
    }

    pub fn flag(&self, name: &str) -> Result<bool, ResourceError> {
        Ok(self.optional_flag(name)?.unwrap_or(false))
    }

    pub fn optional_flag(&self, name: &str) -> Result<Option<bool>, ResourceError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(self.wrong(name, "`true` or `false`")),
        }
    }

    /// A whole number that is not negative.
    pub fn number(&self, name: &str) -> Result<Option<u64>, ResourceError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.wrong(name, "a whole number, 0 or more"))
    }

    pub fn list(&self, name: &str) -> Result<Vec<String>, ResourceError> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| self.wrong(name, "a list of text"))?;
        items
            .iter()
            .map(|item| scalar(item).ok_or_else(|| self.wrong(name, "a list of text")))
            .collect()
    }

    pub fn object(&self, name: &'static str) -> Result<Object<'a>, ResourceError> {
        let value = self.value(name).unwrap_or(&Value::Null);
        Object::new(name, value)
    }

    pub fn objects(&self, name: &'static str) -> Result<Vec<Object<'a>>, ResourceError> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| self.wrong(name, "a list of mappings"))?;
        items.iter().map(|item| Object::new(name, item)).collect()
    }

    /// Reports names that are none of these.
    pub fn only(&self, known: &[&str]) -> Result<(), ResourceError> {
        let unknown = self
            .fields
            .into_iter()
            .flat_map(Map::keys)
            .find(|name| !known.contains(&name.as_str()));
        match unknown {
            None => Ok(()),
            Some(name) => Err(ResourceError::failed(format!(
                "`{}` has no field `{}`{}; it has {}",
                self.place,
                crate::error::printable(name),
                spec::suggest::did_you_mean(name, known),
                spec::suggest::listed(known).replace(" or ", " and ")
            ))),
        }
    }

    pub fn required(&self, name: &str) -> Result<String, ResourceError> {
        self.text(name)?.ok_or_else(|| {
            ResourceError::failed(format!("`{}.{name}` is missing or empty", self.place))
        })
    }

    pub fn wrong(&self, name: &str, expected: &str) -> ResourceError {
        ResourceError::failed(format!("`{}.{name}` is not {expected}", self.place))
    }
}

/// The text of a scalar.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
