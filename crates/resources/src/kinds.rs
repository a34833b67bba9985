//! The types.

use serde_json::Value;

use crate::error::ResourceError;
use crate::fields::{Fields, Place};
use crate::protocol::{Job, Response};
use crate::{file, git, mock, registry_image, semver, time};

/// What is wrong, and where.
pub type Invalid = (Place, ResourceError);

/// Source, params of `get`, params of `put`.
type Validate = fn(&Value, Option<&Value>, Option<&Value>) -> Result<(), Invalid>;

/// A resource type.
pub struct Kind {
    pub name: &'static str,
    pub fields: &'static Fields,
    /// Looks at what the table of fields cannot say.
    pub validate: Validate,
    pub run: fn(&Job<'_>) -> Result<Response, ResourceError>,
}

const KINDS: &[Kind] =
    &[file::KIND, git::KIND, mock::KIND, registry_image::KIND, semver::KIND, time::KIND];

pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The names of all types that are built in, sorted.
pub fn names() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

/// What a type knows; `None` if it is not built in.
pub fn fields(kind: &str) -> Option<&'static Fields> {
    find(kind).map(|kind| kind.fields)
}
