//! What `ci transpile` prints does the same as the YAML pipeline that it comes from.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::Ci;

#[test]
fn scenarios_and_examples_do_the_same_transpiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let mut examples = files("examples");
    examples.retain(|file| file.extension().is_some_and(|end| end == "yml"));
    let scenarios = files("tests/scenarios").into_iter().filter(|folder| {
        let expected = std::fs::read_to_string(folder.join("expected.snap")).unwrap();
        folder.join("pipeline.yml").exists() && !expected.contains("exit code: 2")
    });
    let mut count = 0;
    for file in examples.into_iter().chain(scenarios.map(|folder| folder.join("pipeline.yml"))) {
        let yaml = std::fs::read_to_string(&file).unwrap();
        let args = yaml.lines().next().and_then(|line| line.strip_prefix("# args: "));
        let args: Vec<&str> = args.map(|args| args.split(' ').collect()).unwrap_or_default();
        // Which part runs is not a matter of the pipeline.
        if args.contains(&"--job") {
            continue;
        }
        let values = std::fs::read(file.with_file_name("values.yml")).unwrap_or_default();
        let ci = || Ci::new().file("values.yml", &values).file("pipeline.yml", &yaml);
        let interpreted = executed(ci().args(["run", "pipeline.yml"]).args(&args), &yaml);
        let script = ci().args(["transpile", "pipeline.yml"]).args(&args).run().exits(0).stdout;
        let transpiled = executed(
            Ci::new()
                .file("pipeline.ts", script)
                .args(["run", "pipeline.ts"])
                .env("PATH", search_path()),
            &yaml,
        );
        assert_eq!(interpreted, transpiled, "{}", file.display());
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn a_small_pipeline_stays_small() {
    let yaml =
        "jobs: [{ name: a, plan: [{ task: t, config: { run: { path: echo, args: [hi] } } }] }]";
    let script = Ci::new().file("p.yml", yaml).args(["transpile", "p.yml"]).run().exits(0).stdout;
    for absent in ["resourceDriver", "across", "hooked", "checkedConfig", "inParallel", "attempt"] {
        assert!(!script.contains(&format!("function {absent}(")), "{absent} in\n{script}");
    }
}

/// The exit code, and how each task ended: in the order of their starts, unless that is free.
fn executed(ci: Ci, yaml: &str) -> (i32, Vec<String>) {
    let outcome = ci.args(["--output", "json"]).run();
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
    let mut tasks: Vec<String> = tasks.into_iter().map(|(_, task)| task).collect();
    if ["in_parallel", "parallelism", "max_in_flight"].iter().any(|word| yaml.contains(word)) {
        tasks.sort();
    }
    (outcome.code, tasks)
}

/// Whether steps can have `fail_fast` around them: of those that run at the same time it is a matter of
/// chance which ones a failure ends.
fn fail_fast(steps: &str) -> bool {
    !["parallelism", "in_parallel: [", "max_in_flight: all"]
        .iter()
        .any(|at_once| steps.contains(at_once))
}

/// A step of any kind, whose tasks fail or succeed.
fn step() -> impl Strategy<Value = String> {
    let task = (0..1000_u32, 0..3_u32, 1..3_u32, 1..3_u32).prop_map(|(name, code, attempts, copies)| {
        let code = code.saturating_sub(1);
        let copies = if copies > 1 { ", parallelism: 2" } else { "" };
        format!("task: t{name}, attempts: {attempts}, timeout: 1h{copies}, config: {{ run: {{ path: sh, args: [-c, exit {code}] }} }}")
    });
    let absent = (0..1000_u32)
        .prop_map(|name| format!("task: e{name}, config: {{ run: {{ path: no-such-program }} }}"));
    let resource = prop_oneof![Just("get: m".to_owned()), Just("put: m".to_owned())];
    let step = prop_oneof![4 => task, 1 => absent, 1 => resource];
    let step = step.prop_recursive(3, 12, 3, |inner| {
        let inner = inner.prop_map(|step| format!("{{ {step} }}"));
        let steps = prop::collection::vec(inner.clone(), 1..4).prop_map(|steps| steps.join(", "));
        let hook = prop_oneof![
            Just("on_success"),
            Just("on_failure"),
            Just("on_error"),
            Just("on_abort"),
            Just("ensure"),
        ];
        let across = prop_oneof![
            Just("across: [{ var: x, values: [1, 2] }]"),
            Just("across: [{ var: x, values: [1, 2] }], fail_fast: FAIL-FAST"),
            Just(
                "across: [{ var: x, values: [1, 2], max_in_flight: all }, { var: y, values: [a] }]"
            ),
        ];
        prop_oneof![
            steps.clone().prop_map(|steps| format!("do: [{steps}]")),
            (steps.clone(), 1..3_u32)
                .prop_map(|(steps, attempts)| format!("try: [{steps}], attempts: {attempts}")),
            steps.clone().prop_map(|steps| format!("in_parallel: [{steps}]")),
            steps.clone().prop_map(|steps| {
                let fail_fast = fail_fast(&steps);
                format!("in_parallel: {{ limit: 1, fail_fast: {fail_fast}, steps: [{steps}] }}")
            }),
            (steps.clone(), hook.clone(), inner.clone())
                .prop_map(|(steps, hook, step)| format!("do: [{steps}], {hook}: {step}")),
            (inner.clone(), hook, inner)
                .prop_map(|(step, hook, other)| format!("try: {step}, {hook}: {other}")),
            (steps, across).prop_map(|(steps, across)| {
                let across = across.replace("FAIL-FAST", &fail_fast(&steps).to_string());
                format!("do: [{steps}], {across}")
            }),
        ]
    });
    step.prop_map(|step| format!("{{ {step} }}"))
}

#[test]
fn random_plans_do_the_same_transpiled() {
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..4), |steps| {
            let yaml = format!(
                "resources: [{{ name: m, type: mock }}]\njobs:\n- name: a\n  plan: [{}]\n",
                steps.join(", ")
            );
            let ci = |file: &str, text: &str| Ci::new().file(file, text);
            let interpreted = executed(ci("p.yml", &yaml).args(["run", "p.yml"]), &yaml);
            let script = ci("p.yml", &yaml).args(["transpile", "p.yml"]).run().exits(0).stdout;
            let transpiled = ci("p.ts", &script).args(["run", "p.ts"]).env("PATH", search_path());
            let transpiled = executed(transpiled, &yaml);
            prop_assert!(interpreted.0 == 0 || interpreted.0 == 1, "{}", yaml);
            prop_assert_eq!(interpreted, transpiled, "{}", yaml);
            Ok(())
        })
        .unwrap();
}

/// A `PATH` with the program, by which a script finds the resource types that it has built in.
fn search_path() -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_ci")).parent().unwrap();
    format!("{}:/usr/local/bin:/usr/bin:/bin", program.display())
}
