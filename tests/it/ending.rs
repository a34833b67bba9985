//! However a run ends, it says so and leaves nothing behind.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::Ci;

/// A task that starts a daemon the old way, two forks and a session of its own, waits until that has
/// said its process number, says its own, and goes on for ever.
const DAEMON_AND_WAIT: &str = r#"
    const script = `
        (setsid sh -c 'echo "pid $$"; touch up; exec sleep 1000' &)
        until [ -e up ]; do :; done
        echo "pid $$"; echo ready; exec sleep 1000`;
    const result = await runtime.run({ name: "work", image: "busybox", command: { path: "sh", args: ["-c", script] } });
    console.log("result:", result.code, result.status, result.message);
"#;

struct Running {
    child: Child,
    log: BufReader<std::process::ChildStdout>,
    seen: String,
}

impl Running {
    fn start(ci: &Ci) -> Self {
        let mut child = ci.spawn();
        let log = BufReader::new(child.stdout.take().unwrap());
        Self { child, log, seen: String::new() }
    }

    /// Reads the log up to the line that holds `part`.
    fn until(&mut self, part: &str) {
        loop {
            let start = self.seen.len();
            let read = self.log.read_line(&mut self.seen).unwrap();
            assert!(read > 0, "no `{part}` in\n{}", self.seen);
            if self.seen[start..].contains(part) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// The rest of the log, the error output, and how the process ended.
    fn end(mut self) -> (String, String, ExitStatus) {
        self.log.read_to_string(&mut self.seen).unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.seen, stderr, self.child.wait().unwrap())
    }
}

/// The processes that a task has told the numbers of.
fn told(log: &str) -> Vec<i32> {
    log.lines()
        .filter_map(|line| line.strip_prefix("[work] pid "))
        .map(|number| number.trim().parse().unwrap())
        .collect()
}

/// Waits until a process is gone; a zombie is gone.
#[track_caller]
fn gone(pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
        if matches!(state, None | Some(Some('Z' | 'X') | None)) {
            return;
        }
        assert!(Instant::now() < deadline, "process {pid} is still there: {stat}");
        std::thread::yield_now();
    }
}

pub fn files_in(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() { files_in(&path) } else { 1 }
        })
        .sum()
}

#[test]
fn ctrl_c_ends_tasks_and_reports_them_as_aborted() {
    let ci = Ci::pipeline(DAEMON_AND_WAIT);
    let mut run = Running::start(&ci);
    run.until("] ready");
    run.signal(Signal::SIGINT);
    let (log, stderr, status) = run.end();
    assert_eq!(status.code(), Some(130), "{log}{stderr}");
    assert!(log.contains("result: 130 abort the run was interrupted"), "{log}");
    assert!(log.contains("[work] aborted after"), "{log}");
    assert_eq!(stderr, "error: the run was interrupted\n");
    let pids = told(&log);
    assert_eq!(pids.len(), 2, "{log}");
    pids.into_iter().for_each(gone);
    assert_eq!(files_in(&ci.state()), 0);
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_tasks_that_will_not_end() {
    let ci = Ci::pipeline(
        r#"
        const script = "trap '' TERM; echo pid $$; echo ready; while :; do sleep 1; done";
        await runtime.run({ name: "work", image: "busybox", command: { path: "sh", args: ["-c", script] } });
        "#,
    )
    .args(["--driver", "native://?grace=1h"]);
    let mut run = Running::start(&ci);
    run.until("] ready");
    run.signal(Signal::SIGINT);
    run.signal(Signal::SIGTERM);
    let (log, stderr, status) = run.end();
    assert_eq!(status.code(), Some(130), "{log}");
    let what_is_left = "the next run of the same namespace removes them, and so does `ci prune`";
    assert!(stderr.starts_with("error: ended at once by a second signal\n"), "{stderr}");
    assert!(stderr.contains(what_is_left), "{stderr}");
    told(&log).into_iter().for_each(gone);
}

#[test]
fn sigterm_is_an_interruption_too() {
    let ci = Ci::pipeline(DAEMON_AND_WAIT);
    let mut run = Running::start(&ci);
    run.until("] ready");
    run.signal(Signal::SIGTERM);
    let (log, _, status) = run.end();
    assert_eq!(status.code(), Some(130));
    told(&log).into_iter().for_each(gone);
}

#[test]
fn tasks_do_not_survive_a_killed_run_and_the_next_one_cleans_up() {
    let ci = Ci::pipeline(DAEMON_AND_WAIT);
    let mut run = Running::start(&ci);
    run.until("] ready");
    run.signal(Signal::SIGKILL);
    let (log, _, _) = run.end();
    let pids = told(&log);
    assert_eq!(pids.len(), 2, "{log}");
    pids.into_iter().for_each(gone);
    assert!(ci.state().exists());

    let ci = ci.file("pipeline.ts", "export const pipeline = async () => {};");
    ci.run().exits(0);
}

#[test]
fn a_timeout_that_passes_during_the_grace_of_a_stop_is_not_the_reason() {
    let pipeline = r#"
        const { code, message } = await runtime.run({
            name: "stubborn",
            image: "busybox",
            timeout: "2s",
            command: { path: "sh", args: ["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"] },
        });
        console.log(`result: ${code} ${message}`);
    "#;
    let ci = Ci::pipeline(pipeline).args(["--timeout", "500ms", "--driver", "native://?grace=3s"]);
    let (log, stderr, status) = Running::start(&ci).end();
    assert_eq!(status.code(), Some(124), "{log}{stderr}");
    assert!(log.contains("the run timed out after 500ms"), "{log}");
    assert!(!log.contains("timed out after 2s"), "{log}");
}

#[test]
fn a_run_that_takes_too_long_ends_with_124() {
    let ci = Ci::pipeline(DAEMON_AND_WAIT).args(["--timeout", "1s"]);
    let run = Running::start(&ci);
    let (log, stderr, status) = run.end();
    assert_eq!(status.code(), Some(124), "{log}{stderr}");
    assert!(log.contains("result: 124 abort the run timed out after 1s"), "{log}");
    assert_eq!(stderr, "error: the run timed out after 1s\n");
    told(&log).into_iter().for_each(gone);
}

#[test]
fn a_reader_that_stopped_reading_does_not_hold_up_the_end() {
    let ci = Ci::pipeline(
        r#"await runtime.run({ name: "work", image: "busybox", command: { path: "yes" } });"#,
    )
    .args(["--timeout", "1s"]);
    let mut child = ci.spawn();
    assert_eq!(child.wait().unwrap().code(), Some(124));
}

#[test]
fn a_daemon_serves_the_next_task_and_ends_with_the_run() {
    let ci = Ci::pipeline(
        r#"
        const shared = await runtime.createVolume({ name: "shared" });
        const sh = (name: string, script: string) =>
            runtime.run({ name, image: "busybox", command: { path: "sh", args: ["-c", script] }, mounts: { shared } });
        await sh("prepare", "mkfifo shared/request shared/reply");
        await sh("work", `(setsid sh -c 'echo "pid $$"; while read -r word < shared/request; do echo "got $word" > shared/reply; done' &)`);
        const { stdout } = await sh("ask", "echo question > shared/request; cat shared/reply");
        assert.equal(stdout, "got question\n");
        "#,
    );
    let run = Running::start(&ci);
    let (log, stderr, status) = run.end();
    assert_eq!(status.code(), Some(0), "{log}{stderr}");
    let pids = told(&log);
    assert_eq!(pids.len(), 1, "{log}");
    pids.into_iter().for_each(gone);
    assert_eq!(files_in(&ci.state()), 0);
}

#[test]
fn what_a_failed_pipeline_left_running_is_aborted() {
    let ci = Ci::pipeline(
        r#"
        void runtime.run({ name: "work", image: "busybox", command: { path: "sh", args: ["-c", "echo pid $$; exec sleep 1000"] } });
        await runtime.run({ name: "other", image: "busybox", command: { path: "true" } });
        throw new Error("enough");
        "#,
    );
    let run = Running::start(&ci);
    let (log, stderr, status) = run.end();
    assert_eq!(status.code(), Some(1), "{log}{stderr}");
    assert!(stderr.contains("enough"), "{stderr}");
    assert!(log.contains("[work] aborted after"), "{log}");
    told(&log).into_iter().for_each(gone);
}

/// A job that goes on for ever once it has said that it is ready, with hooks and what comes after.
const HOOKS_OF_AN_ENDLESS_JOB: &str = r#"
jobs:
- name: one
  plan:
  - try:
      task: work
      config: { outputs: [{ name: made }], run: { path: sh, args: [-c, "touch made/file; echo ready; exec sleep 1000"] } }
    on_failure: { task: never, config: { run: { path: "true" } } }
    on_abort: { task: on-abort, config: { inputs: [{ name: made, optional: true }], run: { path: "true" } } }
  - { task: never, config: { run: { path: "true" } } }
  on_success: { task: never, config: { run: { path: "true" } } }
  on_error: { task: never, config: { run: { path: "true" } } }
  on_abort: { task: job-on-abort, config: { run: { path: "true" } } }
  ensure:
    do:
    - { task: job-ensure, attempts: 2, config: { run: { path: "true" } } }
    - { task: LAST, config: { run: { path: sh, args: [-c, "echo last; LAST-DOES"] } } }
- name: two
  serial_groups: [g]
  plan: [{ task: beside, config: { run: { path: sh, args: [-c, "exec sleep 1000"] } } }]
- name: three
  serial_groups: [g]
  plan: [{ task: never, config: { run: { path: "true" } } }]
  ensure: { task: never, config: { run: { path: "true" } } }
"#;

#[test]
fn hooks_run_when_a_run_is_interrupted() {
    let yaml = HOOKS_OF_AN_ENDLESS_JOB.replace("LAST-DOES", "true");
    let ci = Ci::new().file("p.yml", yaml).args(["run", "p.yml"]);
    let mut run = Running::start(&ci);
    run.until("[work] ready");
    run.signal(Signal::SIGINT);
    let (log, stderr, status) = run.end();
    assert_eq!(status.code(), Some(130), "{log}{stderr}");
    assert_eq!(stderr, "error: the run was interrupted\n");
    for task in ["on-abort", "job-on-abort", "job-ensure", "LAST"] {
        assert!(log.contains(&format!("[{task}] finished")), "{task} in\n{log}");
    }
    assert!(!log.contains("never"), "{log}");
    assert_eq!(files_in(&ci.state()), 0);
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_hooks() {
    let yaml = HOOKS_OF_AN_ENDLESS_JOB.replace("LAST-DOES", "exec sleep 1000");
    let ci = Ci::new().file("p.yml", yaml).args(["run", "p.yml"]);
    let mut run = Running::start(&ci);
    run.until("[work] ready");
    run.signal(Signal::SIGINT);
    run.until("[LAST] last");
    run.signal(Signal::SIGINT);
    let (log, _, status) = run.end();
    assert_eq!(status.code(), Some(130), "{log}");
}

#[test]
fn a_script_tidies_up_after_a_timeout_of_the_run() {
    let ci = Ci::pipeline(
        r#"
        const sh = (name: string, script: string, cleanup?: boolean) =>
            runtime.run({ name, image: "busybox", command: { path: "sh", args: ["-c", script] }, cleanup });
        try {
            await sh("work", "exec sleep 1000");
            await sh("too-late", "true").catch((error) => console.log(error.name, error.message));
        } finally {
            const { status } = await sh("tidy-up", "true", true);
            console.log("tidied up:", status);
        }
        "#,
    )
    .args(["--timeout", "1s"]);
    let (log, stderr, status) = Running::start(&ci).end();
    assert_eq!(status.code(), Some(124), "{log}{stderr}");
    let refused = "AbortError `too-late` was not started: the run timed out after 1s";
    assert!(log.contains(refused), "{log}");
    assert!(log.contains("tidied up: complete"), "{log}");
}
