//! Somebody stops the processes that watch over tasks. A run goes on and ends all the same.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::support::Ci;

fn signal(pid: &str, signal: Signal) {
    kill(Pid::from_raw(pid.trim().parse().unwrap()), signal).unwrap();
}

/// The numbers of a task's reaper and of the supervisor, as the task sees them, and its own.
const NUMBERS: &str = "echo $PPID $(cut -d ' ' -f 4 /proc/$PPID/stat) $$";

/// Runs a script that prints [`NUMBERS`] first; `act` gets them and the way to cancel.
async fn with_numbers(
    driver: &NativeDriver,
    spec: &TaskSpec,
    act: impl FnOnce(&str, &str, CancellationToken),
) -> Result<TaskExit, DriverError> {
    let (sink, mut chunks) = updates(4);
    let cancel = CancellationToken::new();
    let listen = async {
        let (_, line) = chunks.recv().await.unwrap();
        let line = String::from_utf8(line).unwrap();
        let numbers: Vec<&str> = line.split_whitespace().collect();
        act(numbers[0], numbers[1], cancel.clone());
        while chunks.recv().await.is_some() {}
    };
    let (exit, ()) = tokio::join!(exit(driver.run(spec, sink, cancel.clone())), listen);
    exit
}

#[tokio::test]
async fn a_task_below_a_stopped_reaper_is_cancelled() {
    for script in ["exec sleep 1000", "trap '' TERM; while :; do sleep 1000; done"] {
        let run = Run::start(MountMode::Auto).await;
        let spec = sh(&format!("{NUMBERS}; {script}"));
        let exit = with_numbers(&run.driver, &spec, |reaper, _, cancel| {
            signal(reaper, Signal::SIGSTOP);
            cancel.cancel();
        });
        assert_eq!(exit.await.unwrap(), TaskExit::Cancelled);
        run.end().await;
    }
}

#[tokio::test]
async fn a_task_below_a_reaper_that_is_stopped_again_and_again_is_cancelled() {
    let run = Run::start(MountMode::Auto).await;
    let spec = sh(&format!("{NUMBERS}; setsid sleep 1000 & exec sleep 1000"));
    let done = Arc::new(AtomicBool::new(false));
    let stopper = done.clone();
    let exit = with_numbers(&run.driver, &spec, |reaper, _, cancel| {
        let reaper = Pid::from_raw(reaper.parse().unwrap());
        kill(reaper, Signal::SIGSTOP).unwrap();
        std::thread::spawn(move || {
            while !stopper.load(Ordering::Relaxed) {
                // It ends at some moment.
                _ = kill(reaper, Signal::SIGSTOP);
            }
        });
        cancel.cancel();
    });
    assert_eq!(exit.await.unwrap(), TaskExit::Cancelled);
    done.store(true, Ordering::Relaxed);
    run.end().await;
}

#[tokio::test]
async fn tasks_start_although_the_supervisor_was_stopped() {
    let run = Run::start(MountMode::Auto).await;
    let spec = sh(&format!("{NUMBERS}; sleep 1000"));
    let exit = with_numbers(&run.driver, &spec, |_, supervisor, cancel| {
        signal(supervisor, Signal::SIGSTOP);
        cancel.cancel();
    });
    assert_eq!(exit.await.unwrap(), TaskExit::Cancelled);
    // More than there are reapers that wait for work.
    let tasks = (0..30).map(|_| async { succeed(&run.driver, &sh("true")).await });
    futures_util::future::join_all(tasks).await;
    run.end().await;
}

#[tokio::test]
async fn a_driver_is_closed_although_the_supervisor_is_stopped() {
    let run = Run::start(MountMode::Auto).await;
    let text = succeed(&run.driver, &sh(NUMBERS)).await;
    let numbers: Vec<&str> = text.split_whitespace().collect();
    signal(numbers[0], Signal::SIGSTOP);
    signal(numbers[1], Signal::SIGSTOP);
    run.end().await;
}

#[tokio::test]
async fn a_sandbox_is_closed_although_a_reaper_is_stopped() {
    let run = Run::start(MountMode::Auto).await;
    let sandbox = run.driver.open_sandbox(&sh("").sandbox()).await.unwrap();
    let (sink, chunks) = updates(4);
    let spec = sh(&format!("{NUMBERS}; sleep 1000 >/dev/null 2>&1 &"));
    let exec = sandbox.exec(&spec, sink, CancellationToken::new());
    let finished = crate::driving::collect(exec, chunks).await.unwrap();
    let text = String::from_utf8(finished.stdout).unwrap();
    signal(text.split_whitespace().next().unwrap(), Signal::SIGSTOP);
    sandbox.close().await;
    run.end().await;
}

/// A run whose task has told the numbers, and goes on for ever.
struct Running {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    reaper: String,
    supervisor: String,
    task: String,
}

impl Running {
    fn start(ci: &Ci) -> Self {
        let mut child = ci.spawn();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let numbers = line.split_once("numbers ")?.1.to_owned();
            (!numbers.contains('$')).then_some(numbers)
        });
        let numbers = numbers.unwrap();
        let mut numbers = numbers.split_whitespace().map(str::to_owned);
        let mut next = || numbers.next().unwrap();
        let (reaper, supervisor, task) = (next(), next(), next());
        Self { child, lines, reaper, supervisor, task }
    }

    fn end(mut self) -> Option<i32> {
        self.lines.by_ref().for_each(drop);
        let code = self.child.wait().unwrap().code();
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.task)).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
        code
    }
}

fn endless() -> Ci {
    Ci::pipeline(&format!(
        r#"
        const script = "echo numbers $({}); exec sleep 1000";
        const result = await runtime.run({{ name: "work", image: "busybox", command: {{ path: "sh", args: ["-c", script] }} }});
        console.log(result.status);
        "#,
        NUMBERS
    ))
    .args(["--output", "plain"])
}

#[test]
fn the_first_signal_ends_a_run_whose_supervisor_or_reaper_is_stopped() {
    for ending in [Signal::SIGINT, Signal::SIGTERM] {
        for who in ["reaper", "supervisor", "both"] {
            let ci = endless();
            let run = Running::start(&ci);
            if who != "supervisor" {
                signal(&run.reaper, Signal::SIGSTOP);
            }
            if who != "reaper" {
                signal(&run.supervisor, Signal::SIGSTOP);
            }
            signal(&run.child.id().to_string(), ending);
            assert_eq!(run.end(), Some(130), "{ending} {who}");
            assert_eq!(crate::ending::files_in(&ci.state()), 0, "{ending} {who}");
        }
    }
}

#[test]
fn a_timeout_ends_a_run_whose_supervisor_and_reaper_are_stopped() {
    let ci = endless().args(["--timeout", "2s"]);
    let run = Running::start(&ci);
    signal(&run.reaper, Signal::SIGSTOP);
    signal(&run.supervisor, Signal::SIGSTOP);
    assert_eq!(run.end(), Some(124));
    assert_eq!(crate::ending::files_in(&ci.state()), 0);
}

#[test]
fn nothing_stays_of_a_run_that_is_killed_while_its_supervisor_is_stopped() {
    for who in ["reaper", "supervisor", "both"] {
        let ci = endless();
        let mut run = Running::start(&ci);
        if who != "supervisor" {
            signal(&run.reaper, Signal::SIGSTOP);
        }
        if who != "reaper" {
            signal(&run.supervisor, Signal::SIGSTOP);
        }
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        for pid in [&run.task, &run.reaper, &run.supervisor] {
            let start = Instant::now();
            while fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "))
            {
                assert!(start.elapsed() < Duration::from_secs(60), "{who}: {pid} is still there");
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn nothing_stays_when_the_supervisor_and_a_reaper_are_killed() {
    let script = r#"
        supervisor=$(cut -d ' ' -f 4 /proc/$PPID/stat)
        numbers="$PPID $supervisor" setsid sh -c '
            trap "" TERM; echo "numbers $numbers $$"; while :; do sleep 1000; done' &
        wait"#;
    let ci = Ci::new().file("work.sh", script).args(["run", "pipeline.ts"]);
    let pipeline = format!(
        r#"export const pipeline = async () => {{
            const command = {{ path: "sh", args: ["{}/work.sh"] }};
            const run = runtime.run({{ name: "work", image: "busybox", command }});
            await run.catch((error) => console.log(error.message));
        }};"#,
        ci.dir().display()
    );
    let ci = ci.file("pipeline.ts", pipeline);
    let run = Running::start(&ci);
    signal(&run.supervisor, Signal::SIGKILL);
    signal(&run.reaper, Signal::SIGKILL);
    assert_eq!(run.end(), Some(0));
}

#[tokio::test]
async fn what_forks_all_the_time_is_ended() {
    let run = Run::start(MountMode::Auto).await;
    // Each process makes the next one and exits.
    let chain = "f() { f & }; for i in 1 2 3 4 5 6; do f; done";
    let tree =
        "g() { while :; do (exec sleep 1000) & [ $((n += 1)) -lt 200 ] || wait; done; }; g &";
    let spec = sh(&format!("{NUMBERS}; {chain}; {tree} sleep 1000"));
    let exit = with_numbers(&run.driver, &spec, |_, _, cancel| cancel.cancel());
    assert_eq!(exit.await.unwrap(), TaskExit::Cancelled);
    let notices = run.notices.lock().unwrap().join("\n");
    assert!(!notices.contains("could not be ended"), "{notices}");
    run.end().await;
}
