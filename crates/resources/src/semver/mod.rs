//! A version number that is kept in a file of a git repository.
//!
//! What the fields mean is what they mean for <https://github.com/concourse/semver-resource> with `driver: git`.

mod bump;
mod keeper;

use semver::Version as Number;
use serde_json::Value;

use crate::destination;
use crate::error::{ResourceError, printable};
use crate::fields::{Field, Fields, Place, Shape};
use crate::git::Source;
use crate::kinds::{Invalid, Kind};
use crate::protocol::{Action, Job, Metadata, Response, version};
use crate::values::Object;

use bump::Bump;
use keeper::Keeper;

pub const KIND: Kind = Kind { name: "semver", fields: &FIELDS, validate, run };

const NOT_GIT: &str = "only `driver: git` is built in; keep the number in a file of a repository";

const BUMP: Field = Field::new("bump", Shape::Text, "`major`, `minor`, `patch` or `final`");
const PRE: Field =
    Field::new("pre", Shape::Text, "the name of a prerelease, whose number goes up or begins at 1");
const PRE_ALONE: Field =
    Field::new("pre_without_version", Shape::Flag, "the prerelease has no number");
const BUILD: Field = Field::new("build", Shape::Text, "the same as `pre` for the build");
const BUILD_ALONE: Field =
    Field::new("build_without_version", Shape::Flag, "the build has no number");

const FIELDS: Fields = Fields {
    source: &[
        Field::new("driver", Shape::Text, "`git`: required"),
        Field::new(
            "initial_version",
            Shape::Text,
            "the number while there is none, `0.0.0` if not set",
        ),
        Field::new("uri", Shape::Text, "the repository: required"),
        Field::new("branch", Shape::Text, "the branch with the file: required"),
        Field::new("file", Shape::Text, "the file with the number: required"),
        Field::secret("private_key", Shape::Text, "the key for ssh, as for `git`"),
        Field::new("username", Shape::Text, "the user for HTTP"),
        Field::secret("password", Shape::Text, "the password for HTTP"),
        Field::new("git_user", Shape::Text, "who commits: `Name <address>` or an address"),
        Field::new(
            "commit_message",
            Shape::Text,
            "the message, with `%version%` and `%file%`; `bump to %version%` if not set",
        ),
        Field::new("skip_ssl_verification", Shape::Flag, "trusts each certificate"),
        Field::refused("bucket", NOT_GIT, "of another driver"),
        Field::refused("key", NOT_GIT, "of another driver"),
        Field::refused("access_key_id", NOT_GIT, "of another driver"),
        Field::refused("secret_access_key", NOT_GIT, "of another driver"),
        Field::refused("session_token", NOT_GIT, "of another driver"),
        Field::refused("assume_role_arn", NOT_GIT, "of another driver"),
        Field::refused("region_name", NOT_GIT, "of another driver"),
        Field::refused("endpoint", NOT_GIT, "of another driver"),
        Field::refused("disable_ssl", NOT_GIT, "of another driver"),
        Field::refused("server_side_encryption", NOT_GIT, "of another driver"),
        Field::refused("skip_s3_checksums", NOT_GIT, "of another driver"),
        Field::refused("checksum_algorithm", NOT_GIT, "of another driver"),
        Field::refused("openstack", NOT_GIT, "of another driver"),
        Field::refused("json_key", NOT_GIT, "of another driver"),
        Field::refused("token", NOT_GIT, "of another driver"),
    ],
    get_params: &[BUMP, PRE, PRE_ALONE, BUILD, BUILD_ALONE],
    put_params: &[
        Field::new("file", Shape::Text, "a file with the new number"),
        BUMP,
        PRE,
        PRE_ALONE,
        BUILD,
        BUILD_ALONE,
        Field::new("get_latest", Shape::Flag, "changes nothing and gives the present number"),
    ],
};

/// What `source` says.
struct Config {
    git: Source,
    branch: String,
    file: String,
    initial: Number,
    user: Option<(String, String)>,
    message: String,
}

impl Config {
    fn parse(source: &Object<'_>) -> Result<Self, ResourceError> {
        if source.text("driver")?.as_deref() != Some("git") {
            return Err(ResourceError::failed(format!("`source.driver` is not `git`: {NOT_GIT}")));
        }
        let file = source.required("file")?;
        destination::below(std::path::Path::new("/"), "source.file", &file)?;
        if file.contains('\n') {
            return Err(source.wrong("file", "one line"));
        }
        let git = Source::parse(source)?;
        let initial = source.text("initial_version")?.unwrap_or_else(|| "0.0.0".to_owned());
        Ok(Self {
            branch: git.branch.clone().ok_or_else(|| source.wrong("branch", "set"))?,
            git,
            file: file.trim_start_matches("./").to_owned(),
            initial: number("source.initial_version", &initial)?,
            user: source.text("git_user")?.map(|user| identity(source, &user)).transpose()?,
            message: source
                .text("commit_message")?
                .unwrap_or_else(|| "bump to %version%".to_owned()),
        })
    }
}

/// `Name <address>`, or an address, which then is the name as well.
fn identity(source: &Object<'_>, user: &str) -> Result<(String, String), ResourceError> {
    let wrong = || source.wrong("git_user", "`Name <address>` or an address");
    let (name, address) = match user.trim().strip_suffix('>').and_then(|user| user.split_once('<'))
    {
        Some((name, address)) => (name.trim(), address.trim()),
        None => ("", user.trim()),
    };
    let is_wrong = |text: &str| text.contains(['<', '>']) || text.chars().any(char::is_control);
    if !address.contains('@') || address.contains(' ') || is_wrong(address) || is_wrong(name) {
        return Err(wrong());
    }
    let name = name.trim_matches('"');
    let name = if name.is_empty() { address } else { name };
    Ok((name.to_owned(), address.to_owned()))
}

fn number(place: &str, text: &str) -> Result<Number, ResourceError> {
    text.trim().parse().map_err(|error| {
        let text = printable(text.trim());
        ResourceError::failed(format!(
            "`{place}` is `{text}`, which is no number such as `1.2.3-rc.4`: {error}"
        ))
    })
}

/// What a `put` does.
enum Change {
    Set(String),
    Bump(Bump),
    Nothing,
}

impl Change {
    fn parse(params: &Object<'_>) -> Result<Self, ResourceError> {
        let (file, bump) = (params.text("file")?, Bump::parse(params)?);
        match (file, bump.is_none(), params.flag("get_latest")?) {
            (None, true, true) => Ok(Self::Nothing),
            (Some(file), true, false) => Ok(Self::Set(file)),
            (None, false, false) => Ok(Self::Bump(bump)),
            (None, true, false) => Err(ResourceError::failed(
                "a `put` needs `file`, or `bump`, `pre` or `build`, or `get_latest`",
            )),
            _ => Err(ResourceError::failed(
                "`file`, `get_latest` and the fields `bump`, `pre` and `build` exclude each other, keep one of them",
            )),
        }
    }
}

fn validate(source: &Value, get: Option<&Value>, put: Option<&Value>) -> Result<(), Invalid> {
    let parsed = Object::new("source", source).and_then(|source| Config::parse(&source));
    parsed.map_err(|error| (Place::Source, error))?;
    if let Some(get) = get {
        let parsed = Object::new("params", get).and_then(|get| Bump::parse(&get));
        parsed.map_err(|error| (Place::GetParams, error))?;
    }
    if let Some(put) = put {
        let parsed = Object::new("params", put).and_then(|put| Change::parse(&put));
        parsed.map_err(|error| (Place::PutParams, error))?;
    }
    Ok(())
}

fn run(job: &Job<'_>) -> Result<Response, ResourceError> {
    let config = Config::parse(&job.source)?;
    let given = job.version.map(|version| version.text("number")).transpose()?.flatten();
    match job.action {
        Action::Check => {
            // A number that is none is one of another source.
            let given = given.and_then(|given| given.parse().ok());
            let scratch = job.scratch()?;
            let keeper = Keeper::new(job, &config, scratch.path())?;
            let found = keeper.since(given.as_ref())?;
            Ok(Response::Versions(
                found.iter().map(|found| version("number", found.to_string())).collect(),
            ))
        }
        Action::In => {
            let given = given
                .ok_or_else(|| ResourceError::failed("the request has no `version.number`"))?;
            let bumped = Bump::parse(&job.params)?.apply(number("version.number", &given)?)?;
            let directory = job.directory()?;
            destination::prepare(directory)?;
            for name in ["number", "version"] {
                destination::write(&directory.join(name), bumped.to_string())?;
            }
            Ok(made(given))
        }
        Action::Out => {
            let directory = job.directory()?;
            let change = Change::parse(&job.params)?;
            let set = match &change {
                Change::Set(file) => {
                    Some(number("params.file", &destination::read(directory, "file", file)?)?)
                }
                _ => None,
            };
            let scratch = job.scratch()?;
            let keeper = Keeper::new(job, &config, scratch.path())?;
            let new = match (change, set) {
                (_, Some(new)) => keeper.replace(|_| Ok(new.clone()))?,
                (Change::Bump(bump), None) => keeper.replace(|present| bump.apply(present))?,
                (_, None) => keeper.present()?,
            };
            Ok(made(new.to_string()))
        }
    }
}

fn made(number: String) -> Response {
    let metadata = vec![Metadata::new("number", &*number)];
    Response::Made { version: version("number", number), metadata }
}
