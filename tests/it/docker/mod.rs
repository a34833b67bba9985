//! The `docker` driver on a real engine: the conformance suite, and what is its alone.

mod elsewhere;
mod endings;
mod images;
mod impostors;
mod leases;
mod places;
mod project_files;
mod secrets;
mod ssh;
mod starts;

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ci::driver::docker::{DockerConfig, DockerDriver};
use ci::driver::{Driver, DriverError, RunIdentity};
use ci::task::{Limits, TaskExit, TaskSpec};

use crate::driving::{edit, finish, mounted, sh, succeed, task, volume};
use crate::support::Ci;

/// The engine that the suite's setup starts.
pub fn host() -> String {
    variable("CI_TEST_DOCKER_HOST")
}

/// What the setup says about its servers.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "`{name}` is not set: run `scripts/test`, or `eval \"$(scripts/docker start DIR)\"` first"
        )
    })
}

/// A DSN of that engine, with a namespace of the test's own.
fn dsn(namespace: &str) -> String {
    format!("docker://{namespace}?host={}&grace=200ms", host())
}

/// What `docker` prints about that engine.
fn docker(args: &[&str]) -> String {
    let output =
        Command::new("/usr/bin/docker").args(["--host", &host()]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that carries a label with this value.
pub fn objects(label: &str, value: &str) -> Vec<String> {
    let filter = format!("label={label}={value}");
    let list = |args: &[&str]| docker(&[args, &["--quiet", "--filter", &filter]].concat());
    let kinds: [&[&str]; 4] =
        [&["container", "ls", "--all"], &["volume", "ls"], &["network", "ls"], &["image", "ls"]];
    kinds.map(list).iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
}

/// A driver with a namespace of its own.
struct Run {
    driver: DockerDriver,
    run: String,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Run {
    async fn start() -> Self {
        Self::with(DockerConfig::default()).await
    }

    async fn with(config: DockerConfig) -> Self {
        let run = format!("test-{}", uuid::Uuid::new_v4());
        let config = DockerConfig {
            host: config.host.or_else(|| host().parse().ok()),
            namespace: Some(run.clone()),
            grace: Duration::from_millis(200),
            ..config
        };
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = notices.clone();
        let sink = Arc::new(move |notice| sink.lock().unwrap().push(notice));
        let identity = RunIdentity { run: run.clone(), pipeline: "pipeline".into() };
        let driver = DockerDriver::start(&config, &identity, sink).await.unwrap();
        Self { driver, run, notices }
    }

    /// Closes the driver, after which nothing is left.
    async fn end(self) {
        self.driver.close().await.unwrap();
        assert_eq!(objects("ci.run", &self.run), Vec::<String>::new());
    }
}

/// Runs each function of the suite against a new driver.
macro_rules! conforms {
    ($module:ident, $suite:ident, |$driver:ident| $of:expr, $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let run = super::Run::start().await;
                    let $driver = &run.driver;
                    crate::$suite::$name($of).await;
                    run.end().await;
                }
            )*
        }
    };
}

contract! { commands: contract, conformance, |driver| driver, }
contract! { drivers: driver_contract, conformance, |driver| driver, }
contract! { places: mount_places, mounts, |driver| driver, }
contract! { mounts: mount_contract, mounts, |driver| driver, }
contract! { commands: contract_in_sandboxes, conformance, |driver| &crate::sandboxes::Sandboxed(driver), }
contract! { places: places_in_sandboxes, mounts, |driver| &crate::sandboxes::Sandboxed(driver), }
contract! { mounts: mounts_in_sandboxes, mounts, |driver| &crate::sandboxes::Sandboxed(driver), }
contract! { shells: shells, shells, |driver| driver, }
contract! { sandboxes: sandboxes, sandboxes, |driver| driver, }

#[tokio::test]
async fn an_image_is_an_environment_and_nothing_more() {
    let run = Run::start().await;
    let in_image =
        |spec: TaskSpec| edit(spec, |spec| spec.container.image = "opinionated:1".into());
    let cache = volume(&run.driver, "cache").await;
    // Neither its entry point nor its directory, but its variables and its user, who may write.
    let script =
        "pwd; id -u; echo $FROM_IMAGE; echo x > file && echo y > v/file && cat file v/file";
    let text = succeed(&run.driver, &in_image(mounted(sh(script), &[(&cache, "v")]))).await;
    assert_eq!(text, "/ci/work\n1000\n1\nx\ny\n");
    let mut spec = in_image(sh("id -u; touch file"));
    spec.exec.command.user = Some("0".into());
    assert_eq!(succeed(&run.driver, &spec).await, "0\n");
    spec.exec.command.user = Some("daemon".into());
    assert_eq!(succeed(&run.driver, &spec).await, "1\n");
    let deep = volume(&run.driver, "deep").await;
    let mut below =
        mounted(sh("touch file ../file ../../a/file ../../a/b/file"), &[(&deep, "a/b")]);
    below.exec.command.user = Some("daemon".into());
    below.exec.work_dir = Some("some/where".into());
    succeed(&run.driver, &below).await;
    spec.exec.command.user = Some("nobody-knows".into());
    let error = finish(&run.driver, &spec).await.unwrap_err();
    assert!(
        matches!(&error, DriverError::Refused(text) if text.contains("nobody-knows")),
        "{error}"
    );
    run.end().await;
}

#[tokio::test]
async fn volumes_are_mounted_wherever_a_task_wants_them() {
    let run = Run::start().await;
    let cache = volume(&run.driver, "cache").await;
    let write = mounted(sh("echo x > /root/.cache/file"), &[(&cache, "/root/.cache")]);
    succeed(&run.driver, &write).await;
    let read = mounted(sh("cat deep/er/file"), &[(&cache, "deep/er")]);
    assert_eq!(succeed(&run.driver, &read).await, "x\n");
    run.end().await;
}

#[tokio::test]
async fn limits_hold_and_say_so() {
    let run = Run::start().await;
    let memory = Limits { memory: Some(32 << 20), cpu: Some(0.5) };
    let spec = edit(sh("tail /dev/zero"), |spec| spec.container.limits = memory);
    assert_eq!(finish(&run.driver, &spec).await.unwrap().exit, TaskExit::OutOfMemory);
    let spec =
        edit(sh("true"), |spec| spec.container.limits = Limits { memory: Some(1), cpu: None });
    let error = finish(&run.driver, &spec).await.unwrap_err();
    assert!(matches!(error, DriverError::Refused(_)), "{error:?}");
    let spec =
        edit(sh("true"), |spec| spec.container.limits = Limits { memory: None, cpu: Some(0.001) });
    let error = finish(&run.driver, &spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a container has at least 0.01 of a core, raise its limit of `cpu`"
    );
    let spec = sh("mount -t tmpfs tmpfs /tmp");
    assert_ne!(finish(&run.driver, &spec).await.unwrap().exit, TaskExit::Code(0));
    succeed(&run.driver, &edit(spec, |spec| spec.container.privileged = true)).await;
    run.end().await;
}

#[tokio::test]
async fn two_runs_at_the_same_time_do_not_see_each_other() {
    let (one, two) = (Run::start().await, Run::start().await);
    for run in [&one, &two] {
        let cache = volume(&run.driver, "cache").await;
        let script = "ls -A v; echo x > v/file; pwd";
        let text = succeed(&run.driver, &mounted(sh(script), &[(&cache, "v")])).await;
        assert_eq!(text, "/ci/work\n");
    }
    one.end().await;
    let cache = volume(&two.driver, "cache").await;
    let read = mounted(sh("cat v/file"), &[(&cache, "v")]);
    assert_eq!(succeed(&two.driver, &read).await, "x\n");
    two.end().await;
}

#[test]
fn an_engine_that_is_not_there_is_told_with_what_was_tried() {
    let run = |host: &str| Ci::pipeline("").args(["--driver", &format!("docker://?host={host}")]);
    run("unix:///nowhere/docker.sock")
        .run()
        .exits(3)
        .stderr_has("no engine answers at `unix:///nowhere/docker.sock` (from `host=`)");
    run("tcp://127.0.0.1:1").run().exits(3).stderr_has("tcp://127.0.0.1:1");
    run("127.0.0.1:1")
        .run()
        .exits(2)
        .stderr_has("expected `unix:///path`, `tcp://host` or `ssh://host`");
    Ci::pipeline("")
        .args(["--driver", "docker"])
        .env("DOCKER_HOST", "unix:///gone")
        .run()
        .exits(3)
        .stderr_has("(from `DOCKER_HOST`)");
    Ci::pipeline("console.log(pipelineContext.driverName)")
        .args(["--driver", "docker"])
        .env("DOCKER_HOST", host())
        .run()
        .exits(0)
        .stdout_has("docker");
}

#[tokio::test]
async fn tasks_and_sandboxes_reach_each_other_by_their_names() {
    let run = Run::start().await;
    let spec = TaskSpec { name: "The database!".into(), ..sh("true") }.sandbox();
    let sandbox = run.driver.open_sandbox(&spec).await.unwrap();
    // Nothing listens there, but somebody is there to say so.
    let script = |host: &str| format!("(exec 3<>/dev/tcp/{host}/1) 2>&1; true");
    let look = |host: &str| task("look", "bash", &["-c", &script(host)]);
    let text = succeed(&run.driver, &look("the-database")).await;
    assert!(text.contains("Connection refused"), "{text}");
    let text = succeed(&run.driver, &look("elsewhere")).await;
    assert!(!text.contains("Connection refused"), "{text}");
    sandbox.close().await;
    run.end().await;
}

#[test]
fn a_network_that_is_not_there_is_named_before_anything_runs() {
    let driver = format!("docker://?host={}&network=nowhere", host());
    Ci::pipeline(r#"console.log("runs")"#)
        .args(["--driver", &driver])
        .run()
        .exits(3)
        .lacks("runs")
        .stderr_has(
            "the engine has no network `nowhere`, create it with `docker network create nowhere`",
        );
}
