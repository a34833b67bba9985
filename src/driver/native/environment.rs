//! The variables that a task sees.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use nix::unistd::geteuid;

use super::user::{Owner, own_name};
use crate::driver::DriverError;
use crate::process::state::home;

/// Where commands are looked for when this machine does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every task of a run gets, read once.
#[derive(Debug)]
pub struct Environment {
    /// In order, names unique.
    base: Vec<(String, String)>,
}

impl Environment {
    /// Reads the variables that tasks always have, and those of these names if they are set.
    pub fn new(passed: &[String]) -> Result<Self, DriverError> {
        let host = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let or_home = || home(geteuid()).to_string_lossy().into_owned();
        let mut base = Vec::new();
        let mut add = |name: &str, value: String| set(&mut base, name, value);
        add("PATH", path());
        add("HOME", host("HOME").unwrap_or_else(or_home));
        add("USER", host("USER").unwrap_or_else(own_name));
        add("LANG", host("LANG").unwrap_or_else(|| "C.UTF-8".into()));
        for name in passed {
            match std::env::var(name) {
                Ok(value) => add(name, value),
                Err(std::env::VarError::NotPresent) => {}
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(DriverError::Refused(format!(
                        "the variable `{name}` is not valid UTF-8, leave it out of `env=`"
                    )));
                }
            }
        }
        Ok(Self { base })
    }

    /// The variables of one task as `NAME=value`, and its `PATH`.
    pub fn of_task<'a>(
        &self,
        owner: Option<&Owner>,
        tmp: &Path,
        pipeline: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
    ) -> (Vec<String>, String) {
        let tmp = tmp.to_string_lossy();
        let mut all = Variables::default();
        for (name, value) in &self.base {
            all.set(name, value);
        }
        all.set("TMPDIR", &tmp);
        let home = owner.map(|owner| owner.home.to_string_lossy());
        if let (Some(owner), Some(home)) = (owner, &home) {
            all.set("USER", &owner.name);
            all.set("HOME", home);
        }
        let pipeline: Vec<_> = pipeline.collect();
        for (name, value) in &pipeline {
            all.set(name, value);
        }
        let path = all.get("PATH").unwrap_or(DEFAULT_PATH).to_owned();
        (all.list.iter().map(|(name, value)| format!("{name}={value}")).collect(), path)
    }
}

/// Variables in the order in which they came first. A pipeline may set hundreds of thousands.
#[derive(Default)]
struct Variables<'a> {
    list: Vec<(&'a str, &'a str)>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Variables<'a> {
    fn set(&mut self, name: &'a str, value: &'a str) {
        match self.places.entry(name) {
            Entry::Occupied(place) => self.list[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.places.get(name).map(|place| self.list[*place].1)
    }
}

fn set(variables: &mut Vec<(String, String)>, name: &str, value: String) {
    match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => variables.push((name.to_owned(), value)),
    }
}

/// This machine's `PATH`, without entries that no text can express.
fn path() -> String {
    let Some(path) = std::env::var_os("PATH").filter(|path| !path.is_empty()) else {
        return DEFAULT_PATH.into();
    };
    let entries: Vec<String> = std::env::split_paths(&path)
        .filter_map(|entry| entry.into_os_string().into_string().ok())
        .collect();
    entries.join(":")
}
