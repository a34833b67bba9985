use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::world::World;

#[test]
fn a_directory_is_copied_there_and_back() {
    let world = World::new();
    fs::create_dir_all(world.path("store/deep/er")).unwrap();
    fs::write(world.path("store/deep/er/file"), "content").unwrap();
    fs::write(world.path("store/run"), "program").unwrap();
    fs::set_permissions(world.path("store/run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("run", world.path("store/link")).unwrap();
    let source = json!({ "path": world.path("store") });
    let version = json!({ "path": world.path("store") });
    assert_eq!(
        world.run("file", "check", None, &json!({ "source": source })).json(),
        json!([version])
    );
    let answer = world
        .run("file", "in", Some("got"), &json!({ "source": source, "version": version }))
        .json();
    assert_eq!(answer["version"], version);
    assert_eq!(world.read("got/deep/er/file"), "content");
    assert_eq!(fs::metadata(world.path("got/run")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_link(world.path("got/link")).unwrap().to_str(), Some("run"));

    fs::create_dir_all(world.path("artifacts/out/deep")).unwrap();
    fs::write(world.path("artifacts/out/deep/new"), "new").unwrap();
    fs::write(world.path("artifacts/out/link"), "no link").unwrap();
    let params = json!({ "path": "out" });
    let request = json!({ "source": source, "params": params });
    assert_eq!(world.run("file", "out", Some("artifacts"), &request).json()["version"], version);
    assert_eq!(world.read("store/deep/new"), "new");
    assert_eq!(world.read("store/deep/er/file"), "content");
    // The link is replaced, and not what it names.
    assert_eq!(
        (world.read("store/link"), world.read("store/run")),
        ("no link".into(), "program".into())
    );
}

#[test]
fn what_cannot_be_copied_is_said() {
    let world = World::new();
    fs::create_dir_all(world.path("store/inner")).unwrap();
    let run = |action: &str, directory: &str, source: Value, params: Value| {
        world.run("file", action, Some(directory), &json!({ "source": source, "params": params }))
    };
    let store = json!({ "path": world.path("store") });
    run("check", "store", json!({ "path": "store" }), Value::Null)
        .fails_with("which is no absolute path");
    run("check", "store", json!({ "path": world.path("none") }), Value::Null)
        .fails_with("is no directory");
    run("in", "store/inner", store.clone(), Value::Null).fails_with("is inside of");
    run("out", "store", store.clone(), json!({ "path": "../home" }))
        .fails_with("which is no path inside");
    run("out", "store", store, json!({})).fails_with("`params.path` is missing or empty");
}
