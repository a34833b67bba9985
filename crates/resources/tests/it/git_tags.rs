use serde_json::{Value, json};

use crate::world::{Repository, World};

struct Tagged {
    /// Commits: `one` with `1.0-a`, `two` with `1.0-b`, `three` with `2.0-a`, `four` without a tag.
    commits: Vec<String>,
}

fn tagged(repository: &Repository<'_>) -> Tagged {
    let mut commits = Vec::new();
    for (index, (name, tag)) in
        [("one", "1.0-a"), ("two", "1.0-b"), ("three", "2.0-a")].iter().enumerate()
    {
        commits.push(repository.commit(name, name));
        repository.tag(tag, index as u32);
    }
    commits.push(repository.commit("four", "four"));
    Tagged { commits }
}

#[test]
fn only_tagged_commits_are_versions() {
    let world = World::new();
    let repository = world.repository("r");
    let Tagged { commits } = tagged(&repository);
    let uri = repository.uri();
    for (filter, expected) in [
        (json!({ "tag_filter": "*-a" }), json!([{ "ref": "2.0-a", "commit": commits[2] }])),
        (json!({ "tag_filter": "1.*" }), json!([{ "ref": "1.0-b", "commit": commits[1] }])),
        (json!({ "tag_regex": "[0-9.]+-b" }), json!([{ "ref": "1.0-b", "commit": commits[1] }])),
        // The whole tag has to match.
        (json!({ "tag_regex": "[0-9.]+" }), json!([])),
        (json!({ "tag_filter": "3.*" }), json!([])),
        (json!({ "tag_filter": "--help" }), json!([])),
        (
            json!({ "tag_filter": "*-a", "paths": ["one"] }),
            json!([{ "ref": "1.0-a", "commit": commits[0] }]),
        ),
        (
            json!({ "tag_filter": "*", "version_depth": 2 }),
            json!([{ "ref": "1.0-b", "commit": commits[1] }, { "ref": "2.0-a", "commit": commits[2] }]),
        ),
    ] {
        let mut source = filter.clone();
        source["uri"] = json!(uri);
        for branch in [Value::Null, json!("main")] {
            source["branch"] = branch;
            assert_eq!(world.check(&source, &Value::Null).json(), expected, "{source}");
        }
    }
    world
        .check(&json!({ "uri": uri, "tag_regex": "(" }), &Value::Null)
        .fails_with("`tag_regex` is not valid");
    world.left_nothing();
}

#[test]
fn a_given_tag_and_later_ones_are_found() {
    let world = World::new();
    let repository = world.repository("r");
    let Tagged { commits } = tagged(&repository);
    let all = json!([
        { "ref": "1.0-a", "commit": commits[0] },
        { "ref": "1.0-b", "commit": commits[1] },
        { "ref": "2.0-a", "commit": commits[2] },
    ]);
    let mut source = json!({ "uri": repository.uri(), "tag_filter": "*", "version_depth": 9 });
    for branch in [Value::Null, json!("main")] {
        source["branch"] = branch;
        for (given, from) in [("1.0-a", 0), ("1.0-b", 1), ("2.0-a", 2), ("bogus", 0)] {
            let found = world.check(&source, &json!({ "ref": given })).json();
            assert_eq!(
                found.as_array().unwrap(),
                &all.as_array().unwrap()[from..],
                "{given} {source}"
            );
        }
    }
}

#[test]
fn tags_of_other_branches_are_none_of_a_branch() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("a", "one");
    repository.git(&["checkout", "--quiet", "-b", "side"]);
    let side = repository.commit("a", "side");
    repository.tag("v1", 1);
    let mut source = json!({ "uri": repository.uri(), "tag_filter": "v*", "branch": "main" });
    assert_eq!(world.check(&source, &Value::Null).json(), json!([]));
    source["branch"] = json!("side");
    assert_eq!(world.check(&source, &Value::Null).json(), json!([{ "ref": "v1", "commit": side }]));
}

#[test]
fn ancestors_of_tagged_commits_are_versions_if_asked_for() {
    let world = World::new();
    let repository = world.repository("r");
    let Tagged { commits } = tagged(&repository);
    for (filter, expected) in [
        (json!({ "tag_filter": "2*", "paths": ["two", "four"] }), json!([{ "ref": commits[1] }])),
        (json!({ "tag_filter": "1*", "paths": ["three"] }), json!([])),
        (json!({ "tag_regex": "1.*" }), json!([{ "ref": commits[1] }])),
    ] {
        let mut source = filter;
        source["uri"] = json!(repository.uri());
        source["tag_behaviour"] = json!("match_tag_ancestors");
        assert_eq!(world.check(&source, &Value::Null).json(), expected, "{source}");
    }
}

#[test]
fn a_tag_is_fetched_and_not_a_branch_of_the_same_name() {
    let world = World::new();
    let repository = world.repository("r");
    let tagged = repository.commit("a", "one");
    repository.tag("v1", 1);
    repository.git(&["checkout", "--quiet", "-b", "v1"]);
    repository.commit("a", "branch");
    let source = json!({ "uri": repository.uri(), "tag_filter": "v*" });
    let answer = world.get(&source, "v1", &json!({})).json();
    assert_eq!(answer["version"], json!({ "ref": "v1" }));
    assert_eq!(world.git("got", &["rev-parse", "HEAD"]), tagged);
    assert_eq!(world.read("got/.git/ref"), "v1\n");
    assert_eq!(world.read("got/.git/short_ref"), "v1");
    assert_eq!(world.read("got/.git/tags"), "v1\n");
}

#[test]
fn a_tag_that_moved_after_the_check_gives_the_commit_of_the_version() {
    let world = World::new();
    let repository = world.repository("r");
    let first = repository.commit("a", "one");
    repository.tag("v1", 1);
    repository.commit("a", "two");
    repository.tag("v1", 2);
    let version = json!({ "ref": "v1", "commit": first });
    let request =
        json!({ "source": { "uri": repository.uri(), "tag_filter": "v*" }, "version": version });
    assert_eq!(world.run("git", "in", Some("got"), &request).json()["version"], version);
    assert_eq!(world.git("got", &["rev-parse", "HEAD"]), first);
}
