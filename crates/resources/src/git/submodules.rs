//! Checks out submodules.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::ResourceError;

use super::get::{Params, Submodules};
use super::runner::{Git, GitFailure};
use super::source::{Source, SubmoduleCredentials};

/// One of `.gitmodules`.
#[derive(Default)]
struct Submodule {
    path: String,
    url: String,
}

pub fn update(git: &Git<'_>, source: &Source, params: &Params) -> Result<(), ResourceError> {
    if params.submodules == Submodules::None {
        return Ok(());
    }
    let all = all(git)?;
    if let Submodules::Paths(paths) = &params.submodules {
        let known: Vec<&str> = all.iter().map(|submodule| submodule.path.as_str()).collect();
        if let Some(path) = paths.iter().find(|path| !known.contains(&path.trim_end_matches('/'))) {
            let suggestion = spec::suggest::did_you_mean(path, &known);
            let path = crate::error::printable(path);
            return Err(ResourceError::failed(format!(
                "there is no submodule `{path}`{suggestion}"
            )));
        }
    }
    for submodule in all {
        let is_wanted = match &params.submodules {
            Submodules::Paths(paths) => {
                paths.iter().any(|path| path.trim_end_matches('/') == submodule.path)
            }
            _ => true,
        };
        if is_wanted {
            update_one(git, source, params, &submodule)?;
        }
    }
    Ok(())
}

fn all(git: &Git<'_>) -> Result<Vec<Submodule>, ResourceError> {
    if !git.directory.join(".gitmodules").is_file() {
        return Ok(Vec::new());
    }
    let args =
        ["config", "--file", ".gitmodules", "-z", "--get-regexp", r"^submodule\..*\.(path|url)$"];
    let output = match git.run(args) {
        Ok(output) => output,
        // Nothing in the file is found.
        Err(failure) if failure.says("exit status: 1") => return Ok(Vec::new()),
        Err(failure) => return Err(failure.because("read `.gitmodules`")),
    };
    let mut found = BTreeMap::<String, Submodule>::new();
    for record in String::from_utf8_lossy(&output).split('\0').filter(|record| !record.is_empty()) {
        let (name, value) = record.split_once('\n').unwrap_or((record, ""));
        let Some((name, field)) = name.rsplit_once('.') else { continue };
        let submodule = found.entry(name.to_owned()).or_default();
        match field {
            "path" => submodule.path = value.to_owned(),
            _ => submodule.url = value.to_owned(),
        }
    }
    Ok(found.into_values().filter(|submodule| !submodule.path.is_empty()).collect())
}

fn update_one(
    git: &Git<'_>,
    source: &Source,
    params: &Params,
    submodule: &Submodule,
) -> Result<(), ResourceError> {
    let path = &submodule.path;
    let is_there = git.run(["ls-files", "--error-unmatch", "--stage", "--", path]);
    if is_there.is_err() || !git.directory.join(path).exists() {
        git.log.line(&format!(
            "the submodule `{path}` is not in this commit, or not checked out: skipped"
        ));
        return Ok(());
    }
    let key = source.submodules.iter().find_map(|credentials| match credentials {
        SubmoduleCredentials::Ssh { url, key } if *url == submodule.url => Some(key),
        _ => None,
    });
    let git = match key {
        Some(key) => &git.with(git.environment.with_key(source, key)?),
        None => git,
    };
    let mut args = vec![
        "submodule".to_owned(),
        "--quiet".to_owned(),
        "update".to_owned(),
        "--init".to_owned(),
    ];
    args.extend(params.depth.map(|depth| format!("--depth={depth}")));
    args.extend(params.submodule_remote.then(|| "--remote".to_owned()));
    args.extend(params.submodule_recursive.then(|| "--recursive".to_owned()));
    args.extend(["--".to_owned(), path.clone()]);
    let what = format!("check out the submodule `{path}`");
    git.show(args).map_err(|failure: GitFailure| failure.because(&what))?;
    if params.disable_git_lfs { Ok(()) } else { super::lfs::check(&git.at(Path::new(path))) }
}
