//! A kept tree that is brought up to date.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::SystemTime;

use source::{Again, Imported, Kept, Progress, Selection, import_again, import_indexed};

use super::{Place, git, options, tree};

/// A project and a tree that was made of it.
pub struct Twice {
    pub place: Place,
    pub tree: PathBuf,
    pub index: PathBuf,
    pub trash: PathBuf,
    pub selection: Selection,
}

impl Twice {
    pub fn new(place: Place) -> Self {
        let [tree, index, trash] = ["tree", "index", "trash"].map(|name| place.top.join(name));
        fs::create_dir(&tree).unwrap();
        fs::create_dir(&trash).unwrap();
        let twice = Self { place, tree, index, trash, selection: Selection::default() };
        import_indexed(
            &twice.place.project(),
            &twice.selection,
            &options(),
            &twice.tree,
            &twice.index,
            &Progress::default(),
        )
        .unwrap();
        assert!(twice.index.exists());
        twice
    }

    pub fn with(files: &[&str]) -> Self {
        let place = Place::on_disk();
        files.iter().for_each(|file| place.write(file, file));
        wait_for_tick(&place);
        Self::new(place)
    }

    pub fn again(&self) -> Again {
        let kept = Kept { tree: &self.tree, index: &self.index, trash: &self.trash };
        let project = self.place.project();
        import_again(&project, &self.selection, &options(), &kept, &Progress::default()).unwrap()
    }

    /// Brings the tree up to date, and compares it with a new copy.
    pub fn checked(&self) -> Imported {
        wait_for_tick(&self.place);
        let again = self.again();
        let Again::Imported(imported) = again else { panic!("{again:?}") };
        let copy = self.place.import(&self.selection).unwrap();
        assert_eq!(tree(&self.tree), tree(&copy.root));
        assert_eq!(imported.files + imported.kept, copy.imported.files);
        imported
    }

    fn counts(&self) -> (u64, u64) {
        let Imported { files, kept, .. } = self.checked();
        (files, kept)
    }
}

/// Waits until a file that was changed before is older than a tick of the clock.
fn wait_for_tick(place: &Place) {
    let begun = SystemTime::now();
    let probe = place.top.join("probe");
    loop {
        fs::write(&probe, "x").unwrap();
        let time = probe.metadata().unwrap().modified().unwrap();
        if time.duration_since(begun).is_ok_and(|passed| passed.as_millis() > 40) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn only_what_changed_is_copied() {
    let twice = Twice::with(&["a", "b", "sub/c", "sub/deep/d"]);
    assert_eq!(twice.counts(), (0, 4));
    twice.place.write("sub/c", "new");
    twice.place.write("sub/new", "new");
    fs::remove_file(twice.place.root.join("a")).unwrap();
    assert_eq!(twice.counts(), (2, 2));
    assert_eq!(twice.counts(), (0, 4));
}

#[test]
fn what_tasks_changed_is_copied_again() {
    let twice =
        Twice::with(&["same-size", "appended", "mode", "gone", "linked", "replaced", "stays"]);
    let path = |name: &str| twice.tree.join(name);
    let before = path("same-size").metadata().unwrap();
    fs::write(path("same-size"), "SAME-SIZE").unwrap();
    let file = File::open(path("same-size")).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    let after = path("same-size").metadata().unwrap();
    assert_eq!(
        (before.len(), before.mtime_nsec(), before.ino()),
        (after.len(), after.mtime_nsec(), after.ino())
    );
    fs::write(path("appended"), "appended more").unwrap();
    fs::set_permissions(path("mode"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::remove_file(path("gone")).unwrap();
    fs::hard_link(path("linked"), twice.place.top.join("outside")).unwrap();
    fs::remove_file(path("replaced")).unwrap();
    symlink("/etc/passwd", path("replaced")).unwrap();
    assert_eq!(twice.counts(), (6, 1));
    // Its other name is another file now.
    assert_eq!(fs::read_to_string(twice.place.top.join("outside")).unwrap(), "linked");
    assert_eq!(path("linked").metadata().unwrap().nlink(), 1);
}

/// Size and time of modification stay, and nothing waits for the clock.
#[test]
fn changes_at_once_after_an_import_are_seen() {
    let twice = Twice::with(&["project", "task"]);
    let rewrite = |path: PathBuf, content: &str| {
        let time = path.metadata().unwrap().modified().unwrap();
        fs::write(&path, content).unwrap();
        File::open(path).unwrap().set_modified(time).unwrap();
    };
    for round in 10..40 {
        rewrite(twice.place.root.join("project"), &round.to_string());
        rewrite(twice.tree.join("task"), "TASK");
        assert!(matches!(twice.again(), Again::Imported(_)));
        let read = |name: &str| fs::read_to_string(twice.tree.join(name)).unwrap();
        assert_eq!((read("project"), read("task")), (round.to_string(), "task".to_owned()));
    }
}

#[test]
fn a_file_that_is_open_is_not_written_into() {
    let twice = Twice::with(&["a"]);
    let open = File::open(twice.tree.join("a")).unwrap();
    twice.place.write("a", "new");
    twice.checked();
    assert_eq!(std::io::read_to_string(open).unwrap(), "a");
}

#[test]
fn what_tasks_left_behind_is_moved_to_the_trash() {
    let twice = Twice::with(&["a", "sub/b"]);
    for directory in ["node_modules/x/y", "sub/target/debug"] {
        fs::create_dir_all(twice.tree.join(directory)).unwrap();
        fs::write(twice.tree.join(directory).join("file"), "x").unwrap();
    }
    fs::write(twice.tree.join("sub/output"), "x").unwrap();
    assert_eq!(twice.counts(), (0, 2));
    let mut trash: Vec<_> = tree(&twice.trash).into_keys().collect();
    trash.retain(|path| path.ends_with("file"));
    assert_eq!(trash, ["0/x/y/file", "1/debug/file"]);
}

#[test]
fn a_link_in_place_of_a_directory_is_not_followed() {
    let twice = Twice::with(&["a", "sub/deep/b"]);
    let outside = twice.place.top.join("outside");
    fs::rename(twice.tree.join("sub"), &outside).unwrap();
    symlink(&outside, twice.tree.join("sub")).unwrap();
    let before = tree(&outside);
    twice.place.write("sub/deep/b", "new");
    twice.place.write("sub/c", "new");
    assert_eq!(twice.counts(), (2, 1));
    assert_eq!(tree(&outside), before);
}

#[test]
fn directories_are_put_right() {
    let twice = Twice::with(&["a", "closed/b", "open/c", "same/d"]);
    fs::create_dir_all(twice.tree.join("extra/closed")).unwrap();
    for (path, mode) in
        [("closed", 0o000), ("extra/closed", 0o000), ("extra", 0o000), ("open", 0o2777)]
    {
        fs::set_permissions(twice.tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(&twice.tree, fs::Permissions::from_mode(0o777)).unwrap();
    let file = File::open(twice.tree.join("same")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    twice.checked();
    assert_ne!(twice.tree.metadata().unwrap().mode() & 0o7777, 0o777);
}

#[test]
fn files_and_directories_change_places() {
    let twice = Twice::with(&["a", "b/c"]);
    let root = &twice.place.root;
    fs::remove_file(root.join("a")).unwrap();
    twice.place.write("a/new", "x");
    fs::remove_dir_all(root.join("b")).unwrap();
    twice.place.write("b", "x");
    assert_eq!(twice.counts(), (2, 0));
}

#[test]
fn names_of_one_file_stay_together() {
    let twice = Twice::with(&["a", "sub/b"]);
    fs::hard_link(twice.place.root.join("a"), twice.place.root.join("sub/c")).unwrap();
    assert_eq!(twice.counts(), (2, 1));
    assert_eq!(twice.counts(), (2, 1));
    fs::remove_file(twice.place.root.join("a")).unwrap();
    assert_eq!(twice.counts(), (1, 1));
    assert_eq!(twice.counts(), (0, 2));
}

#[test]
fn repositories_stay_whole() {
    let place = Place::on_disk();
    git(&place.root, &["init", "--quiet", "--initial-branch=main"]);
    place.write("a", "a");
    place.commit();
    wait_for_tick(&place);
    let twice = Twice::new(place);
    assert_eq!(twice.checked().files, 0);
    // A task commits, packs and leaves a hook.
    fs::write(twice.tree.join("a"), "task").unwrap();
    super::commit(&twice.tree);
    git(&twice.tree, &["repack", "-a", "-d", "--quiet"]);
    fs::create_dir_all(twice.tree.join(".git/hooks")).unwrap();
    fs::write(twice.tree.join(".git/hooks/pre-commit"), "exit 1").unwrap();
    twice.checked();
    twice.place.write("b", "b");
    twice.place.commit();
    twice.place.git(&["branch", "other"]);
    twice.checked();
    git(&twice.tree, &["fsck", "--strict"]);
    assert_eq!(git(&twice.tree, &["status", "--short"]), "");
}

#[test]
fn a_repository_that_was_moved_is_written_again() {
    let place = Place::on_disk();
    let other = place.top.join("other");
    fs::create_dir(&other).unwrap();
    git(&other, &["init", "--quiet", "--initial-branch=main"]);
    fs::write(other.join("a"), "a").unwrap();
    super::commit(&other);
    fs::remove_dir(&place.root).unwrap();
    git(&other, &["worktree", "add", "--quiet", place.root.to_str().unwrap()]);
    wait_for_tick(&place);
    let twice = Twice::new(place);
    // The file that was written has no time of its own.
    let Again::Imported(imported) = twice.again() else { panic!() };
    assert!(imported.kept > 0);
    fs::remove_file(twice.tree.join(".git/config")).unwrap();
    let Again::Imported(_) = twice.again() else { panic!() };
    git(&twice.tree, &["fsck", "--strict"]);
    assert_eq!(git(&twice.tree, &["status", "--short"]), "");
}

#[test]
fn a_tree_without_an_index_that_fits_is_not_used() {
    let unusable = |change: fn(&mut Twice)| {
        let mut twice = Twice::with(&["a"]);
        change(&mut twice);
        match twice.again() {
            Again::Unusable { reason } => reason,
            Again::Imported(imported) => panic!("{imported:?}"),
        }
    };
    let damage = |twice: &mut Twice| {
        let mut bytes = fs::read(&twice.index).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&twice.index, bytes).unwrap();
    };
    let cut = |twice: &mut Twice| {
        let bytes = fs::read(&twice.index).unwrap();
        fs::write(&twice.index, &bytes[..bytes.len() - 1]).unwrap();
    };
    let reasons = [
        unusable(|twice| fs::remove_file(&twice.index).unwrap()),
        unusable(damage),
        unusable(cut),
        unusable(|twice| twice.selection.git = false),
        unusable(|twice| {
            fs::rename(&twice.tree, twice.place.top.join("moved")).unwrap();
            fs::create_dir(&twice.tree).unwrap();
        }),
    ];
    assert_eq!(
        reasons,
        [
            "it has no index",
            "its index is damaged",
            "its index is damaged",
            "it was made of another selection or by another user",
            "its directory is another one than was filled"
        ]
    );
}

#[test]
fn a_tree_that_is_given_up_has_no_index() {
    let twice = Twice::with(&["a"]);
    twice.place.write("a", "new");
    fs::remove_dir(&twice.trash).unwrap();
    assert!(matches!(twice.again(), Again::Unusable { .. }));
    assert!(!twice.index.exists());
}
