//! Where volumes appear.
//!
//! Volumes are bind mounts in a mount namespace of the task, so that tools that resolve real paths (Node.js,
//! compilers with depfiles) work as they do in a container. Where the system forbids mounts, symbolic links
//! take their place, with a notice.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::user::Owner;
use crate::driver::DriverError;
use crate::task::Mount;
use crate::volume::VolumeName;
use supervise::wire::Bind;

/// A task's mounts, checked: no two at one path, those above others first.
#[derive(Clone, Debug, Default)]
pub struct MountPlan {
    mounts: Vec<PlannedMount>,
}

#[derive(Clone, Debug)]
struct PlannedMount {
    volume: PathBuf,
    /// Relative to the working directory, of ordinary names only.
    target: PathBuf,
    /// The nearest mount above this one, by its place in the plan.
    above: Option<usize>,
}

impl MountPlan {
    /// `find` gives the directory of a volume that exists.
    pub fn new(
        mounts: &[Mount],
        find: impl Fn(&VolumeName) -> Option<PathBuf>,
    ) -> Result<Self, DriverError> {
        let mut planned = Vec::with_capacity(mounts.len());
        for mount in mounts {
            let refused = |reason: &str| {
                DriverError::Refused(format!("mount path `{}`: {reason}", mount.path.display()))
            };
            let volume = find(&mount.volume).ok_or_else(|| {
                DriverError::Refused(format!(
                    "there is no volume `{}`, create it before a task mounts it",
                    mount.volume
                ))
            })?;
            let mut target = PathBuf::new();
            for part in mount.path.components() {
                match part {
                    Component::Normal(name) => target.push(name),
                    Component::CurDir => {}
                    Component::ParentDir => {
                        return Err(refused("`..` leads out of the working directory"));
                    }
                    Component::RootDir | Component::Prefix(_) => {
                        return Err(refused(
                            "tasks of the `native` driver see this machine's own file system, \
                             where a volume cannot be mounted; use a path relative to the working \
                             directory",
                        ));
                    }
                }
            }
            if target.as_os_str().is_empty() {
                return Err(refused(
                    "a volume cannot replace the working directory, mount it at a path below",
                ));
            }
            if target.to_str().is_none() {
                return Err(refused("it is not valid UTF-8"));
            }
            planned.push(PlannedMount { volume, target, above: None });
        }
        planned.sort_by(|a, b| a.target.cmp(&b.target));
        for index in 1..planned.len() {
            let (before, rest) = planned.split_at_mut(index);
            let mount = &mut rest[0];
            if before[index - 1].target == mount.target {
                return Err(DriverError::Refused(format!(
                    "two volumes are mounted at `{}`, choose another path for one",
                    mount.target.display()
                )));
            }
            mount.above = before.iter().rposition(|above| mount.target.starts_with(&above.target));
        }
        Ok(Self { mounts: planned })
    }

    /// Lets the user of a task write to volumes that nobody has used yet.
    pub fn give_to(&self, owner: &Owner) -> io::Result<()> {
        self.mounts.iter().try_for_each(|mount| owner.take_if_new(&mount.volume))
    }

    /// What a task's reaper has to do to mount these.
    pub fn binds(&self) -> Vec<Bind> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let bind = |mount: &PlannedMount| Bind {
            source: text(&mount.volume),
            target: text(&mount.target),
        };
        self.mounts.iter().map(bind).collect()
    }

    /// Where a path below the working directory really is: a directory that exists, and the path below.
    pub fn place<'a>(&'a self, work: &'a Path, path: &'a Path) -> (&'a Path, &'a Path) {
        let below = |mount: &'a PlannedMount| {
            Some((mount.volume.as_path(), path.strip_prefix(&mount.target).ok()?))
        };
        // Those that are deeper come later.
        self.mounts.iter().rev().find_map(below).unwrap_or((work, path))
    }

    /// Where each mount point has to be: a directory that exists, and a path below. A mount point
    /// below another mount is in that one's volume.
    pub fn points<'a>(&'a self, work: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Path)> {
        self.mounts.iter().map(move |mount| match mount.above.map(|above| &self.mounts[above]) {
            Some(above) => {
                let below = mount.target.strip_prefix(&above.target).unwrap_or(&mount.target);
                (above.volume.as_path(), below)
            }
            None => (work, mount.target.as_path()),
        })
    }

    /// Two mounts of which one is below the other, if there are any.
    pub fn nested(&self) -> Option<(&Path, &Path)> {
        let below = self.mounts.iter().find(|mount| mount.above.is_some())?;
        let above = &self.mounts[below.above?];
        Some((&above.target, &below.target))
    }

    /// The volumes' directories and where they belong in the working directory.
    pub fn targets(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.mounts.iter().map(|mount| (mount.volume.as_path(), mount.target.as_path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mounts: &[(&str, &str)]) -> Result<MountPlan, String> {
        let mounts: Vec<Mount> = mounts
            .iter()
            .map(|(volume, path)| Mount {
                volume: VolumeName::new(*volume).unwrap(),
                path: path.into(),
            })
            .collect();
        let find = |name: &VolumeName| {
            (name.as_str() != "missing").then(|| Path::new("/v").join(name.as_str()))
        };
        MountPlan::new(&mounts, find).map_err(|error| error.to_string())
    }

    #[test]
    fn parents_come_first_and_hold_the_mount_points_of_what_is_below() {
        let plan = plan(&[("b", "x/./y/z"), ("a", "x"), ("c", "x-y"), ("d", "x/y/w")]).unwrap();
        let points: Vec<_> = plan.points(Path::new("/w")).collect();
        let points: Vec<(&str, &str)> =
            points.iter().map(|(a, b)| (a.to_str().unwrap(), b.to_str().unwrap())).collect();
        assert_eq!(points, [("/w", "x"), ("/v/a", "y/w"), ("/v/a", "y/z"), ("/w", "x-y")]);
        assert_eq!(plan.nested(), Some((Path::new("x"), Path::new("x/y/w"))));
    }

    #[test]
    fn mounts_that_make_no_sense_are_refused() {
        let table = [
            (("a", "../x"), "mount path `../x`: `..` leads out of the working directory"),
            (("a", "x/../../y"), "mount path `x/../../y`: `..` leads out of the working directory"),
            (
                ("a", "."),
                "mount path `.`: a volume cannot replace the working directory, mount it at a path \
                 below",
            ),
            (
                ("a", "/data"),
                "mount path `/data`: tasks of the `native` driver see this machine's own file \
                 system, where a volume cannot be mounted; use a path relative to the working \
                 directory",
            ),
            (("missing", "x"), "there is no volume `missing`, create it before a task mounts it"),
        ];
        for (mount, expected) in table {
            assert_eq!(plan(&[mount]).unwrap_err(), expected);
        }
        assert_eq!(
            plan(&[("a", "x"), ("b", "./x")]).unwrap_err(),
            "two volumes are mounted at `x`, choose another path for one"
        );
    }
}
