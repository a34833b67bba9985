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
    assert_eq!(finished["v"], 1);
    assert_eq!(finished["task"], "build");
    assert_eq!(finished["status"], "success");
    assert_eq!(finished["code"], 0);
    assert!(finished["duration_ms"].is_u64());
    let output = events.iter().find(|event| event["event"] == "task_output").unwrap();
    assert_eq!((&output["stream"], &output["text"]), (&"stdout".into(), &"hi\n".into()));
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
