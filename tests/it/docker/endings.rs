//! Whatever ends a run, nothing of it stays.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use ci::driver::Driver;
use ci::driver::docker::DockerConfig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Run, docker, dsn, host, objects};
use crate::driving::{finish, mounted, sh, succeed, volume};
use crate::support::Ci;

/// A pipeline that has everything a run can make, and waits.
pub const WAITS: &str = r#"
    const data = await runtime.createVolume({ name: "data" });
    await runtime.run({
        name: "waits", image: "busybox", mounts: { data },
        command: { path: "sh", args: ["-c", "echo ready; exec sleep 1000"] },
    });
"#;

pub fn waiting(ci: &Ci) -> std::process::Child {
    let mut child = ci.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let ready = lines.lines().map_while(Result::ok).any(|line| line.contains("[waits] ready"));
    assert!(ready, "it has ended");
    child
}

pub fn signal(child: &std::process::Child, signal: Signal) {
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
fn a_run_that_is_interrupted_twice_says_what_is_left() {
    let namespace = format!("twice-{}", std::process::id());
    let state = tempfile::tempdir().unwrap();
    let ci = Ci::pipeline(
        r#"
        const args = ["-c", "trap 'echo asked' TERM; echo ready; while :; do sleep 0.1; done"];
        await runtime.run({ name: "waits", image: "busybox", command: { path: "sh", args } });
        "#,
    );
    let driver = format!("docker://{namespace}?host={}&grace=1h", host());
    let ci = ci.args(["--output", "plain", "--driver", &driver]);
    let ci = ci.env("XDG_CACHE_HOME", state.path());
    let mut child = ci.spawn();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        match line.unwrap() {
            line if line.contains("[waits] ready") => signal(&child, Signal::SIGINT),
            line if line.contains("[waits] asked") => signal(&child, Signal::SIGINT),
            _ => {}
        }
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("ended at once by a second signal, without cleaning up"), "{stderr}");
    assert!(stderr.contains("`ci prune` and the same `--driver`"), "{stderr}");
    assert_ne!(objects("ci.namespace", &namespace), Vec::<String>::new());
    Ci::new()
        .args(["prune", "--driver", &driver])
        .env("XDG_CACHE_HOME", state.path())
        .run()
        .exits(0);
    assert_eq!(objects("ci.namespace", &namespace), Vec::<String>::new());
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

/// A container that a user makes from a copy of a task's has its labels.
#[tokio::test]
async fn what_a_user_made_of_a_task_stays() {
    let run = Run::start().await;
    let name = format!("own-{}", run.run);
    let labels = ["ci.run", "ci.namespace"].map(|label| format!("--label={label}={}", run.run));
    docker(&["create", "--name", &name, &labels[0], &labels[1], "busybox", "true"]);
    let (own, id) =
        (docker(&["ps", "--all", "--quiet", "--filter", &format!("name={name}")]), run.run);
    run.driver.close().await.unwrap();
    let config = DockerConfig {
        host: host().parse().ok(),
        namespace: Some(id.clone()),
        ..DockerConfig::default()
    };
    let pruned = ci::driver::docker::prune(&config).await.unwrap();
    assert!(pruned.is_empty(), "{pruned}");
    assert_eq!(objects("ci.run", &id), [own.trim()]);
    docker(&["rm", &name]);
}

/// As `docker system prune` does, which many machines run every day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_removes_meanwhile_is_noticed() {
    let run = Run::start().await;
    let cache = volume(&run.driver, "cache").await;
    let task = mounted(sh("echo x > v/file"), &[(&cache, "v")]);
    succeed(&run.driver, &task).await;
    // Its container goes a moment later.
    let first = format!("name=^/ci-{}-[0-9]+$", run.run);
    while !docker(&["ps", "--all", "--quiet", "--filter", &first]).is_empty() {}
    docker(&["network", "rm", &format!("ci-{}", run.run)]);
    succeed(&run.driver, &sh("true")).await;

    let found =
        docker(&["volume", "ls", "--quiet", "--filter", &format!("label=ci.run={}", run.run)]);
    docker(&["volume", "rm", found.trim()]);
    let lost = "lost volume `cache`: somebody has removed it from the engine, as `docker volume prune` does";
    let error = finish(&run.driver, &task).await.unwrap_err();
    assert_eq!(error.to_string(), lost);
    let error = run.driver.stream(&cache.name).await.unwrap().read().await.unwrap_err();
    assert_eq!(error.to_string(), lost);
    run.end().await;
}

/// Runs that begin at the same time clear the same.
#[test]
fn several_may_remove_the_same() {
    let namespace = format!("several-{}", std::process::id());
    let state = tempfile::tempdir().unwrap();
    let many = r#"
        const make = async (name) => {
            const v = await runtime.createVolume({ name });
            const args = ["-c", "echo ready; exec sleep 1000"];
            await runtime.run({ name, image: "busybox", mounts: { v }, command: { path: "sh", args } });
        };
        await Promise.all(["a", "b", "c", "waits"].map(make));
    "#;
    let ci = Ci::pipeline(many).args(["--driver", &dsn(&namespace)]);
    let ci = ci.env("XDG_CACHE_HOME", state.path());
    let mut child = waiting(&ci);
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let prune = Ci::new().args(["prune", "--driver", &dsn(&namespace)]);
    let prune = prune.env("XDG_CACHE_HOME", state.path());
    let several: Vec<_> = (0..4).map(|_| prune.spawn()).collect();
    for one in several {
        let output = one.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(objects("ci.namespace", &namespace), Vec::<String>::new());
}
