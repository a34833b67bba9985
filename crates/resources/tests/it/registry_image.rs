use serde_json::{Value, json};

use crate::world::World;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn an_image_is_named_and_not_fetched() {
    let world = World::new();
    let check = |source: Value| {
        world.run("registry-image", "check", None, &json!({ "source": source })).json()
    };
    assert_eq!(check(json!({ "repository": "localhost:5000/a/b" })), json!([{ "tag": "latest" }]));
    let pinned = format!("a@{DIGEST}");
    assert_eq!(
        check(json!({ "repository": pinned, "tag": "1.0" })),
        json!([{ "tag": "1.0", "digest": DIGEST }])
    );
    let request = json!({
        "source": { "repository": "a", "tag": "1.0" },
        "version": { "tag": "1.0", "digest": DIGEST },
        "params": { "skip_download": true },
    });
    let answer = world.run("registry-image", "in", Some("got"), &request).json();
    assert_eq!(answer["version"], request["version"]);
    for (file, expected) in [("repository", "a"), ("tag", "1.0"), ("digest", DIGEST)] {
        assert_eq!(world.read(&format!("got/{file}")), expected);
    }
}

#[test]
fn what_needs_a_registry_is_refused() {
    let world = World::new();
    let run = |action: &str, source: Value, params: Value| {
        world.run(
            "registry-image",
            action,
            Some("d"),
            &json!({ "source": source, "params": params }),
        )
    };
    let image = json!({ "repository": "a" });
    run("in", image.clone(), json!({ "format": "oci" })).fails_with("`format` is not supported");
    run("out", image.clone(), json!({ "image": "x" }))
        .fails_with("no image is pushed without an engine");
    run("out", image, json!({})).fails_with("`registry-image` has no `put`");
    run("check", json!({ "repository": "a:1" }), Value::Null).fails_with("belongs into `tag`");
    run("check", json!({ "repository": "a@sha256:1" }), Value::Null).fails_with("is no digest");
    run("check", json!({ "repository": "a", "tag": "../x" }), Value::Null)
        .fails_with("`source.tag` is not a tag");
    run("check", json!({ "repository": "a", "tag_regex": ".*" }), Value::Null)
        .fails_with("`tag_regex` is not supported");
}
