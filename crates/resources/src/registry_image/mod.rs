//! The name of an image, without the image.
//!
//! No registry is asked: the version is the tag or the digest that the source names, and a `get` leaves the files that
//! say so. What the fields mean is what they mean for <https://github.com/concourse/registry-image-resource>.

use serde_json::{Map, Value};

use crate::destination;
use crate::error::{ResourceError, printable};
use crate::fields::{Field, Fields, Place, Shape};
use crate::kinds::{Invalid, Kind};
use crate::protocol::{Action, Job, Metadata, Response, Version};
use crate::values::Object;

pub const KIND: Kind = Kind { name: "registry-image", fields: &FIELDS, validate, run };

const NOT_ASKED: &str = "no registry is asked without an engine; use a driver that has images";
const NO_NEED: &str = "no registry is asked without an engine";
const SEARCH: &str = "versions are not looked for in a registry without an engine: name one by `tag` or by a digest in `repository`";

const FIELDS: Fields = Fields {
    source: &[
        Field::new(
            "repository",
            Shape::Text,
            "the image, which may have `@` and a digest: required",
        ),
        Field::new("tag", Shape::Text, "the tag, `latest` if not set"),
        Field::without_meaning("username", NO_NEED, "for the registry"),
        Field {
            is_secret: true,
            ..Field::without_meaning("password", NO_NEED, "for the registry")
        },
        Field::without_meaning("insecure", NO_NEED, "for the registry"),
        Field::without_meaning("ca_certs", NO_NEED, "for the registry"),
        Field::without_meaning("registry_mirror", NO_NEED, "for the registry"),
        Field::without_meaning("debug", NO_NEED, "traces"),
        Field::refused("tag_regex", SEARCH, "looks for tags"),
        Field::refused("semver_constraint", SEARCH, "looks for tags"),
        Field::refused("pre_releases", SEARCH, "looks for tags"),
        Field::refused("pre_release_prefixes", SEARCH, "looks for tags"),
        Field::refused("created_at_sort", SEARCH, "looks for tags"),
        Field::refused("label_regex", SEARCH, "looks for tags"),
        Field::refused("annotation_regex", SEARCH, "looks for tags"),
        Field::refused("variant", "write the whole tag into `tag`", "is a part of tags"),
        Field::refused("platform", NOT_ASKED, "chooses an image"),
        Field::refused("content_trust", NOT_ASKED, "verifies the image"),
        Field::refused("aws_access_key_id", NOT_ASKED, "for a registry of AWS"),
        Field::refused("aws_secret_access_key", NOT_ASKED, "for a registry of AWS"),
        Field::refused("aws_session_token", NOT_ASKED, "for a registry of AWS"),
        Field::refused("aws_region", NOT_ASKED, "for a registry of AWS"),
        Field::refused("aws_role_arn", NOT_ASKED, "for a registry of AWS"),
        Field::refused("aws_role_arns", NOT_ASKED, "for a registry of AWS"),
        Field::refused("aws_account_id", NOT_ASKED, "for a registry of AWS"),
        Field::refused("aws_ecr_registry_id", NOT_ASKED, "for a registry of AWS"),
        Field::refused("azure_acr", NOT_ASKED, "for a registry of Azure"),
        Field::refused("azure_client_id", NOT_ASKED, "for a registry of Azure"),
        Field::refused("azure_environment", NOT_ASKED, "for a registry of Azure"),
        Field::refused("azure_tenant_id", NOT_ASKED, "for a registry of Azure"),
    ],
    get_params: &[
        Field::new(
            "skip_download",
            Shape::Flag,
            "`true` says that the image itself is not needed; it is never fetched here",
        ),
        Field::refused(
            "format",
            "the image itself is not fetched without an engine",
            "how the image is written",
        ),
    ],
    put_params: &[
        Field::refused("image", PUSH, "the image to push"),
        Field::refused("version", PUSH, "the version to tag"),
        Field::refused("bump_aliases", PUSH, "more tags"),
        Field::refused("additional_tags", PUSH, "more tags"),
        Field::refused("tag_prefix", PUSH, "comes before the tags"),
    ],
};

const PUSH: &str = "no image is pushed without an engine; push it in a task, with a tool such as `skopeo` or `crane`";

/// What the source names.
struct Image {
    repository: String,
    tag: String,
    digest: Option<String>,
}

impl Image {
    fn parse(source: &Object<'_>) -> Result<Self, ResourceError> {
        let repository = source.required("repository")?;
        let (repository, digest) = match repository.split_once('@') {
            Some((repository, digest)) => (repository.to_owned(), Some(valid_digest(digest)?)),
            None => (repository, None),
        };
        let is_word = |text: &str, extra: &[u8]| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || extra.contains(&byte);
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.bytes().all(allowed)
        };
        if !is_word(&repository, b".-_/:")
            || repository.rsplit('/').next().is_some_and(|name| name.contains(':'))
        {
            return Err(
                source.wrong("repository", "an image without its tag, which belongs into `tag`")
            );
        }
        let tag = source.text("tag")?.unwrap_or_else(|| "latest".to_owned());
        match is_word(&tag, b".-_") || tag.starts_with('_') && is_word(&tag[1..], b".-_") {
            true => Ok(Self { repository, tag, digest }),
            false => Err(source.wrong("tag", "a tag")),
        }
    }
}

/// `sha256:` and hexadecimal digits, or another algorithm's.
fn valid_digest(text: &str) -> Result<String, ResourceError> {
    let is_hex =
        |digits: &str| digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.split_once(':') {
        Some((algorithm, digits))
            if is_hex(digits) && algorithm.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(ResourceError::failed(format!(
            "`{}` is no digest such as `sha256:…`",
            printable(text)
        ))),
    }
}

fn validate(source: &Value, _get: Option<&Value>, put: Option<&Value>) -> Result<(), Invalid> {
    let parsed = Object::new("source", source).and_then(|source| Image::parse(&source));
    parsed.map_err(|error| (Place::Source, error))?;
    match put {
        Some(_) => Err((
            Place::PutParams,
            ResourceError::failed(format!("`registry-image` has no `put`: {PUSH}")),
        )),
        None => Ok(()),
    }
}

fn run(job: &Job<'_>) -> Result<Response, ResourceError> {
    let image = Image::parse(&job.source)?;
    let given = match job.version {
        Some(version) => (version.text("tag")?, version.text("digest")?),
        None => (None, None),
    };
    let tag = given.0.unwrap_or(image.tag);
    let digest = given.1.map(|digest| valid_digest(&digest)).transpose()?.or(image.digest);
    let mut version: Version = Map::from_iter([("tag".to_owned(), Value::String(tag.clone()))]);
    if let Some(digest) = &digest {
        version.insert("digest".to_owned(), Value::String(digest.clone()));
    }
    match job.action {
        Action::Check => return Ok(Response::Versions(vec![version])),
        Action::In => {
            if !job.params.flag("skip_download")? {
                job.log.line(
                    "`repository`, `tag` and `digest` are written, and the image itself is not fetched: there is \
                     no engine",
                );
            }
            let directory = job.directory()?;
            destination::prepare(directory)?;
            destination::write(&directory.join("repository"), &image.repository)?;
            destination::write(&directory.join("tag"), &tag)?;
            if let Some(digest) = &digest {
                destination::write(&directory.join("digest"), digest)?;
            }
        }
        Action::Out => {
            return Err(ResourceError::failed(format!("`registry-image` has no `put`: {PUSH}")));
        }
    }
    let metadata = vec![Metadata::new("repository", image.repository), Metadata::new("tag", tag)];
    Ok(Response::Made { version, metadata })
}
