//! What proves that a run is alive, and that something is a run's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ci::driver::docker::DockerConfig;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::elsewhere::archive;
use super::endings::{WAITS, signal, waiting};
use super::{Run, docker, dsn, objects};
use crate::driving::{PATIENCE, mounted, sh, succeed, volume};
use crate::support::{Ci, Outcome};

/// `ci prune` of a namespace on another machine, which has a state directory of its own.
fn prune(namespace: &str) -> Outcome {
    Ci::new().args(["prune", "--driver", &dsn(namespace)]).run().exits(0)
}

/// The containers of a run whose names have this in them.
fn named(run: &str, part: &str) -> Vec<String> {
    let label = format!("label=ci.run={run}");
    let list = docker(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]);
    list.lines().filter(|name| name.contains(part)).map(str::to_owned).collect()
}

const KEPT: &str = "kept what 1 run has made whose lease is gone";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_run_whose_lease_is_removed_is_swept_by_nobody() {
    let patience = Duration::from_secs(8);
    let run = Run::with(DockerConfig { patience, ..DockerConfig::default() }).await;
    let cache = volume(&run.driver, "cache").await;
    succeed(&run.driver, &mounted(sh("echo x > v/file"), &[(&cache, "v")])).await;
    // Its only running container is gone, so what is left looks like that of a dead run.
    for round in 0..2 {
        docker(&["rm", "--force", &named(&run.run, "until")[0]]);
        let pruned = tokio::task::spawn_blocking({
            let id = run.run.clone();
            move || prune(&id)
        });
        pruned.await.unwrap().stdout_has(KEPT).lacks("removed");
        // The run makes a new lease, and takes away what the other machine has made in its stead.
        let renewed = async {
            while named(&run.run, "ci-").iter().any(|name| name.contains("missing"))
                || named(&run.run, "until").len() != 1
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, renewed).await.unwrap_or_else(|_| panic!("round {round}"));
        let id = run.run.clone();
        let pruned = tokio::task::spawn_blocking(move || prune(&id)).await.unwrap();
        pruned.stdout_has("nothing was left behind");
    }
    let read = mounted(sh("cat v/file"), &[(&cache, "v")]);
    assert_eq!(succeed(&run.driver, &read).await, "x\n");
    run.end().await;
}

#[test]
fn a_dead_run_without_a_lease_is_swept_when_it_has_not_made_another() {
    let namespace = format!("leaseless-{}", std::process::id());
    let state = TempDir::new().unwrap();
    let ci = Ci::pipeline(WAITS).args(["--driver", &dsn(&namespace)]);
    let mut child = waiting(&ci.env("XDG_CACHE_HOME", state.path()));
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let label = format!("label=ci.namespace={namespace}");
    let list = |part: &str| {
        let names = docker(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]);
        names.lines().find(|name| name.contains(part)).map(str::to_owned)
    };
    docker(&["rm", &list("-until-").unwrap()]);
    let before = objects("ci.namespace", &namespace);
    prune(&namespace).stdout_has(KEPT).lacks("removed");
    // However many look, and however often somebody clears what has stopped.
    prune(&namespace).stdout_has("nothing was left behind");
    docker(&["container", "prune", "--force", "--filter", &label]);
    prune(&namespace).stdout_has(KEPT).lacks("removed");
    assert_eq!(objects("ci.namespace", &namespace).len(), before.len() + 1);
    // As if its time had passed.
    let substitute = list("-missing-until-").unwrap();
    let (run, _) = substitute.split_once("-missing-until-").unwrap();
    docker(&["rename", &substitute, &format!("{run}-missing-until-1")]);
    prune(&namespace).stdout_has("removed 2 containers, 1 volume, 1 network").lacks("kept");
    assert_eq!(objects("ci.namespace", &namespace), Vec::<String>::new());
}

/// Removes whatever does not run again and again, until it is dropped.
struct Pruning {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Pruning {
    fn of(run: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, label) = (is_over.clone(), format!("label=ci.run={run}"));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                docker(&["container", "prune", "--force", "--filter", &label]);
                docker(&["network", "prune", "--force", "--filter", &label]);
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Pruning {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Every container is one that does not run for a moment: before it starts, and while a volume is read or
/// written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_removes_before_it_runs_is_made_again() {
    let run = Run::start().await;
    let pruning = Pruning::of(&run.run);
    for round in 0..10 {
        let name = format!("v{round}");
        let filled = volume(&run.driver, &name).await;
        let (sender, chunks) = mpsc::channel(2);
        sender.send(Ok(Bytes::from(archive(name.as_bytes())))).await.unwrap();
        sender.send(Ok(Bytes::new())).await.unwrap();
        let written = run.driver.stream(&filled.name).await.unwrap().write(chunks).await;
        let read = mounted(sh("cat v/file"), &[(&filled, "v")]);
        // The engine may lose what it is given, and says so. Then the volume is empty.
        let content = if written.is_ok() { &*name } else { "" };
        let script = if written.is_ok() { read } else { mounted(sh("ls -A v"), &[(&filled, "v")]) };
        assert_eq!(succeed(&run.driver, &script).await, content, "{written:?}");

        // What is read to its end is whole, or it has no end.
        let mut chunks = run.driver.stream(&filled.name).await.unwrap().read().await.unwrap();
        let mut all = Vec::new();
        let is_whole = loop {
            match chunks.recv().await {
                Some(Ok(chunk)) if chunk.is_empty() => break true,
                Some(Ok(chunk)) => all.extend_from_slice(&chunk),
                Some(Err(_)) | None => break false,
            }
        };
        if is_whole {
            let text = String::from_utf8_lossy(&all);
            assert!(text.contains(content), "{text}");
        }
    }
    drop(pruning);
    run.end().await;
}

/// Things of users that have a run's labels, by `docker commit`, `docker build` or Compose, or its names.
#[test]
fn what_only_looks_like_a_runs_stays() {
    let namespace = format!("alike-{}", std::process::id());
    let other = format!("{namespace}-other");
    let state = TempDir::new().unwrap();
    let of = |namespace: &str| {
        let ci = Ci::pipeline(WAITS).args(["--driver", &dsn(namespace)]);
        let mut child = waiting(&ci.env("XDG_CACHE_HOME", state.path()));
        signal(&child, Signal::SIGKILL);
        child.wait().unwrap();
    };
    of(&namespace);
    of(&other);
    let others = objects("ci.namespace", &other);
    let label = format!("label=ci.namespace={namespace}");
    let id = docker(&["ps", "--quiet", "--filter", &label]);
    let task = docker(&["inspect", "--format", "{{.Name}}", id.trim()]);
    let run = task.trim().trim_start_matches('/').strip_prefix("ci-").unwrap();
    let (run, _) = run.rsplit_once('-').unwrap();
    let all = docker(&[
        "inspect",
        "--format",
        "{{range $k, $v := .Config.Labels}}--label={{$k}}={{$v}}\n{{end}}",
        id.trim(),
    ]);
    let labels: Vec<&str> = all.lines().filter(|line| !line.is_empty()).collect();
    let make =
        |args: &[&str], rest: &[&str]| docker(&[args, &labels, rest].concat()).trim().to_owned();

    // With the labels, and names of their own.
    let name = |what: &str| format!("{namespace}-{what}");
    let image = name("image:1");
    docker(&["commit", id.trim(), &image]);
    let mine = [
        make(&["create", "--name", &name("own")], &["busybox", "true"]),
        make(&["volume", "create"], &[&name("volume")]),
        make(&["network", "create"], &[&name("network")]),
        docker(&["create", "--name", &name("child"), &image, "true"]).trim().to_owned(),
    ];
    // With the names, and without the labels.
    let like = format!("ci-{run}-99");
    let alike = [
        docker(&["create", "--name", &like, "busybox", "true"]).trim().to_owned(),
        docker(&["volume", "create", &format!("ci-{run}-99-cache")]).trim().to_owned(),
    ];
    // A copy for a shell whose user has given it a name, and one that is built from it.
    let shell = "LABEL ci.image=shell";
    let comment = "ci: a copy of a task's container, for a shell";
    let named = name("named:1");
    docker(&["commit", "--change", shell, "--message", comment, id.trim(), &named]);
    let built = docker(&["commit", "--change", shell, "--message", "mine", id.trim()]);
    let copy = docker(&["commit", "--change", shell, "--message", comment, id.trim()]);

    Ci::new()
        .args(["prune", "--driver", &dsn(&namespace)])
        .env("XDG_CACHE_HOME", state.path())
        .run()
        .exits(0)
        .stdout_has("removed 2 containers, 1 volume, 1 network, 1 image");
    let exists = |kind: &str, name: &str| {
        docker(&[kind, "inspect", name]);
    };
    exists("container", &mine[0]);
    exists("volume", &mine[1]);
    exists("network", &mine[2]);
    exists("container", &mine[3]);
    exists("container", &alike[0]);
    exists("volume", &alike[1]);
    for image in [&image, &named, &built.trim().to_owned()] {
        exists("image", image);
    }
    let images = docker(&["image", "ls", "--all", "--quiet", "--no-trunc"]);
    assert!(!images.contains(copy.trim()), "{images}");
    assert_eq!(objects("ci.namespace", &other), others);

    docker(&["rm", &mine[0], &mine[3], &alike[0]]);
    docker(&["volume", "rm", &mine[1], &alike[1]]);
    docker(&["network", "rm", &mine[2]]);
    docker(&["image", "rm", &image, &named, built.trim()]);
    Ci::new()
        .args(["prune", "--driver", &dsn(&other)])
        .env("XDG_CACHE_HOME", state.path())
        .run()
        .exits(0)
        .stdout_has("removed 2 containers, 1 volume, 1 network");
    // Nor is anything left in the state directory.
    let left: Vec<_> =
        std::fs::read_dir(state.path().join("ci/docker")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
