//! A pipeline in YAML with directories of this machine: `--input` and `--output`.

use std::path::Path;

use crate::support::{Ci, Outcome};

/// Builds `repo`, which a remote that does not answer would have, to `dist`.
const PIPELINE: &str = r#"
resources:
- { name: repo, type: git, source: { uri: "http://127.0.0.1:1/none.git" } }
jobs:
- name: build
  plan:
  - get: repo
    trigger: true
  - task: make
    config:
      platform: linux
      image_resource: { type: registry-image, source: { repository: debian, tag: "12" } }
      inputs: [{ name: repo }]
      outputs: [{ name: dist }]
      run: { path: sh, args: [-ec, "cat repo/src/main.c > dist/out; mkdir dist/sub; echo changed > repo/src/main.c"] }
  - task: again
    file: repo/ci/task.yml
"#;

const TASK: &str = r#"
platform: linux
image_resource: { type: registry-image, source: { repository: debian, tag: "12" } }
inputs: [{ name: repo }, { name: dist }]
run: { path: sh, args: [-ec, "grep changed repo/src/main.c; ls -A repo; cat dist/out"] }
"#;

fn project(args: &[&str]) -> Ci {
    Ci::new()
        .file("p/ci/pipeline.yml", PIPELINE)
        .file("p/ci/task.yml", TASK)
        .file("p/src/main.c", "int main;\n")
        .file("p/.gitignore", "*.o\n")
        .file("p/main.o", "ignored\n")
        .args(["run", "p/ci/pipeline.yml", "--output", "plain"])
        .args(args)
}

fn read(outcome: &Outcome, path: &str) -> String {
    std::fs::read_to_string(outcome.dir().join(path)).unwrap_or_default()
}

#[test]
fn an_input_takes_the_place_of_a_resource_and_an_output_is_written() {
    let ci = project(&["--input", "repo=p", "--output", "dist=p/out"]);
    for _ in 0..2 {
        // The second time it replaces what the first one has written.
        let output = ci.command().output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    std::fs::write(ci.dir().join("p/src/main.c"), "int other;\n").unwrap();
    let outcome = ci.run().exits(0).stdout_has("[again] changed").stdout_has("[again] int other;");
    let outcome = outcome.stdout_has("src").lacks("main.o");
    assert_eq!(read(&outcome, "p/out/out"), "int other;\n");
    assert!(outcome.dir().join("p/out/sub").is_dir());
    // The task's change stays in its copy, and no file of ours is beside the output.
    assert_eq!(read(&outcome, "p/src/main.c"), "int other;\n");
    let mut names: Vec<_> = std::fs::read_dir(outcome.dir().join("p"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".gitignore", "ci", "main.o", "out", "src"]);
}

#[test]
fn without_an_input_the_resource_is_fetched() {
    project(&["--output", "dist=out"]).run().exits(1).stderr_has("`build`");
}

#[test]
fn an_input_needs_no_get_step_and_no_resource() {
    let text = r#"
jobs:
- name: j
  plan:
  - task: t
    config:
      platform: linux
      inputs: [{ name: code }]
      run: { path: ls, args: [code] }
"#;
    let ci = |args: &[&str]| {
        Ci::new().file("p.yml", text).file("dir/file", "").args(["run", "p.yml"]).args(args)
    };
    ci(&["--input", "code=dir"]).run().exits(0).stdout_has("[t] file");
    ci(&[]).run().exits(1).stderr_has("the input `code` comes from no earlier step");
}

#[test]
fn what_is_not_ours_is_not_replaced() {
    let ci = project(&["--input", "repo=p", "--output", "dist=mine"]).file("mine/keep", "kept\n");
    let outcome = ci.run().exits(2).stderr_has("is there already and is none of `ci`");
    assert_eq!(read(&outcome, "mine/keep"), "kept\n");
    // Nothing has run.
    assert_eq!(outcome.stdout, "");
}

#[test]
fn outputs_that_cannot_be_written_are_told_before_anything_runs() {
    for (outputs, why) in [
        (["dist=out", "other=out/deep"], "two outputs go to `out/deep`"),
        (["dist=out", "other=p/ci/task.yml/deep"], "cannot make a directory in"),
    ] {
        let args = ["--input", "repo=p", "--output", outputs[0], "--output", outputs[1]];
        let outcome = project(&args).run().exits(2).stderr_has(why);
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn a_job_that_fails_writes_no_output() {
    let ci = project(&["--input", "repo=p", "--output", "dist=out"]);
    let ci = ci.file("p/ci/task.yml", TASK.replace("grep changed", "false; grep"));
    let outcome = ci.run().exits(1);
    assert!(!Path::new(outcome.dir()).join("out").exists());
}

#[test]
fn names_that_nothing_has_are_refused() {
    let text = PIPELINE.split("  - task: again").next().unwrap();
    for (args, expected) in [
        (
            ["--input", "rep=p"],
            "`--input rep`: no step wants the artifact `rep`, did you mean `repo`",
        ),
        (
            ["--output", "dits=out"],
            "`--output dits`: no step makes the artifact `dits`, did you mean `dist`",
        ),
        (["--output", "plian"], "or `NAME=DIR`, did you mean `plain`?"),
        (["--output", "json"], "`--output` gives two formats"),
        (["--output", "=x"], "expected a name and a directory"),
    ] {
        project(&args).file("p/ci/pipeline.yml", text).run().exits(2).stderr_has(expected);
    }
    let script = Ci::pipeline("").args(["--output", "dist=out"]).run().exits(2);
    script.stderr_has("`--output NAME=DIR` is for YAML pipelines").stderr_has("`runtime.artifact`");
}

#[test]
fn a_get_of_the_projects_own_remote_is_told() {
    let run = |uri: &str, args: &[&str]| {
        let text = PIPELINE.replace("http://127.0.0.1:1/none.git", uri);
        let config = "[remote \"origin\"]\n\turl = git@127.0.0.1:none.git\n";
        project(args)
            .file("p/ci/pipeline.yml", text)
            .file("p/.git/HEAD", "ref: refs/heads/main\n")
            .file("p/.git/objects/info/packs", "")
            .file("p/.git/refs/heads/.keep", "")
            .file("p/.git/config", config)
            .run()
    };
    let told = "`get: repo` fetches this project as its remote has it";
    run("http://127.0.0.1:1/none.git", &[]).exits(1).stdout_has(told).stdout_has("`--input repo=/");
    run("http://127.0.0.1:1/none.git", &["--input", "repo=p"]).exits(0).lacks(told);
    run("http://127.0.0.1:1/other.git", &[]).exits(1).lacks(told);
}
