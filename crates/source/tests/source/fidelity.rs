//! What a copy keeps of files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use source::{Selection, SourceError};

use super::{Copy, Place, tree};

fn whole(place: &Place) -> Copy {
    place.import(&Selection::default()).unwrap()
}

/// Sets the time of the last change.
fn touch(path: &Path, nanos: u64) {
    let time = UNIX_EPOCH + Duration::from_nanos(nanos);
    File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn modes_and_times_and_empty_directories_stay() {
    let place = Place::with(&["a", "read-only", "script", "sub/b"]);
    fs::create_dir_all(place.root.join("empty/deep")).unwrap();
    let modes = [("read-only", 0o444), ("script", 0o755), ("sub/b", 0o666), ("sub", 0o1577)];
    for (number, (path, mode)) in modes.into_iter().enumerate() {
        let path = place.root.join(path);
        touch(&path, 1_000_000_000_123_456_789 + number as u64);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    touch(&place.root.join("empty"), 7);
    let copy = whole(&place);
    assert_eq!(tree(&copy.root), tree(&place.root));
    assert_eq!(copy.root.join("sub").metadata().unwrap().mtime_nsec(), 123_456_792);
}

/// The copy belongs to another user than the file may have.
#[test]
fn setuid_and_setgid_bits_are_dropped() {
    let place = Place::with(&["script", "sub/b"]);
    for (path, mode) in [("script", 0o6755), ("sub", 0o2755)] {
        fs::set_permissions(place.root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let copy = whole(&place);
    for path in ["script", "sub"] {
        assert_eq!(copy.root.join(path).metadata().unwrap().mode() & 0o7777, 0o755, "{path}");
    }
}

#[test]
fn links_stay_links() {
    let place = Place::with(&["a", "sub/b"]);
    for (name, target) in [
        ("file", "a"),
        ("directory", "sub"),
        ("dangling", "absent"),
        ("outside", "/etc/passwd"),
        ("above", "../.."),
        ("itself", "itself"),
        ("sub/loop", ".."),
        ("sub/first", "second"),
        ("sub/second", "first"),
    ] {
        symlink(target, place.root.join(name)).unwrap();
    }
    let copy = whole(&place);
    assert_eq!(tree(&copy.root), tree(&place.root));
    assert_eq!(copy.imported.files, 11);
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    let place = Place::with(&["a", "sub/x", "other"]);
    for (from, to) in [("a", "b"), ("a", "sub/c"), ("sub/x", "sub/y")] {
        fs::hard_link(place.root.join(from), place.root.join(to)).unwrap();
    }
    // Its other name is not in the project.
    fs::hard_link(place.root.join("other"), place.top.join("other")).unwrap();
    let copy = whole(&place);
    let inode = |path: &str| copy.root.join(path).metadata().unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
    assert_eq!(inode("a"), inode("sub/c"));
    assert_eq!(inode("sub/x"), inode("sub/y"));
    assert_ne!(inode("a"), inode("sub/x"));
    assert_eq!(copy.root.join("other").metadata().unwrap().nlink(), 1);
    assert_eq!(copy.imported.files, 6);
}

#[test]
fn holes_stay_holes() {
    let place = Place::with(&["a"]);
    let path = place.root.join("sparse");
    let file = File::create(&path).unwrap();
    let size = 64 << 20;
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 5000], 10 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", size - 3).unwrap();
    File::create(place.root.join("hole")).unwrap().set_len(1 << 30).unwrap();
    let copy = whole(&place);
    assert!(fs::read(copy.root.join("sparse")).unwrap() == fs::read(&path).unwrap());
    let found = copy.root.join("sparse").metadata().unwrap();
    assert!(found.blocks() * 512 < 1 << 20, "{}", found.blocks());
    let found = copy.root.join("hole").metadata().unwrap();
    assert_eq!(found.len(), 1 << 30);
    assert!(found.blocks() * 512 < 1 << 20, "{}", found.blocks());
    assert!(copy.imported.bytes < 1 << 20, "{}", copy.imported.bytes);
}

#[test]
fn files_of_all_sizes_arrive_whole() {
    let place = Place::empty();
    for size in [0, 1, 4095, 4096, 131_071, 131_072, 131_073, 1 << 20, (8 << 20) + 1, 20 << 20] {
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at * 7 + at / 251) as u8).collect();
        fs::write(place.root.join(size.to_string()), bytes).unwrap();
    }
    let copy = whole(&place);
    assert_eq!(tree(&copy.root), tree(&place.root));
}

#[test]
fn odd_names_arrive() {
    let place = Place::empty();
    let long = "x".repeat(255);
    for name in [
        OsStr::from_bytes(b"\xff\xfe"),
        OsStr::new("new\nline"),
        OsStr::new(" space "),
        OsStr::new("-rf"),
        OsStr::new("*"),
        OsStr::new("\\"),
        OsStr::new(&long),
        OsStr::new("\u{1f980}"),
    ] {
        fs::create_dir_all(place.root.join("d").join(name)).unwrap();
        fs::write(place.root.join("d").join(name).join(name), "x").unwrap();
    }
    let copy = whole(&place);
    assert_eq!(copy.imported.files, 8);
    assert_eq!(tree(&copy.root), tree(&place.root));
}

#[test]
fn paths_longer_than_a_call_takes_arrive() {
    let place = Place::empty();
    let name = "y".repeat(200);
    // Deeper than 4096 bytes.
    let script =
        format!("for n in $(seq 30); do mkdir {name} && cd -P {name}; done; echo x > file");
    let made =
        Command::new("bash").args(["-c", &script]).current_dir(&place.root).status().unwrap();
    assert!(made.success());
    let copy = whole(&place);
    assert_eq!(copy.imported.files, 1);
    let script = format!("for n in $(seq 30); do cd -P {name}; done; cat file");
    let read = Command::new("bash").args(["-c", &script]).current_dir(&copy.root).output().unwrap();
    assert_eq!(read.stdout, b"x\n");
}

#[test]
fn what_is_no_file_is_skipped_and_told_of() {
    let place = Place::with(&["a"]);
    let _listener = UnixListener::bind(place.root.join("socket")).unwrap();
    mknodat(CWD, place.root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let copy = whole(&place);
    assert_eq!(copy.files(), ["a"]);
    let expected = ["pipe", "socket"]
        .map(|name| format!("`{name}` is a socket, a pipe or a device, it was left out"));
    assert_eq!(copy.imported.notices, expected);
}

#[test]
fn a_large_tree_is_what_cp_makes_of_it() {
    let place = Place::empty();
    for directory in 0..200 {
        let path = place.root.join(format!("d{}/e{directory}", directory % 13));
        fs::create_dir_all(&path).unwrap();
        for file in 0..100 {
            fs::write(path.join(file.to_string()), format!("{directory} {file}")).unwrap();
        }
    }
    let other = place.top.join("other");
    let copied = Command::new("cp").arg("-a").arg(&place.root).arg(&other).status().unwrap();
    assert!(copied.success());
    let copy = whole(&place);
    assert_eq!(copy.imported.files, 20_000);
    assert_eq!(tree(&copy.root), tree(&other));
}

/// The part of the test below that runs as a user who may not read everything.
#[test]
#[ignore = "is started by `a_file_that_may_not_be_read_is_named` as another user"]
fn import_as_another_user() {
    let root = std::path::PathBuf::from(std::env::var_os("PROJECT").unwrap());
    let top = tempfile::tempdir().unwrap();
    let project = source::Project::at(&root).unwrap();
    let progress = source::Progress::default();
    let imported =
        source::import(&project, &Selection::default(), &super::options(), top.path(), &progress);
    let error = imported.unwrap_err();
    assert!(matches!(error, SourceError::Unreadable { .. }), "{error:?}");
    println!("error: {error}");
}

/// Root reads everything, so another user runs this if the tests run as root.
#[test]
fn a_file_that_may_not_be_read_is_named() {
    for (secret, is_directory) in [("sub/secret", false), ("closed", true)] {
        let place = Place::with(&["a"]);
        let path = place.root.join(secret);
        if is_directory {
            fs::create_dir(&path).unwrap();
        } else {
            place.write(secret, "x");
        }
        let readable = fs::Permissions::from_mode(0o755);
        for directory in [&place.top, &place.root] {
            fs::set_permissions(directory, readable.clone()).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        let program = std::env::current_exe().unwrap();
        let mut command = if rustix::process::geteuid().is_root() {
            // Where another user can start it.
            let copy = place.top.join("program");
            fs::copy(&program, &copy).unwrap();
            fs::set_permissions(&copy, readable).unwrap();
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
            command
        } else {
            Command::new(program)
        };
        command.args(["--ignored", "--exact", "fidelity::import_as_another_user", "--nocapture"]);
        let output = command.env("PROJECT", &place.root).current_dir("/").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let expected = format!(
            "error: cannot read `{secret}`, make it readable or leave it out with `exclude` or in \
             `.ciignore`: Permission denied"
        );
        assert!(text.contains(&expected), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}
