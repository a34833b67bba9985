//! Which fields a type knows, and what is wrong with a configuration.

use std::fmt;

use serde_json::Value;

use crate::kinds::{self, Kind};

/// The fields of a type.
#[derive(Debug)]
pub struct Fields {
    pub source: &'static [Field],
    pub get_params: &'static [Field],
    pub put_params: &'static [Field],
}

/// One field of `source` or `params`.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub support: Support,
    /// Whether the value is hidden in what is shown.
    pub is_secret: bool,
    /// What it does, for the documentation: a fragment.
    pub about: &'static str,
}

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Flag,
    /// A whole number that is not negative.
    Number,
    /// A list of text.
    List,
    /// Anything else, which the type reads itself.
    Any,
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Supported,
    /// It changes nothing here, and says why: a notice.
    NoMeaning(&'static str),
    /// It is an error, which says why and what to use instead.
    Refused(&'static str),
}

impl Field {
    pub(crate) const fn new(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, support: Support::Supported, is_secret: false, about }
    }

    pub(crate) const fn secret(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, support: Support::Supported, is_secret: true, about }
    }

    pub(crate) const fn refused(
        name: &'static str,
        why: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, shape: Shape::Any, support: Support::Refused(why), is_secret: false, about }
    }

    pub(crate) const fn without_meaning(
        name: &'static str,
        why: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, shape: Shape::Any, support: Support::NoMeaning(why), is_secret: false, about }
    }
}

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Source,
    GetParams,
    PutParams,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::GetParams => "get params",
            Self::PutParams => "put params",
        })
    }
}

/// Something to tell the user about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// `None` if it is about several fields.
    pub field: Option<String>,
    /// Whether the configuration is valid nevertheless.
    pub is_notice: bool,
    /// A lowercase sentence that names the field.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// All problems of a configuration. `kind` has to be one of [`names`](crate::names); of another type nothing is known
/// and nothing reported. What is `None` is not looked at. Values with `((` in them stand for values that are not
/// known yet, and only their names are checked.
pub fn check_fields(
    kind: &str,
    source: Option<&Value>,
    get_params: Option<&Value>,
    put_params: Option<&Value>,
) -> Vec<Problem> {
    kinds::find(kind).map_or_else(Vec::new, |kind| problems(kind, source, get_params, put_params))
}

pub(crate) fn problems(
    kind: &Kind,
    source: Option<&Value>,
    get_params: Option<&Value>,
    put_params: Option<&Value>,
) -> Vec<Problem> {
    let parts = [
        (Place::Source, source, kind.fields.source),
        (Place::GetParams, get_params, kind.fields.get_params),
        (Place::PutParams, put_params, kind.fields.put_params),
    ];
    let mut problems = Vec::new();
    for (place, value, fields) in parts {
        problems
            .extend(value.into_iter().flat_map(|value| of_part(kind.name, place, value, fields)));
    }
    let is_known = |value: &Value| !value.to_string().contains("((");
    if problems.iter().all(|problem| problem.is_notice)
        && [source, get_params, put_params].into_iter().flatten().all(is_known)
        && let Some(source) = source
        && let Err((place, error)) = (kind.validate)(source, get_params, put_params)
    {
        let message = error.to_string();
        problems.push(Problem { place, field: None, is_notice: false, message });
    }
    problems
}

fn of_part(kind: &str, place: Place, value: &Value, known: &[Field]) -> Vec<Problem> {
    let problem = |field: Option<&str>, is_notice: bool, message: String| Problem {
        place,
        field: field.map(str::to_owned),
        is_notice,
        message,
    };
    let fields = match value {
        Value::Null => return Vec::new(),
        Value::Object(fields) => fields,
        _ => return vec![problem(None, false, format!("the {place} of `{kind}` are no mapping"))],
    };
    let mut problems = Vec::new();
    for (name, value) in fields {
        let Some(field) = known.iter().find(|field| field.name == name) else {
            let names: Vec<&str> = known.iter().map(|field| field.name).collect();
            let known = match names.as_slice() {
                [] => "it has none".to_owned(),
                names => {
                    format!("it has {}", spec::suggest::listed(names).replace(" or ", " and "))
                }
            };
            let suggestion = spec::suggest::did_you_mean(name, &names);
            let shown = crate::error::printable(name);
            let rest = if suggestion.is_empty() { format!("; {known}") } else { suggestion };
            problems.push(problem(
                Some(name),
                false,
                format!("the {place} of `{kind}` have no field `{shown}`{rest}"),
            ));
            continue;
        };
        match field.support {
            Support::Supported => {}
            Support::NoMeaning(why) => {
                problems.push(problem(
                    Some(name),
                    true,
                    format!("`{name}` changes nothing here: {why}"),
                ));
                continue;
            }
            Support::Refused(why) => {
                problems.push(problem(
                    Some(name),
                    false,
                    format!("`{name}` is not supported: {why}"),
                ));
                continue;
            }
        }
        if let Some(expected) = field.shape.violated(value) {
            problems.push(problem(Some(name), false, format!("`{name}` is not {expected}")));
        }
    }
    problems
}

impl Shape {
    /// What a value should be, if it is something else.
    fn violated(self, value: &Value) -> Option<&'static str> {
        if value.is_null() || value.as_str().is_some_and(|text| text.contains("((")) {
            return None;
        }
        let scalar = |value: &Value| crate::values::scalar(value);
        let (is_right, expected) = match self {
            Self::Text => (scalar(value).is_some(), "text"),
            Self::Flag => (
                scalar(value).is_some_and(|text| text == "true" || text == "false"),
                "`true` or `false`",
            ),
            Self::Number => (
                scalar(value).is_some_and(|text| text.parse::<u64>().is_ok()),
                "a whole number, 0 or more",
            ),
            Self::List => (
                value
                    .as_array()
                    .is_some_and(|items| items.iter().all(|item| scalar(item).is_some())),
                "a list of text",
            ),
            Self::Any => (true, ""),
        };
        (!is_right).then_some(expected)
    }
}
