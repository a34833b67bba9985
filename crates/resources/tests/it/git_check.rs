use serde_json::{Value, json};

use crate::world::World;

#[test]
fn without_a_version_the_newest_commit_is_found() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("a", "one");
    let newest = repository.commit("a", "two");
    for uri in [repository.uri(), world.path("r").display().to_string()] {
        assert_eq!(world.refs(&json!({ "uri": uri }), &Value::Null), [&*newest]);
    }
    world.left_nothing();
}

#[test]
fn with_a_version_that_and_newer_ones_are_found_oldest_first() {
    let world = World::new();
    let repository = world.repository("r");
    let commits: Vec<String> =
        ["one", "two", "three"].map(|name| repository.commit("a", name)).to_vec();
    let source = json!({ "uri": repository.uri() });
    for first in 0..3 {
        assert_eq!(world.refs(&source, &json!({ "ref": commits[first] })), commits[first..]);
    }
    // What is unknown, or could be taken for an option, is no version.
    for unknown in ["bogus", "--all", "0123456789012345678901234567890123456789", "a\nb"] {
        assert_eq!(world.refs(&source, &json!({ "ref": unknown })), commits[2..], "{unknown}");
    }
}

#[test]
fn a_branch_is_followed_by_its_first_parents() {
    let world = World::new();
    let repository = world.repository("r");
    let first = repository.commit("a", "one");
    repository.git(&["checkout", "--quiet", "-b", "side"]);
    let side = repository.commit("b", "side");
    repository.git(&["checkout", "--quiet", "main"]);
    let second = repository.commit("a", "two");
    repository.git(&["merge", "--quiet", "--no-edit", "side"]);
    let merge = repository.head();
    let source = json!({ "uri": repository.uri(), "branch": "main" });
    assert_eq!(world.refs(&source, &json!({ "ref": first })), [&*first, &*second, &*merge]);
    let source = json!({ "uri": repository.uri(), "branch": "side" });
    assert_eq!(world.refs(&source, &Value::Null), [&*side]);
}

#[test]
fn a_commit_that_asks_for_it_is_no_version() {
    let world = World::new();
    let repository = world.repository("r");
    let first = repository.commit("a", "one");
    let skipped = repository.commit("a", "two [ci skip]");
    let last = repository.commit("a", "three\n\n[skip ci]");
    let source = json!({ "uri": repository.uri() });
    assert_eq!(world.refs(&source, &Value::Null), [&*first]);
    let source = json!({ "uri": repository.uri(), "disable_ci_skip": true });
    assert_eq!(world.refs(&source, &Value::Null), [&*last]);
    assert_eq!(world.refs(&source, &json!({ "ref": first })), [&*first, &*skipped, &*last]);
}

/// More than what is fetched at first, and more than after that.
#[test]
fn the_newest_version_is_found_far_from_the_end_of_the_branch() {
    let world = World::new();
    let repository = world.repository("r");
    let first = repository.commit("a", "one");
    let mut stream = String::new();
    let mut from = first.clone();
    for index in 0..1100 {
        let message = format!("{index} [ci skip]");
        stream.push_str(&format!(
            "commit refs/heads/main\ncommitter A <a@b> {} +0000\ndata {}\n{message}\nfrom {from}\n\n",
            1_800_000_000 + index,
            message.len()
        ));
        from = "refs/heads/main^0".to_owned();
    }
    let file = world.path("stream");
    std::fs::write(&file, stream).unwrap();
    let mut import = world.command("git");
    import
        .args(["fast-import", "--quiet"])
        .current_dir(world.path("r"))
        .stdin(std::fs::File::open(file).unwrap());
    assert!(import.status().unwrap().success());
    let source = json!({ "uri": repository.uri() });
    assert_eq!(world.refs(&source, &Value::Null), [&*first]);
    // The cut end of a history changes no path.
    let source = json!({ "uri": repository.uri(), "paths": ["a"], "disable_ci_skip": true });
    assert_eq!(world.refs(&source, &Value::Null), [&*first]);
    let source = json!({ "uri": repository.uri(), "paths": ["b"], "disable_ci_skip": true });
    assert_eq!(world.refs(&source, &Value::Null), <[&str; 0]>::default());
}

#[test]
fn paths_choose_commits() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a/one", "one");
    let two = repository.commit("b/two", "two");
    let three = repository.commit("a/three", "three");
    for (fields, newest, since) in [
        (json!({ "paths": ["b"] }), vec![&two], vec![&two]),
        (json!({ "paths": ["a/*"] }), vec![&three], vec![&one, &three]),
        (json!({ "paths": ["**/two"] }), vec![&two], vec![&two]),
        (json!({ "paths": ["a", "b"], "ignore_paths": ["a/three"] }), vec![&two], vec![&one, &two]),
        (json!({ "ignore_paths": ["a"] }), vec![&two], vec![&two]),
        (json!({ "paths": ["."] }), vec![&three], vec![&one, &two, &three]),
        (json!({ "paths": ["none"] }), vec![], vec![]),
    ] {
        let mut source = fields.clone();
        source["uri"] = json!(repository.uri());
        assert_eq!(
            world.refs(&source, &Value::Null).iter().collect::<Vec<_>>(),
            newest,
            "{fields}"
        );
        assert_eq!(
            world.refs(&source, &json!({ "ref": one })).iter().collect::<Vec<_>>(),
            since,
            "{fields}"
        );
    }
}

#[test]
fn messages_choose_commits() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "feat: one");
    let two = repository.commit("a", "chore(release): two");
    let three = repository.commit("a", "feat: three and chore");
    for (filter, expected) in [
        (json!({ "include": ["feat"] }), vec![&one, &three]),
        (json!({ "include": ["one", "two"] }), vec![&one, &two]),
        (json!({ "include": ["feat", "chore"], "include_all_match": true }), vec![&three]),
        (json!({ "exclude": ["chore(release):"] }), vec![&one, &three]),
        (json!({ "exclude": ["feat", "chore"] }), vec![]),
        (json!({ "exclude": ["feat", "chore"], "exclude_all_match": true }), vec![&one, &two]),
        (json!({ "include": ["feat"], "exclude": ["three"] }), vec![&one]),
    ] {
        let source = json!({ "uri": repository.uri(), "commit_filter": filter });
        let found = world.refs(&source, &json!({ "ref": one }));
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
}

#[test]
fn version_depth_gives_more_versions() {
    let world = World::new();
    let repository = world.repository("r");
    let commits: Vec<String> =
        ["one", "two", "three"].map(|name| repository.commit("a", name)).to_vec();
    let source = json!({ "uri": repository.uri(), "version_depth": 2 });
    assert_eq!(world.refs(&source, &Value::Null), commits[1..]);
    let source = json!({ "uri": repository.uri(), "version_depth": 2_000_000 });
    assert_eq!(world.refs(&source, &Value::Null), commits);
    let source = json!({ "uri": repository.uri(), "version_depth": 0 });
    world.check(&source, &Value::Null).fails_with("`source.version_depth` is 0");
}

#[test]
fn a_commit_of_several_roots_starts_a_whole_history() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    repository.git(&["checkout", "--quiet", "--orphan", "other"]);
    repository.git(&["commit", "--quiet", "--message", "root"]);
    let root = repository.head();
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["merge", "--quiet", "--allow-unrelated-histories", "--no-edit", "other"]);
    let source = json!({ "uri": repository.uri() });
    let expected = [&*one, &*repository.head()];
    assert_eq!(world.refs(&source, &json!({ "ref": one })), expected);
    assert_eq!(world.refs(&source, &json!({ "ref": root })), expected);
}

#[test]
fn what_is_wrong_with_the_source_is_said() {
    let world = World::new();
    let repository = world.repository("r");
    let uri = repository.uri();
    world.check(&json!({ "uri": uri }), &Value::Null).fails_with("has no commits yet");
    repository.commit("a", "one");
    for (source, expected) in [
        (json!({}), "`source.uri` is missing or empty"),
        (json!({ "uri": " " }), "`source.uri` is missing or empty"),
        (json!({ "uri": "--upload-pack=touch x" }), "is no address of a repository"),
        (json!({ "uri": uri, "brnach": "x" }), "have no field `brnach`, did you mean `branch`?"),
        (json!({ "uri": uri, "branch": "mian" }), "has no branch `mian`, did you mean `main`?"),
        (json!({ "uri": uri, "branch": "--all" }), "is no name of a branch"),
        (json!({ "uri": uri, "paths": "a" }), "`paths` is not a list of text"),
        (json!({ "uri": uri, "paths": ["a\nb"] }), "which is empty or has a line break"),
        (
            json!({ "uri": uri, "tag_filter": "a", "tag_regex": "b" }),
            "has both `tag_filter` and `tag_regex`",
        ),
        (json!({ "uri": uri, "commit_filter": { "includes": [] } }), "did you mean `include`?"),
        (
            json!({ "uri": uri, "commit_filter": { "include": "a" } }),
            "`commit_filter.include` is not a list of text",
        ),
        (json!({ "uri": "ext::sh -c touch% pwned" }), "transport 'ext' not allowed"),
        (json!({ "uri": world.path("none") }), "does not appear to be a git repository"),
    ] {
        world.check(&source, &Value::Null).fails_with(expected);
    }
    assert!(!world.exists("pwned"));
    world.left_nothing();
}

/// The configuration of the user changes neither what is found nor what is left running.
#[test]
fn the_users_configuration_does_not_change_what_is_read() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    let config = world.read("home/.gitconfig")
        + "[color]\nui = always\n[column]\nui = always\n[log]\nshowSignature = true\n[core]\npager = false\n\
           [grep]\npatternType = perl\n[format]\npretty = oneline\n[clone]\ndefaultRemoteName = upstream\n";
    std::fs::write(world.path("home/.gitconfig"), config).unwrap();
    let source = json!({ "uri": repository.uri() });
    assert_eq!(world.refs(&source, &Value::Null), [&*one]);
    assert_eq!(world.get(&source, &one, &json!({})).json()["version"], json!({ "ref": one }));
}

#[test]
fn a_directory_takes_the_temporary_files() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    std::fs::create_dir(world.path("d")).unwrap();
    let request = json!({ "source": { "uri": repository.uri() } });
    assert_eq!(world.run("git", "check", Some("d"), &request).json(), json!([{ "ref": one }]));
    assert_eq!(std::fs::read_dir(world.path("d")).unwrap().count(), 0);
}
