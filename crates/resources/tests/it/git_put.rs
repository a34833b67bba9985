use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::world::{Repository, World};

/// A repository to push to, and a clone of it among the artifacts.
fn cloned(world: &World) -> Repository<'_> {
    let remote = world.repository("r");
    remote.commit("a", "one");
    fs::create_dir(world.path("artifacts")).unwrap();
    world.git("artifacts", &["clone", "--quiet", &remote.uri(), "repo"]);
    remote
}

fn commit(world: &World, file: &str, content: &str) -> String {
    fs::write(world.path("artifacts/repo").join(file), content).unwrap();
    world.git("artifacts/repo", &["add", "--all"]);
    world.git("artifacts/repo", &["commit", "--quiet", "--message", content]);
    world.git("artifacts/repo", &["rev-parse", "HEAD"])
}

fn file(world: &World, name: &str, content: &str) {
    fs::write(world.path("artifacts").join(name), content).unwrap();
}

fn source(remote: &Repository<'_>) -> Value {
    json!({ "uri": remote.uri(), "branch": "main" })
}

#[test]
fn a_commit_is_pushed_with_its_tags() {
    let world = World::new();
    let remote = cloned(&world);
    let new = commit(&world, "b", "two");
    world.git("artifacts/repo", &["tag", "v1"]);
    let answer = world.put(&source(&remote), &json!({ "repository": "repo" })).json();
    assert_eq!(answer["version"], json!({ "ref": new }));
    assert_eq!(remote.git(&["rev-parse", "main", "v1"]), format!("{new}\n{new}"));
    assert_eq!(world.git("artifacts/repo", &["remote"]), "origin");
    // Again: there is nothing to do, and that is well.
    world.put(&source(&remote), &json!({ "repository": "repo" })).json();
    world.left_nothing();
}

#[test]
fn another_branch_and_another_prefix_are_pushed_to() {
    let world = World::new();
    let remote = cloned(&world);
    let new = commit(&world, "b", "two");
    let answer =
        world.put(&source(&remote), &json!({ "repository": "repo", "branch": "next" })).json();
    assert_eq!(answer["version"], json!({ "ref": new, "branch": "next" }));
    assert_eq!(remote.git(&["rev-parse", "refs/heads/next"]), new);
    world.put(&source(&remote), &json!({ "repository": "repo", "refs_prefix": "refs/for" })).json();
    assert_eq!(remote.git(&["rev-parse", "refs/for/main"]), new);
}

#[test]
fn a_tag_is_made_and_pushed() {
    let world = World::new();
    let remote = cloned(&world);
    let new = commit(&world, "b", "two");
    file(&world, "name", "1.0\n");
    file(&world, "message", "released\n");
    let params =
        json!({ "repository": "repo", "tag": "name", "tag_prefix": "v", "annotate": "message" });
    world.put(&source(&remote), &params).json();
    assert_eq!(remote.git(&["rev-parse", "v1.0^{commit}"]), new);
    assert_eq!(remote.git(&["tag", "--list", "--format=%(contents:subject)", "v1.0"]), "released");
}

#[test]
fn only_tag_pushes_the_tag_and_no_branch() {
    let world = World::new();
    let remote = cloned(&world);
    let old = remote.head();
    let new = commit(&world, "b", "two");
    file(&world, "name", "1.0");
    let params = json!({ "repository": "repo", "tag": "name", "only_tag": true });
    let answer = world.put(&json!({ "uri": remote.uri() }), &params).json();
    assert_eq!(answer["version"], json!({ "ref": new }));
    assert_eq!(remote.git(&["rev-parse", "1.0", "main"]), format!("{new}\n{old}"));
}

#[test]
fn a_tag_that_is_there_is_moved_by_force_alone() {
    let world = World::new();
    let remote = cloned(&world);
    remote.git(&["tag", "v1"]);
    let new = commit(&world, "b", "two");
    file(&world, "name", "v1");
    for only_tag in [true, false] {
        let mut params = json!({ "repository": "repo", "tag": "name", "only_tag": only_tag, "rebase": !only_tag });
        world.put(&source(&remote), &params).fails_with("set `force: true` to move it");
        params["force"] = json!(true);
        world.put(&source(&remote), &params).json();
        assert_eq!(remote.git(&["rev-parse", "v1"]), new);
        remote.git(&["tag", "--force", "v1", "main~0^{tree}"]);
    }
}

#[test]
fn a_push_behind_the_branch_is_rejected_or_forced() {
    let world = World::new();
    let remote = cloned(&world);
    let theirs = remote.commit("b", "theirs");
    let ours = commit(&world, "c", "ours");
    let params = json!({ "repository": "repo" });
    world
        .put(&source(&remote), &params)
        .fails_with("set `rebase: true` or `merge: true` to keep them");
    assert_eq!(remote.git(&["rev-parse", "main"]), theirs);
    world.put(&source(&remote), &json!({ "repository": "repo", "force": true })).json();
    assert_eq!(remote.git(&["rev-parse", "main"]), ours);
}

#[test]
fn a_rebase_keeps_what_others_have_pushed() {
    let world = World::new();
    let remote = cloned(&world);
    let theirs = remote.commit("b", "theirs");
    let ours = commit(&world, "c", "ours");
    fs::write(world.path("artifacts/repo/a"), "not committed").unwrap();
    file(&world, "name", "v1");
    let params = json!({ "repository": "repo", "rebase": true, "tag": "name" });
    let answer = world.put(&source(&remote), &params).json();
    let pushed = remote.git(&["rev-parse", "main"]);
    assert_eq!(answer["version"], json!({ "ref": pushed }));
    assert_eq!(remote.git(&["rev-parse", "main~1"]), theirs);
    assert_eq!(remote.git(&["rev-parse", "v1"]), pushed);
    // The artifact is as it was.
    assert_eq!(world.git("artifacts/repo", &["rev-parse", "HEAD"]), ours);
    assert_eq!(world.read("artifacts/repo/a"), "not committed");
    assert_eq!(world.git("artifacts/repo", &["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_merge_gives_the_merged_or_the_unmerged_commit() {
    for (returning, is_merged) in
        [(Value::Null, true), (json!("merged"), true), (json!("unmerged"), false)]
    {
        let world = World::new();
        let remote = cloned(&world);
        let theirs = remote.commit("b", "theirs");
        let ours = commit(&world, "c", "ours");
        let params = json!({ "repository": "repo", "merge": true, "returning": returning });
        let answer = world.put(&source(&remote), &params).json();
        let pushed = remote.git(&["rev-parse", "main"]);
        assert_eq!(answer["version"]["ref"], if is_merged { pushed } else { ours.clone() });
        assert_eq!(remote.git(&["rev-parse", "main^1", "main^2"]), format!("{ours}\n{theirs}"));
    }
}

#[test]
fn a_conflict_is_an_error_that_names_the_files() {
    for strategy in ["rebase", "merge"] {
        let world = World::new();
        let remote = cloned(&world);
        let theirs = remote.commit("a", "theirs");
        let ours = commit(&world, "a", "ours");
        let params = json!({ "repository": "repo", strategy: true });
        world
            .put(&source(&remote), &params)
            .fails_with("conflicts in `a`; resolve it and push again");
        assert_eq!(remote.git(&["rev-parse", "main"]), theirs);
        assert_eq!(world.git("artifacts/repo", &["rev-parse", "HEAD"]), ours);
        assert_eq!(world.git("artifacts/repo", &["status", "--porcelain"]), "");
        assert_eq!(world.git("artifacts/repo", &["worktree", "list"]).lines().count(), 1);
    }
}

#[test]
fn options_of_the_strategy_resolve_conflicts() {
    for option in [json!("theirs"), json!(["theirs"]), json!("theirs ignore-space-change")] {
        let world = World::new();
        let remote = cloned(&world);
        remote.commit("a", "theirs");
        commit(&world, "a", "ours");
        let params = json!({ "repository": "repo", "rebase": true, "rebase_strategy": "ort", "rebase_strategy_option": option });
        world.put(&source(&remote), &params).json();
        assert_eq!(remote.git(&["show", "main:a"]), "ours");
    }
}

/// Others push while this push is under way, by a hook that runs before the first one.
#[test]
fn a_push_is_tried_again_if_others_were_faster() {
    for strategy in ["rebase", "merge"] {
        let world = World::new();
        let remote = cloned(&world);
        commit(&world, "c", "ours");
        let hook = world.path("artifacts/repo/.git/hooks/pre-push");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        let done = world.path("raced");
        let script = format!(
            "#!/bin/sh\ntest -e {done} && exit 0\ntouch {done}\ncd {} && unset GIT_DIR && git commit --quiet --allow-empty -m theirs\n",
            world.path("r").display(),
            done = done.display()
        );
        fs::write(&hook, script).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        let answer = world.put(&source(&remote), &json!({ "repository": "repo", strategy: true }));
        assert!(answer.is_success && answer.stderr.contains("trying again"), "{}", answer.stderr);
        let log = remote.git(&["log", "--format=%s", "main"]);
        assert!(log.contains("theirs") && log.contains("ours"), "{log}");
    }
}

#[test]
fn a_push_that_is_always_too_late_ends() {
    let world = World::new();
    let remote = cloned(&world);
    commit(&world, "c", "ours");
    let hook = world.path("r/.git/hooks/update");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let script = "#!/bin/sh\necho theirs > .git-race; git update-ref refs/heads/main $(git commit-tree -p main -m theirs main^{tree}) || git --git-dir=. log\nexit 0\n";
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let answer = world.put(&source(&remote), &json!({ "repository": "repo", "rebase": true }));
    answer.fails_with("was rejected 10 times, as others have pushed in between");
}

#[test]
fn a_hook_of_the_server_that_declines_is_told_of_at_once() {
    let world = World::new();
    let remote = cloned(&world);
    commit(&world, "c", "ours");
    let hook = world.path("r/.git/hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho no pushes on sundays >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let answer = world.put(&source(&remote), &json!({ "repository": "repo", "rebase": true }));
    answer.fails_with("no pushes on sundays");
    assert!(!answer.stderr.contains("trying again"));
}

#[test]
fn notes_and_push_options_are_sent() {
    let world = World::new();
    let remote = cloned(&world);
    remote.git(&["notes", "add", "-m", "older"]);
    let new = commit(&world, "b", "two");
    file(&world, "note", "built\n");
    remote.git(&["config", "receive.advertisePushOptions", "true"]);
    let hook = world.path("r/.git/hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(
        &hook,
        "#!/bin/sh\ntest -z \"$GIT_PUSH_OPTION_0\" || echo \"$GIT_PUSH_OPTION_0\" > options\n",
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let params = json!({ "repository": "repo", "notes": "note", "push_options": ["ci.skip"] });
    world.put(&source(&remote), &params).json();
    assert_eq!(remote.git(&["notes", "show", &new]), "built");
    assert_eq!(world.read("r/.git/options"), "ci.skip\n");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_pushed() {
    let world = World::new();
    let remote = cloned(&world);
    let old = remote.head();
    commit(&world, "b", "two");
    fs::create_dir(world.path("artifacts/plain")).unwrap();
    let both = source(&remote);
    for (source, params, expected) in [
        (&both, json!({}), "`params.repository` is missing or empty"),
        (&both, json!({ "repository": "none" }), "there is no such directory among the artifacts"),
        (&both, json!({ "repository": "../r" }), "which is no path inside of the step's directory"),
        (&both, json!({ "repository": "plain" }), "not a git repository"),
        (
            &both,
            json!({ "repository": "repo", "rebase": true, "merge": true }),
            "cannot both be `true`",
        ),
        (
            &both,
            json!({ "repository": "repo", "tag": "none" }),
            "cannot read `none`, the file of `tag`",
        ),
        (&both, json!({ "repository": "repo", "returning": "x" }), "is not `merged` or `unmerged`"),
        (
            &both,
            json!({ "repository": "repo", "merge": true, "rebase_strategy": "ort" }),
            "need `rebase: true`",
        ),
        (
            &both,
            json!({ "repository": "repo", "rebase": true, "rebase_strategy": "x" }),
            "`params.rebase_strategy` is not `ort`",
        ),
        (&both, json!({ "repository": "repo", "only_tags": true }), "did you mean `only_tag`?"),
        (&both, json!({ "repository": "repo", "branch": "-x" }), "is no name of a branch"),
        (
            &json!({ "uri": remote.uri() }),
            json!({ "repository": "repo" }),
            "a `put` needs a branch",
        ),
    ] {
        world.put(source, &params).fails_with(expected);
    }
    assert_eq!(remote.head(), old);
}

/// The project itself may be a repository, and the artifacts be in it.
#[test]
fn a_repository_above_the_artifacts_is_not_pushed() {
    let world = World::new();
    let remote = world.repository("r");
    remote.commit("a", "one");
    fs::create_dir_all(world.path("r/artifacts/plain")).unwrap();
    let request = json!({ "source": { "uri": remote.uri(), "branch": "x" }, "params": { "repository": "plain" } });
    world.run("git", "out", Some("r/artifacts"), &request).fails_with("not a git repository");
}

#[test]
fn merges_of_nobody_in_particular_are_possible() {
    let world = World::new();
    let remote = cloned(&world);
    remote.commit("b", "theirs");
    commit(&world, "c", "ours");
    fs::write(world.path("home/.gitconfig"), "[user]\nuseConfigOnly = true\n").unwrap();
    world.put(&source(&remote), &json!({ "repository": "repo", "merge": true })).json();
    assert_eq!(remote.git(&["log", "-1", "--format=%cn <%ce>", "main"]), "git <git@localhost>");
}

#[test]
fn a_link_in_an_artifact_leads_to_nothing_that_is_published() {
    let world = World::new();
    let remote = cloned(&world);
    commit(&world, "b", "two");
    fs::write(world.path("private"), "private").unwrap();
    symlink(world.path("private"), world.path("artifacts/repo/link")).unwrap();
    symlink(world.path("."), world.path("artifacts/repo/up")).unwrap();
    file(&world, "name", "1.0");
    for (field, path) in [
        ("annotate", "repo/link"),
        ("annotate", "repo/up/private"),
        ("notes", "repo/link"),
        ("tag", "repo/link"),
        ("repository", "repo/up"),
    ] {
        let mut params = json!({ "repository": "repo", "tag": "name" });
        params[field] = path.into();
        world.put(&source(&remote), &params).fails_with("a link leads out of the step's directory");
    }
    assert_eq!(remote.git(&["tag", "--list"]), "");
    // A link that stays among the artifacts is followed.
    fs::create_dir(world.path("artifacts/notes")).unwrap();
    file(&world, "notes/message", "released\n");
    symlink("../notes/message", world.path("artifacts/repo/inner")).unwrap();
    let params = json!({ "repository": "repo", "tag": "name", "annotate": "repo/inner" });
    world.put(&source(&remote), &params).json();
}
