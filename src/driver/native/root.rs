//! The directory below which everything is kept.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::config::NativeConfig;
use super::run_directory::RunDirectory;
use crate::driver::{DriverError, NoticeSink, RunIdentity};
use crate::process::state;

/// A run's directory and where it is.
pub struct Location {
    pub root: PathBuf,
    /// Holds the pipelines' directories.
    pub namespace: PathBuf,
    pub directory: RunDirectory,
}

/// Takes a directory for the run below the first root that can be used.
pub fn place(
    config: &NativeConfig,
    identity: &RunIdentity,
    notices: &NoticeSink,
) -> Result<Location, DriverError> {
    let below = |root: PathBuf| -> io::Result<Location> {
        let namespace = root.join("native").join(config.namespace.as_deref().unwrap_or("default"));
        let directory = RunDirectory::acquire(&namespace.join(&identity.pipeline))?;
        if directory.path.to_str().is_none() {
            let _ = directory.remove(&root);
            return Err(io::Error::new(ErrorKind::InvalidFilename, "its path is not valid UTF-8"));
        }
        Ok(Location { root, namespace, directory })
    };
    let unavailable = |reason: String| DriverError::Unavailable { driver: "native", reason };

    if let Some(root) = &config.dir {
        return below(root.clone()).map_err(|error| {
            unavailable(format!(
                "cannot keep working directories in `{}`, set another with `dir=`: {error}",
                root.display()
            ))
        });
    }
    let root = state::directory();
    let reason = match below(root.clone()) {
        Ok(place) => return Ok(place),
        Err(error) => error,
    };
    let fallback = private_directory()
        .and_then(|root| below(root.clone()).map_err(|error| (root, error)))
        .map_err(|(root, error)| {
            unavailable(format!(
                "cannot keep working directories in `{}`, set another with `dir=`: {error}",
                root.display()
            ))
        })?;
    notices(format!(
        "working directories are in `{}`, because `{}` cannot be used: {reason}",
        fallback.root.display(),
        root.display()
    ));
    Ok(fallback)
}

/// A directory for temporary files that nobody else can have prepared.
fn private_directory() -> Result<PathBuf, (PathBuf, io::Error)> {
    let parent = std::env::temp_dir();
    let parent = if parent.is_absolute() { parent } else { "/tmp".into() };
    let path = parent.join(format!("ci-{}", geteuid().as_raw()));
    match make_private(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err((path, error)),
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        result => return result,
    }
    let found = fs::symlink_metadata(path)?;
    let problem = if !found.is_dir() {
        "it exists and is not a directory"
    } else if found.uid() != geteuid().as_raw() {
        "it belongs to another user"
    } else if found.permissions().mode() & 0o077 != 0 {
        "other users may enter it"
    } else {
        return Ok(());
    };
    Err(io::Error::new(ErrorKind::PermissionDenied, problem))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_that_others_may_have_prepared_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let problem = |name: &str| make_private(&at(name)).map_err(|error| error.to_string());

        assert_eq!(problem("new"), Ok(()));
        assert_eq!(problem("new"), Ok(()));
        fs::set_permissions(at("new"), PermissionsExt::from_mode(0o750)).unwrap();
        assert_eq!(problem("new"), Err("other users may enter it".into()));
        symlink(root.path(), at("link")).unwrap();
        assert_eq!(problem("link"), Err("it exists and is not a directory".into()));
        if geteuid().is_root() {
            DirBuilder::new().mode(0o700).create(at("foreign")).unwrap();
            std::os::unix::fs::chown(at("foreign"), Some(65534), None).unwrap();
            assert_eq!(problem("foreign"), Err("it belongs to another user".into()));
        }
    }
}
