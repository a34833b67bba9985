//! Versions and files that the configuration itself gives, for trying out pipelines.
//!
//! What the fields mean is what they mean for <https://github.com/concourse/mock-resource>.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use serde_json::Value;

use crate::destination;
use crate::error::ResourceError;
use crate::fields::{Field, Fields, Place, Shape};
use crate::kinds::{Invalid, Kind};
use crate::protocol::{Action, Job, Metadata, Response, version};
use crate::time::duration;
use crate::values::Object;

pub const KIND: Kind = Kind { name: "mock", fields: &FIELDS, validate, run };

/// The version if nothing names one.
const DEFAULT: &str = "mock";

const NO_IMAGE: &str = "the type is built in and has no image; name one with `registry-image`";

const FIELDS: Fields = Fields {
    source: &[
        Field::new(
            "initial_version",
            Shape::Text,
            "the version of the first check, `mock` if not set",
        ),
        Field::new("no_initial_version", Shape::Flag, "the first check gives no version"),
        Field::new("force_version", Shape::Text, "the version of each check"),
        Field::refused("mirror_self", NO_IMAGE, "fetches the type's own image"),
        Field::new("create_files", Shape::Any, "paths and contents of files that `get` makes"),
        Field::new("metadata", Shape::Any, "a list of `name` and `value` to answer with"),
        Field::new("check_delay", Shape::Text, "how long a check takes, such as `1s`"),
        Field::new("check_failure", Shape::Text, "the message with which each check fails"),
        Field::new("log", Shape::Text, "a message for each action"),
    ],
    get_params: &[
        Field::new(
            "create_files_via_params",
            Shape::Any,
            "more files, which come before those of the source",
        ),
        Field::refused("mirror_self_via_params", NO_IMAGE, "fetches the type's own image"),
    ],
    put_params: &[
        Field::new(
            "version",
            Shape::Text,
            "the new version, `mock` if neither this nor `file` is set",
        ),
        Field::new("file", Shape::Text, "a file with the new version"),
        Field::new("print_env", Shape::Flag, "prints the variables of the environment"),
    ],
};

fn validate(source: &Value, get: Option<&Value>, put: Option<&Value>) -> Result<(), Invalid> {
    let source_of = || {
        let source = Object::new("source", source)?;
        source.object("create_files")?;
        metadata(&source)?;
        source.text("check_delay")?.map(|text| duration("check_delay", &text)).transpose()
    };
    source_of().map_err(|error| (Place::Source, error))?;
    if let Some(get) = get {
        let files =
            Object::new("params", get).and_then(|get| get.object("create_files_via_params"));
        files.map_err(|error| (Place::GetParams, error))?;
    }
    if let Some(put) = put {
        let put = Object::new("params", put).map_err(|error| (Place::PutParams, error))?;
        if put.value("version").is_some() && put.value("file").is_some() {
            let error = ResourceError::failed(
                "`version` and `file` both name the version, keep one of them",
            );
            return Err((Place::PutParams, error));
        }
    }
    Ok(())
}

fn metadata(source: &Object<'_>) -> Result<Vec<Metadata>, ResourceError> {
    let items = source.objects("metadata")?.into_iter();
    items
        .map(|item| {
            item.only(&["name", "value"])?;
            Ok(Metadata::new(&item.required("name")?, item.text("value")?.unwrap_or_default()))
        })
        .collect()
}

fn run(job: &Job<'_>) -> Result<Response, ResourceError> {
    let source = &job.source;
    if let Some(text) = source.text("log")? {
        job.log.line(&text);
    }
    let given = job.version.map(|version| version.text("version")).transpose()?.flatten();
    match job.action {
        Action::Check => check(source, given),
        Action::In => {
            let given = given
                .ok_or_else(|| ResourceError::failed("the request has no `version.version`"))?;
            get(job, &given)?;
            made(source, given)
        }
        Action::Out => put(job),
    }
}

fn made(source: &Object<'_>, given: String) -> Result<Response, ResourceError> {
    Ok(Response::Made { version: version("version", given), metadata: metadata(source)? })
}

fn check(source: &Object<'_>, given: Option<String>) -> Result<Response, ResourceError> {
    if let Some(delay) = source.text("check_delay")? {
        thread::sleep(duration("check_delay", &delay)?);
    }
    if let Some(message) = source.text("check_failure")? {
        return Err(ResourceError::failed(format!(
            "the check fails by `check_failure`: {message}"
        )));
    }
    let initial = match source.flag("no_initial_version")? {
        true => None,
        false => Some(source.text("initial_version")?.unwrap_or_else(|| DEFAULT.to_owned())),
    };
    let found = source.text("force_version")?.or(given).or(initial);
    Ok(Response::Versions(found.map(|found| version("version", found)).into_iter().collect()))
}

fn get(job: &Job<'_>, given: &str) -> Result<(), ResourceError> {
    let directory = job.directory()?;
    destination::prepare(directory)?;
    destination::write(&directory.join("privileged"), "false\n")?;
    destination::write(&directory.join("version"), format!("{given}\n"))?;
    let mut files = BTreeMap::new();
    for (values, name) in
        [(&job.request.source, "create_files"), (&job.request.params, "create_files_via_params")]
    {
        files.extend(values[name].as_object().into_iter().flatten());
    }
    for (path, content) in files {
        let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
        // The way to have variables of a pipeline in a file that is a pipeline.
        let text = text.replace("START_VAR", "((").replace("END_VAR", "))");
        let file = destination::below(directory, "create_files", path)?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(ResourceError::io("make", folder))?;
        }
        destination::write(&file, text)?;
    }
    Ok(())
}

fn put(job: &Job<'_>) -> Result<Response, ResourceError> {
    let params = &job.params;
    let new = match (params.text("version")?, params.text("file")?) {
        (Some(version), _) => version,
        (None, Some(file)) => destination::read(job.directory()?, "file", &file)?,
        (None, None) => DEFAULT.to_owned(),
    };
    if params.flag("print_env")? {
        for (name, value) in std::env::vars_os() {
            job.log.line(&format!("{}={}", name.to_string_lossy(), value.to_string_lossy()));
        }
    }
    made(&job.source, new)
}
