//! The JSON Schema of pipelines, for editors.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::plan::Plan;

/// The schema as text, with a line feed at the end.
pub fn schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Plan>();
    let mut value = schema.to_value();
    without_null(&mut value);
    format!("{value:#}\n")
}

/// Optional fields are left out and never `null`.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(options)) = map.get_mut("anyOf") {
                options.retain(|option| option.get("type") != Some(&"null".into()));
            }
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            // The types are only ever written; which fields the interpreter needs is not the file's.
            map.remove("writeOnly");
            // Sizes of Rust's integers; no format that validators know. A field may have that name.
            if map.get("format").is_some_and(Value::is_string) {
                map.remove("format");
            }
            map.values_mut().for_each(without_null);
            if let Some(Value::Array(options)) = map.get("anyOf")
                && let [Value::Object(only)] = options.as_slice()
                && !only.contains_key("$ref")
            {
                let only = only.clone();
                map.remove("anyOf");
                map.extend(only);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
