//! The next number.

use semver::{BuildMetadata, Prerelease, Version as Number};

use crate::error::ResourceError;
use crate::values::Object;

/// Which part of a number goes up.
pub struct Bump {
    part: Option<Part>,
    pre: Option<Label>,
    build: Option<Label>,
}

#[derive(Clone, Copy)]
enum Part {
    Major,
    Minor,
    Patch,
    /// What comes after the three numbers is taken away.
    Final,
}

/// A name, and a number after it.
struct Label {
    name: String,
    is_alone: bool,
}

impl Bump {
    pub fn parse(params: &Object<'_>) -> Result<Self, ResourceError> {
        let part = match params.text("bump")?.as_deref() {
            None => None,
            Some("major") => Some(Part::Major),
            Some("minor") => Some(Part::Minor),
            Some("patch") => Some(Part::Patch),
            Some("final") => Some(Part::Final),
            Some(_) => return Err(params.wrong("bump", "`major`, `minor`, `patch` or `final`")),
        };
        let label = |name: &str, alone: &str| -> Result<Option<Label>, ResourceError> {
            let is_alone = params.flag(alone)?;
            match params.text(name)? {
                Some(text) if Prerelease::new(&text).is_err() => {
                    Err(params.wrong(name, "a name of letters, digits and `-`"))
                }
                Some(name) => Ok(Some(Label { name, is_alone })),
                None if is_alone => Err(ResourceError::failed(format!("`{alone}` needs `{name}`"))),
                None => Ok(None),
            }
        };
        Ok(Self {
            part,
            pre: label("pre", "pre_without_version")?,
            build: label("build", "build_without_version")?,
        })
    }

    pub fn is_none(&self) -> bool {
        self.part.is_none() && self.pre.is_none() && self.build.is_none()
    }

    pub fn apply(&self, mut number: Number) -> Result<Number, ResourceError> {
        let too_large = || {
            ResourceError::failed(format!("`{number}` cannot be bumped, its number is too large"))
        };
        if let Some(part) = self.part {
            let (major, minor, patch) = (number.major, number.minor, number.patch);
            let up = |number: u64| number.checked_add(1).ok_or_else(too_large);
            let (major, minor, patch) = match part {
                Part::Major => (up(major)?, 0, 0),
                Part::Minor => (major, up(minor)?, 0),
                Part::Patch => (major, minor, up(patch)?),
                Part::Final => (major, minor, patch),
            };
            let build = number.build.clone();
            number = Number { major, minor, patch, pre: Prerelease::EMPTY, build };
        }
        let wrong = |error: semver::Error| {
            ResourceError::failed(format!("cannot bump the number: {error}"))
        };
        if let Some(label) = &self.pre {
            number.pre = Prerelease::new(&label.after(&number.pre)).map_err(wrong)?;
        }
        if let Some(label) = &self.build {
            number.build = BuildMetadata::new(&label.after(&number.build)).map_err(wrong)?;
        }
        Ok(number)
    }
}

impl Label {
    fn after(&self, present: &str) -> String {
        if self.is_alone {
            return self.name.clone();
        }
        let rest = present.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('.'));
        let last = rest.and_then(|rest| rest.split('.').next()?.parse::<u64>().ok()).unwrap_or(0);
        format!("{}.{}", self.name, last.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_go_up() {
        for (from, params, expected) in [
            ("1.2.3", json!({ "bump": "major" }), "2.0.0"),
            ("1.2.3-rc.1", json!({ "bump": "minor" }), "1.3.0"),
            ("1.2.3", json!({ "bump": "patch" }), "1.2.4"),
            ("1.2.3-rc.1", json!({ "bump": "final" }), "1.2.3"),
            ("1.2.3", json!({ "pre": "rc" }), "1.2.3-rc.1"),
            ("1.2.3-rc.9", json!({ "pre": "rc" }), "1.2.3-rc.10"),
            ("1.2.3-alpha.2", json!({ "pre": "beta" }), "1.2.3-beta.1"),
            ("1.2.3-rc", json!({ "pre": "rc" }), "1.2.3-rc.1"),
            ("1.2.3-rc.1", json!({ "bump": "patch", "pre": "rc" }), "1.2.4-rc.1"),
            ("1.2.3", json!({ "pre": "SNAPSHOT", "pre_without_version": true }), "1.2.3-SNAPSHOT"),
            ("1.2.3", json!({ "build": "b" }), "1.2.3+b.1"),
            ("1.2.3-rc.1+b.1", json!({ "pre": "rc", "build": "b" }), "1.2.3-rc.2+b.2"),
            ("1.2.3", json!({}), "1.2.3"),
        ] {
            let bump = Bump::parse(&Object::new("params", &params).unwrap()).unwrap();
            assert_eq!(
                bump.apply(from.parse().unwrap()).unwrap().to_string(),
                expected,
                "{params}"
            );
        }
        let bump =
            Bump::parse(&Object::new("params", &json!({ "bump": "major" })).unwrap()).unwrap();
        assert!(bump.apply(Number::new(u64::MAX, 0, 0)).is_err());
    }
}
