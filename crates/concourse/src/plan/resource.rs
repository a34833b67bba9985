//! What a pipeline has beside its jobs.

use schemars::JsonSchema;
use serde::Serialize;

use crate::json::{Json, JsonMap};
use crate::spelling::Flag;

/// A named set of jobs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Names of jobs, as globs: `*`, `?`, `[a-z]`, `{a,b}`.
    #[schemars(default)]
    pub jobs: Vec<String>,
    /// Names of resources.
    #[schemars(default)]
    pub resources: Vec<String>,
}

/// Where `((name:path))` comes from.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct VarSource {
    /// What stands before the colon of a variable.
    pub name: String,
    /// `dummy`, `env` or `file`. Variables of other types, such as `vault`, have to get a value in another way.
    pub r#type: String,
    /// For `dummy` the `vars`, for `env` a `prefix`, for `file` the `path` of a YAML file beside the pipeline.
    pub config: Option<Json>,
}

/// How a web page shows a pipeline.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Display {
    /// The address of a picture.
    pub background_image: Option<String>,
    /// What the picture looks like, in terms of CSS.
    pub background_filter: Option<String>,
}

/// Something outside of the pipeline that has versions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Resource {
    /// What steps call it.
    pub name: String,
    /// A type that comes with Concourse, such as `git`, or one of `resource_types`.
    pub r#type: String,
    /// Where it is, in the type's own terms.
    #[schemars(default)]
    pub source: JsonMap,
    /// Use this version instead of the newest one.
    pub version: Option<Json>,
    /// Accepted and ignored: versions are looked for when a run needs them.
    #[serde(skip_serializing)]
    pub check_every: Option<String>,
    /// Accepted and ignored: a look for versions has the time of its step.
    #[serde(skip_serializing)]
    pub check_timeout: Option<String>,
    /// Accepted and ignored: the resource that this one was, with the history of its versions.
    #[serde(skip_serializing)]
    pub old_name: Option<String>,
    /// Accepted and ignored: there is no web page.
    #[serde(skip_serializing)]
    pub icon: Option<String>,
    /// Accepted and ignored: there is no web page.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub public: Option<bool>,
    /// Accepted and ignored: nothing listens for webhooks.
    #[serde(skip_serializing)]
    pub webhook_token: Option<String>,
    /// Accepted and ignored: there are no users.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<Flag>")]
    pub expose_build_created_by: Option<bool>,
    /// Which workers look for versions. Ignored with a notice: there is one.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub tags: Vec<String>,
}

/// A type of resources: an image with `/opt/resource/check`, `in` and `out`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ResourceType {
    /// What resources call it.
    pub name: String,
    /// How the image is fetched, such as `registry-image`.
    pub r#type: String,
    /// The image: `repository` and `tag`.
    #[schemars(default)]
    pub source: JsonMap,
    /// What the fetch of the image takes.
    #[serde(skip_serializing_if = "JsonMap::is_empty")]
    #[schemars(default)]
    pub params: JsonMap,
    /// Whether its containers get the rights of their host.
    #[schemars(with = "Option<Flag>")]
    pub privileged: Option<bool>,
    /// Values that every resource of the type starts from.
    #[schemars(default)]
    pub defaults: JsonMap,
    /// Accepted and ignored: images are looked for when a run needs them.
    #[serde(skip_serializing)]
    pub check_every: Option<String>,
    /// Which workers fetch the image. Ignored with a notice: there is one.
    #[serde(skip_serializing)]
    #[schemars(default)]
    pub tags: Vec<String>,
}

/// A type of things that take messages: an image.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Prototype {
    /// What `run` steps call it.
    pub name: String,
    /// How the image is fetched, such as `registry-image`.
    pub r#type: String,
    /// The image: `repository` and `tag`.
    #[schemars(default)]
    pub source: JsonMap,
    /// What the fetch of the image takes.
    #[schemars(default)]
    pub params: JsonMap,
    /// Whether its containers get the rights of their host.
    #[schemars(with = "Option<Flag>")]
    pub privileged: Option<bool>,
    /// Values that every message starts from.
    #[schemars(default)]
    pub defaults: JsonMap,
    /// How often a newer image is looked for.
    pub check_every: Option<String>,
    /// Which workers fetch the image.
    #[schemars(default)]
    pub tags: Vec<String>,
}
