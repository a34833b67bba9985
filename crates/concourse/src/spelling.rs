//! What a field may also be written as, for the JSON Schema.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

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
    /// A whole number, of which 0 sets no bound.
    Bound = |_generator| or_var(serde_json::json!({ "type": "integer", "minimum": 0 }));
    /// A boolean.
    Flag = |_generator| or_var(serde_json::json!({
        "anyOf": [{ "type": "boolean" }, { "enum": ["yes", "no", "on", "off"] }]
    }));
    /// A number of values at a time, or `all`.
    Limit = |_generator| or_var(serde_json::json!({
        "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "all" }]
    }));
    /// A duration as Go writes it.
    Time = |_generator| or_var(serde_json::json!({
        "type": "string",
        "pattern": "^([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h)\\s*)+$"
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
}
