//! Whatever ends a run, nothing of it stays.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Run, docker, dsn, objects};
use crate::conformance::{sh, succeed};
use crate::support::Ci;

/// A pipeline that has everything a run can make, and waits.
const WAITS: &str = r#"
    const data = await runtime.createVolume({ name: "data" });
    await runtime.run({
        name: "waits", image: "busybox", mounts: { data },
        command: { path: "sh", args: ["-c", "echo ready; exec sleep 1000"] },
    });
"#;

fn waiting(ci: &Ci) -> std::process::Child {
    let mut child = ci.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let ready = lines.lines().map_while(Result::ok).any(|line| line.contains("[waits] ready"));
    assert!(ready, "it has ended");
    child
}

fn signal(child: &std::process::Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let namespace = format!("interrupted-{}", std::process::id());
    for (how, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 130)] {
        let ci = Ci::pipeline(WAITS).args(["--driver", &dsn(&namespace)]);
        let mut child = waiting(&ci);
        assert_ne!(objects("ci.namespace", &namespace), Vec::<String>::new());
        signal(&child, how);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(objects("ci.namespace", &namespace), Vec::<String>::new());
    }
}

#[test]
fn what_a_killed_run_left_is_removed_and_a_living_run_is_not() {
    let namespace = format!("killed-{}", std::process::id());
    let state = tempfile::tempdir().unwrap();
    let of = |body: &str| {
        let ci = Ci::pipeline(body).args(["--output", "plain", "--driver", &dsn(&namespace)]);
        ci.env("XDG_CACHE_HOME", state.path())
    };
    let (alive, killed) = (of(WAITS), of(WAITS));
    let (mut alive, mut killed) = (waiting(&alive), waiting(&killed));
    let both = objects("ci.namespace", &namespace).len();
    signal(&killed, Signal::SIGKILL);
    killed.wait().unwrap();
    assert_eq!(objects("ci.namespace", &namespace).len(), both);

    of("").run().exits(0).stdout_has("removed 2 containers, 1 volume, 1 network that killed runs");
    assert_eq!(objects("ci.namespace", &namespace).len(), both / 2);
    // Another machine knows of the other run's life by its lease.
    let prune = || Ci::new().args(["prune", "--driver", &dsn(&namespace)]).run().exits(0);
    prune().stdout_has("nothing was left behind");
    signal(&alive, Signal::SIGKILL);
    alive.wait().unwrap();
    prune().stdout_has("nothing was left behind");
    Ci::new()
        .args(["prune", "--driver", &dsn(&namespace)])
        .env("XDG_CACHE_HOME", state.path())
        .run()
        .exits(0)
        .stdout_has("removed 2 containers, 1 volume, 1 network");
    assert_eq!(objects("ci.namespace", &namespace), Vec::<String>::new());
}

#[test]
fn the_sandbox_of_a_killed_run_ends_by_itself() {
    let namespace = format!("killed-sandbox-{}", std::process::id());
    let state = tempfile::tempdir().unwrap();
    let ci = Ci::pipeline(
        r#"
        const sandbox = await runtime.startSandbox({ name: "waits", image: "busybox" });
        const script = `sleep 1000 >/dev/null 2>&1 & echo ready; exec sleep 1000`;
        await sandbox.exec({ command: { path: "sh", args: ["-c", script] } });
        "#,
    )
    .args(["--driver", &dsn(&namespace)])
    .env("XDG_CACHE_HOME", state.path());
    let mut child = waiting(&ci);
    let filter = format!("label=ci.namespace={namespace}");
    let running = docker(&["ps", "--quiet", "--filter", &filter]);
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    assert_eq!(docker(&["wait", running.trim()]).trim(), "0");
    let prune = Ci::new().args(["prune", "--driver", &dsn(&namespace)]);
    prune.env("XDG_CACHE_HOME", state.path()).run().exits(0);
    assert_eq!(objects("ci.namespace", &namespace), Vec::<String>::new());
}

/// Interrupts runs after each of their lines and in the time before the first one, while the engine is asked
/// for volumes, networks, images, containers and archives.
fn interrupts(rounds: std::ops::Range<usize>) {
    let namespace = format!("anytime-{}-{}", rounds.start, std::process::id());
    let store = tempfile::tempdir().unwrap();
    let many = r#"
        console.log("begins");
        const make = async (name) => {
            console.log("makes", name);
            const v = await runtime.createVolume({ name });
            const command = { path: "sh", args: ["-c", "echo one; echo x > v/file; echo two"] };
            await runtime.run({ name, image: "busybox", mounts: { v }, command });
            console.log("made", name);
        };
        await Promise.all(["a", "b", "c"].map(make));
    "#;
    for round in rounds {
        // Each round has its own, so that none clears what another one left.
        let dsn = dsn(&format!("{namespace}-{round}"));
        let driver = format!("{dsn}&cache=file://{}", store.path().display());
        let ci = Ci::pipeline(many).args(["--output", "plain", "--driver", &driver]);
        let mut child = ci.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..round % 25 {
            lines.next();
        }
        signal(&child, if round % 2 == 0 { Signal::SIGINT } else { Signal::SIGTERM });
        lines.for_each(drop);
        let status = child.wait().unwrap();
        // The signal ends a run that has not begun.
        let has_begun = status.signal().is_none();
        assert!(!has_begun || matches!(status.code(), Some(0 | 130)), "round {round}: {status}");
    }
    let filter = ["--filter", "label=ci.namespace", "--format", "{{.Labels}}"];
    for list in [&["container", "ls", "--all"][..], &["volume", "ls"], &["network", "ls"]] {
        let labels = docker(&[list, &filter].concat());
        let left: Vec<_> = labels.lines().filter(|line| line.contains(&namespace)).collect();
        assert_eq!(left, Vec::<&str>::new());
    }
}

/// Two hundred runs, side by side.
macro_rules! interrupted {
    ($($name:ident $rounds:expr;)*) => {
        $(
            #[test]
            fn $name() {
                interrupts($rounds);
            }
        )*
    };
}

interrupted! {
    runs_interrupted_at_any_time_leave_nothing_1 0..50;
    runs_interrupted_at_any_time_leave_nothing_2 50..100;
    runs_interrupted_at_any_time_leave_nothing_3 100..150;
    runs_interrupted_at_any_time_leave_nothing_4 150..200;
}

/// Somebody looks at a service that a task runs, from a container of their own.
#[tokio::test]
async fn a_network_goes_although_somebody_has_joined_it() {
    let run = Run::start().await;
    succeed(&run.driver, &sh("true")).await;
    let guest = docker(&["run", "--detach", "--rm", "--init", "debian:12", "sleep", "1000"]);
    let guest = guest.trim();
    docker(&["network", "connect", &format!("ci-{}", run.run), guest]);
    run.end().await;
    assert_eq!(docker(&["inspect", "--format", "{{.State.Running}}", guest]), "true\n");
    docker(&["kill", guest]);
}
