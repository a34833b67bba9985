//! Hashes of files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use source::{Progress, SourceError, hash_files};

use super::{Place, options};

fn hash(place: &Place, patterns: &[&str]) -> Result<String, SourceError> {
    let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    hash_files(&place.project(), &patterns, &options(), &Progress::default())
}

const FILES: &[&str] = &["Cargo.lock", "a/Cargo.lock", "a/b", "a/c"];

/// A new algorithm would empty the caches of all users.
#[test]
fn a_hash_is_the_same_everywhere() {
    let place = Place::with(FILES);
    let first = hash(&place, &["Cargo.lock"]).unwrap();
    let content = blake3::hash(b"Cargo.lock");
    let mut all = blake3::Hasher::new();
    all.update(&10_u64.to_le_bytes()).update(b"Cargo.lock").update(content.as_bytes());
    assert_eq!(first, all.finalize().to_hex().to_string());
    let other = Place::with(FILES);
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(other.root.join("Cargo.lock"), mode).unwrap();
    assert_eq!(hash(&other, &["Cargo.lock"]).unwrap(), first);
    assert_eq!(hash(&other, &["./Cargo.lock", "a/../Cargo.lock"]).unwrap(), first);
}

#[test]
fn patterns_choose_files_and_their_order_does_not_matter() {
    let place = Place::with(FILES);
    let one = |pattern: &str| hash(&place, &[pattern]).unwrap();
    assert_eq!(one("*.lock"), one("Cargo.lock"));
    assert_eq!(one("/*.lock"), one("Cargo.lock"));
    assert_eq!(one("**/*.lock"), hash(&place, &["a/Cargo.lock", "Cargo.lock"]).unwrap());
    assert_eq!(one("a"), hash(&place, &["a/c", "a/b", "a/Cargo.lock"]).unwrap());
    assert_eq!(one("a"), one("a/*"));
    assert_eq!(one("*"), hash(&place, &["a", "Cargo.lock"]).unwrap());
    assert_eq!(
        hash(&place, &["a/*", "!a/b"]).unwrap(),
        hash(&place, &["a/Cargo.lock", "a/c"]).unwrap()
    );
    assert_ne!(one("a/b"), one("a/c"));
}

#[test]
fn content_and_paths_are_part_of_the_hash() {
    let place = Place::with(FILES);
    let before = hash(&place, &["a"]).unwrap();
    place.write("a/b", "x");
    let changed = hash(&place, &["a"]).unwrap();
    fs::rename(place.root.join("a/b"), place.root.join("a/d")).unwrap();
    let renamed = hash(&place, &["a"]).unwrap();
    assert!(before != changed && changed != renamed && before != renamed);
}

#[test]
fn ignored_files_are_hashed_if_they_are_named() {
    let place = Place::repository(&["a.log", "b"]);
    place.write(".gitignore", "*.log\n");
    assert!(hash(&place, &["a.log"]).is_ok());
    assert!(matches!(hash(&place, &["*.log"]), Err(SourceError::NoMatch { .. })));
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let place = Place::with(FILES);
    let root = place.root.display();
    let text = hash(&place, &["*.toml", "x*"]).unwrap_err().to_string();
    assert_eq!(text, format!("no file of the project `{root}` matches `*.toml`"));
    // One of several is enough to be wrong.
    let text = hash(&place, &["Cargo.lock", "no*"]).unwrap_err().to_string();
    assert_eq!(text, format!("no file of the project `{root}` matches `no*`"));
    let empty = place.root.join("empty");
    std::fs::create_dir(empty).unwrap();
    assert!(matches!(hash(&place, &["Cargo.lock", "empty"]), Err(SourceError::NoMatch { .. })));
    let text = hash(&place, &["Cargo.lokc"]).unwrap_err().to_string();
    let expected =
        format!("`Cargo.lokc` is not in the project `{root}`, did you mean `Cargo.lock`?");
    assert_eq!(text, expected);
    assert!(matches!(hash(&place, &[]), Err(SourceError::NoMatch { .. })));
    let error = hash(&place, &["x[*"]).unwrap_err();
    assert!(matches!(error, SourceError::Glob { .. }), "{error}");
    let error = hash(&place, &["../x"]).unwrap_err();
    assert!(matches!(error, SourceError::Outside { .. }), "{error}");
}

#[test]
fn a_link_that_is_named_stands_for_its_file() {
    let place = Place::with(FILES);
    symlink("a/b", place.root.join("link")).unwrap();
    let before = hash(&place, &["link"]).unwrap();
    place.write("a/b", "x");
    assert_ne!(hash(&place, &["link"]).unwrap(), before);
    symlink("/etc/passwd", place.root.join("out")).unwrap();
    let error = hash(&place, &["out"]).unwrap_err();
    assert!(matches!(error, SourceError::Outside { .. }), "{error}");
}
