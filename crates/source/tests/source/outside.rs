//! Paths that lead out of the project, or nowhere.

use std::fs;
use std::os::unix::fs::symlink;

use source::{Selection, SourceError};

use super::Place;

fn refused(place: &Place, path: &str) -> SourceError {
    let selection = Selection { path: Some(path.into()), ..Selection::default() };
    place.import(&selection).err().unwrap()
}

#[test]
fn a_path_that_leads_out_is_refused() {
    let place = Place::with(&["sub/a"]);
    fs::create_dir(place.top.join("outside")).unwrap();
    fs::write(place.top.join("outside/secret"), "x").unwrap();
    symlink("../outside", place.root.join("link")).unwrap();
    symlink(place.top.join("outside"), place.root.join("absolute")).unwrap();
    symlink("../link", place.root.join("sub/twice")).unwrap();
    symlink("../outside/secret", place.root.join("file")).unwrap();
    let paths = [
        "..",
        "../outside",
        "sub/../../outside",
        "sub/../../project",
        "/etc",
        "link",
        "absolute",
        "sub/twice",
        "file",
        "link/secret",
    ];
    for path in paths {
        let error = refused(&place, path);
        assert!(matches!(error, SourceError::Outside { .. }), "{path}: {error:?}");
        let expected = format!(
            "`{path}` leads out of the project `{}`, name a path inside of it",
            place.root.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_path_may_use_links_and_dots_that_stay_inside() {
    let place = Place::with(&["sub/deep/a"]);
    symlink("sub/deep", place.root.join("link")).unwrap();
    symlink(place.root.join("sub"), place.root.join("absolute")).unwrap();
    for path in ["link", "absolute/deep", "./sub/./deep", "sub/../sub/deep/"] {
        let selection = Selection { path: Some(path.into()), ..Selection::default() };
        assert_eq!(place.import(&selection).unwrap().files(), ["a"], "{path}");
    }
}

#[test]
fn a_path_that_is_missing_says_what_is_there() {
    let place = Place::repository(&["sub/frontend/a", "sub/backend/a", "b"]);
    let root = place.root.display();
    let message = |path: &str| {
        let error = refused(&place, path);
        assert!(matches!(error, SourceError::Missing { .. }), "{error:?}");
        error.to_string()
    };
    let text = message("sub/fronted/a");
    assert_eq!(
        text,
        format!("`sub/fronted/a` is not in the project `{root}`, did you mean `frontend`?")
    );
    let text = message("sub/other");
    let there = "`sub` has `backend`, `frontend`";
    assert_eq!(text, format!("`sub/other` is not in the project `{root}`, {there}"));
    let text = message("tests");
    assert_eq!(text, format!("`tests` is not in the project `{root}`, `.` has `b`, `sub`"));
}

/// Whoever can write to the project must not hold up a copy of it, or have another repository read.
#[test]
fn a_git_file_that_is_none_or_leads_out_is_left_out() {
    let place = Place::repository(&["a", "vendor/b", "fifo/c", "linked/d"]);
    place.commit();
    let other = place.top.join("other");
    fs::create_dir(&other).unwrap();
    super::git(&other, &["init", "--quiet"]);
    fs::write(other.join("secret"), "x").unwrap();
    super::commit(&other);
    place.write("vendor/.git", &format!("gitdir: {}\n", other.join(".git").display()));
    symlink(other.join(".git"), place.root.join("linked/.git")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, place.root.join("fifo/.git"), rustix::fs::Mode::RWXU)
        .unwrap();
    let copy = place.import(&Selection::default()).unwrap();
    for directory in ["vendor", "fifo", "linked"] {
        assert!(!copy.root.join(directory).join(".git").exists(), "{directory}");
    }
    assert_eq!(copy.files().iter().filter(|file| !file.starts_with(".git/")).count(), 4);
    let outside = |notice: &&String| notice.contains("outside of the project");
    assert_eq!(copy.imported.notices.iter().filter(outside).count(), 2);
}
