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
    outcome.exits(3).stderr_has(nowhere).lacks("hi");
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
