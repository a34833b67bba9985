//! `fail_fast` under every cap: what did not start by the time of the failure never starts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Ci;

/// How many tasks stand beside each other.
const TASKS: usize = 5;

/// What limits how many of them run.
#[derive(Clone, Copy, Debug)]
enum Cap {
    /// `max_in_flight` of the pipeline.
    Pipeline,
    /// `max_in_flight` of the job.
    Job,
    /// `--max-in-flight`
    Option,
    /// `limit` of `in_parallel`.
    Limit,
    /// `max_in_flight` of `across`.
    Across,
}

/// What is around the task that fails.
const KINDS: [&str; 7] = ["plain", "hooks", "do", "hooks-of-do", "nested", "waits", "attempts"];

/// A pipeline with a job for each position of the failure and each kind. Tasks before the one that fails
/// succeed, those after it go on until they are ended, and it fails when all that may run beside it do.
fn pipeline(cap: Cap, count: usize) -> Value {
    let mut jobs = Vec::new();
    for position in 0..TASKS {
        for kind in KINDS {
            let name = format!("at-{position}-{kind}");
            let ran: Vec<usize> = (0..TASKS.min(position + count)).collect();
            let beside: Vec<usize> = ran[position + 1..].to_vec();
            let script = |index: usize| match index {
                _ if index < position => "true".to_owned(),
                _ if index == position => {
                    beside.iter().rev().fold("exit 1".to_owned(), |rest, index| {
                        format!("until [ -e meet/{name}-{index} ]; do sleep 0.01; done; {rest}")
                    })
                }
                _ => format!("touch meet/{name}-{index}; exec sleep 1000"),
            };
            let scripts: Vec<String> = (0..TASKS).map(script).collect();
            let plan = match cap {
                Cap::Across => across(&scripts, kind, count),
                _ => in_parallel(&scripts, position, kind, cap, count),
            };
            let mut execution: Vec<String> =
                ran.iter().map(|index| task_name(cap, *index)).collect();
            execution.extend(after(kind).iter().map(ToString::to_string));
            let mut job = json!({
                "name": name,
                "serial_groups": ["one after the other"],
                "plan": plan,
                "assert": { "execution": execution },
            });
            if let Cap::Job = cap {
                job["max_in_flight"] = count.into();
            }
            jobs.push(job);
        }
    }
    let mut pipeline = json!({ "jobs": jobs });
    if let Cap::Pipeline = cap {
        pipeline["max_in_flight"] = count.into();
    }
    pipeline
}

fn task_name(cap: Cap, index: usize) -> String {
    match cap {
        Cap::Across => format!("t-{index}"),
        _ => format!("t{index}"),
    }
}

/// The tasks of hooks that run after the failure.
fn after(kind: &str) -> &'static [&'static str] {
    match kind {
        "hooks" | "hooks-of-do" => &["on-failure", "ensure"],
        _ => &[],
    }
}

fn task(name: &str, script: &str) -> Value {
    json!({
        "task": name,
        "config": { "caches": [{ "path": "meet" }], "run": { "path": "sh", "args": ["-c", script] } },
    })
}

fn hooks(mut step: Value) -> Value {
    step["on_failure"] = task("on-failure", "true");
    step["ensure"] = task("ensure", "true");
    step
}

fn in_parallel(scripts: &[String], position: usize, kind: &str, cap: Cap, count: usize) -> Value {
    let steps: Vec<Value> = scripts
        .iter()
        .enumerate()
        .map(|(index, script)| {
            let step = task(&format!("t{index}"), script);
            match kind {
                // All of them, so that they ask for slots in their order.
                "nested" => json!({ "in_parallel": { "fail_fast": true, "steps": [step] } }),
                "waits" => json!({ "in_parallel": [step] }),
                "hooks" if index == position => hooks(step),
                "do" if index == position => json!({ "do": [step, task("never", "true")] }),
                "hooks-of-do" if index == position => {
                    hooks(json!({ "do": [step, task("never", "true")] }))
                }
                "attempts" if index == position => {
                    json!({ "do": [step], "attempts": 1, "timeout": "1h" })
                }
                _ => step,
            }
        })
        .collect();
    let mut parallel = json!({ "fail_fast": true, "steps": steps });
    if let Cap::Limit = cap {
        parallel["limit"] = count.into();
    }
    json!([{ "try": { "in_parallel": parallel } }])
}

/// The same with the scripts as values of a variable.
fn across(scripts: &[String], kind: &str, count: usize) -> Value {
    let list: Vec<String> = (0..scripts.len()).map(|index| index.to_string()).collect();
    let cases: Vec<String> =
        scripts.iter().enumerate().map(|(index, script)| format!("{index}) {script};;")).collect();
    let script = format!("case $n in {} esac", cases.join(" "));
    let mut step = task("t", &script);
    step["across"] = json!([{ "var": "n", "values": list, "max_in_flight": count }]);
    step["fail_fast"] = true.into();
    let step = match kind {
        "hooks" | "hooks-of-do" => hooks(step),
        "nested" => json!({ "in_parallel": { "fail_fast": true, "steps": [step] } }),
        "waits" => json!({ "in_parallel": [step] }),
        _ => step,
    };
    json!([{ "try": step }])
}

fn runs(cap: Cap, count: usize) {
    let text = pipeline(cap, count).to_string();
    let ci = Ci::new().file("p.yml", text).args(["run", "p.yml"]);
    let ci = match cap {
        Cap::Option => ci.args(["--max-in-flight", &count.to_string()]),
        _ => ci,
    };
    ci.run().exits(0);
}

macro_rules! caps {
    ($($name:ident: $cap:expr,)*) => {$(
        #[test]
        fn $name() {
            for count in [1, 2, 3, TASKS - 1, TASKS] {
                runs($cap, count);
            }
        }
    )*};
}

caps! {
    a_cap_of_the_pipeline: Cap::Pipeline,
    a_cap_of_the_job: Cap::Job,
    a_cap_of_the_command_line: Cap::Option,
    a_limit_of_in_parallel: Cap::Limit,
    a_cap_of_across: Cap::Across,
}

/// The smaller case in a hundred jobs: a race that is lost once in a while is lost here.
#[test]
fn the_next_task_never_starts() {
    let jobs: Vec<Value> = (0..100)
        .map(|number| {
            let steps: Vec<Value> =
                ["false", "true", "true"].iter().enumerate().map(|(n, program)| {
                    json!({ "task": format!("t{n}"), "config": { "run": { "path": program } } })
                }).collect();
            json!({
                "name": format!("job-{number}"),
                "max_in_flight": 1,
                "plan": [{ "try": { "in_parallel": { "fail_fast": true, "steps": steps } } }],
                "assert": { "execution": ["t0"] },
            })
        })
        .collect();
    let ci = Ci::new().file("p.yml", json!({ "jobs": jobs }).to_string());
    ci.args(["run", "p.yml"]).run().exits(0).lacks("[t1]").lacks("[t2]");
}

/// A cap that several jobs share: those of other jobs go on.
#[test]
fn other_jobs_go_on_under_a_shared_cap() {
    let job = |name: &str, programs: [&str; 3]| {
        let steps: Vec<Value> = programs
            .iter()
            .enumerate()
            .map(|(n, program)| {
                let name = format!("{name}{n}");
                json!({ "task": name, "config": { "run": { "path": program } } })
            })
            .collect();
        let started: Vec<String> = match programs[0] {
            "false" => vec![format!("{name}0")],
            _ => (0..3).map(|n| format!("{name}{n}")).collect(),
        };
        json!({
            "name": name,
            "plan": [{ "try": { "in_parallel": { "fail_fast": true, "steps": steps } } }],
            "assert": { "execution": started },
        })
    };
    let jobs: Vec<Value> = (0..10)
        .flat_map(|n| {
            [
                job(&format!("bad{n}-"), ["false", "true", "true"]),
                job(&format!("good{n}-"), ["true", "true", "true"]),
            ]
        })
        .collect();
    let text = json!({ "max_in_flight": 1, "jobs": jobs }).to_string();
    Ci::new().file("p.yml", text).args(["run", "p.yml"]).run().exits(0);
}

/// A timeout that passes while a step waits for its turn counts then, not when it is its turn. The task did
/// not start.
#[test]
fn a_timeout_ends_the_wait_for_a_slot() {
    let yaml = r#"
jobs:
- name: a
  max_in_flight: 1
  plan:
  - try:
      in_parallel:
        fail_fast: true
        steps:
        - { task: holder, config: { run: { path: sleep, args: [1000] } } }
        - { task: too-late, timeout: 10ms, config: { run: { path: "true" } } }
  assert: { execution: [holder] }
"#;
    let ci = Ci::new().file("p.yml", yaml).args(["run", "p.yml", "--timeout", "2m"]);
    ci.run().exits(0);
}

/// The step, asking for its slot after all others: the steps around it take a moment.
fn later(step: Value) -> Value {
    (0..8).fold(step, |step, _| json!({ "in_parallel": [step] }))
}

/// What of a step decides that all of it fails, while the rest of it runs: the rest ends, and nothing starts.
/// The hooks are those of a step that has failed.
#[test]
fn a_part_that_fails_decides_for_the_whole_step() {
    let meets = "until [ -e meet/up ]; do sleep 0.01; done; exit 1";
    let waits = "touch meet/up; exec sleep 1000";
    let script = format!("case $CI_TASK_INDEX$n in 1) {meets};; 2) {waits};; esac");
    let mut copies = task("copies", &script);
    copies["parallelism"] = 3.into();
    let mut across = task("copies", &script);
    across["across"] = json!([{ "var": "n", "values": ["1", "2", "3"], "max_in_flight": 3 }]);
    let parts = [task("copies-1", meets), task("copies-2", waits), task("copies-3", "true")];
    let inner = json!({ "in_parallel": parts });
    let deep = json!({ "do": [{ "in_parallel": [inner.clone()] }, task("never", "true")] });
    for step in [copies, across, inner, deep] {
        let mut step = hooks(step);
        step["on_abort"] = task("on-abort", "true");
        let beside = later(task("beside", "true"));
        let text = json!({
            "jobs": [{
                "name": "a",
                "max_in_flight": 2,
                "plan": [{ "try": { "in_parallel": { "fail_fast": true, "steps": [step, beside] } } }],
                "assert": { "execution": ["copies-1", "copies-2", "on-failure", "ensure"] },
            }],
        });
        let ci = Ci::new().file("p.yml", text.to_string());
        ci.args(["run", "p.yml", "--timeout", "2m"]).run().exits(0);
    }
}

/// Without `fail_fast` a part that fails ends nothing.
#[test]
fn the_rest_of_a_step_goes_on_without_fail_fast() {
    let meets = "until [ -e meet/up ]; do sleep 0.01; done; exit 1";
    let parts = [task("fails", meets), task("waits", "touch meet/up"), task("last", "true")];
    let beside = later(task("beside", "true"));
    let text = json!({
        "jobs": [{
            "name": "a",
            "max_in_flight": 2,
            "plan": [{ "try": { "in_parallel": [{ "in_parallel": parts }, beside] } }],
            "assert": { "execution": ["fails", "waits", "last", "beside"] },
        }],
    });
    Ci::new().file("p.yml", text.to_string()).args(["run", "p.yml"]).run().exits(0);
}

/// Only the last attempt decides. Between attempts a cap on tasks lets others run, and a cap on steps does
/// not.
#[test]
fn the_last_attempt_counts() {
    let step = |name: &str| {
        let mut step = task(name, "exit 1");
        step["attempts"] = 3.into();
        step
    };
    let steps = [step("fails"), task("t1", "true"), task("t2", "true")];
    let limited = json!({ "fail_fast": true, "limit": 1, "steps": steps });
    let capped = json!({ "fail_fast": true, "steps": steps });
    for (parallel, cap, execution) in [
        (limited, 5, json!(["fails", "fails", "fails"])),
        (capped, 1, json!(["fails", "t1", "t2", "fails", "fails"])),
    ] {
        let text = json!({
            "jobs": [{
                "name": "a",
                "max_in_flight": cap,
                "plan": [{ "try": { "in_parallel": parallel } }],
                "assert": { "execution": execution },
            }],
        });
        Ci::new().file("p.yml", text.to_string()).args(["run", "p.yml"]).run().exits(0);
    }
}

/// Steps that are no tasks fail like tasks.
#[test]
fn other_steps_that_fail_keep_tasks_from_starting() {
    for step in [
        json!({ "load_var": "missing", "file": "made/missing" }),
        json!({ "get": "wrong" }),
        json!({ "put": "wrong", "params": { "path": "made" } }),
    ] {
        for cap in ["limit", "max_in_flight"] {
            let mut parallel = json!({ "fail_fast": true, "steps": [step, task("t1", "true"), task("t2", "true")] });
            let mut job = json!({ "name": "a", "assert": { "execution": ["make"] } });
            match cap {
                "limit" => parallel["limit"] = 1.into(),
                _ => job["max_in_flight"] = 1.into(),
            }
            let mut make = task("make", "true");
            make["config"]["outputs"] = json!([{ "name": "made" }]);
            job["plan"] = json!([make, { "try": { "in_parallel": parallel } }]);
            let resource =
                json!({ "name": "wrong", "type": "file", "source": { "path": "/dev/null/x" } });
            let text = json!({ "resources": [resource], "jobs": [job] });
            Ci::new().file("p.yml", text.to_string()).args(["run", "p.yml"]).run().exits(0);
        }
    }
}

/// Tasks that were not started are in no list, however often that is tried.
#[test]
fn the_log_and_the_list_agree() {
    let steps: Vec<Value> = (0..20)
        .map(|n| {
            let program = if n == 3 { "false" } else { "true" };
            json!({ "task": format!("t{n}"), "config": { "outputs": [{ "name": "o" }], "run": { "path": program } } })
        })
        .collect();
    for cap in [1, 2, 5] {
        let text = json!({
            "jobs": [{
                "name": "a",
                "max_in_flight": cap,
                "plan": [{ "in_parallel": { "fail_fast": true, "steps": steps } }],
                "assert": { "execution": ["nothing"] },
            }],
        });
        let ci = Ci::new().file("p.yml", text.to_string());
        let outcome = ci.args(["run", "p.yml", "--output", "json"]).run().exits(1);
        let started: BTreeSet<String> = outcome
            .stdout
            .lines()
            .filter_map(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                (event["event"] == "task_started")
                    .then(|| event["task"].as_str().unwrap().to_owned())
            })
            .collect();
        let (_, list) = outcome.stderr.split_once("started [").unwrap();
        let (list, _) = list.split_once(']').unwrap();
        let listed: BTreeSet<String> = list.split(", ").map(str::to_owned).collect();
        assert_eq!(listed, started);
    }
}
