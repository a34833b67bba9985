//! What ignore rules leave out.

use std::fs;

use source::{Options, Selection};

use super::{Place, copy, git, options, without_git};

#[test]
fn a_directory_without_git_arrives_whole() {
    let place = Place::with(&["a", "b/c", ".hidden"]);
    let copy = place.import(&Selection::default()).unwrap();
    assert_eq!(copy.files(), [".hidden", "a", "b/c"]);
    assert_eq!(copy.read("b/c"), "b/c");
    assert_eq!(copy.imported.files, 3);
    assert_eq!(copy.imported.bytes, 11);
    assert_eq!(copy.imported.notices, <[String; 0]>::default());
}

#[test]
fn rules_count_without_git_too() {
    let place = Place::with(&["a.log", "a"]);
    place.write(".gitignore", "*.log\n");
    assert_eq!(place.arriving(), [".gitignore", "a"]);
}

#[test]
fn nested_rules_are_those_of_git() {
    let place = Place::repository(&[
        "a.log",
        "sub/a.log",
        "sub/keep.log",
        "sub/only",
        "sub/deep/only",
        "only",
        "target/x",
        "sub/target/x",
        "build/x",
        "sub/build/x",
        "docs/build/x",
    ]);
    place.write(".gitignore", "*.log\ntarget/\n/build\n# comment\n");
    place.write("sub/.gitignore", "!keep.log\n/only\n");
    let expected = place.git(&["ls-files", "--cached", "--others", "--exclude-standard"]);
    let mut expected: Vec<_> = expected.lines().collect();
    expected.sort_unstable();
    assert_eq!(place.arriving(), expected);
    assert_eq!(
        expected,
        [
            ".gitignore",
            "docs/build/x",
            "only",
            "sub/.gitignore",
            "sub/build/x",
            "sub/deep/only",
            "sub/keep.log"
        ]
    );
}

#[test]
fn a_file_can_not_be_taken_back_from_a_directory_that_is_ignored() {
    let place = Place::repository(&["target/keep", "target/x"]);
    place.write(".gitignore", "target/\n!target/keep\n");
    assert_eq!(place.arriving(), [".gitignore"]);
}

#[test]
fn info_exclude_and_the_users_file_count() {
    let place = Place::repository(&["a.tmp", "a.swp", "a"]);
    fs::write(place.root.join(".git/info/exclude"), "*.tmp\n").unwrap();
    let file = place.top.join("ignore");
    fs::write(&file, "*.swp\n").unwrap();
    let options = Options { global_ignore: Some(file), ..options() };
    let copy = copy(&place.project(), &without_git(), &options).unwrap();
    assert_eq!(copy.files(), ["a"]);
    assert_eq!(place.arriving(), ["a", "a.swp"]);
}

#[test]
fn tracked_files_stay_whatever_git_ignores() {
    for version in ["2", "4"] {
        let place = Place::repository(&["out/kept", "out/deep/kept", "out/not", "a.log", "b.log"]);
        place.git(&["config", "index.version", version]);
        place.git(&["add", "--force", "out/kept", "out/deep/kept", "a.log"]);
        place.git(&["commit", "--quiet", "--message=x"]);
        place.write(".gitignore", "out/\n*.log\n");
        assert_eq!(place.arriving(), [".gitignore", "a.log", "out/deep/kept", "out/kept"]);
    }
}

#[test]
fn a_split_index_is_read_whole() {
    let place = Place::repository(&["a.log"]);
    place.commit();
    place.git(&["config", "splitIndex.maxPercentChange", "100"]);
    place.git(&["update-index", "--split-index"]);
    place.write("b.log", "b");
    place.git(&["add", "b.log"]);
    place.write("c.log", "c");
    place.write(".gitignore", "*.log\n");
    let entries = fs::read_dir(place.root.join(".git")).unwrap();
    let shared = entries.filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("sharedindex")
    });
    assert!(shared.count() > 0);
    assert_eq!(place.arriving(), [".gitignore", "a.log", "b.log"]);
}

#[test]
fn ciignore_overrules_git_and_leaves_out_tracked_files() {
    let place = Place::repository(&["a.log", "keep.log", "assets/big", "sub/assets/big", "a"]);
    place.commit();
    place.write(".gitignore", "*.log\n");
    place.git(&["rm", "--quiet", "--cached", "keep.log"]);
    place.write(".ciignore", "/assets\n!keep.log\n");
    let arriving = place.arriving();
    assert_eq!(arriving, [".ciignore", ".gitignore", "a", "a.log", "keep.log", "sub/assets/big"]);
}

#[test]
fn all_files_arrive_if_ignored_ones_are_asked_for() {
    let place = Place::repository(&["a.log", "target/x"]);
    place.write(".gitignore", "*.log\ntarget\n");
    place.write(".ciignore", "target\n");
    let all = Selection { ignored: true, ..without_git() };
    let copy = place.import(&all).unwrap();
    assert_eq!(copy.files(), [".ciignore", ".gitignore", "a.log", "target/x"]);
}

#[test]
fn rules_above_the_selected_path_count() {
    let place = Place::repository(&["a/x.log", "a/x", "a/b/c", "a/b/d"]);
    place.write(".gitignore", "*.log\n");
    place.write(".ciignore", "/a/b/d\n");
    let selection = Selection { path: Some("a".into()), ..Selection::default() };
    assert_eq!(place.import(&selection).unwrap().files(), ["b/c", "x"]);
}

#[test]
fn an_ignored_path_arrives_if_it_is_selected_itself() {
    let place = Place::repository(&["dist/x", "dist/y.log"]);
    place.write(".gitignore", "dist/\n*.log\n");
    let selection = Selection { path: Some("dist".into()), ..Selection::default() };
    assert_eq!(place.import(&selection).unwrap().files(), ["x"]);
}

#[test]
fn a_repository_inside_has_rules_of_its_own() {
    let place = Place::repository(&["a.log", "inner/a.log", "inner/a.tmp"]);
    place.write(".gitignore", "*.log\n");
    git(&place.root.join("inner"), &["init", "--quiet"]);
    place.write("inner/.gitignore", "*.tmp\n");
    assert_eq!(place.arriving(), [".gitignore", "inner/.gitignore", "inner/a.log"]);
}

#[test]
fn rules_of_a_link_are_not_read() {
    let place = Place::with(&["a", "rules"]);
    place.write("rules", "a\n");
    std::os::unix::fs::symlink("rules", place.root.join(".gitignore")).unwrap();
    let copy = place.import(&Selection::default()).unwrap();
    assert_eq!(copy.files(), [".gitignore", "a", "rules"]);
    assert_eq!(copy.imported.notices, ["`.gitignore` is a link, its rules are not read"]);
}

#[test]
fn directories_that_the_caller_names_are_left_out() {
    let place = Place::with(&["a", "artifacts/x", "link/x"]);
    let named = place.root.join("artifacts");
    let left_out = vec![named, place.root.join("absent")];
    let all = Selection { ignored: true, ..Selection::default() };
    let copy = copy(&place.project(), &all, &Options { left_out, ..options() }).unwrap();
    assert_eq!(copy.files(), ["a", "link/x"]);
    assert!(!copy.root.join("artifacts").exists());
}
