//! Repositories in a copy, as git sees them.

use std::fs;
use std::path::Path;

use source::{Project, Selection};

use super::{Copy, Place, commit, copy, git, options};

/// Copies the project of a pipeline's file, and hides what it was copied from.
fn alone(place: &Place, pipeline: &Path) -> Copy {
    let project = Project::find(pipeline, None).unwrap();
    let copy = copy(&project, &Selection::default(), &options()).unwrap();
    fs::rename(&place.top, place.top.with_extension("hidden")).unwrap();
    copy
}

/// Puts back what [`alone`] has hidden, so that it is removed.
fn put_back(place: &Place) {
    fs::rename(place.top.with_extension("hidden"), &place.top).unwrap();
}

#[test]
fn uncommitted_and_untracked_files_arrive_with_the_repository() {
    let place = Place::repository(&["committed", "changed", "removed", "staged"]);
    place.commit();
    place.write("changed", "new");
    place.write("untracked", "untracked");
    place.write("staged", "new");
    place.git(&["add", "staged"]);
    fs::remove_file(place.root.join("removed")).unwrap();
    place.git(&["branch", "other"]);
    place.git(&["pack-refs", "--all"]);
    place.git(&["tag", "--annotate", "--message=x", "v1"]);
    let expected = place.git(&["status", "--porcelain"]);
    let copy = alone(&place, &place.root.join("committed"));
    assert_eq!(expected, " M changed\n D removed\nM  staged\n?? untracked\n");
    assert_eq!(copy.git(&["status", "--porcelain"]), expected);
    assert_eq!(copy.git(&["branch", "--format=%(refname:short)"]), "main\nother\n");
    assert_eq!(copy.git(&["describe"]), "v1\n");
    copy.git(&["fsck", "--strict"]);
    assert_eq!(copy.read("changed"), "new");
    put_back(&place);
}

#[test]
fn hooks_and_locks_and_unfinished_objects_stay_behind() {
    let place = Place::repository(&["a"]);
    place.commit();
    let dot_git = place.root.join(".git");
    fs::write(dot_git.join("hooks/pre-commit"), "#!/bin/sh\nexit 1\n").unwrap();
    place.git(&["branch", "hooks/worktrees/x"]);
    for lock in ["index.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_1", "gc.pid"] {
        fs::write(dot_git.join(lock), "").unwrap();
    }
    let copy = place.import(&Selection::default()).unwrap();
    for left in ["hooks", "index.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_1", "gc.pid"]
    {
        assert!(!copy.root.join(".git").join(left).exists(), "{left}");
    }
    assert!(copy.root.join(".git/refs/heads/hooks/worktrees/x").exists());
    copy.git(&["commit", "--quiet", "--allow-empty", "--message=y"]);
}

#[test]
fn an_added_work_tree_gets_a_repository_of_its_own() {
    for is_bare in [false, true] {
        let place = Place::repository(&["a"]);
        place.commit();
        place.git(&["stash", "list"]);
        let (added, from) = (place.top.join("added"), place.top.join("bare"));
        let from = if is_bare {
            git(&place.top, &["clone", "--quiet", "--bare", "project", "bare"]);
            &from
        } else {
            &place.root
        };
        git(from, &["worktree", "add", "--quiet", "-b", "feature", added.to_str().unwrap()]);
        fs::write(added.join("b"), "b").unwrap();
        git(&added, &["add", "b"]);
        fs::write(added.join("c"), "c").unwrap();
        let copy = alone(&place, &added.join("a"));
        assert_eq!(copy.files(), ["a", "b", "c"]);
        assert_eq!(copy.git(&["status", "--porcelain", "--branch"]), "## feature\nA  b\n?? c\n");
        assert_eq!(copy.git(&["log", "--format=%s", "main"]), "x\n");
        assert_eq!(copy.git(&["worktree", "list"]).lines().count(), 1);
        copy.git(&["fsck"]);
        copy.git(&["commit", "--quiet", "--message=y"]);
        put_back(&place);
    }
}

#[test]
fn an_added_work_tree_inside_of_the_project_works_by_itself() {
    let place = Place::repository(&["a"]);
    place.commit();
    place.git(&["worktree", "add", "--quiet", "-b", "feature", "trees/feature"]);
    let copy = alone(&place, &place.root.join("a"));
    let inner = copy.root.join("trees/feature");
    assert_eq!(git(&inner, &["status", "--porcelain", "--branch"]), "## feature\n");
    assert_eq!(copy.git(&["status", "--porcelain", "--branch"]), "## main\n?? trees/\n");
    put_back(&place);
}

/// A project with a submodule that has one of its own, and an ignored file in it.
fn with_submodules() -> Place {
    let place = Place::repository(&["a", "ci/pipeline.ts"]);
    for (name, inner) in [("inner", None), ("outer", Some("../inner"))] {
        let origin = place.top.join(name);
        fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "--quiet", "--initial-branch=main"]);
        fs::write(origin.join(name), name).unwrap();
        if let Some(inner) = inner {
            let inner = origin.join(inner);
            git(&origin, &["submodule", "--quiet", "add", inner.to_str().unwrap(), "deep/inner"]);
        }
        commit(&origin);
    }
    let outer = place.top.join("outer");
    place.git(&["submodule", "--quiet", "add", outer.to_str().unwrap(), "libs/outer"]);
    place.git(&["submodule", "--quiet", "update", "--init", "--recursive"]);
    place.commit();
    place.write(".gitignore", "libs/\n*.log\n");
    place.write("libs/outer/x.log", "x");
    place
}

#[test]
fn submodules_inside_of_the_project_work() {
    let place = with_submodules();
    let copy = alone(&place, &place.root.join("ci/pipeline.ts"));
    let outer = copy.root.join("libs/outer");
    let inner = outer.join("deep/inner");
    // Ignored by the rules around it, but git tracks the submodule, which has no such rule.
    assert_eq!(git(&outer, &["status", "--porcelain"]), "?? x.log\n");
    assert_eq!(git(&inner, &["status", "--porcelain"]), "");
    assert_eq!(git(&inner, &["log", "--format=%s"]), "x\n");
    for top in [&copy.root, &outer, &inner] {
        assert_eq!(git(top, &["rev-parse", "--show-toplevel"]).trim(), top.to_str().unwrap());
        git(top, &["fsck"]);
    }
    assert_eq!(copy.git(&["status", "--porcelain"]), " M libs/outer\n?? .gitignore\n");
    assert_eq!(copy.git(&["submodule", "status", "--recursive"]).lines().count(), 2);
    put_back(&place);
}

#[test]
fn a_pipeline_in_a_submodule_belongs_to_its_work_tree() {
    let place = with_submodules();
    let copy = alone(&place, &place.root.join("libs/outer/outer"));
    assert_eq!(
        copy.files(),
        [".gitmodules", "deep/inner/.git", "deep/inner/inner", "outer", "x.log"]
    );
    assert_eq!(copy.git(&["status", "--porcelain"]), "?? x.log\n");
    let inner = copy.root.join("deep/inner");
    assert_eq!(git(&inner, &["status", "--porcelain", "--branch"]).lines().count(), 1);
    for top in [&copy.root, &inner] {
        assert_eq!(git(top, &["rev-parse", "--show-toplevel"]).trim(), top.to_str().unwrap());
        git(top, &["fsck"]);
    }
    put_back(&place);
}

#[test]
fn a_submodule_of_an_added_work_tree_works() {
    let place = with_submodules();
    let added = place.top.join("added");
    place.git(&["worktree", "add", "--quiet", added.to_str().unwrap(), "-b", "feature"]);
    git(&added, &["submodule", "--quiet", "update", "--init", "--recursive"]);
    let copy = alone(&place, &added.join("a"));
    assert_eq!(copy.git(&["status", "--porcelain", "--branch"]), "## feature\n");
    for top in [copy.root.join("libs/outer"), copy.root.join("libs/outer/deep/inner")] {
        assert_eq!(git(&top, &["rev-parse", "--show-toplevel"]).trim(), top.to_str().unwrap());
        assert_eq!(git(&top, &["status", "--porcelain"]), "");
        git(&top, &["fsck"]);
    }
    put_back(&place);
}

#[test]
fn borrowed_objects_are_copied() {
    let place = Place::repository(&["a"]);
    place.commit();
    place.git(&["gc", "--quiet"]);
    place.write("b", "b");
    place.commit();
    git(&place.top, &["clone", "--quiet", "--shared", "project", "first"]);
    git(&place.top, &["clone", "--quiet", "--shared", "first", "second"]);
    let second = place.top.join("second");
    fs::write(second.join("c"), "c").unwrap();
    commit(&second);
    let copy = alone(&place, &second.join("c"));
    assert_eq!(copy.git(&["log", "--format=%s"]), "x\nx\nx\n");
    copy.git(&["fsck", "--strict"]);
    assert!(!copy.root.join(".git/objects/info/alternates").exists());
    assert_eq!(copy.imported.notices, <[String; 0]>::default());
    put_back(&place);
}

#[test]
fn a_repository_that_borrows_from_nowhere_is_told_of() {
    let place = Place::repository(&["a"]);
    place.commit();
    fs::write(place.root.join(".git/objects/info/alternates"), "/absent/objects\n").unwrap();
    let copy = place.import(&Selection::default()).unwrap();
    let expected = "`.git/objects` borrows objects from `/absent/objects`, which is not there";
    assert_eq!(copy.imported.notices, [expected]);
}

#[test]
fn a_git_file_that_leads_nowhere_is_told_of() {
    let place = Place::with(&["a", "sub/b"]);
    place.write("sub/.git", "gitdir: ../absent\n");
    let copy = place.import(&Selection::default()).unwrap();
    assert_eq!(copy.files(), ["a", "sub/b"]);
    let expected = "`sub/.git` leads to no repository, it was left out";
    assert_eq!(copy.imported.notices, [expected]);
}

#[test]
fn pointers_of_large_file_storage_stay_pointers() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    let place = Place::repository(&[]);
    place.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    place.write("a.bin", pointer);
    let mark = place.top.join("executed");
    let run = format!("touch {}", mark.display());
    let copy = {
        // Nothing of what the repository says is executed.
        place.commit();
        for key in ["filter.lfs.clean", "filter.lfs.smudge", "filter.lfs.process", "core.fsmonitor"]
        {
            place.git(&["config", key, &run]);
        }
        place.import(&Selection::default()).unwrap()
    };
    assert_eq!(copy.read("a.bin"), pointer);
    assert!(!mark.exists());
}

#[test]
fn repositories_of_other_hashes_work() {
    let place = Place::with(&["a.log", "b.log"]);
    git(&place.root, &["init", "--quiet", "--object-format=sha256"]);
    place.git(&["add", "a.log"]);
    place.git(&["commit", "--quiet", "--message=x"]);
    place.write(".gitignore", "*.log\n");
    let copy = alone(&place, &place.root.join("a.log"));
    assert_eq!(copy.files(), [".gitignore", "a.log"]);
    assert_eq!(copy.git(&["status", "--porcelain"]), "?? .gitignore\n");
    put_back(&place);
}
