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
    /// Relative to the task's directory, of ordinary names only. Empty for the directory itself.
    target: PathBuf,
    read_only: bool,
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
                        return Err(refused("`..` leads out of the task's directory"));
                    }
                    Component::RootDir | Component::Prefix(_) => {
                        return Err(refused(
                            "tasks of the `native` driver see this machine's own file system, \
                             where a volume cannot be mounted; use a path relative to the task's \
                             directory",
                        ));
                    }
                }
            }
            if target.to_str().is_none() {
                return Err(refused("it is not valid UTF-8"));
            }
            planned.push(PlannedMount { volume, target, read_only: mount.read_only, above: None });
        }
        planned.sort_by(|a, b| a.target.cmp(&b.target));
        for index in 1..planned.len() {
            let (before, rest) = planned.split_at_mut(index);
            let mount = &mut rest[0];
            if before[index - 1].target == mount.target {
                return Err(DriverError::Refused(format!(
                    "two volumes are mounted at `{}`, choose another path for one",
                    shown(&mount.target)
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

    /// The volume in the place of the task's directory, if there is one.
    pub fn root(&self) -> Option<&Path> {
        let first = self.mounts.first()?;
        first.target.as_os_str().is_empty().then_some(&*first.volume)
    }

    /// Whether a path below the task's directory is in a volume.
    pub fn covers(&self, path: &Path) -> bool {
        self.mounts.iter().any(|mount| path.starts_with(&mount.target))
    }

    /// Whether a task must not change one of the volumes.
    pub fn has_read_only(&self) -> bool {
        self.mounts.iter().any(|mount| mount.read_only)
    }

    /// What a task's reaper has to do to mount these.
    pub fn binds(&self) -> impl Iterator<Item = Bind> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        self.mounts.iter().map(move |mount| Bind {
            source: text(&mount.volume),
            target: text(&mount.target),
            read_only: mount.read_only,
        })
    }

    /// Where a path below the task's directory really is: a directory that exists, the path below, and whether
    /// that must not be changed.
    pub fn place<'a>(&'a self, work: &'a Path, path: &'a Path) -> (&'a Path, &'a Path, bool) {
        let below = |mount: &'a PlannedMount| {
            let below = path.strip_prefix(&mount.target).ok()?;
            Some((mount.volume.as_path(), below, mount.read_only))
        };
        // Those that are deeper come later.
        self.mounts.iter().rev().find_map(below).unwrap_or((work, path, false))
    }

    /// Where each mount point has to be: a directory that exists, a path below, and whether that must not be
    /// changed. A mount point below another mount is in that one's volume.
    pub fn points<'a>(
        &'a self,
        work: &'a Path,
    ) -> impl Iterator<Item = (&'a Path, &'a Path, bool)> {
        self.mounts.iter().map(move |mount| match mount.above.map(|above| &self.mounts[above]) {
            Some(above) => {
                let below = mount.target.strip_prefix(&above.target).unwrap_or(&mount.target);
                (above.volume.as_path(), below, above.read_only)
            }
            None => (work, mount.target.as_path(), false),
        })
    }

    /// Two mounts of which one is below the other, if there are any. One in the place of the task's directory
    /// does not count.
    pub fn nested(&self) -> Option<(&Path, &Path)> {
        let above = |mount: &PlannedMount| {
            let above = &self.mounts[mount.above?];
            (!above.target.as_os_str().is_empty()).then_some(above)
        };
        self.mounts.iter().find_map(|mount| Some((&*above(mount)?.target, &*mount.target)))
    }

    /// The volumes' directories and where they belong below the task's directory.
    pub fn targets(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let below = self.mounts.iter().filter(|mount| !mount.target.as_os_str().is_empty());
        below.map(|mount| (mount.volume.as_path(), mount.target.as_path()))
    }
}

fn shown(target: &Path) -> std::path::Display<'_> {
    if target.as_os_str().is_empty() { Path::new(".").display() } else { target.display() }
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
                read_only: false,
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
            points.iter().map(|(a, b, _)| (a.to_str().unwrap(), b.to_str().unwrap())).collect();
        assert_eq!(points, [("/w", "x"), ("/v/a", "y/w"), ("/v/a", "y/z"), ("/w", "x-y")]);
        assert_eq!(plan.nested(), Some((Path::new("x"), Path::new("x/y/w"))));
    }

    #[test]
    fn mounts_that_make_no_sense_are_refused() {
        let table = [
            (("a", "../x"), "mount path `../x`: `..` leads out of the task's directory"),
            (("a", "x/../../y"), "mount path `x/../../y`: `..` leads out of the task's directory"),
            (
                ("a", "/data"),
                "mount path `/data`: tasks of the `native` driver see this machine's own file \
                 system, where a volume cannot be mounted; use a path relative to the task's \
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
        assert_eq!(
            plan(&[("a", "."), ("b", "./")]).unwrap_err(),
            "two volumes are mounted at `.`, choose another path for one"
        );
    }

    #[test]
    fn a_volume_may_take_the_place_of_the_directory() {
        let plan = plan(&[("b", "x"), ("a", "."), ("c", "x/y")]).unwrap();
        assert_eq!(plan.root(), Some(Path::new("/v/a")));
        let points: Vec<_> = plan.points(Path::new("/w")).collect();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let points: Vec<_> = points.iter().map(|(at, below, _)| (text(at), text(below))).collect();
        let expected = [("/w", ""), ("/v/a", "x"), ("/v/b", "y")];
        assert_eq!(points, expected.map(|(at, below)| (at.to_owned(), below.to_owned())));
        assert_eq!(
            plan.place(Path::new("/w"), Path::new("z")),
            (Path::new("/v/a"), Path::new("z"), false)
        );
        assert_eq!(plan.nested(), Some((Path::new("x"), Path::new("x/y"))));
    }
}
