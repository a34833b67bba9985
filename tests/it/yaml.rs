//! YAML pipelines: what runs at the same time, other commands than `run`, hostile files.

use std::os::unix::process::CommandExt;

use nix::sys::resource::{Resource, setrlimit};

use crate::support::Ci;

fn pipeline(yaml: &str) -> Ci {
    Ci::new().file("pipeline.yml", yaml).args(["run", "pipeline.yml", "--output", "json"])
}

/// Each of these waits until the other one has started.
const MEET: &str = r#"
      config: { caches: [{ path: meet }], run: { path: sh, args: [-c, "
        touch meet/$ME; while ! test -e meet/$OTHER; do sleep 0.01; done"] } }"#;

#[test]
fn steps_and_jobs_really_run_at_the_same_time() {
    let pair = |me: &str, other: &str| {
        format!("task: {me}\n      params: {{ ME: {me}, OTHER: {other} }}{MEET}")
    };
    let (one, two) = (pair("one", "two"), pair("two", "one"));
    let parallel =
        format!("jobs:\n- name: a\n  plan:\n  - in_parallel:\n    - {one}\n    - {two}\n");
    pipeline(&parallel).run().exits(0);
    let jobs = format!("jobs:\n- name: a\n  plan:\n    - {one}\n- name: b\n  plan:\n    - {two}\n");
    pipeline(&jobs).run().exits(0);
}

#[test]
fn the_first_failure_ends_the_others_with_fail_fast() {
    pipeline(
        r#"
jobs:
- name: a
  plan:
  - try:
      in_parallel:
        fail_fast: true
        steps:
        - task: endless
          config: { run: { path: sleep, args: [infinity] } }
          on_abort: { task: on-abort, config: { run: { path: "true" } } }
          on_failure: { task: never, config: { run: { path: "true" } } }
        - { task: broken, config: { run: { path: "false" } } }
  assert: { execution: [endless, broken, on-abort] }
"#,
    )
    .run()
    .exits(0)
    .stdout_has(r#""task":"endless","status":"abort""#);
}

#[test]
fn limits_hold() {
    // Each task fails when another one is running.
    let probe = "config: { caches: [{ path: l }], run: { path: sh, args: [-c, 'mkdir l/lock && sleep 0.02 && rmdir l/lock'] } }";
    for limit in ["max_in_flight: 1\njobs:\n- name: a", "jobs:\n- name: a\n  max_in_flight: 1"] {
        let steps = format!(
            "{limit}\n  plan:\n  - in_parallel:\n    - task: a\n      {probe}\n    - task: b\n      parallelism: 3\n      {probe}\n"
        );
        pipeline(&steps).run().exits(0);
    }
    // Of several limits the smallest holds, also for the tasks that read files.
    let limits = [(1, 3, 3), (3, 1, 3), (3, 3, 1)];
    for (run, job, parallel) in limits {
        let task = |name: &str| format!("{{ task: {name}, {probe} }}");
        let steps = [task("a"), task("b"), task("c")].join(", ");
        pipeline(&format!(
            "max_in_flight: {run}\njobs:\n- name: a\n  max_in_flight: {job}\n  plan: [{{ in_parallel: {{ limit: {parallel}, steps: [{steps}] }} }}]\n"
        ))
        .run()
        .exits(0);
    }
    pipeline(&format!("jobs:\n- name: a\n  plan:\n  - in_parallel:\n      limit: 1\n      steps:\n      - task: a\n        {probe}\n      - task: b\n        {probe}\n")).run().exits(0);
}

#[test]
fn git_resources_are_cloned_and_pushed() {
    let ci = Ci::new();
    let path = |name: &str| ci.dir().join(name).display().to_string();
    sh(
        &ci,
        "git init -q -b trunk work && cd work && git config user.email a@b && git config user.name a \
         && echo 1 > file && git add file && git commit -qm one && git clone -q --bare . ../bare.git",
    );
    let yaml = format!(
        "
resources: [{{ name: src, type: git, source: {{ uri: {}, branch: trunk }} }}]
jobs:
- name: push
  plan:
  - get: src
  - task: commit
    config:
      inputs: [{{ name: src }}]
      run: {{ path: sh, args: [-c, 'cd src && cat file && echo 2 > file && git -c user.email=a@b -c user.name=a commit -qam two'] }}
    assert: {{ stdout: '1' }}
  - {{ put: src, params: {{ repository: src }} }}
  - {{ task: look, config: {{ inputs: [{{ name: src }}], run: {{ path: cat, args: [src/file] }} }}, assert: {{ stdout: '2' }} }}
- name: use
  plan:
  - {{ get: src, passed: [push] }}
  - {{ task: look, config: {{ inputs: [{{ name: src }}], run: {{ path: cat, args: [src/file] }} }}, assert: {{ stdout: '2' }} }}
",
        path("bare.git")
    );
    let ci = ci.file("pipeline.yml", yaml).args(["run", "pipeline.yml"]);
    let outcome = ci.command().output().unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert_eq!(sh(&ci, "git -C bare.git log --format=%s trunk"), "two\none\n");
}

#[test]
fn a_put_sees_the_inputs_that_it_names() {
    let ci = Ci::new();
    let destination = ci.dir().join("published").display().to_string();
    let run = |inputs: &str| {
        let yaml = format!(
            "
resources: [{{ name: files, type: file, source: {{ path: {destination} }} }}]
jobs:
- name: a
  plan:
  - task: make
    config:
      outputs: [{{ name: one }}, {{ name: two }}]
      run: {{ path: sh, args: [-c, 'echo 1 > one/file'] }}
  - {{ put: files, params: {{ path: one }}, no_get: true{inputs} }}
"
        );
        Ci::new().file("pipeline.yml", yaml).args(["run", "pipeline.yml"]).run()
    };
    for inputs in ["", ", inputs: all", ", inputs: detect", ", inputs: [one]"] {
        run(inputs).exits(0);
        assert_eq!(sh(&ci, "cat published/file && rm published/file"), "1\n", "{inputs}");
    }
    run(", inputs: [two]").exits(1).stderr_has("`files`: exit code 1");
    run(", inputs: [three]").exits(1).stderr_has("the input `three` comes from no earlier step");
}

#[test]
fn a_cache_has_the_same_name_when_a_part_of_the_pipeline_runs() {
    let task = |name: &str, path: &str| {
        format!(
            "- name: {name}\n  plan: [{{ task: t, config: {{ caches: [{{ path: {path} }}], run: {{ path: \"true\" }} }} }}]\n"
        )
    };
    let yaml = format!("jobs:\n{}{}", task("spaced", "a b"), task("dashed", "a-b"));
    let names = |args: &[&str]| {
        let outcome = pipeline(&yaml).args(args).run().exits(0);
        let created = outcome.stdout.lines().filter_map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let name = event["volume"].as_str().filter(|_| event["event"] == "volume_created");
            name.map(str::to_owned)
        });
        created.collect::<std::collections::BTreeSet<_>>()
    };
    let all = names(&[]);
    let parts = [names(&["--job", "spaced"]), names(&["--job", "dashed"])];
    assert_eq!(all, &parts[0] | &parts[1]);
    assert_eq!(all.len(), 2, "{all:?}");
}

/// The output of a script in the directory of a test.
fn sh(ci: &Ci, script: &str) -> String {
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .current_dir(ci.dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn copies_of_a_task_share_its_outputs() {
    pipeline(
        r#"
jobs:
- name: a
  plan:
  - task: part
    parallelism: 4
    config: { outputs: [{ name: parts }], run: { path: sh, args: [-c, "touch parts/$CI_TASK_INDEX"] } }
  - task: all
    config: { inputs: [{ name: parts }], run: { path: sh, args: [-c, "echo $(ls parts)"] } }
    assert: { stdout: "1 2 3 4" }
"#,
    )
    .run()
    .exits(0);
}

#[test]
fn a_cache_of_a_task_file_gets_no_volume_that_is_taken() {
    pipeline(
        r#"
jobs:
- name: a
  plan:
  - task: first
    config:
      outputs: [{ name: made }]
      caches: [{ path: a b }]
      run: { path: sh, args: [-c, "touch 'a b/x'; echo 'caches: [{ path: a-b }]\nrun: { path: ls, args: [-A, a-b] }' > made/task.yml"] }
  - { task: second, file: made/task.yml }
  - task: third
    config: { caches: [{ path: a b }], run: { path: ls, args: [a b] } }
    assert: { stdout: x }
"#,
    )
    .run()
    .exits(0)
    .stdout_has(r#""volume":"cache-a-b""#)
    .stdout_has(r#""volume":"cache-a-b-"#);
}

#[test]
fn check_tells_all_problems_and_runs_nothing() {
    let bad = "jobs: [{ nam: a, plan: [{ task: t }] }]";
    let checked = Ci::new().file("p.yml", bad).args(["check", "p.yml", "--json"]).run().exits(2);
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["problems"].as_array().unwrap().len(), 3, "{report}");
    assert_eq!(report["problems"][0]["line"], 1);
    Ci::new()
        .file("p.yml", bad)
        .args(["check", "p.yml"])
        .run()
        .exits(2)
        .stderr_has("did you mean `name`");
    Ci::new().file("p.yml", "jobs: []").args(["check", "p.yml"]).run().exits(0);
}

#[test]
fn check_reads_scripts_with_their_imports() {
    let ci = || Ci::new().args(["check", "p.ts"]);
    let throws = "throw new Error('it ran'); export const pipeline = async () => {};";
    ci().file("p.ts", throws).run().exits(0);
    ci().file("p.ts", "import './absent.ts';").run().exits(2).stderr_has("absent.ts");
    ci().file("p.ts", "const x: = 1;").run().exits(2).stderr_has("syntax error");
}

#[test]
fn options_of_yaml_are_refused_for_scripts() {
    Ci::pipeline("")
        .args(["--job", "a"])
        .run()
        .exits(2)
        .stderr_has("`--job` is for YAML pipelines");
}

#[test]
fn hostile_files_end_in_an_error_within_little_memory() {
    let bomb = (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let before = n - 1;
        format!("{text}a{n}: &a{n} [*a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}]\n")
    });
    let cases = [
        (bomb, "nodes"),
        (format!("jobs: {}", "[".repeat(10_000)), "nested"),
        (
            (0..10_000)
                .fold(String::new(), |text, depth| text + &" ".repeat(depth.min(500)) + "a:\n"),
            "error",
        ),
        ("x".repeat(100 * 1024 * 1024), "bytes"),
        (format!("jobs:\n{}", "- {}\n".repeat(600_000)), "nodes"),
        (format!("jobs: \"{}\"", "y".repeat(15 * 1024 * 1024)), "expected a list"),
        ("a: &a [*a]".to_owned(), "alias"),
        ((0..100_000).map(|n| format!("k{n}: 1\n")).collect(), "has no `jobs`"),
        (
            (0..20_000).fold("jobs:\n- name: a\n  plan:\n  - {}\n".to_owned(), |text, n| {
                text + &format!("  - {{ task: t, config: {{ inputs: [{{ name: i{n} }}], outputs: [{{ name: o{n} }}], run: {{ path: x }} }} }}\n")
            }),
            "a step has one of",
        ),
    ];
    for (text, expected) in cases {
        let ci = Ci::new().file("p.yml", text).args(["check", "p.yml"]);
        let mut command = ci.command();
        // Of the data segment, which the heap is in: V8 reserves addresses that it never uses.
        let limit = 200 * 1024 * 1024;
        // SAFETY: between `fork` and `exec` this only makes a system call.
        unsafe {
            command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_DATA, limit, limit)?));
        }
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{expected}: {stderr}");
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
}

#[test]
fn a_get_leaves_its_metadata_as_variables() {
    let yaml = r#"
resources:
- name: m
  type: mock
  source:
    initial_version: "7"
    metadata: [{ name: author, value: ada }]
    create_files: { file.txt: "content of a file" }
jobs:
- name: a
  plan:
  - get: m
  - task: t
    config:
      platform: linux
      inputs: [{ name: m }]
      params: { AUTHOR: ((.:m.author)) }
      run: { path: sh, args: [-c, 'echo "$AUTHOR $(cat m/version) $(cat m/file.txt)"'] }
"#;
    let ci = Ci::new().file("p.yml", yaml).args(["run", "p.yml"]);
    ci.run().exits(0).stdout_has("[t] ada 7 content of a file\n");
}

/// The types that a driver without images has hold what a pipeline declares of them.
#[test]
fn a_declared_type_gives_its_defaults_to_the_built_in_one() {
    let yaml = "
resource_types:
- { name: mock, type: registry-image, source: { repository: x }, defaults: { initial_version: '9' } }
resources: [{ name: m, type: mock }]
jobs:
- name: a
  plan:
  - get: m
  - task: t
    config: { platform: linux, inputs: [{ name: m }], run: { path: cat, args: [m/version] } }
";
    let outcome = Ci::new().file("p.yml", yaml).args(["run", "p.yml"]).run().exits(0);
    outcome.stdout_has("[t] 9\n").stdout_has("this driver uses its own `mock` instead");
    let wrong = yaml.replace("initial_version", "initial_verison");
    let outcome = Ci::new().file("p.yml", wrong).args(["run", "p.yml"]).run().exits(2);
    outcome.stderr_has("`initial_verison`, did you mean `initial_version`");
}
