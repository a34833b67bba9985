//! `--output json`, as a program reads it.

use serde_json::Value;

use crate::support::Ci;

fn events(body: &str, code: i32) -> Vec<Value> {
    let outcome = Ci::pipeline(body).args(["--output", "json"]).run().exits(code);
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn a_run_is_a_line_for_each_event() {
    let events = events(
        r#"
        const volume = await runtime.createVolume({ name: "cache" });
        await runtime.run({ name: "build", image: "x", command: { path: "echo", args: ["hi"] }, mounts: { volume } });
        console.log("done");
        "#,
        0,
    );
    let expected = [
        "run_started",
        "volume_created",
        "task_queued",
        "task_started",
        "notice",
        "task_output",
        "task_finished",
        "console",
        "run_finished",
    ];
    let mut found = names(&events);
    found.sort_unstable();
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(found, sorted);
    assert_eq!(names(&events).first(), Some(&"run_started"));
    assert_eq!(names(&events).last(), Some(&"run_finished"));

    let finished = events.iter().find(|event| event["event"] == "task_finished").unwrap();
    assert_eq!(finished["v"], 2);
    assert_eq!(finished["task"], "build");
    assert_eq!(finished["status"], "success");
    assert_eq!(finished["code"], 0);
    assert!(finished["duration_ms"].is_u64());
    let output = events.iter().find(|event| event["event"] == "task_output").unwrap();
    assert_eq!((&output["stream"], &output["text"]), (&"stdout".into(), &"hi\n".into()));
}

#[test]
fn events_are_numbered_and_stamped_when_they_happen() {
    let events = events(r#"console.log("a"); console.log("b");"#, 0);
    let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let elapsed: Vec<_> =
        events.iter().map(|event| event["elapsed_ms"].as_u64().unwrap()).collect();
    assert!(elapsed.is_sorted(), "{elapsed:?}");
    assert!(events.iter().all(|event| event["time"].as_str().unwrap().ends_with('Z')));
}

/// The same lines go to files, whatever the standard output shows, and whether anybody reads it.
#[test]
fn events_go_to_files_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let logs = ["first.jsonl", "second.jsonl"].map(|name| dir.path().join(name));
    std::fs::write(&logs[0], "what was there before\n").unwrap();
    let options = logs.iter().flat_map(|log| ["--events", log.to_str().unwrap()]);
    let body =
        r#"await runtime.run({ name: "a", image: "x", command: { path: "echo", args: ["hi"] } });"#;
    let plain = ["--output", "plain"];
    Ci::pipeline(body).args(plain).args(options).run().exits(0).stdout_has("[a] hi");
    let texts = logs.map(|log| std::fs::read_to_string(log).unwrap());
    assert_eq!(texts[0], texts[1]);
    let events: Vec<Value> =
        texts[0].lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(events.first().unwrap()["event"], "run_started");
    assert_eq!(events.last().unwrap()["event"], "run_finished");
    assert!(events.iter().any(|event| event["text"] == "hi\n"));
}

#[test]
fn a_log_that_was_asked_for_and_is_incomplete_fails_the_run() {
    let body = r#"console.log("hi");"#;
    let expected = "the log is incomplete: could not write all events to `/dev/full`";
    Ci::pipeline(body)
        .args(["--events", "/dev/full"])
        .run()
        .exits(3)
        .stdout_has("run succeeded")
        .stderr_has(expected);
    let nowhere = "/no/such/directory/log";
    let outcome = Ci::pipeline(body).args(["--events", nowhere]).run();
    outcome.exits(3).stderr_has(nowhere).lacks("run succeeded");
}

#[test]
fn failures_are_told_apart() {
    let events = events(
        r#"
        const run = (name, path, args = [], more = {}) => runtime.run({ name, image: "busybox", command: { path, args }, ...more });
        await run("failed", "false");
        await run("killed", "sh", ["-c", "kill -TERM $$"]);
        await run("late", "sleep", ["100"], { timeout: "100ms" });
        await run("missing", "no-such-command");
        "#,
        1,
    );
    let finished: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "task_finished")
        .map(|event| {
            [&event["task"], &event["status"], &event["code"], &event["signal"]]
                .map(ToString::to_string)
                .join(" ")
        })
        .collect();
    assert_eq!(
        finished,
        [
            r#""failed" "failure" 1 null"#,
            r#""killed" "failure" 143 "SIGTERM""#,
            r#""late" "abort" 124 null"#,
            r#""missing" "error" null null"#,
        ]
    );
    let last = events.last().unwrap();
    assert_eq!((&last["status"], &last["exit_code"]), (&"failure".into(), &1.into()));
    assert!(last["error"].as_str().unwrap().contains("no-such-command"));
}

/// Of many tasks some are cancelled before they start, whoever is faster.
#[test]
fn what_was_asked_for_has_an_end() {
    let events = events(
        r#"
        const tasks = Array.from({ length: 60 }, (_, number) => {
            const controller = new AbortController();
            const task = runtime.run({
                name: `t${number}`, image: "x", command: { path: "true" }, signal: controller.signal,
                allowFailure: true,
            });
            if (number % 2 === 0) controller.abort();
            return task;
        });
        await Promise.allSettled(tasks);
        "#,
        0,
    );
    let ids = |names: &[&str]| {
        let mut ids: Vec<_> = events
            .iter()
            .filter(|event| names.contains(&event["event"].as_str().unwrap()))
            .map(|event| event["id"].as_u64().unwrap())
            .collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(&["task_queued"]), (1..=60).collect::<Vec<_>>());
    assert_eq!(ids(&["task_finished", "task_skipped"]), (1..=60).collect::<Vec<_>>());
    let started = ids(&["task_started"]);
    assert!(ids(&["task_skipped"]).iter().all(|id| !started.contains(id)));
}

#[test]
fn jobs_steps_and_attempts_are_told() {
    let pipeline = "
jobs:
- name: unit
  plan:
  - try:
      task: once
      attempts: 2
      config: { platform: linux, run: { path: 'false' } }
  - task: test
    config: { platform: linux, run: { path: 'false' } }
- name: deploy
  plan:
  - { get: clock, passed: [unit] }
resources: [{ name: clock, type: time }]
";
    let ci = Ci::new().file("pipeline.yml", pipeline);
    let outcome = ci.args(["run", "pipeline.yml", "--output", "json"]).run().exits(1);
    let events: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<String> = events
        .iter()
        .filter_map(|event| {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let number = |key: &str| event[key].as_u64().unwrap_or_default();
            Some(match event["event"].as_str()? {
                "job_started" => format!("{} starts", text("job")),
                "job_finished" => {
                    format!("{}: {} {}", text("job"), text("status"), event["reasons"])
                }
                "job_skipped" => format!("{} skipped: {}", text("job"), text("reason")),
                "step_started" => format!(
                    "{} {} {} #{}",
                    number("step"),
                    text("action"),
                    text("name"),
                    number("attempt")
                ),
                "step_finished" => format!("{} {}", number("step"), text("status")),
                "task_queued" => format!("task of {}", number("step")),
                _ => return None,
            })
        })
        .collect();
    assert_eq!(
        told,
        [
            "unit starts",
            "1 task once #1",
            "task of 1",
            "1 failure",
            "2 task once #2",
            "task of 2",
            "2 failure",
            "3 task test #1",
            "task of 3",
            "3 failure",
            r#"unit: failure ["`test`: exit code 1"]"#,
            "deploy skipped: a job that it waits for did not succeed",
        ]
    );
}
