//! Which parts of a request are secret.

use mask::{SecretSet, SecretValue};
use serde_json::Value;

use crate::fields::{Field, Fields};
use crate::protocol::Request;

/// What is secret below a field that holds several values.
const NESTED: &[&str] =
    &["password", "private_key", "private_key_passphrase", "proxy_password", "value"];

/// The values of all secret fields, and passwords in addresses.
pub fn of(fields: &Fields, request: &Request) -> SecretSet {
    let mut found = Vec::new();
    let all = [
        (&request.source, fields.source),
        (&request.params, fields.get_params),
        (&request.params, fields.put_params),
    ];
    for (values, fields) in all {
        for Field { name, .. } in fields.iter().filter(|field| field.is_secret) {
            match &values[*name] {
                Value::String(text) => found.push(text.clone()),
                other => nested(other, &mut found),
            }
        }
    }
    for value in request.source.as_object().into_iter().flat_map(serde_json::Map::values) {
        found.extend(value.as_str().and_then(in_address).into_iter().flatten());
    }
    SecretSet::new(found.into_iter().map(|text| ("source", SecretValue::new(text))))
}

fn nested(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| nested(item, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if NESTED.contains(&name.as_str()) => {
                        found.push(text.clone())
                    }
                    other => nested(other, found),
                }
            }
        }
        _ => {}
    }
}

/// The password of an address, as it stands there and decoded.
fn in_address(text: &str) -> Option<Vec<String>> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let secret = match user.split_once(':') {
        Some((_, password)) => password,
        // A user name alone can be a token, but not for ssh.
        None if scheme.to_ascii_lowercase().starts_with("http") => user,
        None => return None,
    };
    Some([Some(secret.to_owned()), spec::percent_decoded(secret)].into_iter().flatten().collect())
}
