//! What every driver keeps its word about when commands share a sandbox, as functions over `&dyn Driver`;
//! and what a pipeline sees of it.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use async_trait::async_trait;
use ci::driver::{Capabilities, Driver, DriverError, Sandbox, TaskEnd, UpdateSink, Volume};
use ci::task::{SandboxSpec, Stream, TaskExit, TaskSpec};
use ci::volume::VolumeName;
use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::driving::{
    Finished, PATIENCE, TAKE_LOCK, collect, edit, exit, finish, lock_is_free, mounted, sh, succeed,
    updates, volume,
};
use crate::support::Ci;
use testkit::S3;
use testkit::{Fault, Proxy};

/// A driver that runs each task in a sandbox of its own.
pub struct Sandboxed<'a>(pub &'a dyn Driver);

#[async_trait]
impl Driver for Sandboxed<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn create_volume(
        &self,
        name: &VolumeName,
        size: Option<u64>,
    ) -> Result<Volume, DriverError> {
        self.0.create_volume(name, size).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn run(
        &self,
        spec: &TaskSpec,
        updates: UpdateSink,
        cancel: CancellationToken,
    ) -> TaskEnd {
        let sandbox = match self.0.open_sandbox(&spec.sandbox()).await {
            Ok(sandbox) => sandbox,
            Err(error) => return Err(error).into(),
        };
        let spec = edit(spec.clone(), |spec| spec.exec.work_dir = None);
        let end = sandbox.exec(&spec, updates, cancel).await;
        sandbox.close().await;
        end
    }

    async fn open_sandbox(&self, spec: &SandboxSpec) -> Result<Arc<dyn Sandbox>, DriverError> {
        self.0.open_sandbox(spec).await
    }

    async fn end_tasks(&self) {
        self.0.end_tasks().await;
    }

    async fn close(&self) -> Result<(), DriverError> {
        self.0.close().await
    }
}

/// A sandbox with these volumes.
fn with(mounts: &[(&Volume, &str)]) -> SandboxSpec {
    mounted(sh(""), mounts).sandbox()
}

/// A command in a sandbox.
pub fn command(sandbox: &SandboxSpec, script: &str) -> TaskSpec {
    let TaskSpec { id, exec, .. } = sh(script);
    sandbox.task(id, None, exec)
}

pub async fn finish_in(sandbox: &dyn Sandbox, spec: &TaskSpec) -> Result<Finished, DriverError> {
    let (sink, chunks) = updates(4);
    let run = collect(sandbox.exec(spec, sink, CancellationToken::new()), chunks);
    timeout(PATIENCE, run).await.unwrap()
}

/// Runs a command that must succeed, and returns what it wrote to stdout.
async fn succeed_in(sandbox: &dyn Sandbox, spec: &TaskSpec) -> String {
    let finished = finish_in(sandbox, spec).await.unwrap();
    assert_eq!(finished.exit, TaskExit::Code(0), "{spec:?}: {finished:?}");
    String::from_utf8(finished.stdout).unwrap()
}

/// Runs a command, and does something when it has written `ready`.
pub async fn when_ready<T>(
    sandbox: &dyn Sandbox,
    spec: &TaskSpec,
    then: impl Future<Output = T>,
) -> Result<TaskExit, DriverError> {
    let (sink, mut chunks) = updates(4);
    let listen = async {
        let first = chunks.recv().await.unwrap();
        assert_eq!(first, (Stream::Stdout, b"ready\n".to_vec()));
        then.await;
        while chunks.recv().await.is_some() {}
    };
    let run = exit(sandbox.exec(spec, sink, CancellationToken::new()));
    let both = async { tokio::join!(run, listen) };
    timeout(PATIENCE, both).await.unwrap().0
}

/// Runs a command, and cancels it when it has written `ready`.
pub async fn cancel_when_ready(sandbox: &dyn Sandbox, spec: &TaskSpec) -> (TaskExit, Vec<u8>) {
    let (sink, mut chunks) = updates(4);
    let cancel = CancellationToken::new();
    let listen = async {
        let mut all = Vec::new();
        while let Some((_, bytes)) = chunks.recv().await {
            all.extend(bytes);
            if all.starts_with(b"ready\n") {
                cancel.cancel();
            }
        }
        all
    };
    let run = exit(sandbox.exec(spec, sink, cancel.clone()));
    let both = async { tokio::join!(run, listen) };
    let (exit, all) = timeout(PATIENCE, both).await.unwrap();
    (exit.unwrap(), all)
}

pub async fn commands_share_a_place(driver: &dyn Driver) {
    let data = volume(driver, "data").await;
    let mut spec = with(&[(&data, "v")]);
    spec.env = vec![("A".into(), "1".into()), ("B".into(), "1".into())];
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    assert!(!sandbox.id().is_empty());

    let first = "ls -A; echo x > file; echo y > v/file; echo z > ${TMPDIR:-/tmp}/file; \
                 echo $A $B; pwd";
    let text = succeed_in(&*sandbox, &command(&spec, first)).await;
    let home = text.strip_prefix("v\n1 1\n").unwrap().trim_end().to_owned();
    let mut second = command(&spec, "cat file v/file ${TMPDIR:-/tmp}/file; echo $A $B");
    second.exec.env.push(("B".into(), "2".into()));
    assert_eq!(succeed_in(&*sandbox, &second).await, "x\ny\nz\n1 2\n");

    // Relative to the sandbox's directory, made where it is missing, also in a volume.
    for (given, script, text) in [
        (".", "pwd", home.clone()),
        ("else/where", "pwd", format!("{home}/else/where")),
        ("/usr", "pwd", "/usr".into()),
        ("v", "cat file", "y".into()),
        ("v/some/where", "cat ../../file", "y".into()),
    ] {
        let mut below = command(&spec, script);
        below.exec.work_dir = Some(given.into());
        assert_eq!(succeed_in(&*sandbox, &below).await.trim_end(), text, "{given}");
    }
    let mut outside = command(&spec, "pwd");
    outside.exec.work_dir = Some("v/../..".into());
    let refused = finish_in(&*sandbox, &outside).await.unwrap_err();
    assert!(
        matches!(&refused, DriverError::Refused(text) if text.contains("v/../..")),
        "{refused}"
    );
    sandbox.close().await;

    let look = mounted(sh("cat v/file; ls -d v/some/where"), &[(&data, "v")]);
    assert_eq!(succeed(driver, &look).await, "y\nv/some/where\n");
    // What is not in a volume is gone.
    let spec = with(&[]);
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    let look = "ls -A . ${TMPDIR:-/tmp}/file 2>/dev/null; true";
    assert_eq!(succeed_in(&*sandbox, &command(&spec, look)).await, ".:\n");
    sandbox.close().await;
}

pub async fn commands_run_at_the_same_time(driver: &dyn Driver) {
    let spec = with(&[]);
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    succeed_in(&*sandbox, &command(&spec, "mkfifo one two")).await;
    // Each end of a fifo waits for the other.
    let (asks, answers) = (
        command(&spec, "echo question > one; cat two"),
        command(&spec, "read word < one; echo answer to $word > two"),
    );
    let (text, _) = tokio::join!(succeed_in(&*sandbox, &asks), succeed_in(&*sandbox, &answers));
    assert_eq!(text, "answer to question\n");
    sandbox.close().await;
}

pub async fn many_commands_run_at_the_same_time(driver: &dyn Driver) {
    let spec = with(&[]);
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    let commands = (0..30).map(|i| {
        let spec = command(&spec, &format!("echo {i} > {i}; cat {i}; echo {i} >&2; exit {i}"));
        let sandbox = sandbox.clone();
        async move { (i, finish_in(&*sandbox, &spec).await.unwrap()) }
    });
    for (i, finished) in join_all(commands).await {
        assert_eq!(finished.exit, TaskExit::Code(i));
        let text = format!("{i}\n").into_bytes();
        assert_eq!((finished.stdout, finished.stderr), (text.clone(), text));
    }
    sandbox.close().await;
}

pub async fn a_process_in_the_background_stays_until_the_sandbox_is_closed(driver: &dyn Driver) {
    let locks = volume(driver, "locks").await;
    let spec = with(&[(&locks, "v")]);
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    let serve = format!(
        "{TAKE_LOCK} mkfifo ask answer
         (trap '' HUP; while read word < ask; do echo heard $word > answer; done) >log 2>&1 &"
    );
    succeed_in(&*sandbox, &command(&spec, &serve)).await;
    for word in ["one", "two"] {
        let ask = format!("echo {word} > ask; cat answer");
        let heard = succeed_in(&*sandbox, &command(&spec, &ask)).await;
        assert_eq!(heard, format!("heard {word}\n"));
    }
    let probe = finish(driver, &lock_is_free(&locks)).await.unwrap();
    assert_eq!(probe.exit, TaskExit::Code(1));
    sandbox.close().await;
    succeed(driver, &lock_is_free(&locks)).await;
}

pub async fn ending_a_command_leaves_nothing_of_it_and_everything_of_others(driver: &dyn Driver) {
    let names = ["ended", "running", "behind"];
    let locks = join_all(names.map(|name| volume(driver, name))).await;
    let [ended, running, behind] = &locks[..] else { unreachable!() };
    let spec = with(&[(ended, "ended"), (running, "running"), (behind, "behind")]);
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    let hold = |name: &str| TAKE_LOCK.replace("v/lock", &format!("{name}/lock"));

    let leave = format!("mkfifo go; {} sleep 1000 >/dev/null 2>&1 &", hold("behind"));
    succeed_in(&*sandbox, &command(&spec, &leave)).await;
    let other = command(&spec, &format!("{} echo ready; cat go", hold("running")));
    let script = format!(
        "{}
         (trap '' TERM; while :; do sleep 1000; done) &
         setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done' &
         sh -c 'setsid env -i sh -c \"sleep 1000 & sleep 1000 & wait\" >/dev/null 2>&1 </dev/null &'
         sh -c 'kill -STOP $$' &
         echo ready
         sleep 1000",
        hold("ended")
    );
    let stubborn = command(&spec, &script);
    let rest = async {
        for _ in 0..2 {
            let (exit, _) = cancel_when_ready(&*sandbox, &stubborn).await;
            assert_eq!(exit, TaskExit::Cancelled);
            succeed(driver, &lock_is_free(ended)).await;
        }
        for held in [running, behind] {
            let probe = finish(driver, &lock_is_free(held)).await.unwrap();
            assert_eq!(probe.exit, TaskExit::Code(1), "{}", held.name);
        }
        succeed_in(&*sandbox, &command(&spec, ": > go")).await;
    };
    assert_eq!(when_ready(&*sandbox, &other, rest).await.unwrap(), TaskExit::Code(0));

    let probe = finish(driver, &lock_is_free(behind)).await.unwrap();
    assert_eq!(probe.exit, TaskExit::Code(1));
    sandbox.close().await;
    succeed(driver, &lock_is_free(behind)).await;
}

pub async fn a_closed_sandbox_runs_nothing(driver: &dyn Driver) {
    let locks = volume(driver, "locks").await;
    let spec = with(&[(&locks, "v")]);
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    let script = format!("{TAKE_LOCK} trap '' TERM; echo ready; while :; do sleep 1000; done");
    let close = async {
        tokio::join!(sandbox.close(), sandbox.close());
        // The command may not have heard of its end yet, but it has come.
        succeed(driver, &lock_is_free(&locks)).await;
    };
    let exit = when_ready(&*sandbox, &command(&spec, &script), close).await;
    assert_eq!(exit.unwrap(), TaskExit::Cancelled);

    sandbox.close().await;
    let error = finish_in(&*sandbox, &command(&spec, "echo ran > v/trace")).await.unwrap_err();
    assert!(matches!(error, DriverError::Refused(_)), "{error:?}");
    assert_eq!(error.to_string(), "sandbox `test` is closed, start another one");
    let look = mounted(sh("ls v"), &[(&locks, "v")]);
    assert_eq!(succeed(driver, &look).await, "lock\n");
}

pub async fn closing_asks_before_it_ends(driver: &dyn Driver) {
    let data = volume(driver, "data").await;
    let spec = with(&[(&data, "v")]);
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    let script = "mkfifo up
        (trap 'echo asked > v/behind; exit' TERM; : > up; while :; do sleep 1000 & wait; done) \
          >/dev/null 2>&1 &
        cat up";
    succeed_in(&*sandbox, &command(&spec, script)).await;
    let running = "trap 'echo asked > v/running; exit' TERM; echo ready; sleep 1000 & wait";
    let exit = when_ready(&*sandbox, &command(&spec, running), sandbox.close()).await;
    assert_eq!(exit.unwrap(), TaskExit::Cancelled);
    let look = mounted(sh("cat v/behind v/running"), &[(&data, "v")]);
    assert_eq!(succeed(driver, &look).await, "asked\nasked\n");
}

pub async fn the_end_of_the_driver_is_that_of_its_sandboxes(driver: &dyn Driver) {
    let spec = with(&[]);
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    succeed_in(&*sandbox, &command(&spec, "sleep 1000 >/dev/null 2>&1 &")).await;
    let script = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    let end = driver.end_tasks();
    let exit = when_ready(&*sandbox, &command(&spec, script), end).await;
    assert_eq!(exit.unwrap(), TaskExit::Cancelled);
    let error = finish_in(&*sandbox, &command(&spec, "true")).await.unwrap_err();
    assert!(error.to_string().contains("is closed"), "{error}");
    timeout(PATIENCE, sandbox.close()).await.unwrap();
    driver.close().await.unwrap();
}

pub async fn a_sandbox_that_nobody_waits_for_is_not_opened(driver: &dyn Driver) {
    let spec = with(&[]);
    {
        let mut opening = std::pin::pin!(driver.open_sandbox(&spec));
        let first =
            std::future::poll_fn(|cx| std::task::Poll::Ready(opening.as_mut().poll(cx).is_ready()));
        first.await;
    }
    // Whatever the first has left behind, this is as it would be without.
    let sandbox = driver.open_sandbox(&spec).await.unwrap();
    assert_eq!(succeed_in(&*sandbox, &command(&spec, "ls -A")).await, "");
    sandbox.close().await;
}

pub async fn what_is_wrong_with_a_sandbox_is_told(driver: &dyn Driver) {
    let known = volume(driver, "known").await;
    let missing = Volume { name: VolumeName::new("missing").unwrap(), ..known.clone() };
    let plain = with(&[]);
    for (spec, part) in [
        (with(&[(&missing, "x")]), "`missing`"),
        (with(&[(&known, "../x")]), "`../x`"),
        (SandboxSpec { work_dir: Some("..".into()), ..plain.clone() }, "`..`"),
        (SandboxSpec { env: vec![("A=B".into(), String::new())], ..plain.clone() }, "`A=B`"),
    ] {
        let error = driver.open_sandbox(&spec).await.err().unwrap();
        assert!(matches!(error, DriverError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let sandbox = driver.open_sandbox(&plain).await.unwrap();
    let mut command = command(&plain, "true");
    command.exec.command.path = "no-such-command".into();
    let error = finish_in(&*sandbox, &command).await.unwrap_err();
    assert!(matches!(error, DriverError::CannotStart { .. }), "{error:?}");
    assert!(error.to_string().contains("`no-such-command`"), "{error}");
    sandbox.close().await;
}

/// How each persist of a run with a cache ended.
fn persists(body: &str) -> Vec<(String, String)> {
    let store = tempfile::tempdir().unwrap();
    let driver = format!("native://?grace=200ms&cache=file://{}", store.path().display());
    let outcome = Ci::pipeline(body).args(["--output", "json", "--driver", &driver]).run().exits(0);
    let events = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    events
        .filter(|event| event["event"] == "cache_finished" && event["operation"] == "persist")
        .map(|event| (text(&event["outcome"]), text(&event["reason"])))
        .collect()
}

#[test]
fn a_volume_is_persisted_unless_a_command_was_ended_in_it() {
    let body = |rest: &str| {
        format!(
            r#"
            const v = await runtime.createVolume({{ name: "v" }});
            const sandbox = await runtime.startSandbox({{ name: "box", image: "busybox", mounts: {{ v }} }});
            const sh = (script, more) => sandbox.exec({{ command: {{ path: "sh", args: ["-c", script] }}, ...more }});
            await sh("echo x > v/file; (trap 'echo y > v/file' TERM; sleep 1000 & wait) >/dev/null 2>&1 &");
            {rest}
            "#
        )
    };
    assert_eq!(persists(&body(""))[..], [("uploaded".to_owned(), String::new())]);
    let torn = persists(&body(
        r#"await sh("exec sleep 1000", { name: "slow", timeout: 1, allowFailure: true });"#,
    ));
    let [(outcome, reason)] = &torn[..] else { panic!("{torn:?}") };
    assert_eq!(outcome, "skipped");
    assert!(reason.contains("`slow`"), "{reason}");
}

#[test]
fn a_sandbox_waits_for_what_its_volumes_hold_on_s3() {
    let s3 = S3::from_environment();
    let fill = r#"
        const v = await runtime.createVolume({ name: "v" });
        await runtime.run({
            name: "fill", image: "busybox", mounts: { v }, command: { path: "sh", args: ["-c", "echo x > v/file"] },
        });
    "#;
    let use_it = r#"
        const v = await runtime.createVolume({ name: "v" });
        const mine = runtime.startSandbox({ name: "mine", image: "busybox", mounts: { v } })
            .then((sandbox) => { console.log("opened"); return sandbox; });
        const other = await runtime.startSandbox({ name: "other", image: "busybox" });
        await other.exec({ command: { path: "true" } });
        console.log("meanwhile");
        await (await mine).exec({ command: { path: "cat", args: ["v/file"] } });
    "#;
    let url = s3.url("sandbox");
    let native = "native://?".to_owned();
    for driver in [native, format!("docker://sandbox?host={}&", crate::docker::host())] {
        let with = |body: &str, cache: &str| {
            let driver = format!("{driver}cache={cache}");
            Ci::pipeline(body).args(["--output", "plain", "--driver", &driver])
        };
        with(fill, &url).run().exits(0);
        let hold = |_, line: &str| line.contains("/v.tar").then_some(Fault::Hold);
        let proxy = Proxy::start(&s3.address, hold);
        let url = url.replace(&s3.address, &proxy.address.to_string());
        let ci = with(use_it, &format!("{url}&cache_policy=pull"));
        let mut child = ci.spawn();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut seen = String::new();
        while !seen.contains("meanwhile") {
            if log.read_line(&mut seen).unwrap() == 0 {
                child.stderr.take().unwrap().read_to_string(&mut seen).unwrap();
                panic!("{seen}");
            }
        }
        assert!(!seen.contains("opened"), "{seen}");
        proxy.release();
        log.read_to_string(&mut seen).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{seen}");
        assert!(seen.contains("[mine] x"), "{seen}");
    }
}

/// A sandbox is opened no more, and a command in it not started, when the run is to end.
#[test]
fn an_interrupted_run_starts_nothing_but_what_tidies_up() {
    let outcome = Ci::pipeline(
        r#"
        const sandbox = await runtime.startSandbox({ name: "box", image: "busybox" });
        const echo = (text, more) => sandbox.exec({ command: { path: "echo", args: [text] }, ...more });
        await sandbox.exec({ command: { path: "sleep", args: ["1000"] } });
        await echo("started").catch((error) => console.log(error.name, error.message));
        await runtime.startSandbox({ name: "late", image: "busybox" })
            .catch((error) => console.log(error.name, error.message));
        await echo("tidied up", { cleanup: true });
        "#,
    )
    .args(["--output", "plain", "--timeout", "500ms"])
    .run()
    .exits(124);
    for part in [
        "AbortError `box` was not started: the run timed out after 500ms",
        "AbortError `late` was not started: the run timed out after 500ms",
        "[box] tidied up",
    ] {
        assert!(outcome.stdout.contains(part), "no `{part}` in {}", outcome.transcript());
    }
}
