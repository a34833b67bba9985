use std::fs;

use serde_json::{Value, json};

use crate::world::{Answer, Repository, World};

fn source(repository: &Repository<'_>) -> Value {
    json!({ "driver": "git", "uri": repository.uri(), "branch": "main", "file": "deep/number" })
}

fn put(world: &World, source: &Value, params: &Value) -> Answer {
    fs::create_dir_all(world.path("artifacts")).unwrap();
    world.run("semver", "out", Some("artifacts"), &json!({ "source": source, "params": params }))
}

fn check(world: &World, source: &Value, version: &Value) -> Value {
    world.run("semver", "check", None, &json!({ "source": source, "version": version })).json()
}

#[test]
fn a_number_is_bumped_in_the_repository() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("other", "one");
    let mut source = source(&repository);
    source["initial_version"] = json!("1.0.0");
    assert_eq!(check(&world, &source, &Value::Null), json!([{ "number": "1.0.0" }]));
    source["git_user"] = json!("Bob B <bob@example.com>");
    source["commit_message"] = json!("%file% is %version%");
    for (params, expected) in [
        (json!({ "bump": "minor" }), "1.1.0"),
        (json!({ "bump": "patch", "pre": "rc" }), "1.1.1-rc.1"),
        (json!({ "pre": "rc" }), "1.1.1-rc.2"),
        (json!({ "get_latest": true }), "1.1.1-rc.2"),
        (json!({ "bump": "final" }), "1.1.1"),
    ] {
        let answer = put(&world, &source, &params).json();
        assert_eq!(answer["version"], json!({ "number": expected }));
        assert_eq!(answer["metadata"], json!([{ "name": "number", "value": expected }]));
    }
    assert_eq!(repository.git(&["show", "main:deep/number", "main:other"]), "1.1.1\none");
    let log = repository.git(&["log", "-1", "--format=%an %ae %s", "main"]);
    assert_eq!(log, "Bob B bob@example.com deep/number is 1.1.1");
    let numbers = |from: &str| check(&world, &source, &json!({ "number": from }));
    assert_eq!(numbers("1.1.1-rc.2"), json!([{ "number": "1.1.1-rc.2" }, { "number": "1.1.1" }]));
    assert_eq!(numbers("9.0.0"), json!([{ "number": "1.1.1" }]));
    assert_eq!(numbers("none"), json!([{ "number": "1.1.1" }]));
    assert_eq!(check(&world, &source, &Value::Null), json!([{ "number": "1.1.1" }]));
    world.left_nothing();
}

#[test]
fn a_number_is_set_from_a_file() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("other", "one");
    fs::create_dir(world.path("artifacts")).unwrap();
    fs::write(world.path("artifacts/new"), "3.2.1\n").unwrap();
    let before = || repository.git(&["rev-list", "--count", "main"]);
    let params = json!({ "file": "new" });
    assert_eq!(
        put(&world, &source(&repository), &params).json()["version"],
        json!({ "number": "3.2.1" })
    );
    let count = before();
    put(&world, &source(&repository), &params).json();
    assert_eq!(before(), count);
    fs::write(world.path("artifacts/new"), "three").unwrap();
    put(&world, &source(&repository), &params)
        .fails_with("`params.file` is `three`, which is no number");
}

#[test]
fn a_fetched_number_may_be_bumped_for_the_build_alone() {
    let world = World::new();
    let repository = world.repository("r");
    let request = json!({ "source": source(&repository), "version": { "number": "1.2.3" }, "params": { "bump": "major", "pre": "rc" } });
    let answer = world.run("semver", "in", Some("got"), &request).json();
    assert_eq!(answer["version"], json!({ "number": "1.2.3" }));
    assert_eq!(
        (world.read("got/version"), world.read("got/number")),
        ("2.0.0-rc.1".into(), "2.0.0-rc.1".into())
    );
}

/// No bump is lost, not even one that makes the same commit in the same second.
#[test]
fn bumps_at_the_same_time_are_all_kept() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("deep/number", "0.0.0");
    let source = source(&repository);
    fs::create_dir(world.path("artifacts")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| put(&world, &source, &json!({ "bump": "patch" })).json());
        }
    });
    assert_eq!(check(&world, &source, &Value::Null), json!([{ "number": "0.0.4" }]));
    repository.git(&["fsck", "--strict"]);
}

#[test]
fn what_is_not_supported_is_refused() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("deep/number", "no number");
    for (fields, expected) in [
        (json!({ "driver": null }), "`source.driver` is not `git`: only `driver: git` is built in"),
        (
            json!({ "driver": "s3", "bucket": "b" }),
            "`bucket` is not supported: only `driver: git` is built in",
        ),
        (json!({ "file": "../x" }), "which is no path inside"),
        (json!({ "branch": null }), "`source.branch` is not set"),
        (
            json!({ "git_user": "nobody" }),
            "`source.git_user` is not `Name <address>` or an address",
        ),
        (json!({ "initial_version": "1.0" }), "`source.initial_version` is `1.0`"),
        (json!({}), "`deep/number` is `no`, which is no number"),
    ] {
        let mut source = source(&repository);
        source.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        put(&world, &source, &json!({ "bump": "major" })).fails_with(expected);
    }
    for (params, expected) in [
        (json!({}), "a `put` needs `file`, or `bump`, `pre` or `build`"),
        (json!({ "bump": "huge" }), "`params.bump` is not `major`, `minor`, `patch` or `final`"),
        (json!({ "pre": "a b" }), "`params.pre` is not a name"),
        (json!({ "bump": "major", "file": "x" }), "exclude each other"),
    ] {
        put(&world, &source(&repository), &params).fails_with(expected);
    }
}
