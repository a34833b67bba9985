use serde_json::{Value, json};

use crate::world::{Repository, World};

/// `r` with the submodules `one` at `libs/one` and `two` at `libs/two`, which has `deep` at `deep`.
fn nested(world: &World) -> Repository<'_> {
    for name in ["deep", "one", "two"] {
        world.repository(name).commit("file", name);
    }
    let repository = world.repository("r");
    repository.commit("a", "first");
    let add = |repository: &str, path: &str, name: &str| {
        // By a relative address, as most are.
        world.git(
            repository,
            &[
                "submodule",
                "--quiet",
                "add",
                "--name",
                &format!("name of {path}"),
                &format!("../{name}"),
                path,
            ],
        );
        world.git(repository, &["commit", "--quiet", "--message", "submodule"]);
    };
    world.git("two", &["remote", "add", "origin", &repository.uri().replace("/r", "/two")]);
    world.git("r", &["remote", "add", "origin", &repository.uri()]);
    add("two", "deep", "deep");
    add("r", "libs/one", "one");
    add("r", "libs/two", "two");
    repository
}

#[test]
fn submodules_are_checked_out_as_asked() {
    for (params, one, two, deep) in [
        (json!({}), true, true, true),
        (json!({ "submodules": "all" }), true, true, true),
        (json!({ "submodules": "none" }), false, false, false),
        (json!({ "submodules": ["libs/two"] }), false, true, true),
        (json!({ "submodules": ["libs/two/"], "submodule_recursive": false }), false, true, false),
        (json!({ "depth": 1 }), true, true, true),
    ] {
        let world = World::new();
        let repository = nested(&world);
        let source = json!({ "uri": repository.uri() });
        world.get(&source, &repository.head(), &params).json();
        let found = ["libs/one/file", "libs/two/file", "libs/two/deep/file"]
            .map(|path| world.exists(&format!("got/{path}")));
        assert_eq!(found, [one, two, deep], "{params}");
    }
}

#[test]
fn a_submodule_that_is_not_there_is_an_error() {
    let world = World::new();
    let repository = nested(&world);
    let answer = world.get(
        &json!({ "uri": repository.uri() }),
        &repository.head(),
        &json!({ "submodules": ["libs/on"] }),
    );
    answer.fails_with("there is no submodule `libs/on`, did you mean `libs/one`?");
}

#[test]
fn submodule_remote_takes_the_end_of_the_branch() {
    let world = World::new();
    let repository = nested(&world);
    let newer = {
        let one = world.path("one");
        std::fs::write(one.join("file"), "newer").unwrap();
        world.git("one", &["commit", "--quiet", "--all", "--message", "newer"]);
        world.git("one", &["rev-parse", "HEAD"])
    };
    for (is_remote, is_newer) in [(json!(true), true), (Value::Null, false)] {
        let params = json!({ "submodule_remote": is_remote, "submodules": ["libs/one"] });
        world.get(&json!({ "uri": repository.uri() }), &repository.head(), &params).json();
        assert_eq!(world.git("got/libs/one", &["rev-parse", "HEAD"]) == newer, is_newer);
        std::fs::remove_dir_all(world.path("got")).unwrap();
    }
}

/// A link of `.gitmodules` to nothing, as some commands of git leave it.
#[test]
fn an_entry_without_a_submodule_is_skipped() {
    let world = World::new();
    let repository = world.repository("r");
    std::fs::write(world.path("r/.gitmodules"), "[submodule \"x\"]\n\tpath = x\n\turl = ../none\n")
        .unwrap();
    let one = repository.commit("a", "one");
    let answer = world.get(&json!({ "uri": repository.uri() }), &one, &json!({}));
    assert!(
        answer.is_success && answer.stderr.contains("the submodule `x` is not in this commit"),
        "{}",
        answer.stderr
    );
}
