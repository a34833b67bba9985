use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::world::World;

#[test]
fn a_version_is_checked_out_with_what_is_known_of_it() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one\n\nMore of it.");
    repository.commit("a", "two");
    repository.git(&["tag", "v1", &one]);
    let answer = world.get(&json!({ "uri": repository.uri() }), &one, &json!({})).json();
    assert_eq!(answer["version"], json!({ "ref": one }));
    let metadata = answer["metadata"].as_array().unwrap();
    let names: Vec<&str> = metadata.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["commit", "author", "author_date", "committer", "committer_date", "tags", "message"]
    );
    assert_eq!(metadata[0], json!({ "name": "commit", "value": one }));
    assert_eq!(world.git("got", &["rev-parse", "HEAD"]), one);
    assert_eq!(world.git("got", &["status", "--porcelain"]), "");
    for (file, expected) in [
        ("ref", format!("{one}\n")),
        ("short_ref", one[..7].to_owned()),
        ("commit", format!("{one}\n")),
        ("branch", String::new()),
        ("tags", "v1\n".to_owned()),
        ("author", "Ann\n".to_owned()),
        ("committer", "ann@example.com".to_owned()),
        ("committer_name", "Ann".to_owned()),
        ("commit_message", "one\n\nMore of it.\n".to_owned()),
        ("describe_ref", format!("{}\n", &one[..7])),
        ("url", String::new()),
    ] {
        assert_eq!(world.read(&format!("got/.git/{file}")), expected, "{file}");
    }
    let file: Value = serde_json::from_str(&world.read("got/.git/metadata.json")).unwrap();
    assert_eq!(file, answer["metadata"]);
    world.left_nothing();
}

#[test]
fn without_a_version_the_end_of_the_branch_is_fetched() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("a", "one");
    repository.git(&["checkout", "--quiet", "-b", "side"]);
    let side = repository.commit("a", "side");
    repository.git(&["checkout", "--quiet", "main"]);
    let request = json!({ "source": { "uri": repository.uri(), "branch": "side" } });
    assert_eq!(
        world.run("git", "in", Some("got"), &request).json()["version"],
        json!({ "ref": side })
    );
    assert_eq!(world.read("got/.git/branch"), "side\n");
    assert_eq!(
        world.git("got", &["branch", "--remotes", "--format=%(refname)"]),
        "refs/remotes/origin/side"
    );
    let request = json!({ "source": { "uri": repository.uri() }, "version": { "ref": side, "branch": "side" } });
    assert_eq!(
        world.run("git", "in", Some("other"), &request).json()["version"],
        json!({ "ref": side, "branch": "side" })
    );
}

#[test]
fn all_branches_and_more_branches_are_fetched_if_asked_for() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    for name in ["b1", "b2"] {
        repository.git(&["checkout", "--quiet", "-b", name]);
        repository.commit(name, name);
    }
    repository.git(&["checkout", "--quiet", "main"]);
    let source = json!({ "uri": repository.uri() });
    world.get(&source, &one, &json!({ "fetch": ["b1"] })).json();
    let branches = world.git("got", &["branch", "--format=%(refname:short)"]);
    assert!(branches.contains("b1") && !branches.contains("b2"), "{branches}");
    let version = json!({ "ref": one });
    let request =
        json!({ "source": source, "version": version, "params": { "all_branches": true } });
    world.run("git", "in", Some("all"), &request).json();
    assert!(world.git("all", &["branch", "--remotes"]).contains("origin/b2"));
    let request = json!({ "source": source, "version": version, "params": { "fetch": ["none"] } });
    world.run("git", "in", Some("none"), &request).fails_with("cannot fetch the branch `none`");
}

fn count(world: &World) -> usize {
    world.git("got", &["rev-list", "--count", "HEAD"]).parse().unwrap()
}

#[test]
fn depth_fetches_as_many_commits_up_to_the_version() {
    for (depth, version, expected) in
        [(1, 9, 1), (3, 9, 3), (2, 1, 2), (1, 0, 1), (i64::MAX, 5, 6), (0, 5, 6)]
    {
        let world = World::new();
        let repository = world.repository("r");
        let commits: Vec<String> =
            (0..10).map(|index| repository.commit("a", &index.to_string())).collect();
        let source = json!({ "uri": repository.uri() });
        world.get(&source, &commits[version], &json!({ "depth": depth })).json();
        assert_eq!(world.git("got", &["rev-parse", "HEAD"]), commits[version]);
        let found = count(&world);
        // What is needed to find a version further back is kept.
        assert!(found >= expected.min(version + 1), "{depth} {version}: {found}");
        if version == 9 {
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_version_far_back_is_found_in_a_shallow_clone() {
    let world = World::new();
    let repository = world.repository("r");
    let commits: Vec<String> =
        (0..140).map(|index| repository.commit("a", &index.to_string())).collect();
    world.get(&json!({ "uri": repository.uri() }), &commits[0], &json!({ "depth": 1 })).json();
    assert_eq!(world.git("got", &["rev-parse", "HEAD"]), commits[0]);
}

#[test]
fn a_commit_that_is_not_in_the_branch_is_said_to_be_missing() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("a", "one");
    let source = json!({ "uri": repository.uri(), "branch": "main" });
    let missing = "0123456789012345678901234567890123456789";
    for params in [json!({}), json!({ "depth": 1 })] {
        world.get(&source, missing, &params).fails_with(
            "there is no `0123456789012345678901234567890123456789` in the branch `main`",
        );
        std::fs::remove_dir_all(world.path("got")).unwrap();
    }
    world.get(&source, "--help", &json!({})).fails_with("`version.ref` is not a commit or a tag");
}

#[test]
fn search_remote_refs_finds_a_commit_outside_of_branches() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("a", "one");
    repository.git(&["checkout", "--quiet", "--detach"]);
    let change = repository.commit("a", "change");
    repository.git(&["update-ref", "refs/changes/1", &change]);
    repository.git(&["checkout", "--quiet", "main"]);
    let source = json!({ "uri": repository.uri(), "branch": "main", "search_remote_refs": true });
    assert_eq!(world.get(&source, &change, &json!({})).json()["version"], json!({ "ref": change }));
    assert_eq!(world.git("got", &["rev-parse", "HEAD"]), change);
}

#[test]
fn tags_are_fetched_as_asked() {
    for (source_says, param, expected) in [
        (Value::Null, Value::Null, "old"),
        (Value::Null, json!(true), "old\nother"),
        (json!(true), Value::Null, "old\nother"),
        (json!(true), json!(false), ""),
        (json!(false), json!(true), "old\nother"),
    ] {
        let world = World::new();
        let repository = world.repository("r");
        let one = repository.commit("a", "one");
        repository.git(&["tag", "old"]);
        repository.git(&["checkout", "--quiet", "-b", "side"]);
        repository.commit("a", "side");
        repository.git(&["tag", "other"]);
        repository.git(&["checkout", "--quiet", "main"]);
        let source = json!({ "uri": repository.uri(), "fetch_tags": source_says });
        world.get(&source, &one, &json!({ "fetch_tags": param })).json();
        assert_eq!(world.git("got", &["tag"]), expected, "{source_says} {param}");
    }
}

#[test]
fn clean_tags_deletes_all_tags() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    let source = json!({ "uri": repository.uri() });
    world.get(&source, &one, &json!({ "clean_tags": true })).json();
    for name in ["v1", "v2"] {
        repository.git(&["tag", name]);
    }
    std::fs::remove_dir_all(world.path("got")).unwrap();
    world.get(&source, &one, &json!({ "clean_tags": true })).json();
    assert_eq!(world.git("got", &["tag"]), "");
    assert_eq!(world.read("got/.git/tags"), "v1,v2\n");
}

#[test]
fn files_are_written_in_the_formats_that_are_given() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    repository.tag("v1", 1);
    let two = repository.commit("a", "two");
    let params = json!({
        "short_ref_format": "sha-%s",
        "timestamp_format": "format:%Y %m",
        "describe_ref_options": "--tags --long",
    });
    world.get(&json!({ "uri": repository.uri() }), &two, &params).json();
    assert_eq!(world.read("got/.git/short_ref"), format!("sha-{}", &two[..7]));
    let stamp = world.read("got/.git/commit_timestamp");
    assert_eq!(
        (stamp.len(), stamp.as_bytes()[4], stamp.as_bytes()[7]),
        (8, b' ', b'\n'),
        "{stamp}"
    );
    assert_eq!(world.read("got/.git/describe_ref"), format!("v1-1-g{}\n", &two[..7]));
    let request = json!({
        "source": { "uri": repository.uri() },
        "version": { "ref": one },
        "params": { "short_ref_format": "%d" },
    });
    world.run("git", "in", Some("other"), &request).fails_with("`short_ref_format` is `%d`");
}

#[test]
fn sparse_paths_check_out_nothing_else() {
    let world = World::new();
    let repository = world.repository("r");
    repository.commit("a/one", "one");
    let two = repository.commit("b/two", "two");
    world
        .get(&json!({ "uri": repository.uri(), "sparse_paths": ["b/*"] }), &two, &json!({}))
        .json();
    assert!(world.exists("got/b/two") && !world.exists("got/a"));
    assert_eq!(world.git("got", &["status", "--porcelain"]), "");
}

#[test]
fn git_config_is_used_and_kept_in_the_clone() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    let value = "say \"a\\b\" # \n\tand more";
    let config = json!([
        { "name": "user.name", "value": value },
        { "name": "url.file:///.insteadOf", "value": "here:" },
    ]);
    let uri = repository.uri().replace("file:///", "here:");
    world.get(&json!({ "uri": uri, "git_config": config }), &one, &json!({})).json();
    assert_eq!(world.git("got", &["config", "--local", "user.name"]), value);
    assert_eq!(world.git("got", &["config", "--local", "url.file:///.insteadOf"]), "here:");
    world
        .check(&json!({ "uri": uri, "git_config": [{ "name": "x", "value": "y" }] }), &Value::Null)
        .fails_with("which is no name of a variable");
}

#[test]
fn notes_are_fetched() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    repository.git(&["notes", "add", "-m", "noted"]);
    world.get(&json!({ "uri": repository.uri() }), &one, &json!({})).json();
    assert_eq!(world.git("got", &["notes", "show"]), "noted");
}

#[test]
fn a_pointer_of_lfs_is_not_taken_for_a_file() {
    let world = World::new();
    let repository = world.repository("r");
    std::fs::write(world.path("r/.gitattributes"), "*.bin filter=lfs\n").unwrap();
    repository.commit("x.txt", "other");
    let plain = repository.head();
    let one = repository.commit("a.bin", "version https://git-lfs.github.com/spec/v1");
    let source = json!({ "uri": repository.uri() });
    let git = world.path("bin");
    std::fs::create_dir(&git).unwrap();
    // Where git-lfs is not installed.
    for name in ["git", "sh", "cat", "sed", "basename", "uname"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join(name))
            .find(|file| file.is_file());
        std::os::unix::fs::symlink(found.unwrap(), git.join(name)).unwrap();
    }
    let run = |directory: &str, commit: &str, params: &Value| {
        let mut command = world.command(World::program());
        command.args(["git", "in"]).arg(world.path(directory)).env("PATH", &git);
        let request = json!({ "source": source, "version": { "ref": commit }, "params": params });
        crate::world::finish(command, &request)
    };
    run("one", &one, &json!({}))
        .fails_with("`a.bin` is a file of Git LFS, and `git-lfs` is not installed");
    run("two", &one, &json!({ "disable_git_lfs": true })).json();
    run("three", &plain, &json!({})).json();
}

#[test]
fn a_directory_with_files_is_not_filled() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    std::fs::create_dir(world.path("got")).unwrap();
    std::fs::write(world.path("got/mine"), "x").unwrap();
    world.get(&json!({ "uri": repository.uri() }), &one, &json!({})).fails_with("is not empty");
    assert_eq!(world.read("got/mine"), "x");
}

#[test]
fn params_that_are_unknown_or_wrong_are_refused() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    let source = json!({ "uri": repository.uri() });
    for (params, expected) in [
        (json!({ "submodul": "all" }), "have no field `submodul`, did you mean `submodules`?"),
        (json!({ "depth": -1 }), "`depth` is not a whole number"),
        (
            json!({ "submodules": "some" }),
            "`params.submodules` is not `all`, `none` or a list of paths",
        ),
        (json!({ "fetch": ["--all"] }), "`fetch` is `--all`, which is no name of a branch"),
    ] {
        world.get(&source, &one, &params).fails_with(expected);
    }
    let answer = world.get(&source, &one, &json!({ "debug": true }));
    assert!(
        answer.is_success && answer.stderr.contains("`debug` changes nothing here"),
        "{}",
        answer.stderr
    );
}

/// A server that answers nothing holds the clone; then it is killed.
#[test]
fn a_clone_that_is_killed_leaves_nothing_outside_of_its_directory() {
    let world = World::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://me:hidden-password@{}/r.git", listener.local_addr().unwrap());
    let mut command = world.command(World::program());
    command.args(["git", "in"]).arg(world.path("got")).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let request = json!({ "source": { "uri": uri, "private_key": "hidden-key" } });
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), request.to_string().as_bytes())
        .unwrap();
    let (mut connection, _) = listener.accept().unwrap();
    let mut byte = [0];
    connection.read_exact(&mut byte).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Programs that git has started end with the connection, and close the messages then.
    drop(connection);
    child.stderr.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    world.left_nothing();
}
