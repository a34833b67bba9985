//! A directory of this machine.

mod copy;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::destination;
use crate::error::{ResourceError, printable};
use crate::fields::{Field, Fields, Place, Shape};
use crate::kinds::{Invalid, Kind};
use crate::protocol::{Action, Job, Response, version};
use crate::values::Object;

pub const KIND: Kind = Kind { name: "file", fields: &FIELDS, validate, run };

const FIELDS: Fields = Fields {
    source: &[Field::new("path", Shape::Text, "the directory, an absolute path: required")],
    get_params: &[],
    put_params: &[Field::new(
        "path",
        Shape::Text,
        "the directory whose content is copied there: required",
    )],
};

fn validate(source: &Value, _get: Option<&Value>, put: Option<&Value>) -> Result<(), Invalid> {
    Object::new("source", source)
        .and_then(|source| root(&source))
        .map_err(|error| (Place::Source, error))?;
    if let Some(put) = put {
        Object::new("params", put)
            .and_then(|put| put.required("path"))
            .map_err(|error| (Place::PutParams, error))?;
    }
    Ok(())
}

fn root(source: &Object<'_>) -> Result<PathBuf, ResourceError> {
    let path = source.required("path")?;
    if !path.starts_with('/') || path.contains('\0') {
        return Err(ResourceError::failed(format!(
            "`source.path` is `{}`, which is no absolute path",
            printable(&path)
        )));
    }
    Ok(path.into())
}

fn run(job: &Job<'_>) -> Result<Response, ResourceError> {
    let root = root(&job.source)?;
    let name = root.to_string_lossy().into_owned();
    match job.action {
        Action::Check => {
            require(&root)?;
            return Ok(Response::Versions(vec![version("path", name)]));
        }
        Action::In => {
            let given = job.version.map(|version| version.text("path")).transpose()?.flatten();
            if given.is_some_and(|given| given != name) {
                return Err(ResourceError::failed(format!(
                    "the version is of another directory than `{}`",
                    printable(&name)
                )));
            }
            require(&root)?;
            destination::prepare(job.directory()?)?;
            copy::tree(&root, job.directory()?)?;
        }
        Action::Out => {
            let from =
                destination::inside(job.directory()?, "path", &job.params.required("path")?)?;
            require(&from)?;
            fs::create_dir_all(&root).map_err(ResourceError::io("make", &root))?;
            copy::tree(&from, &root)?;
        }
    }
    Ok(Response::Made { version: version("path", name), metadata: Vec::new() })
}

fn require(directory: &Path) -> Result<(), ResourceError> {
    if directory.is_dir() {
        return Ok(());
    }
    Err(ResourceError::failed(format!(
        "`{}` is no directory",
        printable(&directory.to_string_lossy())
    )))
}
