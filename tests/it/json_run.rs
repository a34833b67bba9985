//! What the first and the last event say of a run as a whole.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::Ci;

/// The first and the last event of a run.
fn ends(ci: Ci, code: i32) -> (Value, Value) {
    let outcome = ci.args(["--output", "json"]).run().exits(code);
    let event = |line: Option<&str>| serde_json::from_str(line.unwrap()).unwrap();
    (event(outcome.stdout.lines().next()), event(outcome.stdout.lines().last()))
}

fn git(directory: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=me", "-c", "user.email=me@example.com", "-C"])
        .arg(directory)
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn the_command_line_is_told_without_its_secrets() {
    let yaml = "jobs: [{ name: unit, plan: [{ task: t, config: { platform: linux, run: { path: 'true' } } }] }]";
    let ci = Ci::new().file("pipeline.yml", yaml);
    let store = ci.dir().join("store");
    let driver = format!("--driver=native://?cache=file://{}", store.display());
    let (started, _) = ends(
        ci.args(["run", "pipeline.yml", &driver, "--var", "token=hunter22", "--var=key=hunter23"]),
        0,
    );
    let expected = json!([
        "run",
        "pipeline.yml",
        driver,
        "--var",
        "token=***",
        "--var=key=***",
        "--output",
        "json",
    ]);
    assert_eq!(started["args"], expected);

    let dsn = "native://?cache=s3://http://KEY:hunter24@127.0.0.1:1/bucket";
    let (started, _) = ends(Ci::pipeline("").args(["--driver", dsn]), 0);
    assert!(!started["args"].to_string().contains("hunter24"), "{started}");
}

#[test]
fn the_project_and_its_commit_are_told() {
    let outside = Ci::pipeline("");
    let directory = outside.dir().canonicalize().unwrap();
    let (started, _) = ends(outside, 0);
    assert_eq!(started["project"], directory.to_str().unwrap());
    assert_eq!(started["commit"], Value::Null);

    let tree = || {
        let ci = Ci::new().file("ci/pipeline.ts", "export const pipeline = () => {};\n");
        git(ci.dir(), &["init", "--quiet"]);
        ci
    };
    // Before the first commit.
    let (started, _) = ends(tree().args(["run", "ci/pipeline.ts"]), 0);
    assert_eq!(started["commit"], Value::Null);

    let prepare: [&[&[&str]]; 4] = [
        // A branch that has a file of its own.
        &[],
        &[&["pack-refs", "--all"]],
        &[&["checkout", "--quiet", "--detach"]],
        &[&["checkout", "--quiet", "-b", "feature/a.b"], &["pack-refs", "--all"]],
    ];
    for commands in prepare {
        let ci = tree();
        git(ci.dir(), &["add", "."]);
        git(ci.dir(), &["commit", "--quiet", "--message", "first"]);
        for command in commands {
            git(ci.dir(), command);
        }
        let (directory, head) =
            (ci.dir().canonicalize().unwrap(), git(ci.dir(), &["rev-parse", "HEAD"]));
        let (started, _) = ends(ci.args(["run", "ci/pipeline.ts"]), 0);
        assert_eq!(started["project"], directory.to_str().unwrap());
        assert_eq!(started["commit"], head, "{commands:?}");
    }
}

#[test]
fn a_linked_work_tree_has_a_commit_of_its_own() {
    let ci = Ci::new().file("main/pipeline.ts", "export const pipeline = () => {};\n");
    let main = ci.dir().join("main");
    git(&main, &["init", "--quiet"]);
    git(&main, &["add", "."]);
    git(&main, &["commit", "--quiet", "--message", "first"]);
    git(&main, &["worktree", "add", "--quiet", "../linked", "-b", "linked"]);
    let linked = ci.dir().join("linked");
    git(&linked, &["commit", "--quiet", "--allow-empty", "--message", "second"]);
    let (head, other) = (git(&linked, &["rev-parse", "HEAD"]), git(&main, &["rev-parse", "HEAD"]));
    assert_ne!(head, other);
    let (started, _) = ends(ci.args(["run", "linked/pipeline.ts"]), 0);
    assert_eq!(started["commit"], head);
}

/// Each of these is told as a run without a commit.
#[test]
fn what_is_no_reference_is_no_commit() {
    for head in ["", "ref: ../../secret\n", "ref: refs/heads/../../../secret\n", "ref: refs/loop\n"]
    {
        let ci = Ci::pipeline("")
            .file(".git/HEAD", head)
            .file(".git/refs/loop", "ref: refs/loop\n")
            .file("secret", "0123456789012345678901234567890123456789\n");
        let (started, _) = ends(ci, 0);
        assert_eq!(started["commit"], Value::Null, "{head:?}");
    }
}

#[test]
fn the_error_that_ended_the_run_is_told_as_data() {
    let (_, finished) =
        ends(Ci::module("export const pipeline = () => {\n    throw new Error('boom');\n};\n"), 1);
    let diagnostic = &finished["diagnostic"];
    assert_eq!(diagnostic["message"], "uncaught Error: boom");
    let place = json!({ "path": "pipeline.ts", "line": 2, "column": 11, "text": "    throw new Error('boom');" });
    assert_eq!(diagnostic["place"], place);
    assert!(finished["error"].as_str().unwrap().contains("boom"));

    let (_, finished) = ends(
        Ci::pipeline("await new Promise(() => setInterval(() => {}, 1000));")
            .args(["--timeout", "100ms"]),
        124,
    );
    assert_eq!(finished["diagnostic"], json!({ "message": "the run timed out after 100ms" }));

    let (_, finished) = ends(Ci::pipeline(""), 0);
    assert_eq!((&finished["error"], &finished["diagnostic"]), (&Value::Null, &Value::Null));
}
