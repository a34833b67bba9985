//! Random changes of a project and of its kept tree. The tree is what a new copy is, whatever happened.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::select;

use super::again::Twice;

/// Paths that get in each other's way.
const PATHS: [&str; 10] = ["a", "b", "b/c", "b/d", "b/d/e", "b/d/f", "g", "g/h", "g/h/i", "j"];

#[derive(Clone, Debug)]
enum Change {
    Write(&'static str, u8),
    /// The old size and the old time of modification stay.
    Rewrite(&'static str, u8),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    Mode(&'static str, u32),
    Directory(&'static str),
    Symlink(&'static str, &'static str),
    HardLink(&'static str, &'static str),
    Time(&'static str, u32),
}

fn change() -> impl Strategy<Value = Change> {
    let path = || select(&PATHS[..]);
    let modes =
        select(vec![0o600, 0o644, 0o755, 0o700, 0o777, 0o2755, 0o1777, 0o555, 0o444, 0o000]);
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, byte)| Change::Write(path, byte)),
        2 => (path(), any::<u8>()).prop_map(|(path, byte)| Change::Rewrite(path, byte)),
        2 => path().prop_map(Change::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Change::Rename(from, to)),
        2 => (path(), modes).prop_map(|(path, mode)| Change::Mode(path, mode)),
        1 => path().prop_map(Change::Directory),
        1 => (path(), path()).prop_map(|(path, target)| Change::Symlink(path, target)),
        1 => (path(), path()).prop_map(|(from, to)| Change::HardLink(from, to)),
        1 => (path(), any::<u32>()).prop_map(|(path, nanos)| Change::Time(path, nanos)),
    ]
}

/// Makes a change, if it can be made as things are.
fn apply(root: &Path, change: &Change) {
    let at = |path: &str| root.join(path);
    let made: Option<()> = (|| match change {
        Change::Write(path, byte) => fs::write(at(path), vec![*byte; usize::from(*byte)]).ok(),
        Change::Rewrite(path, byte) => {
            let found = at(path).symlink_metadata().ok().filter(fs::Metadata::is_file)?;
            fs::write(at(path), vec![*byte; usize::try_from(found.len()).ok()?]).ok()?;
            File::open(at(path)).ok()?.set_modified(found.modified().ok()?).ok()
        }
        Change::Remove(path) => remove(&at(path)),
        Change::Rename(from, to) => fs::rename(at(from), at(to)).ok(),
        Change::Mode(path, mode) => {
            at(path).symlink_metadata().ok().filter(|found| !found.is_symlink())?;
            fs::set_permissions(at(path), fs::Permissions::from_mode(*mode)).ok()
        }
        Change::Directory(path) => {
            _ = remove(&at(path));
            fs::create_dir(at(path)).ok()
        }
        Change::Symlink(path, target) => {
            _ = remove(&at(path));
            symlink(target, at(path)).ok()
        }
        Change::HardLink(from, to) => {
            at(from).symlink_metadata().ok().filter(fs::Metadata::is_file)?;
            fs::hard_link(at(from), at(to)).ok()
        }
        Change::Time(path, nanos) => {
            let found = at(path).symlink_metadata().ok().filter(|found| !found.is_symlink())?;
            let time = found.modified().ok()? - std::time::Duration::from_nanos((*nanos).into());
            File::open(at(path)).ok()?.set_modified(time).ok()
        }
    })();
    // A change that cannot be made as things are is none.
    _ = made;
}

fn remove(path: &PathBuf) -> Option<()> {
    match path.symlink_metadata().ok()?.is_dir() {
        true => fs::remove_dir_all(path).ok(),
        false => fs::remove_file(path).ok(),
    }
}

/// Whether whoever runs the tests can read the project after a change.
fn is_readable(root: &Path, change: &Change) -> bool {
    let Change::Mode(path, mode) = change else { return true };
    let needed = if root.join(path).is_dir() { 0o500 } else { 0o400 };
    mode & needed == needed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_kept_tree_becomes_what_a_new_copy_is(
        rounds in prop::collection::vec(
            (prop::collection::vec(change(), 0..6), prop::collection::vec(change(), 0..6)),
            1..4,
        ),
    ) {
        let twice = Twice::with(&["a", "b/c", "b/d/e", "g/h/i"]);
        for (of_project, of_task) in rounds {
            let root = &twice.place.root;
            for change in of_project {
                if is_readable(root, &change) {
                    apply(root, &change);
                }
            }
            of_task.iter().for_each(|change| apply(&twice.tree, change));
            twice.checked();
        }
    }
}
