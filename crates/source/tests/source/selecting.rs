//! Which files a selection means, and which project a pipeline has.

use std::fs;

use source::{Options, Progress, Project, Selection, SourceError, import};

use super::{Place, git, options};

fn globs(include: &[&str], exclude: &[&str]) -> Selection {
    let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    Selection { include: owned(include), exclude: owned(exclude), ..Selection::default() }
}

const FILES: &[&str] = &["Cargo.toml", "src/a.rs", "src/b.txt", "docs/a.md", "src/gen/c.rs", "#x"];

#[test]
fn globs_choose_files() {
    let place = Place::with(FILES);
    fs::create_dir(place.root.join("empty")).unwrap();
    let chosen = |include: &[&str], exclude: &[&str]| {
        let copy = place.import(&globs(include, exclude)).unwrap();
        assert_eq!(copy.root.join("empty").exists(), include.is_empty());
        copy.files()
    };
    assert_eq!(chosen(&["*.rs"], &[]), ["src/a.rs", "src/gen/c.rs"]);
    assert_eq!(chosen(&["/src", "Cargo.toml"], &["gen"]), ["Cargo.toml", "src/a.rs", "src/b.txt"]);
    assert_eq!(chosen(&["src", "!*.txt"], &[]), ["src/a.rs", "src/gen/c.rs"]);
    assert_eq!(chosen(&["src/*.rs"], &[]), ["src/a.rs"]);
    assert_eq!(chosen(&["**/gen/**"], &[]), ["src/gen/c.rs"]);
    assert_eq!(chosen(&["#x"], &[]), ["#x"]);
    assert_eq!(chosen(&[], &["src", "*.md"]), ["#x", "Cargo.toml"]);
    assert_eq!(chosen(&["nothing"], &[]), <[&str; 0]>::default());
}

#[test]
fn globs_are_relative_to_the_path() {
    let place = Place::with(FILES);
    let selection = Selection { path: Some("src".into()), ..globs(&["/a.rs", "gen"], &[]) };
    assert_eq!(place.import(&selection).unwrap().files(), ["a.rs", "gen/c.rs"]);
}

#[test]
fn a_path_may_be_one_file() {
    let place = Place::with(FILES);
    let selection = Selection { path: Some("src/a.rs".into()), ..Selection::default() };
    assert_eq!(place.import(&selection).unwrap().files(), ["a.rs"]);
}

#[test]
fn a_bad_glob_is_named() {
    let place = Place::with(FILES);
    for (include, exclude) in [(&["a[" as &str][..], &[][..]), (&[], &["a["])] {
        let error = place.import(&globs(include, exclude)).err().unwrap();
        assert!(matches!(&error, SourceError::Glob { glob, .. } if glob == "a["), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("glob `a[` is not valid: unclosed character class"), "{text}");
    }
    let error = place.import(&globs(&[""], &[])).err().unwrap();
    assert_eq!(error.to_string(), "glob `` is not valid: it is empty");
}

#[test]
fn globs_do_not_apply_to_the_repository() {
    let place = Place::repository(FILES);
    place.commit();
    let copy = place.import(&globs(&["*.md"], &[".git", "*"])).unwrap();
    assert_eq!(copy.files(), <[&str; 0]>::default());
    assert_eq!(copy.git(&["log", "--format=%s"]), "x\n");
    let copy = place.import(&Selection { git: false, ..Selection::default() }).unwrap();
    assert!(!copy.root.join(".git").exists());
}

#[test]
fn the_project_is_the_top_of_the_work_tree() {
    let place = Place::repository(&["ci/deep/pipeline.ts"]);
    let file = place.root.join("ci/deep/pipeline.ts");
    assert_eq!(Project::find(&file, None).unwrap().root(), place.root);
    let explicit = place.root.join("ci");
    assert_eq!(Project::find(&file, Some(&explicit)).unwrap().root(), explicit);
}

#[test]
fn the_project_without_git_is_the_directory_of_the_file() {
    let place = Place::with(&["ci/pipeline.ts"]);
    let found = Project::find(&place.root.join("ci/pipeline.ts"), None).unwrap();
    assert_eq!(found.root(), place.root.join("ci"));
}

#[test]
fn a_bare_repository_is_no_work_tree() {
    let place = Place::with(&["pipelines/pipeline.ts"]);
    git(&place.root, &["init", "--quiet", "--bare", "."]);
    let file = place.root.join("pipelines/pipeline.ts");
    assert_eq!(Project::find(&file, None).unwrap().root(), place.root.join("pipelines"));
    // With the repository where a work tree would have it.
    let place = Place::with(&["pipelines/pipeline.ts"]);
    git(&place.root, &["init", "--quiet", "--bare", ".git"]);
    let file = place.root.join("pipelines/pipeline.ts");
    assert_eq!(Project::find(&file, None).unwrap().root(), place.root.join("pipelines"));
}

#[test]
fn a_copy_inside_of_the_project_does_not_hold_itself() {
    let place = Place::with(&["a"]);
    let to = place.root.join("copy");
    fs::create_dir(&to).unwrap();
    let options = Options { left_out: Vec::new(), ..options() };
    let progress = Progress::default();
    import(&place.project(), &Selection::default(), &options, &to, &progress).unwrap();
    assert!(to.join("a").exists() && !to.join("copy").exists());
    assert_eq!((progress.files(), progress.bytes()), (1, 1));
}

#[test]
fn a_copy_goes_into_an_empty_directory() {
    let place = Place::with(&["a"]);
    let to = place.top.join("copy");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("b"), "").unwrap();
    let progress = Progress::default();
    let copied = import(&place.project(), &Selection::default(), &options(), &to, &progress);
    let text = copied.unwrap_err().to_string();
    assert!(text.ends_with("directory not empty"), "{text}");
}
