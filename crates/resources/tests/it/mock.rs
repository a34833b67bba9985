use serde_json::{Value, json};

use crate::world::World;

fn check(source: &Value, version: &Value) -> Value {
    World::new().run("mock", "check", None, &json!({ "source": source, "version": version })).json()
}

#[test]
fn versions_are_those_that_the_source_names() {
    let given = json!({ "version": "given" });
    for (source, version, expected) in [
        (json!({}), &Value::Null, json!([{ "version": "mock" }])),
        (json!({ "initial_version": "1" }), &Value::Null, json!([{ "version": "1" }])),
        (json!({ "no_initial_version": true }), &Value::Null, json!([])),
        (json!({ "no_initial_version": true }), &given, json!([{ "version": "given" }])),
        (json!({ "initial_version": "1" }), &given, json!([{ "version": "given" }])),
        (json!({ "force_version": "2" }), &given, json!([{ "version": "2" }])),
        (json!({ "check_delay": "1ms" }), &Value::Null, json!([{ "version": "mock" }])),
    ] {
        assert_eq!(check(&source, version), expected, "{source}");
    }
    let world = World::new();
    let run = |source: Value| world.run("mock", "check", None, &json!({ "source": source }));
    run(json!({ "check_failure": "broken" })).fails_with("broken");
    run(json!({ "check_delay": "soon" }))
        .fails_with("`check_delay` is `soon`, which is no duration");
    run(json!({ "mirror_self": true })).fails_with("`mirror_self` is not supported");
    assert!(run(json!({ "log": "hello" })).stderr.contains("hello\n"));
}

#[test]
fn files_are_made() {
    let world = World::new();
    let request = json!({
        "source": {
            "create_files": { "a/b": "text", "c": { "x": ["START_VARyEND_VAR"] }, "d": "source" },
            "metadata": [{ "name": "n", "value": "v" }],
        },
        "version": { "version": "7" },
        "params": { "create_files_via_params": { "d": "params" } },
    });
    let answer = world.run("mock", "in", Some("got"), &request).json();
    assert_eq!(
        answer,
        json!({ "version": { "version": "7" }, "metadata": [{ "name": "n", "value": "v" }] })
    );
    for (file, expected) in [
        ("version", "7\n"),
        ("privileged", "false\n"),
        ("a/b", "text"),
        ("c", "{\"x\":[\"((y))\"]}"),
        ("d", "params"),
    ] {
        assert_eq!(world.read(&format!("got/{file}")), expected);
    }
    let request =
        json!({ "source": { "create_files": { "../x": "" } }, "version": { "version": "7" } });
    world
        .run("mock", "in", Some("other"), &request)
        .fails_with("which is no path inside of the step's directory");
}

#[test]
fn a_version_is_made_from_a_param_or_a_file() {
    let world = World::new();
    std::fs::create_dir(world.path("artifacts")).unwrap();
    std::fs::write(world.path("artifacts/file"), "from file").unwrap();
    let run =
        |params: Value| world.run("mock", "out", Some("artifacts"), &json!({ "params": params }));
    assert_eq!(run(json!({ "version": "1" })).json()["version"], json!({ "version": "1" }));
    assert_eq!(run(json!({ "file": "file" })).json()["version"], json!({ "version": "from file" }));
    assert_eq!(run(json!({})).json()["version"], json!({ "version": "mock" }));
    assert!(run(json!({ "print_env": true })).stderr.contains("HOME="));
    run(json!({ "file": "none" })).fails_with("cannot read `none`, the file of `file`");
    run(json!({ "file": "file", "version": "1" })).fails_with("keep one of them");
}
