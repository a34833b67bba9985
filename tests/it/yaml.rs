//! YAML pipelines: what runs at the same time, other commands than `run`, hostile files.

use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

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
    let probe = "config: { caches: [{ path: l }], run: { path: sh, args: [-c, 'mkdir l/lock && sleep 0.02 && rmdir l/lock'] } }";
    for limit in ["max_in_flight: 1\njobs:\n- name: a", "jobs:\n- name: a\n  max_in_flight: 1"] {
        let steps = format!(
            "{limit}\n  plan:\n  - in_parallel:\n    - task: a\n      {probe}\n    - task: b\n      parallelism: 3\n      {probe}\n"
        );
        pipeline(&steps).run().exits(0);
    }
    pipeline(&format!("jobs:\n- name: a\n  plan:\n  - in_parallel:\n      limit: 1\n      steps:\n      - task: a\n        {probe}\n      - task: b\n        {probe}\n")).run().exits(0);
}

#[test]
fn git_resources_are_cloned_at_one_commit() {
    let ci = Ci::new();
    let repository = ci.dir().join("repository");
    let script = "git init -q -b trunk r && cd r && git config user.email a@b && git config user.name a \
        && echo 1 > file && git add file && git commit -qm one";
    let made = std::process::Command::new("sh")
        .args([
            "-c",
            &script.replace(
                "-b trunk r && cd r",
                &format!("-b trunk {0} && cd {0}", repository.display()),
            ),
        ])
        .status()
        .unwrap();
    assert!(made.success());
    let yaml = format!(
        "resources: [{{ name: src, type: git, source: {{ uri: {}, branch: trunk }} }}]
jobs:
- name: a
  plan:
  - get: src
  - {{ task: look, config: {{ inputs: [{{ name: src }}], run: {{ path: cat, args: [src/file] }} }}, assert: {{ stdout: '1' }} }}
",
        repository.display()
    );
    ci.file("pipeline.yml", yaml).args(["run", "pipeline.yml"]).run().exits(0);
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
    ci().file("p.ts", "throw new Error('it ran');").run().exits(0);
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
fn scenarios_and_examples_do_the_same_transpiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for name in [
        "yaml_steps",
        "yaml_hooks",
        "yaml_failure",
        "yaml_try",
        "yaml_attempts",
        "yaml_across",
        "yaml_caches",
    ] {
        let yaml =
            std::fs::read_to_string(root.join("tests/scenarios").join(name).join("pipeline.yml"))
                .unwrap();
        assert_eq!(executed(&yaml, false), executed(&yaml, true), "{name}");
        count += 1;
    }
    for name in ["hello-world.yml", "caches.yml", "hooks.yml"] {
        let yaml = std::fs::read_to_string(root.join("examples").join(name)).unwrap();
        assert_eq!(executed(&yaml, false), executed(&yaml, true), "{name}");
        count += 1;
    }
    assert_eq!(count, 10);
}

/// The exit code, and how each task ended, in the order of their numbers.
fn executed(yaml: &str, transpiled: bool) -> (i32, Vec<String>) {
    let mut ci = Ci::new().file("pipeline.yml", yaml);
    if transpiled {
        let script =
            Ci::new().file("pipeline.yml", yaml).args(["transpile", "pipeline.yml"]).run().exits(0);
        ci = ci.file("pipeline.ts", script.stdout);
    }
    let file = if transpiled { "pipeline.ts" } else { "pipeline.yml" };
    let outcome = ci.args(["run", file, "--output", "json"]).run();
    let mut tasks: Vec<(u64, String)> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] == "task_finished")
        .map(|event| {
            (
                event["id"].as_u64().unwrap(),
                format!("{} {} {}", event["task"], event["status"], event["code"]),
            )
        })
        .collect();
    tasks.sort();
    (outcome.code, tasks.into_iter().map(|(_, task)| task).collect())
}

/// A step of any kind, whose tasks fail or succeed.
fn step() -> impl Strategy<Value = String> {
    let task = (0..1000_u32, 0..3_u32, 1..3_u32).prop_map(|(name, code, attempts)| {
        let code = code.saturating_sub(1);
        format!("task: t{name}, attempts: {attempts}, config: {{ run: {{ path: sh, args: [-c, exit {code}] }} }}")
    });
    let step = task.prop_recursive(3, 12, 3, |inner| {
        let steps =
            prop::collection::vec(inner.clone().prop_map(|step| format!("{{ {step} }}")), 1..4)
                .prop_map(|steps| steps.join(", "));
        let inner = inner.prop_map(|step| format!("{{ {step} }}"));
        prop_oneof![
            steps.clone().prop_map(|steps| format!("do: [{steps}]")),
            steps.clone().prop_map(|steps| format!("try: [{steps}]")),
            steps
                .clone()
                .prop_map(|steps| format!("in_parallel: {{ limit: 1, steps: [{steps}] }}")),
            (steps, inner.clone())
                .prop_map(|(steps, hook)| format!("do: [{steps}], on_failure: {hook}")),
            (inner.clone(), inner).prop_map(|(step, hook)| format!(
                "do: [{step}], ensure: {hook}, across: [{{ var: x, values: [1, 2] }}]"
            )),
        ]
    });
    step.prop_map(|step| format!("{{ {step} }}"))
}

#[test]
fn random_plans_do_the_same_transpiled() {
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..4), |steps| {
            let yaml = format!("jobs:\n- name: a\n  plan: [{}]\n", steps.join(", "));
            let (interpreted, transpiled) = (executed(&yaml, false), executed(&yaml, true));
            prop_assert!(interpreted.0 == 0 || interpreted.0 == 1, "{}", yaml);
            prop_assert_eq!(interpreted, transpiled, "{}", yaml);
            Ok(())
        })
        .unwrap();
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
