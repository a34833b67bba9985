//! YAML documents as values of a pipeline, by the core schema of YAML 1.2.

use std::collections::{HashMap, HashSet};

use deno_core::{op2, v8};
use deno_error::JsErrorBox;
use granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

/// How deep lists and mappings may be nested.
const DEEPEST: usize = 1_000;

/// The value of a YAML document. Aliases are the same object as what they stand for.
#[op2]
pub fn op_yaml_parse<'s, 'i>(
    scope: &mut v8::PinScope<'s, 'i>,
    #[string] text: &str,
) -> Result<v8::Local<'s, v8::Value>, JsErrorBox> {
    let mut options = Options::default();
    options.emit_comments = false;
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    let mut reader = Reader { text, stack: Vec::new(), anchors: HashMap::new(), root: None };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| {
            let place = Place { line: error.marker().line(), column: error.marker().col() + 1 };
            let tab = tab_before(text, place.line, usize::MAX);
            match tab {
                Some(column) => a_tab(Place { line: place.line, column }),
                None => wrong(place, &error.info().to_lowercase()),
            }
        })?;
        reader.event(scope, event, span)?;
    }
    Ok(reader.root.unwrap_or_else(|| v8::null(scope).into()))
}

#[derive(Clone, Copy)]
struct Place {
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
}

fn wrong(place: Place, message: &str) -> JsErrorBox {
    let Place { line, column } = place;
    let message = format!("YAML.parse: {message} at line {line}, column {column}");
    JsErrorBox::new("SyntaxError", message)
}

fn a_tab(place: Place) -> JsErrorBox {
    wrong(place, "a tab in the indentation, YAML is indented with spaces,")
}

/// The column of a tab in the white space that a line starts with, before `column`.
fn tab_before(text: &str, line: usize, column: usize) -> Option<usize> {
    let content = text.lines().nth(line.checked_sub(1)?)?;
    let indent = content.chars().take_while(|c| matches!(c, ' ' | '\t')).take(column - 1);
    indent.into_iter().position(|c| c == '\t').map(|at| at + 1)
}

/// A list or mapping that has begun.
struct Open<'s> {
    anchor: usize,
    is_flow: bool,
    content: Content<'s>,
}

enum Content<'s> {
    List(v8::Local<'s, v8::Array>, u32),
    Map(Map<'s>),
}

struct Map<'s> {
    object: v8::Local<'s, v8::Object>,
    keys: HashSet<String>,
    /// The key whose value comes next, and where it is.
    key: Option<(String, Place)>,
    merges: Vec<(v8::Local<'s, v8::Value>, Place)>,
}

struct Reader<'a, 's> {
    text: &'a str,
    stack: Vec<Open<'s>>,
    anchors: HashMap<usize, v8::Local<'s, v8::Value>>,
    root: Option<v8::Local<'s, v8::Value>>,
}

impl<'s> Reader<'_, 's> {
    fn event(
        &mut self,
        scope: &mut v8::PinScope<'s, '_>,
        event: Event<'_>,
        span: Span,
    ) -> Result<(), JsErrorBox> {
        let place = Place { line: span.start.line(), column: span.start.col() + 1 };
        let is_node = matches!(
            event,
            Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::MappingStart(..)
                | Event::Alias(_)
        );
        let in_flow = self.stack.last().is_some_and(|open| open.is_flow);
        if is_node
            && !in_flow
            && let Some(column) = tab_before(self.text, place.line, place.column)
        {
            return Err(a_tab(Place { column, ..place }));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(key) = self.waits_for_key(&text, style, tag.as_deref()) {
                    return self.set_key(scope, key, anchor, &text, place);
                }
                let value = scalar(scope, &text, style, tag.as_deref(), place)?;
                self.complete(scope, value, anchor, place)
            }
            Event::SequenceStart(style, anchor, _) => {
                let list = v8::Array::new(scope, 0);
                self.open(Content::List(list, 0), style, anchor, place)
            }
            Event::MappingStart(style, anchor, _) => {
                let content = Content::Map(Map {
                    object: v8::Object::new(scope),
                    keys: HashSet::new(),
                    key: None,
                    merges: Vec::new(),
                });
                self.open(content, style, anchor, place)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { anchor, content, .. }) = self.stack.pop() else { return Ok(()) };
                let value = match content {
                    Content::List(list, _) => list.into(),
                    Content::Map(map) => merged(scope, map)?.into(),
                };
                self.complete(scope, value, anchor, place)
            }
            Event::Alias(id) => match self.anchors.get(&id).copied() {
                Some(value) => self.complete(scope, value, 0, place),
                None => Err(wrong(place, "an alias stands inside of what it refers to")),
            },
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(wrong(place, "a second document starts here, expected one"))
            }
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        content: Content<'s>,
        style: granit_parser::StructureStyle,
        anchor: usize,
        place: Place,
    ) -> Result<(), JsErrorBox> {
        if let Some(Open { content: Content::Map(Map { key: None, .. }), .. }) = self.stack.last() {
            return Err(wrong(place, "a list or a mapping as a key, expected text"));
        }
        if self.stack.len() == DEEPEST {
            return Err(wrong(place, &format!("more than {DEEPEST} levels")));
        }
        let is_flow = style == granit_parser::StructureStyle::Flow;
        self.stack.push(Open { anchor, is_flow, content });
        Ok(())
    }

    /// The text of a scalar as a key, if that is what the mapping waits for.
    ///
    /// Numbers keep the digits that were written: `3.10` and `3.1` are different keys.
    fn waits_for_key(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Option<String> {
        let Some(Open { content: Content::Map(Map { key: None, .. }), .. }) = self.stack.last()
        else {
            return None;
        };
        let is_plain = style == ScalarStyle::Plain
            && tag.is_none_or(|tag| tag.core_suffix().is_some_and(|tag| tag != "str"));
        Some(match is_plain.then(|| Plain::of(text)) {
            Some(Plain::Null) => "null".to_owned(),
            Some(Plain::Bool(value)) => value.to_string(),
            _ => text.to_owned(),
        })
    }

    fn set_key(
        &mut self,
        scope: &mut v8::PinScope<'s, '_>,
        key: String,
        anchor: usize,
        text: &str,
        place: Place,
    ) -> Result<(), JsErrorBox> {
        if anchor > 0 {
            let value = string(scope, text, place)?;
            self.anchors.insert(anchor, value);
        }
        if let Some(Open { content: Content::Map(map), .. }) = self.stack.last_mut() {
            if key != MERGE && !map.keys.insert(key.clone()) {
                return Err(wrong(place, &format!("duplicate key `{key}`")));
            }
            map.key = Some((key, place));
        }
        Ok(())
    }

    /// Puts a value where the document has it.
    fn complete(
        &mut self,
        scope: &mut v8::PinScope<'s, '_>,
        value: v8::Local<'s, v8::Value>,
        anchor: usize,
        place: Place,
    ) -> Result<(), JsErrorBox> {
        if anchor > 0 {
            self.anchors.insert(anchor, value);
        }
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(value),
            Some(Content::List(list, length)) => {
                list.set_index(scope, *length, value);
                *length += 1;
            }
            Some(Content::Map(map)) => match map.key.take() {
                Some((key, at)) if key == MERGE => map.merges.push((value, at)),
                Some((key, at)) => set(scope, map.object, &key, value, at)?,
                // An alias in the place of a key.
                None if value.is_object() => {
                    return Err(wrong(place, "a list or a mapping as a key, expected text"));
                }
                None => {
                    let key = value.to_rust_string_lossy(scope);
                    return self.set_key(scope, key, 0, "", place);
                }
            },
        }
        Ok(())
    }
}

/// The key of mappings whose keys are added, as in pipelines.
const MERGE: &str = "<<";

/// The mapping with what it merges. Its own keys win, then those that are merged first.
fn merged<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    mut map: Map<'s>,
) -> Result<v8::Local<'s, v8::Object>, JsErrorBox> {
    for (source, place) in std::mem::take(&mut map.merges) {
        let sources = match v8::Local::<v8::Array>::try_from(source) {
            Ok(list) => {
                (0..list.length()).filter_map(|index| list.get_index(scope, index)).collect()
            }
            Err(_) => vec![source],
        };
        for source in sources {
            let source = v8::Local::<v8::Object>::try_from(source)
                .ok()
                .filter(|source| !source.is_array())
                .ok_or_else(|| wrong(place, "expected a mapping to merge"))?;
            let names = source.get_own_property_names(scope, v8::GetPropertyNamesArgs::default());
            let Some(names) = names else { continue };
            for index in 0..names.length() {
                let Some(name) = names.get_index(scope, index) else { continue };
                let key = name.to_rust_string_lossy(scope);
                if map.keys.insert(key.clone())
                    && let Some(value) = source.get(scope, name)
                {
                    set(scope, map.object, &key, value, place)?;
                }
            }
        }
    }
    Ok(map.object)
}

/// Unlike an assignment, this makes a property of a key that is called `__proto__`.
fn set(
    scope: &mut v8::PinScope<'_, '_>,
    object: v8::Local<'_, v8::Object>,
    key: &str,
    value: v8::Local<'_, v8::Value>,
    place: Place,
) -> Result<(), JsErrorBox> {
    let name = v8::String::new(scope, key).ok_or_else(|| wrong(place, "too long a key"))?;
    object.create_data_property(scope, name.into(), value);
    Ok(())
}

fn string<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    text: &str,
    place: Place,
) -> Result<v8::Local<'s, v8::Value>, JsErrorBox> {
    v8::String::new(scope, text).map(Into::into).ok_or_else(|| wrong(place, "too long a text"))
}

fn scalar<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    place: Place,
) -> Result<v8::Local<'s, v8::Value>, JsErrorBox> {
    let plain = Plain::of(text);
    let is_expected = match tag.map(|tag| tag.core_suffix()) {
        None if style == ScalarStyle::Plain => true,
        Some(Some("null")) => matches!(plain, Plain::Null),
        Some(Some("bool")) => matches!(plain, Plain::Bool(_)),
        Some(Some("int")) => matches!(plain, Plain::Integer { .. }),
        Some(Some("float")) => matches!(plain, Plain::Integer { .. } | Plain::Float(_)),
        Some(Some("seq" | "map")) => false,
        _ => return string(scope, text, place),
    };
    match plain {
        _ if !is_expected => {
            let tag = tag.and_then(Tag::core_suffix).unwrap_or_default();
            Err(wrong(place, &format!("`{text}` is no `!!{tag}`")))
        }
        Plain::Null => Ok(v8::null(scope).into()),
        Plain::Bool(value) => Ok(v8::Boolean::new(scope, value).into()),
        Plain::Float(value) => Ok(v8::Number::new(scope, value).into()),
        Plain::Integer { is_negative, radix, digits } => integer(scope, is_negative, radix, digits)
            .ok_or_else(|| wrong(place, "too large a number")),
        Plain::Text => string(scope, text, place),
    }
}

/// A plain scalar.
enum Plain<'a> {
    Null,
    Bool(bool),
    Integer { is_negative: bool, radix: u32, digits: &'a str },
    Float(f64),
    Text,
}

impl<'a> Plain<'a> {
    /// What a text is by the core schema (YAML 1.2.2, 10.3.2).
    fn of(text: &'a str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            _ => {}
        }
        let is = |digits: &str, radix| {
            !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
        };
        if let Some(digits) = text.strip_prefix("0x").filter(|digits| is(digits, 16)) {
            return Self::Integer { is_negative: false, radix: 16, digits };
        }
        if let Some(digits) = text.strip_prefix("0o").filter(|digits| is(digits, 8)) {
            return Self::Integer { is_negative: false, radix: 8, digits };
        }
        let is_negative = text.starts_with('-');
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if is(digits, 10) {
            return Self::Integer { is_negative, radix: 10, digits };
        }
        if matches!(digits, ".inf" | ".Inf" | ".INF") {
            return Self::Float(if is_negative { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        if is_float(digits) {
            // What Rust refuses of it does not exist: both have the same decimal numbers.
            return text.parse().map_or(Self::Text, Self::Float);
        }
        Self::Text
    }
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    let exponent_is_right = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    has_digits && digits(whole) && digits(fraction) && exponent_is_right
}

/// A number where that is exact, else a big integer.
fn integer<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    is_negative: bool,
    radix: u32,
    digits: &str,
) -> Option<v8::Local<'s, v8::Value>> {
    /// 2^53 - 1: from here on, not every whole number is a number of JavaScript.
    const SAFE: i64 = (1 << 53) - 1;
    if let Ok(value) = i64::from_str_radix(digits, radix)
        && value <= SAFE
    {
        let value = if is_negative { -value } else { value };
        return Some(v8::Number::new(scope, value as f64).into());
    }
    // A number of that many digits takes no reasonable time to convert.
    if digits.len() > 10_000 {
        return None;
    }
    let mut words: Vec<u64> = Vec::new();
    for digit in digits.chars() {
        let mut carry = u128::from(digit.to_digit(radix)?);
        for word in &mut words {
            let product = u128::from(*word) * u128::from(radix) + carry;
            *word = product as u64;
            carry = product >> 64;
        }
        if carry > 0 {
            words.push(carry as u64);
        }
    }
    v8::BigInt::new_from_words(scope, is_negative, &words).map(Into::into)
}

/// A YAML document as JSON text, whose numbers have the digits that were written.
#[op2]
#[string]
pub fn op_yaml_to_json(#[string] text: &str) -> Result<String, JsErrorBox> {
    concourse::to_json(text)
        .map_err(|reason| JsErrorBox::new("SyntaxError", format!("YAML.asJSON: {reason}")))
}

/// A value as a YAML document.
#[op2]
#[string]
pub fn op_yaml_stringify(#[serde] value: serde_json::Value) -> Result<String, JsErrorBox> {
    serde_saphyr::to_string(&value)
        .map_err(|error| JsErrorBox::type_error(format!("YAML.stringify: {error}")))
}
