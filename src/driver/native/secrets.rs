//! Where a task's files with secrets are.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

use super::fixtures::make_directories;
use super::mounts::MountPlan;
use super::user::Owner;
use crate::driver::{DriverError, check};
use crate::task::SecretFile;
use supervise::{RUN, wire};

/// A task's secrets, checked: each of them has a place that this driver can give it.
#[derive(Debug, Default)]
pub struct SecretPlan {
    files: Vec<SecretFile>,
}

impl SecretPlan {
    /// `own_work` says whether the task's directory is made for it.
    pub fn new(
        files: &[SecretFile],
        mounts: &MountPlan,
        own_work: bool,
    ) -> Result<Self, DriverError> {
        let files = check::secret_files(files)?;
        for file in &files {
            let refused = |reason: &str| {
                let path = file.path.display();
                Err(DriverError::Refused(format!("secret file `{path}`: {reason}")))
            };
            let below_run = file.path.strip_prefix(RUN);
            match (file.path.is_absolute(), below_run) {
                (true, Ok(below)) if below.as_os_str().is_empty() => {
                    return refused("it is a directory, name a file below it");
                }
                (true, Ok(_)) => {}
                (true, Err(_)) => {
                    return refused(
                        "tasks of the `native` driver see this machine's own file system; use a path below \
                         `/run`, such as `/run/secrets/key`, or one relative to the task's directory",
                    );
                }
                (false, _) if !own_work => {
                    return refused(
                        "it would be in a directory of this machine; use a path below `/run`, or leave the \
                         absolute `workDir` out",
                    );
                }
                (false, _) if mounts.covers(&file.path) => {
                    return refused(
                        "it would be in a volume, which keeps what is in it; use a path below `/run`, such as \
                         `/run/secrets/key`",
                    );
                }
                (false, _) => {}
            }
        }
        Ok(Self { files })
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Makes the files in the task's directory that secrets are mounted on.
    pub fn make_points(&self, work: &Path, owner: Option<&Owner>) -> Result<(), DriverError> {
        for file in self.files.iter().filter(|file| file.path.is_relative()) {
            let above = file.path.parent().unwrap_or(Path::new(""));
            make_directories(work, above, owner)?;
            make_point(&work.join(&file.path)).map_err(|source| DriverError::Io {
                context: format!("cannot make the secret file `{}`", file.path.display()),
                source,
            })?;
        }
        Ok(())
    }

    /// What a task's reaper has to do to place these.
    pub fn files(&self) -> Vec<wire::SecretFile> {
        let target = |path: &PathBuf| path.to_string_lossy().into_owned();
        let file = |SecretFile { path, value }: &SecretFile| wire::SecretFile {
            target: target(path),
            content: value.expose().to_vec(),
        };
        self.files.iter().map(file).collect()
    }
}

/// Makes an empty file, unless a command of the same sandbox had it before.
fn make_point(path: &Path) -> io::Result<()> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let made =
        OpenOptions::new().write(true).create_new(true).mode(0o400).custom_flags(flags).open(path);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}
