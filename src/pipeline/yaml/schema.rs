//! The JSON Schema of pipelines, for editors.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value};

use super::plan::{Do, Get, InParallel, LoadVar, Modifiers, Parallel, Plan, Put, Step, Task, Try};

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

/// One alternative a kind of step, each with its own fields and those of any step.
impl JsonSchema for Step {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let alternatives = [
            with_modifiers::<Task>(generator),
            with_modifiers::<Get>(generator),
            with_modifiers::<Put>(generator),
            with_modifiers::<Do>(generator),
            with_modifiers::<InParallel>(generator),
            with_modifiers::<Try>(generator),
            with_modifiers::<LoadVar>(generator),
        ];
        json_schema!({ "anyOf": alternatives })
    }
}

fn with_modifiers<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut own = T::json_schema(generator).to_value();
    let any = Modifiers::json_schema(generator).to_value();
    let fields = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
    let mut properties: Map<String, Value> = fields(&own);
    properties.extend(fields(&any));
    own["properties"] = properties.into();
    own["additionalProperties"] = false.into();
    own
}

/// Defines a type that stands for what a field may also be written as.
macro_rules! spelling {
    ($(#[doc = $doc:literal] $name:ident $(<$t:ident>)? = |$generator:ident| $schema:expr;)*) => {$(
        #[doc = $doc]
        pub struct $name$(<$t>(PhantomData<$t>))?;

        impl$(<$t: JsonSchema>)? JsonSchema for $name$(<$t>)? {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

/// A value that a variable may stand for.
fn or_var(schema: Value) -> Schema {
    json_schema!({ "anyOf": [schema, { "type": "string", "pattern": "\\(\\(.+\\)\\)" }] })
}

spelling! {
    /// A whole number from 1.
    Count = |_generator| or_var(serde_json::json!({ "type": "integer", "minimum": 1 }));
    /// A boolean.
    Flag = |_generator| or_var(serde_json::json!({ "type": "boolean" }));
    /// A number of values at a time, or `all`.
    Limit = |_generator| or_var(serde_json::json!({
        "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "all" }]
    }));
    /// A duration as Go writes it.
    Time = |_generator| or_var(serde_json::json!({
        "type": "string",
        "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h)\\s*)+$"
    }));
    /// A number of bytes.
    Memory = |_generator| or_var(serde_json::json!({
        "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^[0-9]+\\s*[KMGTkmgt]?[Ii]?[Bb]?$" }
        ]
    }));
    /// Anything that becomes text.
    Scalar = |_generator| json_schema!({});
    /// An image as a resource.
    Image = |_generator| json_schema!({
        "type": "object",
        "description": "The image. Drivers without images ignore it.",
        "required": ["source"],
        "properties": {
            "type": { "type": "string", "description": "How it is fetched, such as `registry-image`." },
            "source": {
                "type": "object",
                "description": "Where it is.",
                "required": ["repository"],
                "properties": {
                    "repository": { "type": "string", "description": "The image's name." },
                    "tag": { "type": ["string", "number"], "description": "The image's tag." }
                }
            },
            "params": { "type": "object", "description": "Accepted and ignored." },
            "version": { "type": "object", "description": "Accepted and ignored." },
            "name": { "type": "string", "description": "Accepted and ignored." }
        },
        "additionalProperties": false
    });
    /// One or a list of them.
    OneOrMore<T> = |generator| {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    };
    /// A list, or a variable that holds it.
    ListOf<T> = |generator| {
        let one = generator.subschema_for::<T>();
        or_var(serde_json::json!({ "type": "array", "items": one }))
    };
    /// Steps, or an object that holds them.
    ParallelSteps = |generator| {
        let steps = generator.subschema_for::<Vec<Step>>();
        let object = generator.subschema_for::<Parallel>();
        json_schema!({ "anyOf": [steps, object] })
    };
}
