//! Engines on whose machine the users of containers have other numbers.
//!
//! An engine with `userns-remap` maps the owners of what it is given but not of what it gives. The difference
//! is found by what it says of a file of root's.

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::DownloadFromContainerOptions;
use futures_util::TryStreamExt;

use archive::Root;

/// Whose the files of containers are on the engine's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Those that containers say.
    Same,
    /// Others, but the engine sees them as containers do, since it runs among them (rootless).
    Inside,
    /// Others, and the engine has this one for root (`userns-remap`). What it is given it maps, but not what it
    /// gives (`containerArchivePath` and `containerExtractToDir` of moby).
    Mapped(Root),
}

/// A file of root's that each container has.
const OF_ROOT: &str = "/.dockerenv";

impl Users {
    /// `container` is any one.
    pub async fn find(docker: &Docker, container: &str) -> Result<Self, Error> {
        let options = docker.info().await?.security_options.unwrap_or_default();
        match mapping(&options) {
            Users::Mapped(_) => {}
            found => return Ok(found),
        }
        let options = DownloadFromContainerOptions { path: OF_ROOT.into() };
        let file = docker.download_from_container(container, Some(options));
        let file: Vec<u8> = file
            .try_fold(Vec::new(), async |mut all, chunk| {
                all.extend_from_slice(&chunk);
                Ok(all)
            })
            .await?;
        let mut archive = tar::Archive::new(&file[..]);
        let entry = archive
            .entries()?
            .next()
            .ok_or_else(|| std::io::Error::other("an empty archive"))??;
        let id = |id: u64| u32::try_from(id).map_err(std::io::Error::other);
        let (user, group) = (id(entry.header().uid()?)?, id(entry.header().gid()?)?);
        Ok(Users::Mapped(Root { user, group }))
    }
}

/// By what `docker info` calls security options, such as `name=seccomp,profile=builtin`. Who root is they do
/// not say.
fn mapping(options: &[String]) -> Users {
    let has = |name: &str| options.iter().any(|option| option.split(',').next() == Some(name));
    match (has("name=rootless"), has("name=userns")) {
        (true, _) => Users::Inside,
        (false, true) => Users::Mapped(Root::default()),
        (false, false) => Users::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_say_whether_they_map_users() {
        for (options, users) in [
            (&["name=apparmor", "name=seccomp,profile=builtin"][..], Users::Same),
            (&["name=seccomp,profile=builtin", "name=userns"], Users::Mapped(Root::default())),
            (&["name=rootless,x=y"], Users::Inside),
            (&[], Users::Same),
        ] {
            let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
            assert_eq!(mapping(&options), users, "{options:?}");
        }
    }
}
